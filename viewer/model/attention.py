"""Attention rows in numpy: heads put together, group masses, scores, colour ranges. No Qt and no file."""

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
"""What “without sinks” leaves out: keys that collect weight whatever the picture shows."""


def widened(values: npt.NDArray[np.generic]) -> Floats:
    """Stored weights as float32: the 16 bits of bfloat16 are shifted, other floats are cast."""
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
        """Some of the layers."""
        return Rows(self.image[layers], self.text[layers], self.action[layers])

    @property
    def nbytes(self) -> int:
        """Memory that the row holds."""
        return self.image.nbytes + self.text.nbytes + self.action.nbytes


@dataclass(frozen=True, eq=False, slots=True)
class Row:
    """The weights of one query at one layer, step and choice of heads."""

    image: Floats
    """(cameras, rows, cols)"""
    text: Floats
    """(T,)"""
    action: Floats
    """(H,), empty for words"""


def together(values: Floats, axis: int, reduce: str) -> Floats:
    """Heads (or anything else) put together by mean or max."""
    result: Floats = values.max(axis) if reduce == "max" else values.mean(axis, dtype=np.float32)
    return result


def pick(rows: Sequence[Rows], layer: int, step: int, heads: Sequence[int], reduce: str) -> Row:
    """One row: mean over the query's tokens of the chosen heads' mean or max. `heads` empty stands for all."""

    def part(name: str) -> Floats:
        values = []
        for row in rows:
            block = getattr(row, name)[layer, min(step, row.image.shape[1] - 1)]
            block = widened(block[list(heads)] if heads else block)
            values.append(together(block, 0, reduce))
        return values[0] if len(values) == 1 else together(np.stack(values), 0, "mean")

    return Row(part("image"), part("text"), part("action"))


def group_matrix(
    groups: Sequence[str], cameras: Sequence[str], bars: npt.NDArray[np.bool_], roles: Sequence[str], actions: int
) -> Floats:
    """Which group each key belongs to: (cameras x rows x cols + T + H, groups) of 0 and 1.

    `bars` (cameras, rows, cols): patches that lie wholly in the padding. `roles` (T,) names; padding belongs to none.
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
    """Weight on each group for every layer, step and head: (layers, steps, heads, groups), mean over tokens."""
    total: Floats | None = None
    for row in rows:
        lead = row.image.shape[:3]
        image = widened(row.image).reshape(*lead, -1)
        text, action = widened(row.text), widened(row.action)
        split = image.shape[-1], image.shape[-1] + text.shape[-1]
        mass = image @ matrix[: split[0]] + text @ matrix[split[0] : split[1]]
        if action.shape[-1]:
            mass = mass + action @ matrix[split[1] : split[1] + action.shape[-1]]
        total = mass if total is None else total + mass
    assert total is not None
    return (total / np.float32(len(rows))).astype(np.float32, copy=False)


def entropy(maps: Floats, keep: npt.NDArray[np.bool_]) -> Floats:
    """Entropy in nats over the picture patches `keep` (cameras, rows, cols), renormalised; the last three axes go.

    A row without weight on the pictures has none: NaN.
    """
    values = maps[..., keep]
    total = values.sum(-1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = values / total
        terms = np.where(share > 0, share * np.log(share), 0)
    result: Floats = np.where(total[..., 0] > 0, -terms.sum(-1), np.nan).astype(np.float32)
    return result


def change(maps: Floats) -> Floats:
    """How far the picture weights move over the steps: mean over steps of half the summed absolute difference.

    `maps` (layers, steps, heads, ...) -> (layers, heads); 0 where there is one step.
    """
    flat = maps.reshape(*maps.shape[:3], -1)
    if flat.shape[1] < 2:
        return np.zeros((flat.shape[0], flat.shape[2]), np.float32)
    moved: Floats = np.abs(np.diff(flat, axis=1)).sum(-1).mean(1, dtype=np.float32) / np.float32(2)
    return moved


def without(row: Row, gone: Sequence[str], groups: Sequence[str], matrix: Floats) -> tuple[Row, float]:
    """The row without the keys of the groups `gone`, normalised to sum to 1 again, and the share that was removed.

    `bars` in `gone` stands for the bars of every camera. A row that has no weight elsewhere becomes 0.
    """
    removed = np.array([name in gone or ("bars" in gone and name.endswith(" bars")) for name in groups])
    if not removed.any():
        return row, 0.0
    flat = np.concatenate([row.image.ravel(), row.text, row.action])
    keep = (matrix[: len(flat), removed].sum(1) == 0).astype(np.float32)
    kept = flat * keep
    total = float(flat.sum())
    share = 1 - float(kept.sum()) / total if total > 0 else 0.0
    if kept.sum() > 0:
        kept = kept * np.float32(total / kept.sum())
    image, text = row.image.size, row.image.size + len(row.text)
    return Row(kept[:image].reshape(row.image.shape), kept[image:text], kept[text:]), share


def colour_range(maps: Floats, mode: str, low: float, high: float) -> tuple[tuple[float, float], ...]:
    """Ends of the colour range of each camera's map.

    `shared`: 0 to the 99th percentile of all maps together; `map`: the same for each by itself; `locked`: as given.
    Where the percentile is 0 (weight on fewer than one patch in a hundred) the largest weight takes its place.
    """
    if mode == "locked" and high > low:
        return ((low, high),) * len(maps)
    if mode == "map":
        return tuple((0.0, _upper(one)) for one in maps)
    return ((0.0, _upper(maps)),) * len(maps)


def _upper(values: Floats) -> float:
    finite = values.ravel()
    if not np.isfinite(finite).all():
        finite = finite[np.isfinite(finite)]
    if not finite.size:
        return 1.0
    # The 99th percentile with a straight line between its neighbours, as np.percentile has it, ten times faster.
    place = 0.99 * (finite.size - 1)
    below = int(place)
    top = np.partition(finite, (below, min(below + 1, finite.size - 1)))[below:]
    largest = float(top.max())
    upper = float(top[0]) + (place - below) * (float(top[1]) - float(top[0]) if len(top) > 1 else 0.0)
    # Weight on a handful of patches alone: the percentile would then be next to nothing and paint noise at full heat.
    if upper < largest * 0.02:
        upper = largest
    return upper if upper > 0 else 1.0


def places(values: Floats, low: float, high: float, scale: str) -> Floats:
    """Where values lie on the colour table, 0 to 1: linear, logarithmic over three decades, or by rank."""
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


def rank_of(maps: Floats, camera: int, row: int, col: int) -> int:
    """Rank of a patch among all patches of all cameras, the heaviest first, counted from 1."""
    return int((maps > maps[camera, row, col]).sum()) + 1


def named(groups: Sequence[str], mass: Floats) -> Mapping[str, float]:
    """Group masses by name."""
    return {name: float(value) for name, value in zip(groups, mass, strict=True)}
