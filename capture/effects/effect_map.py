"""Effect maps: the change of the actions without each block of patches, and without each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.effects.effects_file import Frame
from capture.effects.frame_calls import FrameCalls
from capture.effects.measures import root_mean_square
from capture.effects.targets import Mask, Target, list_blocks, list_words


@dataclass(frozen=True, eq=False)
class EffectMap:
    """Effects of n blocks of patches on one frame."""

    blocks: tuple[Mask, ...]
    """n times (cameras, rows, cols): the patches of a block that show some of a picture."""
    of_action: npt.NDArray[np.float64]
    """(n, H): effect on each action token."""
    of_chunk: npt.NDArray[np.float64]
    """(n,): effect on the whole chunk."""
    of_dim: npt.NDArray[np.float64]
    """(n, dims): effect on each robot dimension."""

    def spread(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """Return values (n, ...) of the blocks on their patches: (..., cameras, rows, cols), NaN in letterbox bars."""
        patches = np.full((*values.shape[1:], *self.blocks[0].shape), np.nan, np.float32)
        for block, value in zip(self.blocks, values, strict=True):
            patches[..., block] = value[..., None]
        return patches


def measure_blocks(calls: FrameCalls) -> EffectMap:
    """Remove each block of the request's size in turn."""
    assert calls.request.map_block
    targets = [target for _, target in list_blocks(calls.pictured, calls.request.map_block)]
    changes = calls.changes(targets)  # (n, H, dims)
    return EffectMap(
        blocks=shown_patches(targets, calls.pictured),
        of_action=root_mean_square(changes, (-1,)),
        of_chunk=root_mean_square(changes),
        of_dim=root_mean_square(changes, (-2,)),
    )


def shown_patches(targets: Sequence[Target], pictured: Mask) -> tuple[Mask, ...]:
    """Return the patches of each region that show some of a picture."""
    return tuple(target.patches & pictured for target in targets if target.patches is not None)


def map_datasets(effects: EffectMap) -> Frame:
    """Return the datasets of `map/` about patches."""
    return {
        "map/effect": effects.spread(effects.of_action),
        "map/effect_of_chunk": effects.spread(effects.of_chunk),
        "map/effect_of_dim": effects.spread(effects.of_dim),
    }


def measure_words(calls: FrameCalls) -> Frame:
    """Cut the edges to each word of the text in turn; return the datasets of `map/` about words."""
    words = list_words(calls.stored.word)
    changes = calls.changes(words)  # (n, H, dims)
    of_action, of_chunk = root_mean_square(changes, (-1,)), root_mean_square(changes)
    by_action = np.full((len(calls.baseline), calls.frames.tokens), np.nan, np.float32)
    by_chunk = np.full(calls.frames.tokens, np.nan, np.float32)
    for word, action, chunk in zip(words, of_action, of_chunk, strict=True):
        by_action[:, list(word.tokens)] = action[:, None]
        by_chunk[list(word.tokens)] = chunk
    return {"map/text_effect": by_action, "map/text_effect_of_chunk": by_chunk}
