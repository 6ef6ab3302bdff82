"""Where patches lie: between the model's 224 x 224 picture, the camera's own picture, and the screen."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from capture.results.schema import GRID, MODEL_PIXELS, PATCH_PIXELS

Affine = npt.NDArray[np.float64]
"""(2, 3) float64: maps (x, y, 1) to (x, y), in continuous pixels with edges at whole numbers."""


def usable(to_model: Affine) -> bool:
    """Whether a stored map can be turned round: finite, and neither a line nor a point."""
    if to_model.shape != (2, 3) or not np.isfinite(to_model).all():
        return False
    return bool(1e-9 < abs(np.linalg.det(to_model[:, :2])) < 1e9)


def letterbox(height: int, width: int) -> Affine:
    """The map of a centred letterbox without turn, for files that lack one."""
    scale = MODEL_PIXELS / max(height, width)
    return np.array(
        [[scale, 0, (MODEL_PIXELS - width * scale) / 2], [0, scale, (MODEL_PIXELS - height * scale) / 2]], np.float64
    )


def inverted(to_model: Affine) -> Affine:
    """The map from the model's picture to the camera's picture."""
    linear = np.linalg.inv(to_model[:, :2])
    return np.hstack([linear, -linear @ to_model[:, 2:]])


def apply(affine: Affine, points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Points (n, 2) through the map."""
    return points @ affine[:, :2].T + affine[:, 2]


def bars(to_model: Affine, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Patches that lie wholly outside the picture, in the letterbox's padding: (16, 16) bool.

    The picture is a parallelogram in the model's plane; a patch is a bar where the two do not overlap. Both are
    convex, so they are apart exactly where an edge direction of one of them separates them.
    """
    corners = apply(to_model, np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64))
    edges = np.arange(GRID + 1) * float(PATCH_PIXELS)
    left, top = np.meshgrid(edges[:-1], edges[:-1])
    squares = np.stack(
        [np.stack([left + dx, top + dy], -1) for dx, dy in ((0, 0), (14, 0), (14, 14), (0, 14))], 2
    )  # (row, col, corner, xy)
    apart = np.zeros((GRID, GRID), bool)
    for a, b in ((0, 1), (1, 2)):
        side = corners[b] - corners[a]
        for normal in (np.array([-side[1], side[0]]), side):
            apart |= _separated(squares @ normal, corners @ normal)
    for axis in (0, 1):
        apart |= _separated(squares[..., axis], corners[:, axis])
    return apart


def _separated(squares: npt.NDArray[np.float64], corners: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    # A ten-thousandth of a pixel of overlap is rounding in the stored map, not picture.
    slack = 1e-4 * max(1.0, float(np.ptp(corners)) / MODEL_PIXELS)
    separated: npt.NDArray[np.bool_] = (squares.max(-1) <= corners.min() + slack) | (
        squares.min(-1) >= corners.max() - slack
    )
    return separated


def patch_at(to_model: Affine, x: float, y: float) -> tuple[int, int] | None:
    """Row and column of the patch under a point of the camera's picture; None outside the model's picture."""
    model = to_model @ np.array([x, y, 1.0])
    col, row = (int(np.floor(value / PATCH_PIXELS)) for value in model)
    return (row, col) if 0 <= row < GRID and 0 <= col < GRID else None


def outline(from_model: Affine, row: int, col: int) -> npt.NDArray[np.float64]:
    """The four corners of a patch in the camera's picture: (4, 2) float64, in order round it."""
    x, y, side = col * PATCH_PIXELS, row * PATCH_PIXELS, PATCH_PIXELS
    return apply(from_model, np.array([[x, y], [x + side, y], [x + side, y + side], [x, y + side]], np.float64))


def sampling(to_model: Affine, height: int, width: int, rows: int, cols: int) -> npt.NDArray[np.intp]:
    """Which patch each pixel of a small copy of the camera's picture shows: (rows, cols) indices into 256 patches.

    Pixels outside the model's picture take the nearest patch (a stored letterbox has none but by rounding). Kept, as
    every frame of a camera has the same; not to be written to.
    """
    return _sampling(tuple(to_model.ravel().tolist()), height, width, rows, cols)


@lru_cache(maxsize=64)
def _sampling(numbers: tuple[float, ...], height: int, width: int, rows: int, cols: int) -> npt.NDArray[np.intp]:
    x = (np.arange(cols) + 0.5) * (width / cols)
    y = (np.arange(rows) + 0.5) * (height / rows)
    grid_x, grid_y = np.meshgrid(x, y)
    model = apply(np.array(numbers).reshape(2, 3), np.stack([grid_x, grid_y], -1).reshape(-1, 2))
    index = np.clip(np.floor(model / PATCH_PIXELS), 0, GRID - 1).astype(np.intp)
    made = (index[:, 1] * GRID + index[:, 0]).reshape(rows, cols)
    made.setflags(write=False)
    return made


def smoothing(size: int) -> npt.NDArray[np.float32]:
    """Bilinear weights from 16 patch centres to `size` pixels: (size, 16) float32, rows sum to 1."""
    centres = (np.arange(size) + 0.5) * (GRID / size) - 0.5
    low = np.clip(np.floor(centres), 0, GRID - 1).astype(np.intp)
    high = np.minimum(low + 1, GRID - 1)
    part = np.clip(centres - low, 0, 1)
    weights = np.zeros((size, GRID), np.float32)
    rows = np.arange(size)
    np.add.at(weights, (rows, low), (1 - part).astype(np.float32))
    np.add.at(weights, (rows, high), part.astype(np.float32))
    return weights
