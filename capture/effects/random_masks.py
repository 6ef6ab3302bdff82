"""An effect map regressed on random masks, each of which covers many blocks of the pictures (Petsiuk et al. 2018)."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from capture.effects.effect_map import EffectMap, shown_patches
from capture.effects.effects_file import Frame
from capture.effects.frame_calls import FrameCalls
from capture.effects.measures import root_mean_square
from capture.effects.targets import Target, list_blocks

Array = npt.NDArray[np.float64]

COVERED: Final = 0.5
"""Probability with which a mask covers a block."""
PENALTIES: Final = np.logspace(-3, 4, 29)
"""Ridge penalties, in the units of the number of masks that tell a block apart."""


def measure_masks(calls: FrameCalls) -> tuple[EffectMap, Frame]:
    """Cover random halves of the blocks; return their effects as regressed, and the datasets of `masks/`."""
    assert calls.request.map_block
    assert calls.request.masks
    targets_of_blocks = [target for _, target in list_blocks(calls.pictured, calls.request.map_block)]
    shown = shown_patches(targets_of_blocks, calls.pictured)
    generator = np.random.default_rng([20_252, calls.number])
    covered = generator.random((calls.request.masks, len(shown))) < COVERED  # (masks, n)
    stacked = np.stack(shown).astype(np.float32)  # (n, cameras, rows, cols)
    masks = np.tensordot(covered.astype(np.float32), stacked, axes=1) > 0  # (masks, cameras, rows, cols)
    targets = [Target(f"mask {number}", "region", mask) for number, mask in enumerate(masks)]
    changes = calls.changes(targets)  # (masks, H, dims)
    of_chunk = root_mean_square(changes)  # (masks,)
    values = np.concatenate(
        [of_chunk[:, None], root_mean_square(changes, (-1,)), root_mean_square(changes, (-2,))], axis=1
    )  # (masks, 1 + H + dims)
    weights, explained = regress(covered, values)
    horizon = len(calls.baseline)
    effects = EffectMap(shown, weights[:, 1 : 1 + horizon], weights[:, 0], weights[:, 1 + horizon :])
    return effects, {
        "masks/patches": masks, "masks/effect": of_chunk.astype(np.float32),
        "masks/explained": np.array(explained[0], np.float32),
    }  # fmt: skip


def regress(covered: npt.NDArray[np.bool_], values: Array) -> tuple[Array, Array]:
    """Return ridge regression weights (n, m) of values (masks, m) on covered blocks (masks, n), and what they explain.

    The penalty is the one with the least error on masks that are left out, one at a time, for the first column. What is
    explained (m,) is the share of the variance of left-out values; below 0 where their mean would have done better.
    """
    inputs = covered - covered.mean(axis=0)  # (masks, n)
    outputs = values - values.mean(axis=0)  # (masks, m)
    left_vectors, singular_values, right_vectors = np.linalg.svd(
        inputs, full_matrices=False
    )  # (masks, k), (k,), (k, n)
    projected = left_vectors.T @ outputs  # (k, m)
    best: tuple[float, float, Array] | None = None
    for penalty in PENALTIES:
        shrunk = np.square(singular_values) / (np.square(singular_values) + penalty)  # (k,)
        leverage = np.square(left_vectors) @ shrunk + 1 / len(values)  # (masks,)
        residual = (outputs - left_vectors @ (shrunk[:, None] * projected)) / np.maximum(1 - leverage, 1e-9)[:, None]
        errors = np.square(residual).sum(axis=0)  # (m,)
        if best is None or errors[0] < best[0]:
            best = float(errors[0]), float(penalty), errors
    assert best is not None
    _, penalty, errors = best
    weights = right_vectors.T @ (
        (singular_values / (np.square(singular_values) + penalty))[:, None] * projected
    )  # (n, m)
    # Leaving a mask out moves the mean too: by the factor of the sample's size.
    variance = np.square(outputs * (len(values) / (len(values) - 1))).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        return weights, np.where(variance > 0, 1 - errors / variance, np.nan)
