"""What the colour bar of a scene shows: its ends, the colour range on it, and what lies beyond that range. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple
from weakref import ref

import numpy as np

if TYPE_CHECKING:
    from viewer.analysis.scene import Scene


class ColorBarRange(NamedTuple):
    """The numbers of a colour bar, in the shown unit. The bar runs to the largest value, or to `high` beyond it."""

    left: float
    right: float
    low: float
    """Lower end of the colour range; of several, the lowest."""
    high: float
    """Upper end of the colour range; of several, the highest."""
    largest: float
    """Largest value of all maps, in absolute terms for a difference."""
    above: int
    """Patches beyond the upper end of their map's range: they have the colour of that end."""
    below: int
    """Patches below the lower end of their map's range; 0 for a range from 0."""


_last: list[tuple[ref[Scene], ColorBarRange]] = []


def find_bar_range(scene: Scene) -> ColorBarRange:
    """Return the numbers of a scene's colour bar; a bar from 0 to 1 for a scene without cameras.

    The last result is kept: bar, labels and fields of the window ask for it seven times after each change.
    """
    if not _last or _last[0][0]() is not scene:
        _last[:] = [(ref(scene), _compute_bar_range(scene))]
    return _last[0][1]


def _compute_bar_range(scene: Scene) -> ColorBarRange:
    if not scene.ranges:
        return ColorBarRange(0.0, 1.0, 0.0, 1.0, 0.0, 0, 0)
    low, high = min(ends[0] for ends in scene.ranges), max(ends[1] for ends in scene.ranges)
    values = np.abs(scene.maps) if scene.difference else scene.maps
    largest = float(values.max(initial=0))
    tops = np.array([ends[1] for ends in scene.ranges], np.float32).reshape(-1, 1, 1)
    above = int((values > tops * np.float32(1 + 1e-6)).sum())
    if scene.difference:
        reach = max(high, largest)
        return ColorBarRange(-reach, reach, low, high, largest, above, 0)
    bottoms = np.array([ends[0] for ends in scene.ranges], np.float32).reshape(-1, 1, 1)
    below = int((values < bottoms).sum()) if low > 0 else 0
    return ColorBarRange(min(low, 0.0), max(high, largest), low, high, largest, above, below)
