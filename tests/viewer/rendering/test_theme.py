"""Text of both themes has enough contrast on every background colour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QToolTip, QWidget
from window_driver import until

from viewer.rendering import theme

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication

GROUNDS = ("window", "panel", "side", "raised", "hover")
LEAST = 4.5


def luminance(color: str) -> float:
    """Return the relative luminance, 0 to 1, as defined by the Web Content Accessibility Guidelines 2."""
    parts = [int(color[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(foreground: str, background: str) -> float:
    low, high = sorted((luminance(foreground), luminance(background)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("tested", [theme.DARK, theme.LIGHT], ids=["dark", "light"])
@pytest.mark.parametrize("ink", ["text", "secondary", "accent_text"])
def test_text_contrast_is_at_least_4_5_on_every_background(tested: theme.Theme, ink: str) -> None:
    contrast_by_ground = {ground: contrast(getattr(tested, ink), getattr(tested, ground)) for ground in GROUNDS}
    assert min(contrast_by_ground.values()) >= LEAST, contrast_by_ground


def test_black_on_white_has_the_largest_contrast() -> None:
    assert contrast("#000000", "#FFFFFF") == pytest.approx(21)


def test_tooltips_have_the_colors_of_the_theme_with_room_around_the_text(app: QApplication) -> None:
    widget = QWidget()
    widget.show()
    try:
        for choice, colours in (("dark", theme.DARK), ("light", theme.LIGHT)):
            theme.apply(choice)
            theme.style_tooltips()
            QToolTip.showText(QPoint(10, 10), choice, widget)
            until(QToolTip.isVisible)
            label = next(
                top_level for top_level in app.topLevelWidgets() if top_level.metaObject().className() == "QTipLabel"
            )
            image = label.grab().toImage()
            assert image.pixelColor(0, label.height() // 2) == QColor(colours.faint), "a quiet edge, not one like text"
            inside = {image.pixelColor(x, label.height() // 2).name() for x in range(1, 6)}
            assert inside == {colours.raised.lower()}, "room between the edge and the text"
            QToolTip.hideText()
            until(lambda: not QToolTip.isVisible())
    finally:
        app.setProperty(theme.TOOLTIPS, False)
        app.setStyleSheet("")
        theme.apply("dark")
        widget.deleteLater()
