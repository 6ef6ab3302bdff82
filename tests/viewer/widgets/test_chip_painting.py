"""Chips: levels of their values, inks that can be read on them, and boxes on whole pixels of the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QRectF
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QWidget

from viewer.rendering import drawing, theme
from viewer.widgets.panels import chip_painting
from viewer.widgets.panels.chip_painting import ChipBox, ChipPainter

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication


def test_levels_span_the_colors_and_are_finite() -> None:
    values = np.array([0, 0.5, 1, 2, -1, np.nan], np.float32)
    assert chip_painting.levels(values, 0.0, 1.0) == [0, 108, 215, 215, 0, 0]
    assert chip_painting.levels(values * 2 + 1, 1.0, 3.0) == chip_painting.levels(values, 0.0, 1.0)


@pytest.mark.parametrize("dark", [True, False])
@pytest.mark.parametrize("name", ["inferno", "viridis", "magma", "turbo", "jet"])
@pytest.mark.parametrize("role", ["prompt", "state", "template"])
def test_labels_can_be_read_on_every_color(
    app: QApplication, monkeypatch: pytest.MonkeyPatch, dark: bool, name: str, role: str
) -> None:
    chosen = theme.DARK if dark else theme.LIGHT
    monkeypatch.setattr(theme, "active", lambda: chosen)
    own = chip_painting._own_ink(role, chosen.raised)
    inks = chip_painting._choose_inks(name, chosen.raised, own)
    for word, ink in zip(chip_painting.colours(name, chosen.raised), inks, strict=True):
        assert drawing.contrast(word, int(ink[1:], 16)) >= 4.5


def test_contrast_is_that_of_wcag() -> None:
    assert drawing.contrast(0x000000, 0xFFFFFF) == pytest.approx(21)
    assert drawing.contrast(0x777777, 0xFFFFFF) == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("ratio", [1.0, 1.5, 2.0])
def test_chip_is_filled_exactly_to_its_edges(app: QApplication, ratio: float) -> None:
    panel, chip_painter = QWidget(), ChipPainter()
    panel.resize(120, 30)
    chip_painter.set_chips(
        [
            ChipBox("text", 0, QRectF(7, 0, 37, 26), "the", "prompt"),
            ChipBox("text", 1, QRectF(51, 0, 41, 26), "a", "state"),
        ],
        (),
    )
    image = QImage(round(120 * ratio), round(30 * ratio), QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    image.fill(0xFF00FF00)
    with QPainter(image) as painter:
        chip_painter.paint(painter, panel, panel.rect(), [100, 0], "inferno")
    words = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.width())
    line = words[round(12 * ratio)]
    left, right = round(7 * ratio), round(44 * ratio)
    assert line[left - 1] == line[right] == 0xFF00FF00
    fill = 0xFF000000 | chip_painting.colours("inferno", theme.active().raised)[100]
    assert line[left + 1] == line[right - 2] == fill
    panel.deleteLater()
