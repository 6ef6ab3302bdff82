"""Letterboxing: resize camera pictures into the model's square input, and map positions between the two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from capture.datasets.images import Pixels8
from capture.errors import UserError
from capture.results.schema import MODEL_PIXELS, PATCH_PIXELS


@dataclass(frozen=True)
class Letterbox:
    """Position of a camera picture in the model's square: scaled to fit, centred, with bars around it."""

    height: int
    """Rows of the camera picture."""
    width: int
    ratio: float
    """Camera pixels per model pixel, before the size is rounded down to whole pixels."""
    rows: int
    """Model rows that the picture covers."""
    cols: int
    top: int
    """Model rows above it; an odd pixel goes below (and to the right)."""
    left: int
    turned: bool
    """The picture is rotated by 180 degrees before it is scaled (LIBERO's simulator)."""
    size: int = MODEL_PIXELS
    """Pixels along a side of the square."""
    patch: int = PATCH_PIXELS
    """Pixels along a side of a patch."""

    @property
    def to_model(self) -> npt.NDArray[np.float64]:
        """Affine map, (2, 3) float64: camera point (x, y, 1) to model point (x, y).

        Coordinates are continuous with pixel edges at whole numbers: the picture spans 0 to `width` and 0 to
        `height`, the middle of its first pixel is (0.5, 0.5).
        """
        x, y = self.cols / self.width, self.rows / self.height
        if self.turned:
            return np.array([[-x, 0.0, self.left + self.cols], [0.0, -y, self.top + self.rows]])
        return np.array([[x, 0.0, self.left], [0.0, y, self.top]])

    @property
    def bars(self) -> npt.NDArray[np.bool_]:
        """Which patches lie wholly inside the padding: (rows, cols) bool."""
        edges = np.arange(self.size // self.patch) * self.patch
        rows = (edges + self.patch <= self.top) | (edges >= self.top + self.rows)
        cols = (edges + self.patch <= self.left) | (edges >= self.left + self.cols)
        return rows[:, None] | cols[None, :]


def letterbox(
    height: int, width: int, *, turned: bool = False, size: int = MODEL_PIXELS, patch: int = PATCH_PIXELS
) -> Letterbox:
    """Return the geometry of a `height` x `width` picture in the model's square, as openpi and lerobot compute it.

    Sizes are rounded down, in float64 (openpi `image_tools.resize_with_pad`, lerobot `resize_with_pad_torch`).
    Raises UserError if the shorter side would have no pixel left.
    """
    ratio = max(width / size, height / size)
    rows, cols = (int(height / ratio), int(width / ratio)) if ratio else (0, 0)
    if not rows or not cols:
        raise UserError(
            f"a picture of {width} x {height} pixels is too narrow: scaled to {size} pixels, nothing is left "
            "of its shorter side; give a picture of a usual shape"
        )
    top, left = (size - rows) // 2, (size - cols) // 2
    return Letterbox(height, width, ratio, rows, cols, top, left, turned, size, patch)


def resize_pil(image: Pixels8) -> Pixels8:
    """Resize as openpi: (H, W, 3) uint8 to (224, 224, 3) uint8 with Pillow's antialiased bilinear, black bars."""
    height, width = image.shape[:2]
    if (height, width) == (MODEL_PIXELS, MODEL_PIXELS):
        return image.copy()
    box = letterbox(height, width)
    fitted = Image.fromarray(np.ascontiguousarray(image)).resize((box.cols, box.rows), Image.Resampling.BILINEAR)
    square = np.zeros((MODEL_PIXELS, MODEL_PIXELS, 3), np.uint8)
    square[box.top : box.top + box.rows, box.left : box.left + box.cols] = np.asarray(fitted)
    return square


def resize_torch(image: Pixels8, *, bars: float = -1.0) -> torch.Tensor:
    """Resize as lerobot: (H, W, 3) uint8 to (3, 224, 224) float32 in [-1, 1], bilinear without antialiasing.

    `bars` is the padding value: -1 since lerobot 0.5, -3 in 0.4 (which padded with -1 before it scaled
    to [-1, 1]).
    """
    height, width = image.shape[:2]
    unit = torch.from_numpy(image.transpose(2, 0, 1).astype(np.float32)) / 255.0  # (3, H, W)
    if (height, width) == (MODEL_PIXELS, MODEL_PIXELS):
        return unit * 2.0 - 1.0
    box = letterbox(height, width)
    fitted = torch.nn.functional.interpolate(
        unit[None], size=(box.rows, box.cols), mode="bilinear", align_corners=False
    )[0]  # (3, rows, cols)
    square = torch.full((3, MODEL_PIXELS, MODEL_PIXELS), bars)  # (3, 224, 224)
    square[:, box.top : box.top + box.rows, box.left : box.left + box.cols] = fitted.clamp(0.0, 1.0) * 2.0 - 1.0
    return square


def to_pixels(image: Pixels8) -> torch.Tensor:
    """Convert a picture of the final size, (224, 224, 3) uint8, to model input (3, 224, 224) float32 in [-1, 1]."""
    return torch.from_numpy(image).permute(2, 0, 1).to(torch.float32) / 255.0 * 2.0 - 1.0


def to_uint8(pixels: torch.Tensor) -> Pixels8:
    """Return the picture (224, 224, 3) uint8 nearest to a model input (3, 224, 224) float32, clipped to [-1, 1]."""
    shown = ((pixels.clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)  # (3, 224, 224)
    return shown.permute(1, 2, 0).contiguous().numpy()


@dataclass(frozen=True)
class Picture:
    """One camera picture as the model sees it."""

    model_u8: Pixels8
    """(height, width, 3) uint8 RGB, for the results file and display; 224 x 224 in Pi0.5."""
    pixels: torch.Tensor
    """(3, height, width) float32 model input in [-1, 1]; -3 in the bars of lerobot 0.4."""
    letterbox: Letterbox
