"""The prompts of a moment beside each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from window_driver import close, settle, show, spin, until

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

TASKS = ("put the duck in the bowl", "put the ball in the bowl", "open the drawer")


def test_click_shows_the_moment_with_another_prompt(app: QApplication, tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=6, tasks=TASKS, counterfactual=True))
    window = show(path, tmp_path)
    row, session = window.panels.prompts, window.session
    until(lambda: row.isVisible())
    settle(window)
    assert [button.text() for button in row.buttons] == list(TASKS)
    assert [button.isChecked() for button in row.buttons] == [True, False, False]
    assert row.mapTo(window.panels.main, row.rect().bottomLeft()).y() < window.panels.strips.y(), "above the words"
    QTest.mouseClick(row.buttons[2], Qt.MouseButton.LeftButton)
    spin()
    assert session.state.frame == 2
    assert [button.isChecked() for button in row.buttons] == [False, False, True]
    assert "open the drawer" in window.top.details()
    session.update(frame=4)
    spin()
    assert [button.isChecked() for button in row.buttons] == [False, True, False]
    assert [button.text() for button in row.buttons] == list(TASKS), "the next moment has the same prompts"
    QTest.mouseClick(row.buttons[1], Qt.MouseButton.LeftButton)
    spin()
    assert session.state.frame == 4
    assert row.buttons[1].isChecked(), "a click on the shown prompt keeps it"
    close(window)


def test_long_prompts_share_the_row_with_the_shown_one_visible(app: QApplication, tmp_path: Path) -> None:
    tasks = tuple(f"put thing number {number} into the bowl beside the other things" for number in range(30))
    recipe = make_results.Recipe(frames=30, tasks=tasks, counterfactual=True, layers=1, heads=1, steps=1)
    window = show(make_results.write(tmp_path / "a.h5", recipe), tmp_path, (1024, 700), frame=29)
    row = window.panels.prompts
    until(lambda: row.isVisible())
    settle(window)
    shown = [button for button in row.buttons if button.isVisible()]
    assert row.buttons[29] in shown
    assert all(row.rect().contains(button.geometry()) for button in shown)
    assert not any(
        button.geometry().intersects(other.geometry()) for button in shown for other in shown if button is not other
    )
    close(window)


def test_moments_with_one_prompt_have_no_row(app: QApplication, tmp_path: Path) -> None:
    window = show(make_results.write(tmp_path / "a.h5"), tmp_path)
    assert not window.panels.prompts.isVisible()
    close(window)
