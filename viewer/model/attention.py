"""Arithmetic on attention weights: reduction over heads, masses of key groups, entropy, colour ranges. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from capture.results.schema import from_bfloat16

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Floats = npt.NDArray[np.float32]
SINKS: Final = ("bos", "newline", "bars")
"""Groups that “without sinks” leaves out: keys that collect weight whatever the picture shows."""
UNIFORM_SPAN: Final = 8.0
"""Multiple of the uniform weight that the range `uniform` reaches at least.

Looked at with the demo policy and full-size files: a single patch with 5 times uniform weight is plain to see, and rows
with 1 % of their weight on the pictures leave them as they are.
"""


def to_float32(values: npt.NDArray[np.generic]) -> Floats:
    """Return stored weights as float32; uint16 holds the bits of bfloat16."""
    if values.dtype == np.uint16:
        return from_bfloat16(values.astype(np.uint16, copy=False))
    return values.astype(np.float32, copy=False)


@dataclass(frozen=True, eq=False, slots=True)
class Rows:
    """All weights of one query token of one frame, as stored (bfloat16 bits or floats).

    A word has one step. Text keys are the T text tokens of the file, padding included (weight 0).
    """

    image: npt.NDArray[np.generic]
    """(layers, steps, heads, cameras, rows, cols)"""
    text: npt.NDArray[np.generic]
    """(layers, steps, heads, T)"""
    action: npt.NDArray[np.generic]
    """(layers, steps, heads, H); H is 0 for a word, which cannot see the actions."""

    def at(self, layers: slice) -> Rows:
        """Return the rows of some layers."""
        return Rows(self.image[layers], self.text[layers], self.action[layers])

    @property
    def nbytes(self) -> int:
        """Memory that the weights take, in bytes."""
        return self.image.nbytes + self.text.nbytes + self.action.nbytes


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """Weights of one query at one layer and step, its heads reduced to one."""

    image: Floats
    """(cameras, rows, cols)"""
    text: Floats
    """(T,)"""
    action: Floats
    """(H,), empty for words"""


def reduce_axis(values: Floats, axis: int, reduce: str) -> Floats:
    """Return the mean or the maximum along an axis."""
    result: Floats
    if reduce == "max":
        result = values.max(axis)
    else:  # as `values.mean`, without the 3 µs that it takes to find out how
        result = np.add.reduce(values, axis, np.float32) / np.float32(values.shape[axis])
    return result


def pick(rows: Sequence[Rows], layer: int, step: int, heads: Sequence[int], reduce: str) -> Row:
    """Return one row: the mean over the query's tokens of the mean or maximum of the heads; `heads` empty takes all."""

    def part(name: str) -> Floats:
        values = []
        for row in rows:
            block = getattr(row, name)[layer, min(step, row.image.shape[1] - 1)]
            block = to_float32(block[list(heads)] if heads else block)
            values.append(reduce_axis(block, 0, reduce))
        return values[0] if len(values) == 1 else reduce_axis(np.stack(values), 0, "mean")

    return Row(part("image"), part("text"), part("action"))


def group_matrix(
    groups: Sequence[str], cameras: Sequence[str], bars: npt.NDArray[np.bool_], roles: Sequence[str], actions: int
) -> Floats:
    """Return which group each key belongs to: (cameras x rows x cols + T + H, groups) of 0 and 1.

    `bars` (cameras, rows, cols): patches wholly in the letterbox bars. `roles`: T names; padding belongs to no group.
    """
    matrix = np.zeros((bars.size + len(roles) + actions, len(groups)), np.float32)
    place = {name: index for index, name in enumerate(groups)}
    count = bars.shape[1] * bars.shape[2]
    patches = bars.reshape(len(cameras), count)
    for number, camera in enumerate(cameras):
        keys = np.arange(number * count, (number + 1) * count)
        matrix[keys, np.where(patches[number], place[f"{camera} bars"], place[camera])] = 1
    for token, role in enumerate(roles):
        if role in place:
            matrix[bars.size + token, place[role]] = 1
    matrix[bars.size + len(roles) :, place["action"]] = 1
    return matrix


def masses(rows: Sequence[Rows], matrix: Floats) -> Floats:
    """Return the weight on each group, mean over the tokens: (layers, steps, heads, groups)."""
    total: Floats | None = None
    for row in rows:
        lead = row.image.shape[:3]
        image = to_float32(row.image).reshape(*lead, -1)
        text, action = to_float32(row.text), to_float32(row.action)
        split = image.shape[-1], image.shape[-1] + text.shape[-1]
        mass = image @ matrix[: split[0]] + text @ matrix[split[0] : split[1]]
        if action.shape[-1]:
            mass = mass + action @ matrix[split[1] : split[1] + action.shape[-1]]
        total = mass if total is None else total + mass
    assert total is not None
    return (total / np.float32(len(rows))).astype(np.float32, copy=False)


def entropy(maps: Floats, keep: npt.NDArray[np.bool_]) -> Floats:
    """Return the entropy in nats over the patches `keep`, their weights normalised to sum to 1.

    `maps` (..., cameras, rows, cols), `keep` (cameras, rows, cols) bool; the result is (...), NaN where a row has no
    weight on them.
    """
    values = np.ascontiguousarray(maps[..., keep])  # numpy adds pairwise, to 1e-6, along contiguous axes alone
    total = values.sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = values / total
        terms = np.where(share > 0, share * np.log(share), 0)
    result: Floats = np.where(total[..., 0] > 0, -terms.sum(-1), np.nan).astype(np.float32)
    return result


def change(maps: Floats) -> Floats:
    """Return the mean total variation distance of the picture weights from one step to the next.

    `maps` (layers, steps, heads, ...) -> (layers, heads); 0 where there is one step.
    """
    flat = maps.reshape(*maps.shape[:3], -1)
    if flat.shape[1] < 2:
        return np.zeros((flat.shape[0], flat.shape[2]), np.float32)
    moved: Floats = np.abs(np.diff(flat, axis=1)).sum(-1).mean(1, dtype=np.float32) / np.float32(2)
    return moved


def without(row: Row, left_out: Sequence[str], groups: Sequence[str], matrix: Floats) -> tuple[Row, float]:
    """Return the row without the keys of the groups `left_out`, scaled to its old sum, and the share that was removed.

    `bars` in `left_out` stands for the letterbox bars of every camera. A row without weight elsewhere becomes 0.
    """
    if not left_out:
        return row, 0.0
    removed = find_left_out_groups(left_out, groups)
    if not removed.any():
        return row, 0.0
    flat = np.concatenate([row.image.ravel(), row.text, row.action])
    remaining, share = drop_keys(flat, matrix[: len(flat), removed].sum(1) == 0)
    image, text = row.image.size, row.image.size + len(row.text)
    return Row(remaining[:image].reshape(row.image.shape), remaining[image:text], remaining[text:]), float(share)


def find_left_out_groups(left_out: Sequence[str], groups: Sequence[str]) -> npt.NDArray[np.bool_]:
    """Return which groups of keys `left_out` names: (groups,) bool."""
    return np.array([name in left_out or ("bars" in left_out and name.endswith(" bars")) for name in groups], bool)


def drop_keys(weights: Floats, keep: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return rows without the keys that are not kept, scaled to their old sums, and the share that each row lost.

    `weights` (..., keys), `keep` (keys,) bool; the shares are (...). A row without weight on kept keys becomes 0.
    """
    remaining = weights * keep.astype(np.float32)
    total, remaining_total = weights.sum(-1), remaining.sum(-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        remaining = remaining * np.where(remaining_total > 0, total / remaining_total, 1)[..., None].astype(np.float32)
        share = np.where(total > 0, 1 - remaining_total / total, 0)
    return remaining, share.astype(np.float32)


def color_range(
    maps: Floats, mode: str, low: float, high: float, uniform: float = 0.0
) -> tuple[tuple[float, float], ...]:
    """Return the ends of the colour range of each camera's map.

    `shared`: 0 to the 99th percentile of all maps together; `map`: the same for each by itself; `locked`: as given.
    Where the percentile is 0 (weight on fewer than one patch in a hundred) the largest weight takes its place.
    Mode `uniform`: from the weight of a patch in an even row (argument `uniform`) to the shared end, and to
    UNIFORM_SPAN times that weight at least, so that maps with little weight stay faint.
    """
    if mode == "locked" and high > low:
        return ((low, high),) * len(maps)
    if mode == "uniform" and uniform > 0:
        return ((uniform, max(_upper(maps), UNIFORM_SPAN * uniform)),) * len(maps)
    if mode == "map":
        return tuple((0.0, _upper(weights)) for weights in maps)
    return ((0.0, _upper(maps)),) * len(maps)


def _upper(values: Floats) -> float:
    finite = values.ravel()
    if not np.isfinite(finite).all():
        finite = finite[np.isfinite(finite)]
    if not finite.size:
        return 1.0
    # The linearly interpolated 99th percentile, as np.percentile computes it, ten times faster.
    place = 0.99 * (finite.size - 1)
    below = int(place)
    top = np.partition(finite, (below, min(below + 1, finite.size - 1)))[below:]
    largest = float(top.max())
    upper = float(top[0]) + (place - below) * (float(top[1]) - float(top[0]) if len(top) > 1 else 0.0)
    # With weight on fewer than one patch in a hundred the percentile is noise: take the largest weight.
    if upper < largest * 0.02:
        upper = largest
    return upper if upper > 0 else 1.0


def find_upper_ends(values: Floats) -> Floats:
    """Return the upper end of the shared colour range of several sets of weights: (..., weights) -> (...)."""
    flat = values.reshape(-1, values.shape[-1])
    ascending = np.sort(flat, 1)  # of many short rows an eighth of the time of np.partition; infinities and NaN outside
    if not flat.size or not np.isfinite(ascending[:, (0, -1)]).all():
        return np.array([_upper(weights) for weights in flat], np.float32).reshape(values.shape[:-1])
    # As `_upper`, of all sets at once: 360 thumbnails take 3 ms one by one.
    place = 0.99 * (flat.shape[1] - 1)
    below = int(place)
    above = min(below + 1, flat.shape[1] - 1)
    lower, higher, largest = ascending[:, (below, above, -1)].T.astype(np.float64)
    upper = lower + (place - below) * (higher - lower)
    upper = np.where(upper < largest * 0.02, largest, upper)
    return np.where(upper > 0, upper, 1.0).astype(np.float32).reshape(values.shape[:-1])


def places(values: Floats, low: float, high: float, scale: str) -> Floats:
    """Return places on the colour table, 0 to 1: linear, logarithmic over three decades, or by rank."""
    span = high - low
    if scale == "rank":
        flat = values.ravel()
        order = np.sort(flat)
        rank = np.searchsorted(order, flat, side="left") / max(flat.size - 1, 1)
        return np.where(flat > 0, rank, 0).reshape(values.shape).astype(np.float32)
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "log":
            top = np.log10(high) if high > 0 else 0.0
            bottom = max(np.log10(low) if low > 0 else -np.inf, top - 3)
            result = (np.log10(np.maximum(values, 1e-30)) - bottom) / max(top - bottom, 1e-9)
        else:
            result = (values - low) / span if span > 0 else np.zeros_like(values)
    placed: Floats = np.fmin(np.fmax(result, 0), 1).astype(np.float32, copy=False)  # NaN becomes 0
    return placed


def scale_between(values: Floats, lows: Floats, highs: Floats, scale: str) -> Floats:
    """Return `places` of several sets of weights (..., weights), each between ends of its own (...), or of several.

    `scale` is linear or log.
    """
    low, high = (ends.astype(np.float64)[..., None] for ends in (lows, highs))
    with np.errstate(divide="ignore", invalid="ignore"):
        if scale == "log":
            top = np.where(high > 0, np.log10(high), 0.0)
            bottom = np.maximum(np.where(low > 0, np.log10(low), -np.inf), top - 3)
            result = (np.log10(np.maximum(values, 1e-30)) - bottom) / np.maximum(top - bottom, 1e-9)
        else:
            result = values - low.astype(np.float32)
            result /= np.where(high > low, high - low, np.inf).astype(np.float32)
    placed: Floats = np.fmin(np.fmax(result, 0, out=result), 1, out=result).astype(np.float32, copy=False)  # no NaN
    return placed


def rank_patch(maps: Floats, camera: int, row: int, col: int) -> int:
    """Return the rank of a patch among the patches of all cameras, the heaviest first, counted from 1."""
    return int((maps > maps[camera, row, col]).sum()) + 1


def reorder_masses(masses: npt.NDArray[np.generic] | None, order: list[int]) -> Floats | None:
    """Return masses (..., groups) with their groups in another order; None if they were never filled in.

    The groups of a row sum to 1 where a row has any weight.
    """
    if masses is None or not 0.5 < float(masses.sum(-1).max(initial=0)) < 1.5:
        return None
    values = to_float32(masses)
    return values if order == list(range(values.shape[-1])) else np.ascontiguousarray(values[..., order])


def named(groups: Sequence[str], mass: Floats) -> Mapping[str, float]:
    """Return masses by the name of their group."""
    return {name: float(value) for name, value in zip(groups, mass, strict=True)}
