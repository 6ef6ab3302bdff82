"""How far a picture is zoomed in, and on which part of it."""

from __future__ import annotations

import pytest

from viewer.model.zoom import MAX_ZOOM, Zoom


def picture_point(zoom: Zoom, x: float, y: float) -> tuple[float, float]:
    """Return the point of the picture that is shown at a place of its area, both as shares."""
    left, top, width, height = zoom.part()
    return left + x * width, top + y * height


def test_whole_picture_is_the_start() -> None:
    assert Zoom().part() == (0, 0, 1, 1)
    assert Zoom().is_whole


@pytest.mark.parametrize("pointer", [(0.5, 0.5), (0.1, 0.8), (1.0, 0.0)])
def test_point_under_the_pointer_stays(pointer: tuple[float, float]) -> None:
    zoom = Zoom().zoomed(3, *pointer)
    assert zoom.factor == pytest.approx(1.2**3)
    assert picture_point(zoom, *pointer) == pytest.approx(pointer)
    assert picture_point(zoom.zoomed(2, *pointer), *pointer) == pytest.approx(pointer)


def test_zoom_ends_at_the_whole_picture_and_at_the_maximum() -> None:
    assert Zoom().zoomed(100, 0.3, 0.3).factor == MAX_ZOOM
    back = Zoom().zoomed(4, 0.2, 0.9).zoomed(-100, 0.7, 0.1)
    assert back == Zoom()


def test_panned_picture_follows_the_pointer_and_keeps_to_its_edges() -> None:
    zoom = Zoom(2.0)
    assert picture_point(zoom.panned(0.25, -0.1), 0.75, 0.4) == pytest.approx(picture_point(zoom, 0.5, 0.5))
    assert zoom.panned(5, -5).part() == pytest.approx((0, 0.5, 0.5, 0.5))
    assert Zoom().panned(0.3, 0.3) == Zoom()
