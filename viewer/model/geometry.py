"""Where patches lie: maps between the model's picture and the camera's own picture. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Affine = npt.NDArray[np.float64]
"""(2, 3) float64: maps (x, y, 1) to (x, y), in continuous pixels with edges at whole numbers."""


@dataclass(frozen=True, slots=True)
class PatchGrid:
    """The patches of the model's picture: how many, and of how many pixels."""

    rows: int
    cols: int
    height: int
    """Height of the model's picture in pixels."""
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.rows, self.cols

    @property
    def patch_height(self) -> float:
        """Pixels of the model's picture."""
        return self.height / self.rows

    @property
    def patch_width(self) -> float:
        """Pixels of the model's picture."""
        return self.width / self.cols


def is_invertible(to_model: Affine) -> bool:
    """Return whether a stored map is finite and can be inverted."""
    if to_model.shape != (2, 3) or not np.isfinite(to_model).all():
        return False
    return bool(1e-9 < abs(np.linalg.det(to_model[:, :2])) < 1e9)


def letterbox(height: int, width: int, grid: PatchGrid) -> Affine:
    """Return the map of a centred letterbox without a turn, for files that lack one."""
    scale = min(grid.height / height, grid.width / width)
    left, top = (grid.width - width * scale) / 2, (grid.height - height * scale) / 2
    return np.array([[scale, 0, left], [0, scale, top]], np.float64)


def invert(to_model: Affine) -> Affine:
    """Return the map from the model's picture to the camera's picture."""
    linear = np.linalg.inv(to_model[:, :2])
    return np.hstack([linear, -linear @ to_model[:, 2:]])


def apply(affine: Affine, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return points (n, 2) mapped."""
    return points @ affine[:, :2].T + affine[:, 2]


def find_bars(to_model: Affine, height: int, width: int, grid: PatchGrid) -> npt.NDArray[np.bool_]:
    """Return which patches lie wholly in the letterbox bars, outside the picture: (rows, cols) bool.

    `height` and `width` are the camera's picture's. In the model's plane it is a parallelogram; a patch is a bar where
    the two do not overlap. Both are convex, so they are apart exactly where an edge of one of them separates them.
    """
    corners = apply(to_model, np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64))
    left, top = np.meshgrid(np.arange(grid.cols) * grid.patch_width, np.arange(grid.rows) * grid.patch_height)
    across, down = grid.patch_width, grid.patch_height
    squares = np.stack(
        [np.stack([left + dx, top + dy], -1) for dx, dy in ((0, 0), (across, 0), (across, down), (0, down))], 2
    )  # (row, col, corner, xy)
    # A ten-thousandth of a pixel of overlap is rounding in the stored map, not picture.
    slack = 1e-4 * max(1.0, float(np.ptp(corners)) / max(grid.height, grid.width))
    apart = np.zeros(grid.shape, bool)
    for start, stop in ((0, 1), (1, 2)):
        side = corners[stop] - corners[start]
        for normal in (np.array([-side[1], side[0]]), side):
            apart |= _are_separated(squares @ normal, corners @ normal, slack)
    for axis in (0, 1):
        apart |= _are_separated(squares[..., axis], corners[:, axis], slack)
    return apart


def _are_separated(
    squares: npt.NDArray[np.float64], corners: npt.NDArray[np.float64], slack: float
) -> npt.NDArray[np.bool_]:
    separated: npt.NDArray[np.bool_] = (squares.max(-1) <= corners.min() + slack) | (
        squares.min(-1) >= corners.max() - slack
    )
    return separated


def find_patch(to_model: Affine, x: float, y: float, grid: PatchGrid) -> tuple[int, int] | None:
    """Return row and column of the patch under a point of the camera's picture; None outside the model's picture."""
    model_x, model_y = to_model @ np.array([x, y, 1.0])
    row, col = int(np.floor(model_y / grid.patch_height)), int(np.floor(model_x / grid.patch_width))
    return (row, col) if 0 <= row < grid.rows and 0 <= col < grid.cols else None


def map_pixels_to_patches(
    to_model: Affine, height: int, width: int, rows: int, cols: int, grid: PatchGrid
) -> npt.NDArray[np.intp]:
    """Return which patch each pixel of a small copy of the camera's picture shows, counted row by row: (rows, cols).

    `height` and `width` are the camera's picture's, `rows` and `cols` the copy's. Pixels outside the model's picture
    take the nearest patch. The result is cached, as every frame of a camera has the same, and read-only.
    """
    return _map_pixels_to_patches(tuple(to_model.ravel().tolist()), height, width, rows, cols, grid)


@lru_cache(maxsize=64)
def _map_pixels_to_patches(
    numbers: tuple[float, ...], height: int, width: int, rows: int, cols: int, grid: PatchGrid
) -> npt.NDArray[np.intp]:
    x = (np.arange(cols) + 0.5) * (width / cols)
    y = (np.arange(rows) + 0.5) * (height / rows)
    grid_x, grid_y = np.meshgrid(x, y)
    model = apply(np.array(numbers).reshape(2, 3), np.stack([grid_x, grid_y], -1).reshape(-1, 2))
    col = np.clip(np.floor(model[:, 0] / grid.patch_width), 0, grid.cols - 1).astype(np.intp)
    row = np.clip(np.floor(model[:, 1] / grid.patch_height), 0, grid.rows - 1).astype(np.intp)
    index = (row * grid.cols + col).reshape(rows, cols)
    index.setflags(write=False)
    return index


def compute_bilinear_weights(size: int, patches: int) -> npt.NDArray[np.float32]:
    """Return bilinear weights from the centres of patches to pixels: (size, patches) float32, rows sum to 1."""
    centres = (np.arange(size) + 0.5) * (patches / size) - 0.5
    low = np.clip(np.floor(centres), 0, patches - 1).astype(np.intp)
    high = np.minimum(low + 1, patches - 1)
    part = np.clip(centres - low, 0, 1)
    weights = np.zeros((size, patches), np.float32)
    rows = np.arange(size)
    np.add.at(weights, (rows, low), (1 - part).astype(np.float32))
    np.add.at(weights, (rows, high), part.astype(np.float32))
    return weights


def smooth(values: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Return a map (rows, cols) interpolated bilinearly to (size, size)."""
    rows, cols = values.shape
    smoothed = compute_bilinear_weights(size, rows) @ values @ compute_bilinear_weights(size, cols).T
    return smoothed.astype(np.float32, copy=False)
