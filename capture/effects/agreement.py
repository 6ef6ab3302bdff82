"""How far the attention of each head agrees with the measured effects: rank correlation, deletion and insertion."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from capture.effects.effect_map import EffectMap
from capture.effects.effects_file import Frame
from capture.effects.frame_calls import FrameCalls
from capture.effects.measures import area_under, root_mean_square, spearman
from capture.effects.targets import Target

Array = npt.NDArray[np.float64]


def block_weights(calls: FrameCalls, effects: EffectMap) -> Array:
    """Return each action's mean attention weight on each block: (H, layers, steps, heads, n)."""
    horizon = len(calls.baseline)
    weights = np.stack([calls.frames.attention_of_action(calls.number, action) for action in range(horizon)])
    shown = np.stack(effects.blocks)[:, calls.pictured]  # (n, patches)
    means = shown / shown.sum(axis=1, keepdims=True)  # (n, patches)
    rows: Array = weights[..., calls.pictured] @ means.T  # (H, layers, steps, heads, n)
    return rows


def rank_correlations(rows: Array, effects: EffectMap) -> Frame:
    """Return the rank correlations of `block_weights` with the effects; NaN where the weights were not kept."""
    is_missing = np.isnan(rows).any(-1)  # (H, layers, steps, heads)
    agreement = np.stack(
        [spearman(row, effects.of_action[:, action]) for action, row in enumerate(np.nan_to_num(rows))]
    )
    of_chunk = spearman(np.nan_to_num(rows).mean(0), effects.of_chunk)
    return {
        "agreement/spearman": np.where(is_missing, np.nan, agreement).astype(np.float32),
        "agreement/spearman_of_chunk": np.where(is_missing.any(0), np.nan, of_chunk).astype(np.float32),
    }


def removal_curves(calls: FrameCalls, effects: EffectMap, rows: Array) -> Frame:
    """Remove blocks in the order of attention (deletion), and all but those (insertion); RISE, Petsiuk et al. 2018.

    `rows`: of `block_weights`. Each head's order is that of its mean weight over the actions; it is compared with
    random orders and with the order of the effects themselves. Sets of blocks that several orders share are run once.
    """
    points, count = calls.request.curves, len(effects.blocks)
    assert points
    fractions = np.linspace(0, 1, points + 1)
    generator = np.random.default_rng([20_251, calls.number])
    mean = rows.mean(0)  # (layers, steps, heads, n)
    orders = np.concatenate([
        _descending(mean.reshape(-1, count), generator),
        np.array([generator.permutation(count) for _ in range(calls.request.controls)], np.intp).reshape(-1, count),
        _descending(effects.of_chunk[None], generator),
    ])  # (orders, n): numbers of the blocks, the first to go first  # fmt: skip
    rank = np.empty_like(orders)
    np.put_along_axis(rank, orders, np.arange(count)[None], axis=-1)
    is_removed = rank[:, None] < np.rint(fractions * count)[:, None]  # (orders, fractions, n)
    removed = np.stack([is_removed, ~is_removed])  # (2, orders, fractions, n)
    deletion, insertion = _effects_of_sets(calls, effects, removed)  # (orders, fractions) each
    head_shape, head_count = mean.shape[:-1], int(np.prod(mean.shape[:-1]))
    datasets: Frame = {"curves/fraction": fractions.astype(np.float32)}
    for name, curves, sign in (("deletion", deletion, 1), ("insertion", insertion, -1)):
        areas = area_under(curves, fractions)  # (orders,)
        random_areas = sign * areas[head_count:-1]
        total_effect = deletion[0, -1]  # without any block
        with np.errstate(invalid="ignore", divide="ignore"):
            relative_area = (
                sign * areas[:head_count] - (random_areas.mean() if len(random_areas) else np.nan)
            ) / total_effect
        smaller_count = (random_areas[None] < sign * areas[:head_count, None]).sum(-1)
        datasets |= {
            f"agreement/{name}": relative_area.reshape(head_shape).astype(np.float32),
            f"agreement/{name}_smaller": smaller_count.reshape(head_shape).astype(np.int32),
            f"curves/{name}": curves[:head_count].reshape(*head_shape, -1).astype(np.float32),
            f"curves/random_{name}": curves[head_count:-1].astype(np.float32),
            f"curves/effect_{name}": curves[-1].astype(np.float32),
        }
    return datasets


def _descending(rows: Array, generator: np.random.Generator) -> npt.NDArray[np.intp]:
    """Return the places of the values of each row (m, n) from the largest, equal ones in a random order."""
    shuffled = generator.permutation(rows.shape[-1])
    order: npt.NDArray[np.intp] = shuffled[np.argsort(-rows[:, shuffled], axis=-1, kind="stable")]
    return order


def _effects_of_sets(calls: FrameCalls, effects: EffectMap, removed: npt.NDArray[np.bool_]) -> Array:
    """Return the effect of removing each set of blocks (..., n): (...). Equal sets are run once."""
    sets, set_numbers = np.unique(removed.reshape(-1, removed.shape[-1]), axis=0, return_inverse=True)
    effects_by_set = np.zeros(len(sets))
    is_nonempty = sets.any(axis=1)  # without the empty set, whose effect is 0
    patches = np.stack(effects.blocks).astype(np.float32)  # (n, cameras, rows, cols)
    masks = np.tensordot(sets[is_nonempty].astype(np.float32), patches, axes=1) > 0  # (sets, cameras, rows, cols)
    targets = [Target(f"set {number}", "region", mask) for number, mask in enumerate(masks)]
    if targets:
        effects_by_set[is_nonempty] = root_mean_square(calls.changes(targets))
    effect_of_set: Array = effects_by_set[set_numbers.reshape(removed.shape[:-1])]
    return effect_of_set
