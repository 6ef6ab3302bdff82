"""Many views at once: films, the atlas of heads, curves over axes. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from capture.results.schema import GRID
from viewer.analysis import scene, scoring
from viewer.model import attention
from viewer.model.view_state import Cell, Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viewer.io.results import Results
    from viewer.model.attention import Floats

MOST_FILM_FRAMES: Final = 24
MOST_FRAMES_OF_LAYERS: Final = 16
"""A film of every layer has fewer frames, so that its thumbnails can still be read."""
FILM_FIELDS: Final = ("frame", "query", "heads", "reduce", "measure", "film")
GROUPS_SHOWN: Final = ("bos", "prompt", "template", "state", "newline", "action")


@dataclass(frozen=True, eq=False)
class Film:
    """Thumbnails of one query along one or two axes."""

    maps: Floats
    """(rows, columns, cameras, 16, 16)"""
    columns: tuple[int, ...]
    """Labels of the columns: layer numbers, or frames counted from 1."""
    rows: tuple[int, ...]
    """Labels of the rows: step or layer numbers where there are several, else empty."""
    high: float
    """Upper end of the one colour range of all thumbnails."""


def _film(maps: Floats, columns: tuple[int, ...], rows: tuple[int, ...]) -> Film:
    high = attention.colour_range(maps.reshape(1, -1), "shared", 0, 0)[0][1] if maps.size else 1.0
    return Film(maps, columns, rows, high)


def film(results: Results, state: ViewState) -> Film:
    """Layers of the query at the shown step, or all layers x steps; mean of its tokens, the chosen heads together."""
    steps = (
        slice(state.step, state.step + 1) if state.film == "layers" and state.query.kind == "action" else slice(None)
    )
    total: Floats | None = None
    rows = scene.measured(results, state)
    for row in rows:
        block = row.image[:, steps][:, :, list(state.heads)] if state.heads else row.image[:, steps]
        maps = attention.together(attention.widened(np.ascontiguousarray(block)), 2, state.reduce)
        total = maps if total is None else total + maps
    assert total is not None
    maps = (total / np.float32(len(rows))).swapaxes(0, 1)  # (steps, layers, cameras, 16, 16)
    labels = results.steps if state.film == "steps" and state.query.kind == "action" else ()
    return _film(maps, results.layers, labels)


def film_frames(along: Sequence[int], most: int = MOST_FILM_FRAMES) -> tuple[int, ...]:
    """Which frames a film over frames shows: all of those along one prompt, or some at equal distances.

    The same whichever of them is looked at, so that a film is read once and stays while one scrubs.
    """
    if len(along) <= most:
        return tuple(along)
    return tuple(along[int(place)] for place in np.rint(np.linspace(0, len(along) - 1, most)))


def row_map(results: Results, state: ViewState) -> Floats:
    """The pictures' weights of one view, (cameras, 16, 16), reading no more than that; for films over frames."""
    total: Floats | None = None
    tokens = scene.tokens_of(results, state.frame, state.query)
    norms = None if state.measure == "weight" else scene.norms_of(results, state.frame, state.query.kind)
    for token in tokens:
        block = results.column(state.frame, state.query.kind, state.layer, token)
        block = attention.widened(block[min(state.step, len(block) - 1)])
        if norms is not None:
            block = block * norms[0][state.layer]
        maps = attention.together(block[list(state.heads)] if state.heads else block, 0, state.reduce)
        total = maps if total is None else total + maps
    if total is None:
        return np.zeros((len(results.cameras), 16, 16), np.float32)
    one: Floats = total / np.float32(len(tokens))
    return one


def film_over_frames(
    results: Results, state: ViewState, frames: Sequence[int], stale: Callable[[], bool]
) -> Film | None:
    """The query in several frames, at the shown layer or at all of them; None where it is no longer wanted."""
    layers = range(len(results.layers)) if state.film == "layers-frames" else (state.layer,)
    maps = []
    for frame in frames:
        query = scene.matched(state.query, results, state.frame, results, frame)
        column = []
        for layer in layers:
            if stale():
                return None
            column.append(row_map(results, replace(state, frame=frame, query=query, layer=layer)))
        maps.append(np.stack(column))
    rows = results.layers if state.film == "layers-frames" else ()
    return _film(np.stack(maps, 1), tuple(frame + 1 for frame in frames), rows)


def atlas(results: Results, state: ViewState) -> Floats:
    """The chosen score of every layer and head, the mean of heads in the last column: (layers, heads + 1)."""
    if state.score == "picture":
        mass = scene.masses(results, state.frame, state.query)
        at = mass[:, min(state.step, mass.shape[1] - 1)][..., scene.picture_columns(results)].sum(-1)
        return _with_mean(at)
    rows = scene.rows_of(results, state.frame, state.query)
    step = min(state.step, rows[0].image.shape[1] - 1)
    if state.score == "change":
        return _with_mean(_mean([attention.change(attention.widened(row.image)) for row in rows]))
    maps = _mean([attention.widened(np.ascontiguousarray(row.image[:, step])) for row in rows])
    bars = results.bars(state.frame)
    with_mean = np.concatenate([maps, maps.mean(1, keepdims=True)], 1)
    if state.score == "entropy":
        return attention.entropy(with_mean, ~bars)
    return scoring.of_region(with_mean, state.region, bars, state.score)


def _mean(parts: list[Floats]) -> Floats:
    return parts[0] if len(parts) == 1 else np.stack(parts).mean(0, dtype=np.float32)


def _with_mean(scores: Floats) -> Floats:
    return np.concatenate([scores, scores.mean(1, keepdims=True)], 1).astype(np.float32)


def ranking(scores: Floats, *, lowest: bool) -> list[tuple[int, int]]:
    """Layers and heads from the best score to the worst; `lowest` where small is good (entropy).

    Without the mean's column, and without heads that have no score.
    """
    plain = scores[:, :-1]
    order = np.argsort(plain if lowest else -plain, axis=None, kind="stable")  # NaN last
    order = order[: np.isfinite(plain).sum()]
    return [(int(index) // plain.shape[1], int(index) % plain.shape[1]) for index in order]


def standing(scores: Floats, layer: int, head: int, *, lowest: bool) -> tuple[int, int]:
    """The rank of a head's score, counted from 1, and how many other heads have the same."""
    plain, own = scores[:, :-1], scores[layer, head]
    better = plain < own if lowest else plain > own
    return int(better.sum()) + 1, int((plain == own).sum()) - 1


@dataclass(frozen=True, eq=False)
class Curves:
    """Group masses of the query along one axis."""

    names: tuple[str, ...]
    values: Floats
    """(points, groups)"""
    labels: tuple[int, ...]
    """What the points are called."""
    at: tuple[int, ...]
    """Their places on the axis."""


def merged(groups: Floats, results: Results) -> tuple[tuple[str, ...], Floats]:
    """Masses with the bars of all cameras put together."""
    index = {name: place for place, name in enumerate(results.groups)}
    bars = sum(
        (groups[..., index[f"{camera} bars"]] for camera in results.cameras), np.zeros(groups.shape[:-1], np.float32)
    )
    rest = [groups[..., index[name]] for name in GROUPS_SHOWN]
    return (*results.cameras, "bars", *GROUPS_SHOWN), np.stack(
        [*(groups[..., index[camera]] for camera in results.cameras), bars, *rest], -1
    ).astype(np.float32)


def curves(results: Results, state: ViewState) -> Curves:
    """Masses over denoise steps or over layers, mean of the chosen heads."""
    mass = scene.masses(results, state.frame, state.query)
    mass = attention.together(mass[:, :, list(state.heads)] if state.heads else mass, 2, "mean")
    if state.curve == "steps" and state.query.kind == "action":
        names, values = merged(mass[state.layer], results)
        return Curves(names, values, results.steps, tuple(range(len(results.steps))))
    names, values = merged(mass[:, min(state.step, mass.shape[1] - 1)], results)
    return Curves(names, values, results.layers, tuple(range(len(results.layers))))


def mass_of_frame(results: Results, state: ViewState, frame: int) -> Floats:
    """Group masses of the query in another frame: (groups,), from the summaries, else from the weights."""
    query = scene.matched(state.query, results, state.frame, results, frame)
    tokens = scene.tokens_of(results, frame, query)
    parts = []
    for token in tokens:
        part = results.mass_at(frame, query.kind, token, state.layer, state.step)
        if part is None:
            every = scene.masses(results, frame, Query(query.kind, query.items))
            part = every[state.layer, min(state.step, every.shape[1] - 1)]
        parts.append(attention.together(part[list(state.heads)] if state.heads else part, 0, "mean"))
    return _mean(parts) if parts else np.full(len(results.groups), np.nan, np.float32)


def curves_over_frames(results: Results, state: ViewState, stale: Callable[[], bool]) -> Curves | None:
    """Masses over all finished frames; None where the answer is no longer wanted."""
    values = []
    for frame in range(results.done):
        if stale():
            return None
        values.append(mass_of_frame(results, state, frame))
    if not values:
        return None
    names, masses = merged(np.stack(values), results)
    return Curves(names, masses, tuple(range(1, results.done + 1)), tuple(range(results.done)))


@dataclass(frozen=True, eq=False)
class Looker:
    """One row of the table of who looks at the region."""

    query: Query
    layer: int
    step: int
    head: int
    mass: float


def lookers(results: Results, state: ViewState, stale: Callable[[], bool], most: int = 200) -> list[Looker] | None:
    """Words and actions by the weight that each of their layers, steps and heads puts on the region, heaviest first."""
    found: list[Looker] = []
    chips = results.chips(state.frame)
    queries = [Query("text", (item,)) for item in range(len(chips))]
    queries += [Query("action", (item,)) for item in range(results.horizon)]
    low = 0.0
    for query in queries:
        parts = []
        for token in scene.tokens_of(results, state.frame, query):
            if stale():
                return None
            parts.append(region_mass(results, state.frame, query, token, state.region))
        mass = _mean(parts)  # (layers, steps, heads)
        flat = mass.ravel()
        best = np.argpartition(-flat, min(most, flat.size) - 1)[:most]
        for index in best[flat[best] > low].tolist():
            layer, step, head = np.unravel_index(index, mass.shape)
            found.append(Looker(query, int(layer), int(step), int(head), float(flat[index])))
        if len(found) > 4 * most:
            found.sort(key=lambda one: -one.mass)
            del found[most:]
            low = found[-1].mass
    found.sort(key=lambda one: (-one.mass, one.layer, one.step, one.head))
    return found[:most]


def region_mass(results: Results, frame: int, query: Query, token: int, region: tuple[Cell, ...]) -> Floats:
    """Weight of one token on the region: (layers, steps, heads)."""
    # One layer a read, so that the window's own reads never wait long for the file's lock.
    parts = [
        scoring.mass(attention.widened(results.column(frame, query.kind, layer, token)), region)
        for layer in range(len(results.layers))
    ]
    return np.stack(parts)


def mosaic(
    words: npt.NDArray[np.uint32], index: npt.NDArray[np.intp], gap: int, background: int
) -> npt.NDArray[np.uint32]:
    """Thumbnails of coloured maps (rows, columns, 16, 16) in one image, each followed by a gap.

    `index` (h, w) says which of the 256 patches a pixel of a thumbnail shows.
    """
    rows, columns = words.shape[:2]
    height, width = index.shape
    across, down = index[0] % GRID, index[:, 0] // GRID
    if not (index == down[:, None] * GRID + across).all():  # the picture was turned on its way into the model
        whole = np.full((rows, height + gap, columns, width + gap), background, np.uint32)
        whole[:, :height, :, :width] = words.reshape(rows, columns, -1)[:, :, index].transpose(0, 2, 1, 3)
        return whole.reshape(rows * (height + gap), columns * (width + gap))
    # Columns of pixels from columns of patches, then lines from those: the second is a plain copy of whole lines.
    strips = np.full((rows, GRID + 1, columns, width + gap), background, np.uint32)
    strips[:, :GRID, :, :width] = words[..., across].transpose(0, 2, 1, 3)
    lines = np.concatenate([down, np.full(gap, GRID)])
    return strips[:, lines].reshape(rows * (height + gap), columns * (width + gap))
