"""Shares of the patches that masks in a camera's picture cover. numpy and the standard library only."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt

SAMPLES: Final = 16
"""Points along each side of a patch at which the mask is looked up; coverage is a multiple of 1/256."""


def measure_coverage(
    mask: npt.NDArray[np.bool_],
    to_model: npt.NDArray[np.float64],
    grid: tuple[int, int],
    model_picture: tuple[int, int],
) -> npt.NDArray[np.float32]:
    """Return the share of each patch that a mask (height, width) of the camera's picture covers: (rows, cols).

    `to_model` (2, 3) maps the camera's picture to the model's, which has `model_picture` (height, width) pixels and
    `grid` (rows, cols) patches. Parts of a patch outside the camera's picture are not covered.
    """
    height, width = mask.shape
    index = _sample_pixels(tuple(to_model.ravel().tolist()), height, width, grid, model_picture)
    padded = np.append(mask.ravel(), False)
    samples = padded[index].reshape(grid[0], SAMPLES, grid[1], SAMPLES)
    shares: npt.NDArray[np.float32] = samples.mean(axis=(1, 3), dtype=np.float32)
    return shares


@lru_cache(maxsize=16)
def _sample_pixels(
    numbers: tuple[float, ...], height: int, width: int, grid: tuple[int, int], model_picture: tuple[int, int]
) -> npt.NDArray[np.intp]:
    """Return which pixel each sample of the model's picture shows, counted row by row; -1 outside the picture."""
    to_model = np.array(numbers).reshape(2, 3)
    linear = np.linalg.inv(to_model[:, :2])
    x = (np.arange(grid[1] * SAMPLES) + 0.5) * (model_picture[1] / (grid[1] * SAMPLES))
    y = (np.arange(grid[0] * SAMPLES) + 0.5) * (model_picture[0] / (grid[0] * SAMPLES))
    grid_x, grid_y = np.meshgrid(x, y)
    points = np.stack([grid_x, grid_y], -1).reshape(-1, 2)
    positions = points @ linear.T - linear @ to_model[:, 2]
    col, row = np.floor(positions[:, 0]).astype(np.intp), np.floor(positions[:, 1]).astype(np.intp)
    inside = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    index = np.where(inside, row * width + col, -1).reshape(grid[0] * SAMPLES, grid[1] * SAMPLES)
    index.setflags(write=False)
    return index
