"""What lies beyond the colour range of a scene, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from viewer.analysis.color_range import find_bar_range
from viewer.rendering import ticks

if TYPE_CHECKING:
    from viewer.analysis.scene import Scene
    from viewer.model.view_state import ViewState


def describe_range(scene: Scene, view: ViewState) -> str:
    """Return how many patches lie above the colour range, and the largest value: 6 patches above, up to 0.090."""
    bar = find_bar_range(scene)
    unit = " ×" if view.unit == "uniform" else ""
    if scene.effect is not None:
        unit = f" {scene.effect.unit}".rstrip()
    largest = f"{ticks.format_number(bar.largest)}{unit}"
    if view.scale == "rank" and not scene.difference:
        return f"by rank among all patches, largest {largest}"
    patches = f"{bar.above} patch{'' if bar.above == 1 else 'es'}"
    if scene.difference:
        return f"{patches} beyond, up to ±{largest}" if bar.above else f"largest difference ±{largest}"
    return f"{patches} above, up to {largest}" if bar.above else f"none above, largest {largest}"


def describe_below(scene: Scene, view: ViewState) -> str:
    """Return how many patches lie below the colour range; empty for a range from 0."""
    bar = find_bar_range(scene)
    if bar.low <= 0 or scene.difference or view.scale == "rank":
        return ""
    return f"{bar.below} below{' 1 ×' if view.range == 'uniform' else ''}"
