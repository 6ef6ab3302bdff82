"""The whole window: every control changes the view as its label says, by mouse and by keyboard."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import make_results
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QGuiApplication, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QWidget
from window_driver import close, press, show, spin, until

from viewer.controllers.settings import Settings
from viewer.export.metadata import read_view
from viewer.io.results import Results
from viewer.model.view_state import Query, from_json
from viewer.rendering import ticks
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


class PaintCounter(QWidget):
    """Counts the paints of a widget."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__()
        self.count = 0
        widget.installEventFilter(self)

    def eventFilter(self, watched: object, event: QEvent) -> bool:
        self.count += event.type() == QEvent.Type.Paint
        return False


def test_burst_of_changes_is_painted_once(window: MainWindow) -> None:
    spin(0.2)  # the layout of the fresh window has settled
    paints = [PaintCounter(pane) for pane in window.panels.camera_grid.panes]
    for number in range(500):
        window.session.update(layer=number % 4, heads=(number % 3,))
    window.session.update(layer=3, heads=(0,))
    spin()
    assert [paint.count for paint in paints] == [1, 1]


def test_first_size_fits_on_the_screen(app: QApplication, tmp_path: Path) -> None:
    window = MainWindow(Settings(tmp_path / "settings.ini"))
    available = window.screen().availableSize()
    assert available.height() < 900, "the screen of this platform is too small for the usual size"
    assert window.height() == max(available.height() - 32, window.minimumHeight())
    assert window.width() == max(min(available.width(), 1440), window.minimumWidth())
    close(window)


def test_first_view_is_a_word_of_the_prompt(window: MainWindow, results: Results) -> None:
    state = window.session.state
    assert results.chips(0)[state.query.first].role == "prompt"
    assert "looks at the pictures:" in window.panels.sentence.accessibleDescription()


KEYS = [
    (Qt.Key.Key_Right, {"frame": 1}),
    (Qt.Key.Key_End, {"frame": 2}),
    (Qt.Key.Key_Home, {"frame": 0}),
    (Qt.Key.Key_Up, {"layer": 3}),
    (Qt.Key.Key_Down, {"layer": 2}),
    (Qt.Key.Key_1, {"heads": (1,)}),
    (Qt.Key.Key_0, {"heads": (0,)}),
    (Qt.Key.Key_M, {"heads": (), "reduce": "mean"}),
    (Qt.Key.Key_A, {"query": Query("action", (0,))}),
    (Qt.Key.Key_BracketRight, {"step": 1}),
    (Qt.Key.Key_BracketLeft, {"step": 0}),
    (Qt.Key.Key_W, {"query": Query("action", (1,))}),
    (Qt.Key.Key_V, {"picture": "model"}),
    (Qt.Key.Key_I, {"smooth": True}),
    (Qt.Key.Key_G, {"grid": False}),
    (Qt.Key.Key_L, {"scale": "log"}),
    (Qt.Key.Key_U, {"unit": "uniform"}),
    (Qt.Key.Key_S, {"left_out": ("bos", "newline", "bars")}),
    (Qt.Key.Key_C, {"colours": "viridis"}),
    (Qt.Key.Key_F, {"film": "steps"}),
    (Qt.Key.Key_K, {"range": "locked"}),
    (Qt.Key.Key_Minus, {"opacity": 0.6}),
]


def test_every_key_does_what_the_help_sheet_lists(window: MainWindow) -> None:
    for key, expected in KEYS:
        press(window, key)
        for name, value in expected.items():
            assert getattr(window.session.state, name) == value, (key, name)
    press(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert window.session.state.opacity == 0.7
    press(window, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier)
    assert window.session.state.opacity == 0.6


def test_heat_is_hidden_while_h_is_held(window: MainWindow) -> None:
    QTest.keyPress(window, Qt.Key.Key_H)
    assert window.session.bare
    QTest.keyRelease(window, Qt.Key.Key_H)
    assert not window.session.bare


def test_sliders_numbers_and_segments_change_the_view(window: MainWindow) -> None:
    panels, session = window.panels, window.session
    for axis, value, expected in (("frame", 2, 2), ("layer", 1, 1)):
        slider = panels.axes.rows[axis].slider
        QTest.mouseClick(slider, Qt.MouseButton.LeftButton, pos=QPoint(round(slider.x_of(value)), 12))
        spin(0.01)
        assert getattr(session.state, axis) == expected
    panels.axes.rows["head"].slider.setValue(4)
    assert (session.state.heads, session.state.reduce) == ((), "max")
    number = panels.axes.rows["layer"].number
    number.setFocus()
    number.setText("3")
    QTest.keyClick(number, Qt.Key.Key_Return)
    spin(0.01)
    assert session.state.layer == 3
    number.setText("77")
    QTest.keyClick(number, Qt.Key.Key_Return)
    assert session.state.layer == 3
    assert "There is no layer 77" in window.notice.text
    for segment, name, value in ((panels.heat.range, "range", "map"), (panels.heat.scale, "scale", "rank")):
        QTest.mouseClick(segment.buttons[value], Qt.MouseButton.LeftButton)
        spin(0.01)
        assert getattr(session.state, name) == value
    panels.heat.colours.chosen.emit("turbo")
    assert session.state.colours == "turbo"
    for button, name, value in (
        (panels.heat.smooth, "smooth", True),
        (panels.heat.model, "picture", "model"),
        (panels.heat.measure.buttons["contribution"], "measure", "contribution"),
    ):
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        spin(0.01)
        assert getattr(session.state, name) == value
    panels.heat.opacity.setValue(30)
    assert session.state.opacity == 0.3


def test_slider_moved_back_at_once_restores_the_view(window: MainWindow) -> None:
    slider = window.panels.axes.rows["layer"].slider
    before = window.session.state.layer
    slider.setValue(0 if before else 1)
    window.session.update(layer=before)
    spin()
    assert slider.value() == window.session.state.layer == before


def test_steps_are_disabled_for_words_with_a_reason(window: MainWindow) -> None:
    row = window.panels.axes.rows["step"]
    assert not row.slider.isEnabled()
    assert "one pass" in row.slider.toolTip()
    assert row.number.text() == "prefix"
    press(window, Qt.Key.Key_BracketRight)
    assert "words have one pass" in window.notice.text
    window.session.update(query=Query("action", (1,)))
    spin(0.01)
    assert row.slider.isEnabled()
    assert row.number.text() == "0 of 0–2"


@pytest.mark.parametrize(("axis", "name"), [("frame", "frame"), ("layer", "layer"), ("step", "denoise step")])
def test_axis_with_one_position_shows_that_it_has_one(app: QApplication, tmp_path: Path, axis: str, name: str) -> None:
    path = make_results.write(tmp_path / "one.h5", make_results.Recipe(frames=1, layers=1, steps=1))
    window = show(path, tmp_path, query=Query("action", (1,)))
    row = window.panels.axes.rows[axis]
    assert not row.slider.isEnabled()
    assert row.slider.toolTip() == f"This file has one {name}"
    window.perform_id(f"play_{axis}")
    assert window.notice.text == f"There is nothing to play: the file has one {name}."
    close(window)


def test_locked_range_stays_while_scrubbing_and_the_shared_one_follows(window: MainWindow) -> None:
    """Only a locked range keeps its ends while the frame changes."""
    session = window.session
    session.update(layer=0)
    spin(0.01)
    first = session.scene()
    assert first is not None
    window.perform_id("lock")
    session.update(layer=3, heads=(1,))
    spin(0.01)
    locked = session.scene()
    assert locked is not None
    assert locked.ranges[1] == pytest.approx(first.ranges[1])
    window.perform_id("lock")
    spin(0.01)
    free = session.scene()
    assert free is not None
    assert free.ranges[1] != pytest.approx(first.ranges[1])
    assert free.ranges[0] == free.ranges[1]


def test_dragging_a_handle_and_typing_lock_the_range(window: MainWindow) -> None:
    bar, heat = window.panels.heat.bar, window.panels.heat
    left, right, _low, high = bar.ends()
    x = round((high - left) / (right - left) * bar.width())
    QTest.mousePress(bar, Qt.MouseButton.LeftButton, pos=QPoint(x, 8))
    QTest.mouseMove(bar, QPoint(bar.width() // 2, 8))
    QTest.mouseRelease(bar, Qt.MouseButton.LeftButton, pos=QPoint(bar.width() // 2, 8))
    spin(0.01)
    state = window.session.state
    assert state.range == "locked"
    assert state.high == pytest.approx((left + right) / 2, rel=0.05)
    heat.high.setFocus()
    heat.high.setText("0.25")
    heat.high.editingFinished.emit()
    assert window.session.state.high == 0.25
    spin(0.01)
    heat.high.setText("lots")
    heat.high.editingFinished.emit()
    assert window.session.state.high == 0.25
    assert "numbers" in window.notice.text
    assert heat.high.text() == ticks.format_number(0.25, 4), "what was typed does not stay where it means nothing"


def test_chips_are_selected_added_spanned_previewed_and_stepped_through(window: MainWindow) -> None:
    panel, session = window.panels.strips, window.session

    def middle(kind: str, item: int) -> QPoint:
        return next(p for p in panel.places if (p.kind, p.item) == (kind, item)).box.center().toPoint()

    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, pos=middle("text", 4))
    assert session.state.query == Query("text", (4,))
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, middle("text", 7))
    assert session.state.query == Query("text", (4, 7))
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ControlModifier, middle("text", 4))
    assert session.state.query == Query("text", (7,))
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, pos=middle("action", 1))
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, middle("action", 3))
    assert session.state.query == Query("action", (1, 2, 3))
    spin()
    assert "actions 1–3 of 0–4" in window.panels.sentence.accessibleDescription()
    press(window, Qt.Key.Key_Escape)
    assert session.state.query == Query("action", (1,))
    QTest.mouseMove(panel, middle("text", 2))
    spin()
    assert session.shown.query == Query("text", (2,))
    assert session.state.query == Query("action", (1,))
    panel.leaveEvent(QEvent(QEvent.Type.Leave))
    spin()
    QTest.keyClick(panel, Qt.Key.Key_Right)
    assert session.state.query == Query("action", (2,))
    QTest.keyClick(panel, Qt.Key.Key_Up)
    assert session.state.query.kind == "text"


def test_click_leaves_out_a_mass_group_and_the_removed_share_is_shown(window: MainWindow) -> None:
    panel = window.panels.mass
    boxes = {name: (share, part, line) for name, share, part, line in panel.boxes()}
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, pos=boxes["wrist"][2].center().toPoint())
    spin()
    assert window.session.state.left_out == ("wrist",)
    scene = window.session.scene()
    assert scene is not None
    assert scene.removed == pytest.approx(boxes["wrist"][0], abs=5e-3)
    assert not scene.maps[1][~window.session.results.bars(0)[1]].any()  # type: ignore[union-attr]
    assert "without wrist, renormalised" in window.panels.sentence.accessibleDescription()


def test_click_on_atlas_film_or_curves_changes_the_view(window: MainWindow) -> None:
    panels, session = window.panels, window.session
    scores = panels.atlas.scores()
    assert scores is not None
    QTest.mouseClick(panels.atlas, Qt.MouseButton.LeftButton, pos=panels.atlas.cell(scores, 1, 2).center().toPoint())
    assert (session.state.layer, session.state.heads) == (1, (2,))
    QTest.mouseClick(
        panels.atlas,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.ControlModifier,
        panels.atlas.cell(scores, 1, 0).center().toPoint(),
    )
    assert session.state.heads == (0, 2)
    QTest.mouseClick(panels.atlas, Qt.MouseButton.LeftButton, pos=panels.atlas.cell(scores, 2, 3).center().toPoint())
    assert (session.state.layer, session.state.heads) == (2, ())
    spin()
    film = panels.film.film()
    assert film is not None
    block, width, height = panels.film.blocks(film)[0]
    point = QPointF(block.left() + 3.5 * width, block.top() + height / 2).toPoint()
    QTest.mouseClick(panels.film, Qt.MouseButton.LeftButton, pos=point)
    assert session.state.layer == 3
    session.update(query=Query("action", (1,)), film="steps", curve="steps")
    spin()
    film = panels.film.film()
    assert film is not None
    block, width, height = panels.film.blocks(film)[1]
    QTest.mouseClick(
        panels.film,
        Qt.MouseButton.LeftButton,
        pos=QPointF(block.left() + 0.5 * width, block.top() + 2.5 * height).toPoint(),
    )
    assert (session.state.layer, session.state.step) == (0, 2)
    spin()
    curves = panels.curves.curves()
    assert curves is not None
    QTest.mouseClick(panels.curves, Qt.MouseButton.LeftButton, pos=QPoint(round(panels.curves.x_of(1)), 60))
    assert session.state.step == 1
    until(lambda: panels.frame_series.curves)
    QTest.mouseClick(panels.timeline, Qt.MouseButton.LeftButton, pos=QPoint(round(panels.timeline.x_of(2)), 50))
    assert session.state.frame == 2


def test_next_best_head_is_the_next_in_rank(window: MainWindow) -> None:
    order = window.panels.atlas.ranked()
    for index in range(3):
        press(window, Qt.Key.Key_N)
        assert (window.session.state.layer, window.session.state.heads) == (order[index][0], (order[index][1],))


def test_flow_curves_switch_to_actions_and_steps(window: MainWindow) -> None:
    window.perform_id("actions")
    spin()
    flow = window.panels.action_chart
    upper, lower = flow.cells(3)
    QTest.mouseClick(
        flow, Qt.MouseButton.LeftButton, pos=QPointF(upper[0].right() - 4, upper[0].center().y()).toPoint()
    )
    assert window.session.state.query == Query("action", (4,))
    QTest.mouseClick(
        flow, Qt.MouseButton.LeftButton, pos=QPointF(lower[1].right() - 4, lower[1].center().y()).toPoint()
    )
    assert window.session.state.step == 2


def test_copied_command_restores_the_view(window: MainWindow) -> None:
    import shlex

    window.session.update(layer=1, query=Query("action", (3,)), step=2, region=((0, 5, 5),))
    window.perform_id("share")
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words[0] == "pi0-viewer"
    assert from_json(words[3]) == window.session.state
    assert json.loads(words[3])["layer"] == 1


def test_pictures_are_twice_the_size_with_a_caption(window: MainWindow, tmp_path: Path) -> None:
    from viewer.widgets.view_picture import footnote, render_view

    image = render_view(window.panels)
    assert image.width() == 2 * (window.panels.camera_grid.width() + 40)
    window.acts.write_picture(tmp_path / "view.png")
    assert not (tmp_path / "view.png").exists(), "the window does not wait"
    until(lambda: not window.acts.is_saving)
    assert window.notice.text == "Saved view.png."
    assert (tmp_path / "view.png").stat().st_size > 10_000
    for name, head in (("view.v2", b"\x89PNG"), ("view.JPG", b"\xff\xd8")):
        window.acts.write_picture(tmp_path / name)
        until(lambda: not window.acts.is_saving)
        assert (tmp_path / name).read_bytes().startswith(head), "PNG, whatever the name ends in, if it is not JPEG's"
        assert not QImage(str(tmp_path / name)).isNull()
        assert from_json(read_view(str(tmp_path / name))) == window.session.state, "it opens again by --view"
    assert "small.h5" in footnote(window.panels)
    window.acts.write_picture(tmp_path / "nowhere" / "view.png")
    until(lambda: not window.acts.is_saving)
    assert "cannot be written" in window.notice.text


def test_picture_that_is_being_saved_outlives_the_window(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path)
    image = window.panels.render_picture()
    window.acts.write_picture(tmp_path / "last.png")
    close(window)
    saved = QImage(str(tmp_path / "last.png"))
    assert saved.convertToFormat(image.format()) == image, "PNG keeps every pixel"


def test_playing_wraps_around_and_is_one_undo_step(window: MainWindow) -> None:
    start = window.session.state
    frames: set[int] = set()
    window.session.changed.connect(lambda before, after: frames.add(after.frame))
    window.playback.toggle("frame")
    until(lambda: {0, 1, 2} <= frames)
    press(window, Qt.Key.Key_Space)
    assert window.playback.axis == ""
    if window.session.state != start:
        window.session.undo()
    assert window.session.state == start
