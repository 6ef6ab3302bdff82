"""The wall of heads in the window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QMouseEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from window_driver import press, spin

from viewer.model.view_state import from_json
from viewer.widgets.view_picture import footnote, render_view

if TYPE_CHECKING:
    from viewer.widgets.main_window import MainWindow


def tile_centre(window: MainWindow, tile: int) -> QPointF:
    box = window.panels.wall._find_tile(tile)
    assert box is not None
    return box.center()


def hover(window: MainWindow, point: QPointF) -> None:
    wall = window.panels.wall
    no_button = Qt.MouseButton.NoButton
    move = QMouseEvent(
        QEvent.Type.MouseMove, point, wall.mapToGlobal(point), no_button, no_button, Qt.KeyboardModifier.NoModifier
    )
    QApplication.sendEvent(wall, move)
    spin(0.01)


def test_key_opens_the_wall_and_a_click_enters_a_head(window: MainWindow) -> None:
    wall, session = window.panels.wall, window.session
    session.update(layer=2, heads=(1,))
    spin(0.01)
    press(window, Qt.Key.Key_O)
    assert wall.isVisible()
    assert not window.panels.camera_grid.isVisible()
    heads = wall._wall.heads  # type: ignore[union-attr]
    assert {layer for layer, _ in heads} == {2}
    shares = window.panels.mass.shares()
    tile = next(index for index, head in enumerate(heads) if head != (2, 1))
    hover(window, tile_centre(window, tile))
    assert (session.shown.layer, session.shown.heads) == (2, (heads[tile][1],))
    assert session.state.heads == (1,), "a preview changes nothing"
    assert window.panels.mass.shares() != shares
    assert wall._wall.heads == heads, "the wall stays as it is"  # type: ignore[union-attr]
    QTest.mouseClick(wall, Qt.MouseButton.LeftButton, pos=QPoint(*map(round, tile_centre(window, tile).toTuple())))
    spin(0.01)
    assert (session.state.layer, session.state.heads, session.state.wall) == (2, (heads[tile][1],), "off")
    assert not wall.isVisible()
    session.undo()
    spin(0.01)
    assert wall.isVisible()
    press(window, Qt.Key.Key_Escape)
    assert not wall.isVisible()


def test_best_heads_are_walked_with_the_keyboard(window: MainWindow) -> None:
    wall, session = window.panels.wall, window.session
    session.update(wall="best", score="entropy")
    spin(0.01)
    wall.setFocus()
    first, second = wall._wall.heads[:2]  # type: ignore[union-attr]
    QTest.keyClick(wall, Qt.Key.Key_Right)
    QTest.keyClick(wall, Qt.Key.Key_Right)
    spin(0.01)
    assert (session.shown.layer, session.shown.heads[0]) == second
    QTest.keyClick(wall, Qt.Key.Key_Left)
    QTest.keyClick(wall, Qt.Key.Key_Return)
    spin(0.01)
    assert (session.state.layer, session.state.heads[0], session.state.wall) == (*first, "off")


def test_picture_of_the_wall_states_its_scale_and_opens_as_the_wall(window: MainWindow) -> None:
    window.session.update(wall="layer")
    spin(0.01)
    image = render_view(window.panels)
    wall = window.panels.wall
    assert image.width() == 2 * (wall.width() + 40)
    assert wall.describe_scale() in footnote(window.panels)
    assert wall.describe_scale().startswith("one scale for all heads: 1 × uniform (")
    assert from_json(window.panels.describe_view()).wall == "layer"
    color_of_best = image.pixelColor(
        2 * (20 + round(tile_centre(window, 0).x())), 2 * (20 + round(tile_centre(window, 0).y()))
    )
    assert color_of_best.isValid()
    window.session.hide_heat(True)
    spin(0.01)
    assert render_view(window.panels) != image, "the bare pictures are without heat"
    window.session.hide_heat(False)


def test_unavailable_score_is_explained_on_the_wall(window: MainWindow) -> None:
    window.session.update(wall="layer", score="lift", region=())
    spin(0.01)
    reason = window.panels.wall._reason
    assert reason
    window.panels.wall.load()
    assert window.panels.wall._reason == reason, "loaded again without a change"
    assert not window.grab().isNull()
