"""Which patches a region covers: masks in a camera's picture on the grid of the model's picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from capture.results import coverage
from viewer.model import geometry

if TYPE_CHECKING:
    from viewer.model.geometry import Affine, PatchGrid
    from viewer.regions.region import Mask

Coverage = npt.NDArray[np.float32]
"""(rows, cols) float32: the share of each patch that the region covers, within [0, 1]."""


def measure_coverage(mask: Mask, to_model: Affine, grid: PatchGrid) -> Coverage:
    """Return the share of each patch that a mask (height, width) of the camera's picture covers.

    `to_model` maps the camera's picture to the model's. Parts of a patch outside the picture are not covered.
    """
    return coverage.measure_coverage(mask, to_model, grid.shape, (grid.height, grid.width))


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
