"""The strip of kept views, and what the window shows while one is blinked to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QEnterEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from window_driver import close, press, show, spin

from viewer.io.results import Results
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.widgets.main_window import MainWindow


def pin_two(window: MainWindow) -> None:
    """Pin layers 1 and 2, and go to layer 3."""
    for layer in (1, 2):
        window.session.update(layer=layer)
        press(window, Qt.Key.Key_P)
    window.session.update(layer=3)
    spin(0.01)


def test_blinking_keeps_the_scale_and_changes_the_whole_window(window: MainWindow) -> None:
    panels, session = window.panels, window.session
    pin_two(window)
    session.update(query=Query("action", (1,)))
    spin(0.01)
    before = session.scene(), panels.heat.bar.ends(), panels.mass.shares()
    QTest.keyPress(window, Qt.Key.Key_B)
    spin(0.01)
    after = session.scene(), panels.heat.bar.ends(), panels.mass.shares()
    assert before[0] is not None
    assert after[0] is not None
    assert before[0].ranges == after[0].ranges
    assert before[1] == after[1]
    assert before[2] != after[2], "the column shows the pinned view's numbers"
    assert session.shown.layer == 2
    assert session.shown.query.kind == "text"
    assert session.state.layer == 3
    assert panels.axes.rows["layer"].slider.value() == 2
    QTest.keyRelease(window, Qt.Key.Key_B)
    spin(0.01)
    assert (session.scene(), session.state.layer, session.shown.layer) == (before[0], 3, 3)


def test_right_column_blinks_to_a_second_file(app: QApplication, small: Path, tmp_path: Path) -> None:
    second_file = make_results.write(tmp_path / "other.h5", make_results.Recipe(seed=5))
    window = show(small, tmp_path)
    window.show_results(Results(second_file), True)
    spin()
    shares, scores = window.panels.mass.shares(), window.panels.atlas.scores()
    assert scores is not None
    window.session.blink(True)
    spin(0.01)
    assert window.panels.mass.shares() != shares
    blinked = window.panels.atlas.scores()
    assert blinked is not None
    assert (blinked != scores).any()
    assert window.panels.pin_strip.chips[0].text() == "other.h5"
    assert "other.h5" in window.panels.sentence.accessibleDescription().split(";")[0]
    close(window)


def test_several_views_are_kept_named_and_compared_with(window: MainWindow) -> None:
    strip, session = window.panels.pin_strip, window.session
    assert not strip.isVisible()
    pin_two(window)
    assert strip.isVisible()
    assert ["layer 1" in chip.text() for chip in strip.chips] == [True, False]
    assert [chip.isChecked() for chip in strip.chips] == [False, True]
    strip.rename(0, "  early   layer ")
    spin(0.01)
    strip.chips[0].click()
    spin(0.01)
    assert strip.chips[0].text() == session.pin_name == "early layer"
    assert session.state.pinned == session.state.pins[0].view
    assert "layer 1" in window.panels.sentence.accessibleDescription()
    strip.chips[0].click()
    spin(0.01)
    assert session.state.pinned is None, "a second click ends the comparison and keeps the view"
    strip.go(1)
    spin(0.01)
    assert session.shown.layer == 2
    strip.remove(0)
    strip.remove(0)
    spin(0.01)
    assert not strip.isVisible()
    session.undo()
    assert len(session.state.pins) >= 1


def test_pointer_on_a_kept_view_shows_it(window: MainWindow) -> None:
    pin_two(window)
    chip, session = window.panels.pin_strip.chips[0], window.session
    point = QPointF(5, 5)
    QApplication.sendEvent(chip, QEnterEvent(point, point, point))
    spin(0.01)
    assert session.shown.layer == 1, "also one that is not compared with"
    QApplication.sendEvent(chip, QEvent(QEvent.Type.Leave))
    spin(0.01)
    assert session.shown.layer == 3
    QTest.mouseClick(chip, Qt.MouseButton.LeftButton, pos=QPoint(chip.width() - 8, 12))
    spin(0.01)
    assert [pin.view.layer for pin in session.state.pins] == [2]


def test_pinned_words_are_those_of_their_own_frame(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(
        tmp_path / "two.h5", make_results.Recipe(frames=2, tasks=("put the small yellow duck in the white bowl", "go"))
    )
    window = show(path, tmp_path)
    results = window.session.results
    assert results is not None
    bowl = next(index for index, chip in enumerate(results.chips(0)) if chip.text == "bowl")
    window.session.update(query=Query("text", (bowl,)))
    press(window, Qt.Key.Key_P)
    window.session.update(frame=1)
    spin(0.01)
    pinned = window.session.state.pinned
    assert pinned is not None
    assert pinned.query == Query("text", (bowl,))
    assert "“bowl”" in window.panels.sentence.accessibleDescription()
    close(window)


@pytest.mark.parametrize("compare", ["side", "difference"])
def test_both_sides_have_a_sentence(window: MainWindow, compare: str) -> None:
    pin_two(window)
    window.session.update(compare=compare)
    spin(0.01)
    shown, pinned = window.panels.sentence.accessibleDescription().split("; ")
    assert "layer 3" in shown
    assert "layer 2" in pinned
    assert pinned.startswith("Minus" if compare == "difference" else "Pinned")
