"""How far a picture is zoomed in, and on which part of it. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

MAX_ZOOM: Final = 12.0
PER_NOTCH: Final = 1.2
"""Factor of one notch of the mouse wheel."""


@dataclass(frozen=True, slots=True)
class Zoom:
    """Magnification of a picture and the centre of its visible part; the visible part never leaves the picture."""

    factor: float = 1.0
    """Times larger than the whole picture would be in the same place, 1 to MAX_ZOOM."""
    x: float = 0.5
    y: float = 0.5
    """Centre of the visible part, as shares of the picture's width and height."""

    @property
    def is_whole(self) -> bool:
        """Whether the whole picture is visible."""
        return self.factor == 1.0

    def part(self) -> tuple[float, float, float, float]:
        """Return left, top, width and height of the visible part, as shares of the picture's width and height."""
        side = 1.0 / self.factor
        return self.x - side / 2, self.y - side / 2, side, side

    def zoomed(self, notches: float, x: float, y: float) -> Zoom:
        """Return the zoom after a turn of the wheel, with the point under the pointer where it was.

        Args:
            notches: How far the wheel was turned; positive magnifies.
            x: Place of the pointer as a share of the width of the area in which the picture is shown, 0 to 1.
            y: The same of its height.
        """
        factor = min(max(self.factor * PER_NOTCH**notches, 1.0), MAX_ZOOM)
        fixed_x, fixed_y = self.x + (x - 0.5) / self.factor, self.y + (y - 0.5) / self.factor
        return Zoom(factor, fixed_x - (x - 0.5) / factor, fixed_y - (y - 0.5) / factor)._clamped()

    def panned(self, x: float, y: float) -> Zoom:
        """Return the zoom after the picture was dragged by shares of the width and height of its area."""
        return replace(self, x=self.x - x / self.factor, y=self.y - y / self.factor)._clamped()

    def _clamped(self) -> Zoom:
        half = 0.5 / self.factor
        return replace(self, x=min(max(self.x, half), 1 - half), y=min(max(self.y, half), 1 - half))
