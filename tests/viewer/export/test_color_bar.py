"""The numbers under a colour bar stand where their colours are."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtGui import QImage, QPainter

from viewer.export.encoding import pixels
from viewer.export.figures import color_bar
from viewer.export.figures.color_bar import ColorScale, find_scale_ticks
from viewer.model import attention
from viewer.rendering import colormaps, theme

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication


def number(text: str) -> float:
    return float(text.replace("−", "-"))


@given(st.floats(1e-4, 1e4), st.floats(-1, 1))
def test_linear_ticks_are_round_and_at_their_positions(span: float, start: float) -> None:
    low = start * span
    scale = ColorScale("inferno", low, low + span)
    scale_ticks = find_scale_ticks(scale, 360)
    assert 3 <= len(scale_ticks) <= 11
    for part, text in scale_ticks:
        assert -1e-6 <= part <= 1 + 1e-6
        assert number(text) == pytest.approx(low + part * span, abs=2e-6 + 1e-6 * span)
    assert [part for part, _ in scale_ticks] == sorted(part for part, _ in scale_ticks)


@given(st.floats(1e-6, 1e3))
def test_log_ticks_are_decades_at_their_positions(high: float) -> None:
    scale = ColorScale("inferno", 0.0, high, "log")
    scale_ticks = find_scale_ticks(scale, 360)
    assert 3 <= len(scale_ticks) <= 4
    for part, text in scale_ticks:
        value = np.array([number(text)], np.float32)
        assert math.log10(number(text)) == pytest.approx(round(math.log10(number(text))), abs=1e-6)
        assert float(attention.places(value, 0.0, high, "log")[0]) == pytest.approx(part, abs=2e-3)


def test_bar_has_the_color_of_each_tick(app: QApplication) -> None:
    before = theme.active()
    theme.paint_with(theme.LIGHT)
    image = QImage(400, 60, QImage.Format.Format_RGB32)
    image.fill(0xFFFFFFFF)
    scale = ColorScale("viridis", 0.0, 0.02)
    with QPainter(image) as painter:
        color_bar.draw(painter, 20, 4, 360, scale)
    theme.paint_with(before)
    painted = pixels(image)[4 + 17 + 5, :, 2::-1].astype(int)
    for part, _ in find_scale_ticks(scale, 360):
        x = min(round(20 + part * 360), 379)
        expected = colormaps.table("viridis")[min(round(part * 255), 255)].astype(int)
        assert np.abs(painted[x] - expected).max() < 8
    assert (painted[:18] == 255).all()
    assert (painted[382:] == 255).all()


@pytest.mark.parametrize("high", [3e-7, 1.1e-5, 2.6e-5, 9e-5, 4e-4, 0.03, 0.9, 17.0])
def test_tick_texts_equal_their_values_over_magnitudes(high: float) -> None:
    for part, text in find_scale_ticks(ColorScale("inferno", 0.0, high), 360):
        assert float(text.replace("−", "-")) == pytest.approx(part * high, rel=1e-6, abs=1e-12)
        assert "e−0" not in text


def test_color_bar_names_the_largest_value_and_not_the_end_of_the_scale() -> None:
    weights = np.array([[0.0021, 0.001], [0.0005, 0.0]], np.float32)
    scale = color_bar.measure_scale(ColorScale("inferno", 0.0017, 0.014), weights)
    assert color_bar.describe_largest(scale) == "largest 0.0021"
    scale = color_bar.measure_scale(ColorScale("inferno", 0.0, 0.0007), weights, weights * np.float32(2))
    assert color_bar.describe_largest(scale) == "5 patches above, up to 0.0042"
    signed = np.array([0.0001, -0.00024], np.float32)
    scale = color_bar.measure_scale(ColorScale("inferno", -0.014, 0.014, is_difference=True), signed)
    assert color_bar.describe_largest(scale) == "largest ±0.00024"
    scale = color_bar.measure_scale(ColorScale("inferno", -0.0002, 0.0002, is_difference=True), signed)
    assert color_bar.describe_largest(scale) == "1 patch beyond, up to ±0.00024"
