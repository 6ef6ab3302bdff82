"""Which patches a region covers: masks in a camera's picture on the grid of the model's picture."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from viewer.model import geometry

if TYPE_CHECKING:
    from viewer.model.geometry import Affine, PatchGrid
    from viewer.regions.region import Mask

Coverage = npt.NDArray[np.float32]
"""(rows, cols) float32: the share of each patch that the region covers, within [0, 1]."""

SAMPLES: Final = 16
"""Points along each side of a patch at which the mask is looked up; coverage is a multiple of 1/256."""


def measure_coverage(mask: Mask, to_model: Affine, grid: PatchGrid) -> Coverage:
    """Return the share of each patch that a mask (height, width) of the camera's picture covers.

    `to_model` maps the camera's picture to the model's. Parts of a patch outside the picture are not covered.
    """
    height, width = mask.shape
    index = _sample_pixels(tuple(to_model.ravel().tolist()), height, width, grid)  # (rows*S, cols*S), -1 outside
    padded = np.append(mask.ravel(), False)
    samples = padded[index].reshape(grid.rows, SAMPLES, grid.cols, SAMPLES)
    shares: Coverage = samples.mean(axis=(1, 3), dtype=np.float32)
    return shares


@lru_cache(maxsize=16)
def _sample_pixels(numbers: tuple[float, ...], height: int, width: int, grid: PatchGrid) -> npt.NDArray[np.intp]:
    """Return which pixel each sample of the model's picture shows, counted row by row; -1 outside the picture."""
    to_camera = geometry.invert(np.array(numbers).reshape(2, 3))
    x = (np.arange(grid.cols * SAMPLES) + 0.5) * (grid.width / (grid.cols * SAMPLES))
    y = (np.arange(grid.rows * SAMPLES) + 0.5) * (grid.height / (grid.rows * SAMPLES))
    grid_x, grid_y = np.meshgrid(x, y)
    there = geometry.apply(to_camera, np.stack([grid_x, grid_y], -1).reshape(-1, 2))
    col, row = np.floor(there[:, 0]).astype(np.intp), np.floor(there[:, 1]).astype(np.intp)
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    index = np.where(inside, row * width + col, -1).reshape(grid.rows * SAMPLES, grid.cols * SAMPLES)
    index.setflags(write=False)
    return index


def draw_patches(cells: npt.NDArray[np.bool_], to_model: Affine, height: int, width: int, grid: PatchGrid) -> Mask:
    """Return the mask (height, width) of patches (rows, cols): the pixels of the camera's picture that they show."""
    y, x = np.mgrid[:height, :width] + 0.5
    model = geometry.apply(to_model, np.stack([x, y], -1).reshape(-1, 2))
    col = np.floor(model[:, 0] / grid.patch_width).astype(np.intp)
    row = np.floor(model[:, 1] / grid.patch_height).astype(np.intp)
    inside = (row >= 0) & (row < grid.rows) & (col >= 0) & (col < grid.cols)
    mask = np.zeros(height * width, np.bool_)
    mask[inside] = cells[row[inside], col[inside]]
    return mask.reshape(height, width)
