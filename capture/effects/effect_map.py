"""Effect maps: what the actions do without each block of patches and without each word."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from capture.effects.effects_file import Frame
from capture.effects.frame_calls import FrameCalls
from capture.effects.measures import root_mean_square
from capture.effects.targets import Mask, Target, blocks, words_of


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
        found = np.full((*values.shape[1:], *self.blocks[0].shape), np.nan, np.float32)
        for block, value in zip(self.blocks, values, strict=True):
            found[..., block] = value[..., None]
        return found


def measure_blocks(calls: FrameCalls) -> EffectMap:
    """Take away each block of the request's size in turn."""
    assert calls.request.map_block
    places = [target for _, target in blocks(calls.pictured, calls.request.map_block)]
    changed = calls.changes(places)  # (n, H, dims)
    return EffectMap(
        blocks=shown_patches(places, calls.pictured),
        of_action=root_mean_square(changed, (-1,)),
        of_chunk=root_mean_square(changed),
        of_dim=root_mean_square(changed, (-2,)),
    )


def shown_patches(places: Sequence[Target], pictured: Mask) -> tuple[Mask, ...]:
    """Return the patches of each region that show some of a picture."""
    return tuple(place.patches & pictured for place in places if place.patches is not None)


def map_datasets(effects: EffectMap) -> Frame:
    """Return the datasets of `map/` about patches."""
    return {
        "map/effect": effects.spread(effects.of_action),
        "map/effect_of_chunk": effects.spread(effects.of_chunk),
        "map/effect_of_dim": effects.spread(effects.of_dim),
    }


def measure_words(calls: FrameCalls) -> Frame:
    """Cut the edges to each word of the text in turn; return the datasets of `map/` about words."""
    words = words_of(calls.stored.word)
    changed = calls.changes(words)  # (n, H, dims)
    of_action, of_chunk = root_mean_square(changed, (-1,)), root_mean_square(changed)
    by_action = np.full((len(calls.baseline), calls.frames.tokens), np.nan, np.float32)
    by_chunk = np.full(calls.frames.tokens, np.nan, np.float32)
    for word, action, chunk in zip(words, of_action, of_chunk, strict=True):
        by_action[:, list(word.tokens)] = action[:, None]
        by_chunk[list(word.tokens)] = chunk
    return {"map/text_effect": by_action, "map/text_effect_of_chunk": by_chunk}
