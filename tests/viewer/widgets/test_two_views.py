"""Two views side by side, and cameras whose pictures have other shapes than each other's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import make_results
import pytest
from PySide6.QtCore import QPoint, QRect
from PySide6.QtWidgets import QApplication
from window_driver import close, settle, show, spin

from viewer.rendering import drawing, theme
from viewer.widgets.view_picture import render_view

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.widgets.main_window import MainWindow


def show_beside(path: Path, folder: Path, size: tuple[int, int]) -> MainWindow:
    """Return a window with the view of layer 1 beside a pinned one of layer 0."""
    window = show(path, folder, size, layer=0)
    session = window.session
    session.update(pinned=session.state.bare(), compare="side")
    session.update(layer=1)
    spin()
    settle(window)
    return window


def crop_second_camera(path: Path) -> Path:
    """Make the pictures of the last camera square: 72 x 72 of 72 x 128 pixels."""
    with h5py.File(path, "r+") as file:
        group = file["images/wrist"]
        pictures, attributes = group["source"][:], dict(group["source"].attrs)
        del group["source"]
        group.create_dataset("source", data=pictures[:, :, 28:100], chunks=(1, 72, 72, 3)).attrs.update(attributes)
        maps = group["to_model"][:]
        maps[:, :, 2] += maps[:, :, 0] * 28
        group["to_model"][:] = maps
    return path


def box_in_left_column(window: MainWindow, pane: object) -> QRect:
    """Return where the picture of a pane lies in the left column."""
    top = pane.mapTo(window.panels.main, QPoint())  # type: ignore[attr-defined]
    return pane.area().toRect().translated(top)  # type: ignore[attr-defined]


def test_sentences_of_two_views_are_placed_beside_their_rows_and_not_under_them(
    app: QApplication, tmp_path: Path
) -> None:
    path = make_results.write(tmp_path / "file.h5", make_results.Recipe(frames=1, size=(90, 160)))
    window = show_beside(path, tmp_path, (1280, 800))
    panels = window.panels
    sentence, grid = panels.sentence, panels.camera_grid
    assert sentence.is_aside
    first, second = grid.panes[-1], grid.pinned[-1]
    pictures = [box_in_left_column(window, pane) for pane in (*grid.panes, *grid.pinned)]
    assert not any(sentence.geometry().intersects(box) for box in pictures)
    unused = panels.main.width() - max(box.right() for box in pictures)
    assert sentence.width() >= 150
    assert unused - sentence.width() <= 60, "what the pictures leave is the sentences'"
    assert panels.strips.y() - max(box.bottom() for box in pictures) <= 16
    assert second.y() > first.y(), "a row for each view"
    wide = pictures[0].width()
    panels.left.find_aside = lambda: None
    panels.left.invalidate()
    panels.left.activate()
    settle(window)
    assert not sentence.is_aside
    assert box_in_left_column(window, grid.panes[0]).width() < wide, (
        "pictures are larger with the sentences beside them"
    )
    close(window)


def test_copied_picture_has_the_sentences_under_the_pictures(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "file.h5", make_results.Recipe(frames=1, size=(90, 160)))
    window = show_beside(path, tmp_path, (1280, 800))
    panels = window.panels
    before = panels.sentence.geometry()
    image = render_view(panels)
    lines = panels.sentence.sizeHint().height()
    height = panels.camera_grid.height() + lines + panels.strips.lines.height() + 2 * 20 + 12 + 22
    assert image.height() == 2 * height
    assert panels.sentence.geometry() == before
    close(window)


def test_sentence_of_one_view_is_placed_under_the_pictures(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, (1280, 800))
    sentence, grid = window.panels.sentence, window.panels.camera_grid
    assert not sentence.is_aside
    assert sentence.y() >= grid.y() + grid.height()
    assert sentence.width() == grid.width()
    close(window)


@pytest.mark.parametrize("choice", ["dark", "light"])
@pytest.mark.parametrize("plots", [True, False])
def test_area_beside_a_smaller_picture_has_the_window_color(
    app: QApplication, tmp_path: Path, choice: str, plots: bool
) -> None:
    path = crop_second_camera(make_results.write(tmp_path / "mixed.h5", make_results.Recipe(frames=1)))
    window = show(path, tmp_path, (1280, 800), plots=plots)
    try:
        window.set_theme(choice)
        spin()
        grid = window.panels.camera_grid
        wide, square = grid.panes
        assert wide.area().width() / wide.area().height() == pytest.approx(128 / 72, rel=0.02)
        assert square.area().width() / square.area().height() == pytest.approx(1, rel=0.02)
        image = grid.grab().toImage()
        pictures = [pane.area().toAlignedRect().translated(pane.pos()) for pane in grid.panes]
        titles = [QRect(pane.x(), pane.y(), pane.width(), pane.TITLE) for pane in grid.panes]
        ground = drawing.ground(grid).rgb()
        assert ground == theme.color(theme.active().window).rgb()
        checked = 0
        for y in range(0, image.height(), 3):
            for x in range(0, image.width(), 3):
                if not any(box.contains(x, y) for box in (*pictures, *titles)):
                    checked += 1
                    assert image.pixel(x, y) == ground, (x, y)
        assert checked > 2000, "the smaller picture leaves a corner"
        for box in pictures:  # rounded corners show the window, too
            assert image.pixel(box.bottomLeft()) == image.pixel(box.bottomRight()) == ground
    finally:
        window.set_theme("dark")
        close(window)
