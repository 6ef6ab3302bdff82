"""Cached text and layers: they look like directly painted ones at every pixel ratio, and are painted only once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QPointF, QRectF, QSize
from PySide6.QtGui import QImage, QPainter
from PySide6.QtWidgets import QWidget

from viewer.rendering import colormaps, drawing, theme

if TYPE_CHECKING:
    from PySide6.QtWidgets import QApplication


def make_canvas(ratio: float = 1.0) -> QImage:
    image = QImage(QSize(200, 40) * ratio, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(ratio)
    image.fill(0xFF15171C)
    return image


def read_pixels(image: QImage) -> np.ndarray:
    return np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.width()).copy()


@pytest.mark.parametrize("ratio", [1.0, 2.0])
def test_cached_text_looks_like_directly_drawn_text(app: QApplication, ratio: float) -> None:
    copied, direct = make_canvas(ratio), make_canvas(ratio)
    with QPainter(copied) as painter:
        drawing.write(painter, QRectF(20, 4, 150, 24), "exterior 38.2 %", "#D7DAE0")
    top = 4 + (24 - theme.line(13)) / 2
    with QPainter(direct) as painter:
        painter.setFont(theme.font(13))
        painter.setPen(theme.color("#D7DAE0"))
        painter.drawText(QPointF(20, round(top * ratio) / ratio + theme.metrics(13).ascent()), "exterior 38.2 %")
    ink = [((read_pixels(image) & 255).astype(float) - 0x1C).clip(0).sum() for image in (copied, direct)]
    assert ink[0] == pytest.approx(ink[1], rel=0.2), "grey edges where a screen may have coloured ones"
    inked = [np.argwhere(read_pixels(image) != 0xFF15171C) for image in (copied, direct)]
    assert np.abs(inked[0].min(0) - inked[1].min(0)).max() <= 1
    assert np.abs(inked[0].max(0) - inked[1].max(0)).max() <= 1


def test_middle_of_a_long_name_is_left_out(app: QApplication) -> None:
    names = [f"evaluation of the yellow duck in the kitchen, episode {number}" for number in (17, 18)]
    first, second = (drawing.elide_middle(name, 160, 13) for name in names)
    assert first.startswith("eval")
    assert first.endswith("17")
    assert first != second
    assert drawing.elide_middle("episode 17", 160, 13) == "episode 17"


def test_text_wider_than_its_box_is_elided(app: QApplication) -> None:
    image = make_canvas()
    with QPainter(image) as painter:
        assert drawing.write(painter, QRectF(0, 0, 60, 20), "a long sentence that does not fit", "#FFFFFF") <= 60.5
        assert drawing.write(painter, QRectF(0, 0, 60, 20), "", "#FFFFFF") == 0


def test_layer_is_repainted_only_for_new_key_size_or_pixel_ratio(app: QApplication) -> None:
    widget, layer, painted = QWidget(), drawing.Layer(), []
    widget.resize(50, 20)

    def draw(image: QImage, key: tuple[object, ...]) -> None:
        with QPainter(image) as painter:
            layer.draw(painter, widget, key, lambda inner: painted.append(drawing.find_pixel_ratio(inner)))

    for image, key, count in (
        (make_canvas(), (1,), 1),
        (make_canvas(), (1,), 1),
        (make_canvas(), (2,), 2),
        (make_canvas(2.0), (2,), 3),
    ):
        draw(image, key)
        assert len(painted) == count
    assert painted == [1.0, 1.0, 2.0]
    widget.resize(60, 20)
    draw(make_canvas(2.0), (2,))
    assert len(painted) == 4
    widget.deleteLater()


def test_painted_clips_values_to_the_color_table(app: QApplication) -> None:
    table = colormaps.opaque("inferno")
    words = colormaps.painted(np.array([0, 0.5, 1, 2, -1, np.nan], np.float32), 1.0, "inferno")
    assert words.tolist() == [int(table[n]) for n in (0, 128, 255, 255, 0, 0)]
    assert (colormaps.painted(np.ones(3, np.float32), 0.0, "inferno") == table[0]).all()
