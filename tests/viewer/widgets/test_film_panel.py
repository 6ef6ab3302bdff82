"""The film is zoomed and panned as one mosaic; hovering names a thumbnail, a click goes there at any zoom."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QRectF, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtTest import QTest
from window_driver import close, show, spin, until

from viewer.analysis import scene
from viewer.analysis.film import tile_thumbnails
from viewer.model import geometry
from viewer.model.view_state import Query
from viewer.rendering.thumbnail_colors import color_thumbnails
from viewer.rendering.ticks import format_share
from viewer.widgets.film_labels import GAP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow
    from viewer.widgets.panels.film import FilmPanel


@pytest.fixture
def window(app: QApplication, small: Path, tmp_path: Path) -> Iterator[MainWindow]:
    window = show(small, tmp_path, film="steps", query=Query("action", (1,)))
    until(lambda: window.plot_loader.is_done)
    yield window
    close(window)


def tile(film: FilmPanel, camera: int, row: int, column: int) -> QRectF:
    content = film.film()
    assert content is not None
    block, width, height = film.blocks(content)[camera]
    return QRectF(block.left() + column * width, block.top() + row * height, width, height)


def test_zoomed_film_keeps_what_is_under_the_pointer_and_clicks_go_there(window: MainWindow) -> None:
    film = window.panels.film
    assert film.plot is not None
    point = tile(film, 0, 1, 2).center()
    assert film.cell_at(point) == (1, 2)
    before = tile(film, 0, 1, 2).width()
    film.plot.zoom(point, 0.4)
    assert tile(film, 0, 1, 2).width() == pytest.approx(before / 0.4, abs=2)
    assert film.cell_at(point) == (1, 2)
    spin(0.01)
    QTest.mouseClick(film, Qt.MouseButton.LeftButton, pos=point.toPoint())
    assert (window.session.state.step, window.session.state.layer) == (1, 2)
    film.plot.zoom(point, 0.01)
    largest, box = tile(film, 0, 1, 2), film.content_box()
    assert largest.width() <= box.width()
    assert largest.height() <= box.height() + 1, "one thumbnail fills the room at most"
    film.reset_plot()
    assert tile(film, 0, 1, 2).width() == before


def test_zoomed_film_paints_the_colors_of_its_maps(window: MainWindow) -> None:
    film = window.panels.film
    assert film.plot is not None
    film.plot.zoom(tile(film, 0, 1, 2).center(), 0.15)
    spin(0.01)
    content, box_before, results = film.film(), tile(film, 0, 1, 2), window.session.results
    assert content is not None
    assert results is not None
    width, height = round(box_before.width()) - GAP, round(box_before.height()) - GAP
    index = geometry.map_pixels_to_patches(
        results.to_model(0, 0), *results.picture_size(0), height, width, content.grid
    )
    words = color_thumbnails(content.maps, window.session.shown, content.uniform, content.keys)
    expected = tile_thumbnails(words[1:2, 2:3, 0], index, 0, 0)
    image = film.grab().toImage().convertToFormat(QImage.Format.Format_RGB32)
    shown = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), image.width())
    box = film.content_box()
    left, top = round(box_before.left()), round(box_before.top())
    columns = slice(max(left, round(box.left())) + 8, min(left + width, round(box.right())) - 8)
    down = slice(max(top, round(box.top())) + 8, min(top + height, round(box.bottom())) - 8)
    assert columns.stop - columns.start > 40
    assert down.stop - down.start > 20
    part = expected[down.start - top : down.stop - top, columns.start - left : columns.stop - left]
    assert (shown[down, columns] & 0xFFFFFF).tolist() == (part & 0xFFFFFF).tolist()


def test_hovering_names_the_thumbnail_and_its_mass_on_each_camera(window: MainWindow) -> None:
    film, content = window.panels.film, window.panels.film.film()
    assert content is not None
    QTest.mouseMove(film, tile(film, 1, 2, 3).center().toPoint())
    until(lambda: film.hovered == (2, 3))
    read_out = film._read_out
    assert read_out is not None
    assert read_out.isVisible()
    assert read_out.title == f"Layer {content.columns[3]}, step {content.rows[2]}"
    shown = [value for _, _, value in read_out.rows]
    film.go(2, 3)
    spin()
    scene = window.session.scene()
    assert scene is not None
    shares = [scene.share(camera) for camera in ("exterior", "wrist")]
    assert shown == [format_share(share) for share in shares], "what the panes say once it is clicked"
    assert shares != [float(content.maps[2, 3, camera].sum()) for camera in (0, 1)], "not the sum of rounded weights"
    film.leaveEvent(QEvent(QEvent.Type.Leave))
    assert film.hovered is None
    assert not read_out.isVisible()


def test_copied_data_hold_a_row_for_each_thumbnail(window: MainWindow) -> None:
    film, content = window.panels.film, window.panels.film.film()
    assert content is not None
    film.copy_data()
    rows = list(csv.reader(io.StringIO(QGuiApplication.clipboard().text())))
    assert rows[0] == ["step", "layer", "exterior", "wrist"]
    assert len(rows) == 1 + content.maps.shape[0] * content.maps.shape[1]
    assert rows[2][:2] == [str(content.rows[0]), str(content.columns[1])]
    results, shown = window.session.results, window.session.shown
    assert results is not None
    stored = scene.masses(results, shown.frame, shown.query)[1, 0].mean(0)
    assert float(rows[2][2]) == pytest.approx(stored[results.groups.index("exterior")], rel=1e-5)


def test_film_has_the_pixels_of_the_first_picture(
    app: QApplication, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from viewer.widgets.plot_loader import PlotLoader

    monkeypatch.setattr(PlotLoader, "_load", lambda self: iter(()))
    window = show(small, tmp_path)
    for kind in ("layers", "steps"):
        window.session.update(film=kind, query=Query("action", (1,)))
        spin(0.01)
        before = window.panels.film.grab().toImage()
        if window.panels.film.plot is None:
            window.panels.film.build_plot()
        spin(0.01)
        assert window.panels.film.grab().toImage() == before
    close(window)


def test_thumbnail_of_the_shown_frame_is_outlined(window: MainWindow) -> None:
    film = window.panels.film
    window.session.update(film="frames")
    until(lambda: film.film() is not None and film._name_columns() == "frame" and len(film.film().columns) == 3)  # type: ignore[union-attr]
    for frame in (0, 2, 1):
        window.session.update(frame=frame)
        spin(0.01)
        content = film.film()
        assert content is not None
        assert film.current(content) == (0, frame)
        assert content.columns[frame] == frame
