"""Scores of words and regions, computed from attention weights on the policy's device.

The formulas are those of `viewer.analysis.scores` and `viewer.model.attention`, which FORMAT.md states; a test compares
them. They work at one layer at a time, so that no copy of all weights in float32 is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.policies.base import Prepared
from capture.results import scores_schema
from capture.results.regions_schema import choose_patches
from capture.results.word_groups import group_tokens

UNDEFINED = float("nan")
SMALLEST = torch.finfo(torch.float32).smallest_normal


@dataclass(frozen=True)
class ScoreTensors:
    """Words and regions of the B observations of a call, on the host or on the policy's device.

    P patches: those of all cameras, camera by camera and row by row. Scores of a region compare the patches that show a
    picture, of the cameras that it is in; regions share what depends on these patches alone, of which there are S sets.
    """

    members: Tensor
    """(B, W, M) int64: the text tokens of each word; the first one again where it has fewer than M."""
    counts: Tensor
    """(B, W) float32: how many tokens the word has; 0 for words that the prompt lacks."""
    picture: Tensor
    """(B, P) bool: patches that show some of a picture."""
    columns: Tensor
    """(B, S, C) int64: the patches of each set; 0 where it has fewer than C."""
    is_column: Tensor
    """(B, S, C) float32: 1 for patches of the set, 0 behind them."""
    heaviest: Tensor
    """(B, S) int64: how many of them are the heaviest tenth."""
    set_of: Tensor
    """(B, R) int64: the set that a region is compared in."""
    cells: Tensor
    """(B, R, I) int64: the patches of each region; 0 where it has fewer than I."""
    is_cell: Tensor
    """(B, R, I) float32: 1 for patches of the region, 0 behind them."""
    is_compared: Tensor
    """(B, R, I) bool: those of them that are in the region's set."""
    chance: Tensor
    """(B, R) float32: the share of the set that belongs to the region; NaN where there is no such score."""
    known: Tensor
    """(B, R) bool: whether the region is known in the frame."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def each(self, change: Callable[[Tensor], Tensor]) -> ScoreTensors:
        """Return the same with every tensor changed."""
        return ScoreTensors(*(change(tensor) for tensor in self.tensors))


def list_words(prepared: Prepared) -> list[tuple[int, ...]]:
    """Return the text tokens of each word, state value and mark of an observation's prompt."""
    table = prepared.tokens
    return group_tokens(table.role, table.word, table.state_index, table.pieces)


def score_tensors(prepared: Sequence[Prepared]) -> ScoreTensors:
    """Return the words and regions of a call of these observations, on the host."""
    bars = np.stack(
        [[picture.letterbox.bars for picture in entry.pictures.values()] for entry in prepared]
    )  # (B, C, r, c)
    groups = [list_words(item) for item in prepared]
    words = max(map(len, groups))
    longest = max(len(tokens) for entry in groups for tokens in entry)
    members = np.zeros((len(prepared), words, longest), np.int64)
    counts = np.zeros((len(prepared), words), np.float32)
    for row, entry in enumerate(groups):
        for number, tokens in enumerate(entry):
            members[row, number] = [*tokens, *tokens[:1] * (longest - len(tokens))]
            counts[row, number] = len(tokens)
    coverages = [_coverage_of(item, bars.shape[1:]) for item in prepared]
    regions = max(map(len, coverages))
    inside = np.zeros((len(prepared), regions, *bars.shape[1:]), np.bool_)
    known = np.zeros((len(prepared), regions), np.bool_)
    for row, coverage in enumerate(coverages):
        for region, cameras in enumerate(coverage):
            for camera, shares in enumerate(cameras):
                if not np.isnan(shares).all():
                    known[row, region] = True
                    inside[row, region, camera] = choose_patches(np.nan_to_num(shares))
    patches = int(np.prod(bars.shape[1:]))
    compared = ~bars[:, None] & inside.any((3, 4), keepdims=True)  # (B, R, C, r, c)
    compared, inside = (values.reshape(*inside.shape[:2], patches) for values in (compared, inside))  # (B, R, P)
    nothing = np.zeros((0, patches), np.bool_), np.zeros(0, np.intp)
    # The sets (S, P), and that of each region (R,).
    distinct_sets = [np.unique(values, axis=0, return_inverse=True) if regions else nothing for values in compared]
    sets = np.zeros((len(prepared), max(1, *(len(distinct) for distinct, _ in distinct_sets)), patches), np.bool_)
    for row, (distinct, _) in enumerate(distinct_sets):
        sets[row, : len(distinct)] = distinct
    set_of = np.stack([inverse.reshape(-1) for _, inverse in distinct_sets])
    columns, is_column = _pack(sets)
    cells, is_cell = _pack(inside)
    shared = (compared & inside).sum(-1)  # (B, R)
    chance = np.where(shared > 0, shared / np.maximum(compared.sum(-1), 1), np.nan)
    heaviest = [[scores_schema.count_heaviest(size) for size in row] for row in sets.sum(-1).tolist()]
    return ScoreTensors(
        torch.from_numpy(members),
        torch.from_numpy(counts),
        torch.from_numpy(~bars.reshape(len(prepared), -1)),
        columns,
        is_column,
        torch.tensor(heaviest),
        torch.from_numpy(set_of.astype(np.int64)),
        cells,
        is_cell,
        torch.from_numpy(compared).gather(-1, cells) & (is_cell > 0),
        torch.from_numpy(chance.astype(np.float32)),
        torch.from_numpy(known),
    )


def _pack(chosen: npt.NDArray[np.bool_]) -> tuple[Tensor, Tensor]:
    """Return the positions of True along the last axis, (..., width) int64, then 0; and 1 for each, float32."""
    width = max(1, int(chosen.sum(-1).max(initial=0)))
    order = np.argsort(~chosen, axis=-1, kind="stable")[..., :width]
    is_there = np.take_along_axis(chosen, order, -1)
    return torch.from_numpy(np.where(is_there, order, 0)), torch.from_numpy(is_there.astype(np.float32))


def _coverage_of(prepared: Prepared, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return the coverage of an observation's regions, (regions, cameras, rows, cols); none without regions."""
    return np.zeros((0, *shape), np.float32) if prepared.coverage is None else prepared.coverage


def score_text(layers: Iterable[Tensor], scores: ScoreTensors) -> dict[str, Tensor]:
    """Return the datasets of words, (B, L, W, N), and of regions, (B, R, L, W, N); NaN for words that a prompt lacks.

    `layers`: maps of each layer, (B, T, N, C, rows, cols).
    """
    values_by_name: dict[str, list[Tensor]] = {}
    for layer in layers:
        maps = _mean_of_words(layer.flatten(3), scores)  # (B, W, N, P)
        values_by_name.setdefault(scores_schema.WORD_ENTROPY, []).append(map_entropy(maps, scores.picture))
        _add_region_scores(values_by_name, "text", maps, scores)
    lacking = scores.counts == 0  # (B, W)
    return {
        name: values.masked_fill(lacking.view(len(lacking), *[1] * (values.ndim - 3), -1, 1), UNDEFINED)
        for name, values in _join_layers(values_by_name).items()
    }


def score_actions(layers: Iterable[Tensor], scores: ScoreTensors) -> dict[str, Tensor]:
    """Return the datasets of actions: of regions, (B, R, L, H, S, N); change over the steps, (B, L, H, N).

    `layers`: maps of each layer, (B, H, S, N, C, rows, cols). The entropy of actions is that of `action/entropy`.
    """
    values_by_name: dict[str, list[Tensor]] = {}
    for layer in layers:
        maps = layer.flatten(4)  # (B, H, S, N, P)
        values_by_name.setdefault(scores_schema.CHANGE, []).append(change(maps))
        _add_region_scores(values_by_name, "action", maps, scores)
    return _join_layers(values_by_name)


def change(maps: Tensor) -> Tensor:
    """Return the mean total variation distance from one step to the next: (B, H, S, N, P) to (B, H, N) float32."""
    steps = maps.unbind(2)
    if len(steps) < 2:
        return torch.zeros(steps[0].shape[:-1], device=maps.device)
    distances = [(after.float() - before.float()).abs_().sum(-1) for before, after in pairwise(steps)]
    mean: Tensor = torch.stack(distances).mean(0) / 2
    return mean


def _mean_of_words(tokens: Tensor, scores: ScoreTensors) -> Tensor:
    """Return the mean of the maps of each word's tokens: (B, T, N, P) to (B, W, N, P) float32.

    Added token by token and divided, as numpy does, so that equal weights stay equal and ties are the same.
    """
    rows = torch.arange(len(tokens), device=tokens.device)[:, None]  # (B, 1)
    first, *others = scores.members.unbind(2)  # (B, W) each
    total = tokens[rows, first].float()  # (B, W, N, P)
    for number, members in enumerate(others, 1):
        is_there = (scores.counts > number).to(tokens.dtype)[..., None, None]
        total += tokens[rows, members] * is_there
    return total.div_(scores.counts.clamp_min(1)[..., None, None])


def _add_region_scores(values_by_name: dict[str, list[Tensor]], phase: str, maps: Tensor, scores: ScoreTensors) -> None:
    """Add the regions' scores of one layer's maps (B, ..., P), each (B, R, ...), to the lists in `values_by_name`."""
    if scores.cells.shape[1]:
        for measure, values in zip(scores_schema.MEASURES, score_regions(maps.flatten(1, -2), scores), strict=True):
            name = scores_schema.region_score(phase, measure)
            values_by_name.setdefault(name, []).append(values.unflatten(2, maps.shape[1:-1]))


def _join_layers(values_by_name: dict[str, list[Tensor]]) -> dict[str, Tensor]:
    """Return the values of all layers: the axis of layers follows that of regions, or of frames without."""
    return {
        name: torch.stack(values, 2 if "region" in scores_schema.AXES[name] else 1)
        for name, values in values_by_name.items()
    }


def map_entropy(maps: Tensor, picture: Tensor) -> Tensor:
    """Return the entropy in nats over the patches of pictures: maps (B, ..., P), picture (B, P) to (B, ...)."""
    values = maps.masked_fill(~picture.view(len(picture), *[1] * (maps.ndim - 2), -1), 0)
    total = values.sum(-1, keepdim=True)
    share = values.div_(total)  # NaN in a row without weight
    return torch.where(total[..., 0] > 0, torch.special.entr(share).sum(-1), UNDEFINED)


def score_regions(rows: Tensor, scores: ScoreTensors) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return mass, lift, hit and IoU90 of each region: rows (B, Q, P) to four of (B, R, Q) float32."""

    def take(places: Tensor) -> Tensor:
        """Return weights of patches (B, n) as float32: (B, Q, n)."""
        return rows.gather(2, places[:, None].expand(-1, rows.shape[1], -1)).float()

    weights, largest, ties, limits, counts = [], [], [], [], []
    for number in range(scores.columns.shape[1]):
        values = take(scores.columns[:, number]).mul_(scores.is_column[:, number, None])  # (B, Q, C)
        ranked = values.topk(scores_schema.count_heaviest(values.shape[-1]), -1).values
        index = (scores.heaviest[:, number] - 1)[:, None, None].expand(-1, ranked.shape[1], 1)
        limit = ranked.gather(-1, index).clamp_min(SMALLEST)  # (B, Q, 1): patches without weight are never heavy
        weights.append(values.sum(-1))
        largest.append(ranked[..., 0])
        # Counted as float32: torch sums booleans as int64, in twice the memory.
        ties.append((values == ranked[..., :1]).float().sum(-1))
        limits.append(limit[..., 0])
        counts.append((values >= limit).float().sum(-1))

    def of_region(of_sets: Sequence[Tensor]) -> Tensor:
        """Return the values of each set, S times (B, Q), for each region: (B, R, Q)."""
        stacked = torch.stack(list(of_sets), 1)
        return stacked.gather(1, scores.set_of[..., None].expand(-1, -1, stacked.shape[2]))

    largest_weight, weight = of_region(largest), of_region(weights)
    inside = take(scores.cells.flatten(1)).unflatten(2, scores.cells.shape[1:]).transpose(1, 2)  # (B, R, Q, I)
    inside = inside * scores.is_cell[:, :, None]
    is_compared = scores.is_compared[:, :, None]  # (B, R, 1, I)
    shared = (inside * is_compared).sum(-1)
    common = ((inside >= of_region(limits)[..., None]) & is_compared).sum(-1)  # in the region and heavy
    hits = ((inside == largest_weight[..., None]) & is_compared).sum(-1) == of_region(ties)
    either = of_region(counts) + is_compared.sum(-1) - common
    is_known = scores.known[..., None]
    is_defined = (weight > 0) & ~scores.chance[..., None].isnan() & is_known
    scores_by_measure = (
        shared / weight / scores.chance[..., None],
        (hits & (largest_weight > 0)).float(),
        common / either,
    )
    lift, hit, iou = (torch.where(is_defined, values, UNDEFINED) for values in scores_by_measure)
    return torch.where(is_known, inside.sum(-1), UNDEFINED), lift, hit, iou
