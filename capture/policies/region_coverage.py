"""The share of each patch that named regions cover, from masks in the cameras' pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from capture.policies.letterbox import Picture
from capture.results.coverage import measure_coverage


def cover_patches(
    names: Sequence[str], masks: Mapping[tuple[str, str], npt.NDArray[np.bool_]], pictures: Mapping[str, Picture]
) -> npt.NDArray[np.float32]:
    """Return the coverage of regions, (regions, cameras, rows, cols), in the order of `names` and of `pictures`.

    `masks`: (region, camera) -> (height, width) of the camera's picture. NaN where there is none: the region is not
    known there.
    """
    grid = next(iter(pictures.values())).letterbox.bars.shape
    coverage = np.full((len(names), len(pictures), *grid), np.nan, np.float32)
    for region, name in enumerate(names):
        for place, (camera, picture) in enumerate(pictures.items()):
            mask = masks.get((name, camera))
            if mask is not None:
                height, width, _ = picture.model_u8.shape
                to_model = picture.letterbox.to_model
                coverage[region, place] = measure_coverage(mask, to_model, (grid[0], grid[1]), (height, width))
    return coverage
