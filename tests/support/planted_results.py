"""Results file with all weight on one patch of each camera, and where that patch must be drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import make_results
import numpy as np
import numpy.typing as npt

CELL = {0: (6, 3), 1: (9, 12)}
"""Row and column of each camera's patch in the model's picture."""


@dataclass
class Plant:
    """Put all picture weight of words on the patches of CELL, that of actions one row down and two columns left."""

    share: tuple[float, float] = (1.0, 1.0)

    def __call__(
        self,
        kind: str,
        image: npt.NDArray[np.float32],
        words: npt.NDArray[np.float32],
        actions: npt.NDArray[np.float32],
    ) -> None:
        image[:] = 0
        words[..., 1:] = 0
        words[..., 0] = 1
        actions[:] = 0
        for camera, (row, col) in CELL.items():
            if kind == "action":
                row, col = row + 1, col - 2
            image[..., camera, row, col] = self.share[camera]


def write_planted(
    folder: Path,
    *,
    turned: tuple[str, ...] = (),
    size: tuple[int, int] = (180, 320),
    share: tuple[float, float] = (1.0, 1.0),
    **recipe: object,
) -> Path:
    """Write the file; `share`: weight on each camera's patch beside 1 on BOS, before the row is normalised."""
    return make_results.write(
        folder / "planted.h5",
        make_results.Recipe(frames=1, size=size, turned=turned, plant=Plant(share), **recipe),  # type: ignore[arg-type]
    )


def expected_patch_rectangle(
    shape: tuple[int, ...], cell: tuple[int, int], size: tuple[int, int], turned: bool
) -> tuple[float, float, float, float]:
    """Return left, top, right, bottom of a patch in the pane, computed from the letterbox independently of the viewer."""
    height, width = size
    ratio = max(width, height) / 224
    rows, cols = int(height / ratio), int(width / ratio)
    top, left = int((224 - rows) / 2), int((224 - cols) / 2)
    x0, x1 = (cell[1] * 14 - left) / cols, (cell[1] * 14 + 14 - left) / cols
    y0, y1 = (cell[0] * 14 - top) / rows, (cell[0] * 14 + 14 - top) / rows
    if turned:
        x0, x1, y0, y1 = 1 - x1, 1 - x0, 1 - y1, 1 - y0
    return x0 * shape[1], max(y0, 0) * shape[0], x1 * shape[1], min(y1, 1) * shape[0]
