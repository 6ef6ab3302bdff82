"""Image of the current view for the clipboard or a file: panes, sentence and token strips, with a caption."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, QRectF
from PySide6.QtGui import QImage, QPainter, QRegion
from PySide6.QtWidgets import QWidget

from viewer.analysis.effects.measured import find_warning
from viewer.export import metadata
from viewer.model.number_ranges import format_place
from viewer.rendering import drawing, theme, ticks

if TYPE_CHECKING:
    from viewer.widgets.panel_layout import PanelLayout

SCALE = 2
"""Pixels of the image for each pixel of the window."""
MARGIN = 20


def render_view(panels: PanelLayout) -> QImage:
    """Return camera panes, sentence and token strips, or the wall of heads, as one image at twice the window's size."""
    with panels.strips.unscrolled(), panels.sentence.in_lines(panels.strips.width()):
        return _render_parts(panels)


def _render_parts(panels: PanelLayout) -> QImage:
    has_wall = panels.session.state.wall != "off"
    parts: list[QWidget] = [panels.wall] if has_wall else [panels.camera_grid, panels.sentence, panels.strips]
    flags = QWidget.RenderFlag(0) if has_wall else QWidget.RenderFlag.DrawChildren  # without the wall's buttons
    width = max(part.width() for part in parts) + 2 * MARGIN
    height = sum(part.height() for part in parts) + 2 * MARGIN + 12 + 22
    image = QImage(width * SCALE, height * SCALE, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(SCALE)
    image.fill(theme.color(theme.active().window))
    with QPainter(image) as painter:
        y = MARGIN
        for part in parts:
            part.render(painter, QPoint(MARGIN, y), QRegion(), flags)
            y += part.height() + 6
        foot = QRectF(MARGIN, y, width - 2 * MARGIN, 22)
        drawing.write(painter, foot, footnote(panels), theme.active().secondary, 12)
    return image


def describe_view(panels: PanelLayout) -> str:
    """Return the view as JSON, with the relative path of the file that it is compared with."""
    session = panels.session
    if session.results is None or session.other is None:
        return session.state.to_json()
    way = metadata.relative_path(session.other.path, session.results.path)
    return metadata.add_second_file(session.state.to_json(), way)


def footnote(panels: PanelLayout) -> str:
    """Return the caption: file, checkpoint, frame and colour range."""
    results, shown = panels.session.results, panels.session.shown
    scene = panels.session.scene()
    if results is None or scene is None:
        return ""
    low, high = min(low for low, _ in scene.ranges), max(high for _, high in scene.ranges)
    parts = [results.path.name, results.checkpoint_name, f"frame {format_place(shown.frame, range(results.done))}"]
    if shown.wall != "off":
        parts += [shown.colours, panels.wall.describe_scale()]
        return " · ".join(part for part in (*parts, "attention is not cause") if part)
    unit = " × uniform" if shown.unit == "uniform" else ""
    if scene.effect is not None:
        unit = f" {scene.effect.unit}".rstrip()
    if shown.range == "map" and not scene.difference:
        parts.append(f"{shown.colours}, a range for each camera")
    else:
        name = "blue to red" if scene.difference else shown.colours
        parts.append(f"{name} from {ticks.format_number(low)} to {ticks.format_number(high)}{unit}")
    return " · ".join(part for part in (*parts, find_warning(shown)) if part)
