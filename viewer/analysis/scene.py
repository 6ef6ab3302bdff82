"""Scenes: the numbers that one view of a file shows, computed by pure functions. No Qt."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from capture.results import schema
from viewer.analysis.effects import measured as effects
from viewer.errors import READ_ERRORS, UserError
from viewer.model import attention
from viewer.model.attention import Floats, Rows
from viewer.model.geometry import PatchGrid
from viewer.model.view_state import FROM_EFFECTS, Kind, Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from viewer.io.results import Results
    from viewer.model.effects import EffectMap

DATA_FIELDS: Final = (
    "frame", "query", "step", "layer", "heads", "reduce", "measure", "dim", "unit", "scale", "range", "low", "high",
    "left_out",
)  # fmt: skip
"""Fields of a view that change its numbers; the others change how they are painted."""


@dataclass(frozen=True, eq=False)
class Scene:
    """The numbers of one view."""

    maps: Floats
    """(cameras, rows, cols) in the shown unit, without what was left out; a difference where two views are compared."""
    text: Floats
    """(T,) weights on the text tokens, like `maps`."""
    action: Floats
    """(H,) weights on the actions; empty for words."""
    mass: dict[str, float]
    """Share of the whole row on each group, nothing left out; mean of the heads even where their maximum is shown."""
    removed: float
    """Share of the row that was left out before it was normalised again."""
    ranges: tuple[tuple[float, float], ...]
    """Colour range of each camera."""
    keys: int
    """Keys that the query can see; 1 / keys is the uniform weight."""
    row_sum: float
    grid: PatchGrid
    """The patches of `maps`."""
    difference: bool = False
    peaks: tuple[float, ...] = ()
    """Largest value on the picture of each camera, of the maximum of several heads: its own number, as it is no row of
    attention and has no share of one; empty for one head or a mean."""
    uniform: float = 0.0
    """Weight of each key if the row were spread evenly over its keys, in the shown unit."""
    uniform_mass: Mapping[str, float] = field(default_factory=dict)
    """Share of each group of keys if the row were spread evenly over its keys."""
    missing: str = ""
    """Why there is no map, as a sentence: it was not kept. `maps` are 0 then, and masses are those of the summaries."""
    effect: EffectMap | None = None
    """What `maps` are of instead of attention: multiples of the noise by which the actions move; `maps` have 0 where
    nothing was measured. None for attention."""

    def share(self, camera: str) -> float:
        """Return the share of the row on the picture of a camera, without its letterbox bars."""
        return self.mass.get(camera, 0.0)

    def rank(self, camera: int, row: int, col: int) -> int:
        """Return the rank of a patch among all patches, by absolute value in a difference."""
        return attention.rank_patch(np.abs(self.maps), camera, row, col)


def find_query_tokens(results: Results, frame: int, query: Query) -> tuple[int, ...]:
    """Return the tokens of a query: the text tokens of its chips, or action tokens."""
    if query.kind == "action":
        return query.items
    chips = results.chips(frame)
    return tuple(token for item in query.items if item < len(chips) for token in chips[item].tokens)


def rows_of(results: Results, frame: int, query: Query) -> list[Rows]:
    """Return the weights of each of the query's tokens at all layers, steps and heads."""
    rows = [results.rows(frame, query.kind, token) for token in find_query_tokens(results, frame, query)]
    if not rows:
        raise IndexError("this frame has no such word")
    return rows


def group_matrix(results: Results, frame: int) -> Floats:
    """Return which group each key of a frame belongs to: (cameras x rows x cols + T + H, groups)."""

    def share() -> Floats:  # frames with the same prompt have one matrix
        bars, roles = results.bars(frame), results.roles(frame)
        return results.remember(
            ("matrix", bars.tobytes(), roles.tobytes()),
            lambda: attention.group_matrix(
                results.groups,
                results.cameras,
                bars,
                [schema.ROLES[role] for role in roles.tolist()],
                results.horizon,
            ),
            lambda values: values.nbytes,
        )

    return results.remember(("matrix of frame", frame), share, lambda _: 64)


def compute_uniform_masses(results: Results, frame: int, size: int, keys: int) -> Mapping[str, float]:
    """Return the share of each group in a row that is spread evenly over its keys, which takes as long as one mean.

    Args:
        results: The file.
        frame: The frame.
        size: Keys in a row, those without a group included.
        keys: Those of them that the query can see.
    """

    def make() -> Mapping[str, float]:
        return attention.named(results.groups, group_matrix(results, frame)[:size].sum(0) / np.float32(keys))

    return results.remember(("uniform masses", frame, size, keys), make, lambda _: 1024)


def masses(results: Results, frame: int, query: Query) -> Floats:
    """Return the group masses of a query, mean of its tokens: (layers, steps, heads, groups).

    They come from the stored summaries if the file has them, else from the weights.
    """

    def make() -> Floats:
        stored = results.mass(frame, query.kind)
        if stored is None:
            return attention.masses(rows_of(results, frame, query), group_matrix(results, frame))
        tokens = find_query_tokens(results, frame, query)
        if not tokens:
            raise IndexError("this frame has no such word")
        row = stored[:, tokens[0]] if len(tokens) == 1 else attention.reduce_axis(stored[:, list(tokens)], 1, "mean")
        return row[:, None] if query.kind == "text" else row

    return results.remember(("masses", frame, query), make, lambda values: values.nbytes)


def read_mass_row(results: Results, state: ViewState) -> Floats:
    """Return the group masses of the shown row, (groups,): mean of its heads, as a maximum does not sum to 1.

    They are the stored ones, which timeline, curves and tables show, where the file has them: the sum of weights that
    were rounded to bfloat16 differs from them by a tenth of a percent.
    """
    heads = None
    with contextlib.suppress(*READ_ERRORS):  # damaged masses are no reason not to show the weights
        heads = _stored_masses(results, state)
    if heads is not None:
        return attention.reduce_axis(heads[list(state.heads)] if state.heads else heads, 0, "mean")
    row = attention.pick(layer_rows(results, state), 0, state.step, state.heads, "mean")
    flat = np.concatenate([row.image.ravel(), row.text, row.action])
    mass: Floats = flat @ group_matrix(results, state.frame)[: len(flat)]
    return mass


def _stored_masses(results: Results, state: ViewState) -> Floats | None:
    """Return the stored masses of the shown row, (heads, groups), mean of its tokens; None where the file has none."""
    frame, kind = state.frame, state.query.kind
    if not results.access.is_slow:
        if results.mass(frame, kind) is None:
            return None
        stored = masses(results, frame, state.query)
        row: Floats = stored[state.layer, min(state.step, stored.shape[1] - 1)]
        return row
    step = min(state.step, max(len(results.steps) - 1, 0))
    token_masses = [
        results.mass_at(frame, kind, token, state.layer, step)
        for token in find_query_tokens(results, frame, state.query)
    ]
    rows = [row for row in token_masses if row is not None]
    return attention.reduce_axis(np.stack(rows), 0, "mean") if rows and len(rows) == len(token_masses) else None


def layer_rows(results: Results, state: ViewState) -> list[Rows]:
    """Return the weights of each of the shown query's tokens at the shown layer, at all steps and heads."""
    tokens = find_query_tokens(results, state.frame, state.query)
    if not tokens:
        raise IndexError("this frame has no such word")
    return [results.layer_rows(state.frame, state.query.kind, token, state.layer) for token in tokens]


def read_key_norms(results: Results, frame: int, kind: Kind) -> tuple[Floats, Floats, Floats]:
    """Return the value norms of a frame; UserError if there are none: raw weights must not pass for contributions."""
    norms = results.value_norms(frame, kind)
    if norms is None:
        raise UserError(f"{results.path.name} has no value norms here")
    return norms


def weigh(rows: Sequence[Rows], norms: tuple[Floats, Floats, Floats]) -> list[Rows]:
    """Return rows of weight x value norm, the length of what each key contributes.

    `norms`: image (layers, heads, cameras, rows, cols), text (layers, heads, T), action (layers, steps, heads, H).
    """
    image, text, action = norms
    weighed = []
    for row in rows:
        weights = attention.to_float32(row.action)
        weights = weights * action if weights.shape[-1] else weights
        weighed.append(
            Rows(
                attention.to_float32(row.image) * image[:, None],
                attention.to_float32(row.text) * text[:, None],
                weights,
            )
        )
    return weighed


def measured(results: Results, state: ViewState) -> list[Rows]:
    """Return the query's rows in the chosen measure, at all layers."""
    rows = rows_of(results, state.frame, state.query)
    return (
        rows if state.measure != "contribution" else weigh(rows, read_key_norms(results, state.frame, state.query.kind))
    )


def measured_layer(results: Results, state: ViewState) -> list[Rows]:
    """Return the query's rows in the chosen measure, at the shown layer."""
    rows = layer_rows(results, state)
    if state.measure != "contribution":
        return rows
    image, text, action = read_key_norms(results, state.frame, state.query.kind)
    layer = slice(state.layer, state.layer + 1)
    return weigh(rows, (image[layer], text[layer], action[layer]))


def compose(results: Results, state: ViewState) -> Scene:
    """Return the scene of a view. UserError if its measure needs value norms or effects that are not there."""
    if state.measure in FROM_EFFECTS:
        return _compose_effect(results, state)
    if not results.has_maps(state.frame):
        return _compose_without_maps(results, state)
    rows = measured_layer(results, state)
    row = attention.pick(rows, 0, state.step, state.heads, state.reduce)
    shares = read_mass_row(results, state)
    total = float(row.image.sum() + row.text.sum() + row.action.sum())
    matrix = group_matrix(results, state.frame)
    row, removed = attention.without(row, state.left_out, results.groups, matrix)
    keys = count_keys(results, state.frame, len(row.action))
    factor = np.float32(keys if state.unit == "uniform" else 1)
    maps = row.image * factor
    # The maxima of several heads do not sum to 1: there, too, the uniform weight is that of one row.
    uniform = (1.0 if state.measure == "weight" else total) / keys * float(factor)
    size = row.image.size + len(row.text) + len(row.action)
    peaks: tuple[float, ...] = ()
    if state.reduce == "max" and len(state.heads) != 1:
        peaks = tuple(map(float, np.where(results.bars(state.frame), 0, maps).max((1, 2))))
    return Scene(
        maps,
        row.text * factor,
        row.action * factor,
        mass=dict(attention.named(results.groups, shares)),
        removed=removed,
        ranges=attention.color_range(maps, state.range, state.low, state.high, uniform),
        keys=keys,
        row_sum=total,
        grid=results.grid,
        uniform=uniform,
        uniform_mass=compute_uniform_masses(results, state.frame, size, keys),
        peaks=peaks,
    )


def _compose_without_maps(results: Results, state: ViewState) -> Scene:
    """Return the scene of a frame of which the summaries alone were kept: masses, and no weight anywhere else."""
    maps = np.zeros((len(results.cameras), *results.grid.shape), np.float32)
    actions = results.horizon if state.query.kind == "action" else 0
    mass = read_mass_row(results, state)
    return Scene(
        maps,
        np.zeros(results.tokens, np.float32),
        np.zeros(actions, np.float32),
        mass=dict(attention.named(results.groups, mass)),
        removed=0.0,
        ranges=attention.color_range(maps, state.range, state.low, state.high),
        keys=count_keys(results, state.frame, actions),
        row_sum=float(mass.sum()),
        grid=results.grid,
        missing=f"{results.describe_missing_maps()}.",
    )


def _compose_effect(results: Results, state: ViewState) -> Scene:
    """Return the scene of an effect map, without any value where there is none; masses are those of the attention."""
    effect_map = effects.find_map(results, state.frame, state.query, state.measure, state.dim)
    if effect_map is None:
        from viewer.model.effects import EffectMap, Method  # imported late: it delays the first picture

        nothing = np.full((len(results.cameras), *results.grid.shape), np.nan, np.float32)
        effect_map = EffectMap(nothing, Method(), 0, float("nan"), is_gradient=state.measure == "gradient")
    mode = "shared" if state.range == "uniform" else state.range  # no effect is what a spread row is to attention
    return Scene(
        np.nan_to_num(effect_map.values, nan=0.0, posinf=0.0, neginf=0.0),
        np.zeros(results.tokens, np.float32),
        np.zeros(results.horizon if state.query.kind == "action" else 0, np.float32),
        mass=dict(attention.named(results.groups, read_mass_row(results, state))),
        removed=0.0,
        ranges=attention.color_range(effect_map.values, mode, state.low, state.high),
        keys=count_keys(results, state.frame, 0),
        row_sum=0.0,
        grid=results.grid,
        effect=effect_map,
    )


def count_keys(results: Results, frame: int, actions: int) -> int:
    """Return the keys that a query of a frame can see: patches, text without padding, and `actions`; at least 1."""

    def make() -> int:
        valid = int((results.roles(frame) != schema.ROLES.index("pad")).sum())
        return max(len(results.cameras) * results.grid.rows * results.grid.cols + valid + actions, 1)

    return results.remember(("keys", frame, actions), make, lambda _: 64)


def compare(one: Scene, two: Scene, state: ViewState) -> Scene:
    """Return the difference of two scenes, on a colour range centred on 0 and shared by all cameras.

    The range reaches as far as the largest difference, unless it is locked; as far as the ranges of both scenes where
    there is no difference.
    """
    if one.missing or two.missing:  # which has no weights to subtract
        one = one if one.missing else replace(two, mass=one.mass, maps=np.zeros_like(one.maps))
        return replace(one, ranges=((-1.0, 1.0),) * len(one.maps), difference=True)
    maps = one.maps - two.maps if one.maps.shape == two.maps.shape else one.maps * np.float32(np.nan)
    if state.range == "locked" and state.high > 0:
        reach = state.high
    else:
        largest = float(np.abs(np.nan_to_num(maps)).max(initial=0))
        reach = largest or max((high for _, high in (*one.ranges, *two.ranges)), default=1.0)
    text = one.text - two.text if one.text.shape == two.text.shape else one.text
    action = one.action - two.action if one.action.shape == two.action.shape else one.action
    ranges = ((-reach, reach),) * len(maps)
    effect = one.effect
    if one.effect is not None and two.effect is not None and one.maps.shape == two.maps.shape:
        measured = one.effect.values - two.effect.values  # NaN where one of them was not measured
        maps, effect = np.where(np.isnan(measured), np.float32(0), maps), replace(one.effect, values=measured)
    return replace(
        one, maps=np.nan_to_num(maps), text=text, action=action, ranges=ranges, difference=True, effect=effect
    )


def on_one_range(one: Scene, two: Scene) -> tuple[Scene, Scene]:
    """Return two scenes with one colour range that spans both, for showing them side by side or in turn."""
    ends = (*one.ranges, *two.ranges)
    if not ends:
        return one, two
    widest = min(low for low, _ in ends), max(high for _, high in ends)
    return replace(one, ranges=(widest,) * len(one.ranges)), replace(two, ranges=(widest,) * len(two.ranges))


def find_picture_columns(results: Results, camera_mask: npt.NDArray[np.bool_] | None = None) -> list[int]:
    """Return the indices of the pictures' groups, without letterbox bars, among the mass groups."""
    keep = range(len(results.cameras)) if camera_mask is None else np.flatnonzero(camera_mask).tolist()
    return [results.groups.index(results.cameras[number]) for number in keep]
