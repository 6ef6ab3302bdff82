"""Hostile text from files in a real window: no widget takes it for rich text, and no control character is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtGui import Qt as GuiQt
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QApplication,
    QLabel,
    QLineEdit,
    QMenu,
    QToolTip,
    QWidget,
)
from window_driver import close, show, spin, until, wait_until_idle

from capture.results import schema
from viewer.widgets import menus

if TYPE_CHECKING:
    from viewer.widgets.main_window import MainWindow

MARKUP = '<img src="/etc/passwd">'
HOSTILE = f"{MARKUP} <b>duck</b> \x1b[31mred \u202eltr =cmd()"
BAD = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def write_hostile(path: Path) -> Path:
    """Return a file whose texts are all hostile, one of a megabyte among them."""
    words = HOSTILE.replace(" ", "\u00a0")
    recipe = make_results.Recipe(
        tasks=(f"put {words} in", "lift it"), cameras=("<b>left", "right"), episodes=(HOSTILE,)
    )
    make_results.write(path, recipe)
    model = {"name": f"{MARKUP}\x1b]0;title\x07", "kind": "<b>", "layers": 4, "heads": 3}
    with h5py.File(path, "r+") as file:
        file.attrs["model"] = json.dumps(model)
        file.attrs["generator"] = f"{MARKUP} \x1b[2J"
        prompts = [value.decode() for value in file[schema.FRAMES_PROMPT][()]]
        prompts[2] = MARKUP + "\0\u202e" + "long " * 200_000
        del file[schema.FRAMES_PROMPT]
        file[schema.FRAMES_PROMPT] = np.array([prompt.encode() for prompt in prompts])
    return path


@pytest.fixture
def tooltips(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts of all tooltips that are shown."""
    shown: list[str] = []
    monkeypatch.setattr(QToolTip, "showText", lambda position, text, *rest: shown.append(text))
    return shown


def assert_plain_text(text: str, where: str) -> None:
    """The text is shown as it is."""
    if GuiQt.mightBeRichText(text):
        assert re.fullmatch('<span style="white-space: pre-wrap">[^<]*</span>', text), (where, text[:200])
    assert not BAD.search(text), (where, text[:200])
    assert len(text) <= 2100 * 5, (where, len(text))


def check_widgets(root: QWidget) -> int:
    """Check every text of every widget; return how many hold hostile text."""
    hostile = 0
    for widget in (root, *root.findChildren(QWidget)):
        name = f"{type(widget).__name__} {widget.accessibleName()[:60]}"
        texts = [widget.toolTip(), widget.statusTip(), widget.whatsThis()]
        texts += [action.toolTip() for action in widget.actions()]
        if isinstance(widget, QLabel) and widget.textFormat() != Qt.TextFormat.PlainText:
            texts.append(widget.text())
        if isinstance(widget, QAbstractItemView):
            texts += item_tips(widget)
        if isinstance(widget, QLineEdit | QAbstractButton):
            assert not BAD.search(widget.text()), name
        for text in texts:
            assert_plain_text(text, name)
            hostile += "&lt;img" in text
    return hostile


def item_tips(view: QAbstractItemView) -> list[str]:
    """Return the tooltips of all items."""
    model, tips, waiting = view.model(), [], [view.rootIndex()]
    while waiting:
        parent = waiting.pop()
        for row in range(model.rowCount(parent)):
            index = model.index(row, 0, parent)
            tips.append(str(model.data(index, Qt.ItemDataRole.ToolTipRole) or ""))
            waiting.append(index)
    return tips


def hover_everywhere(window: MainWindow) -> None:
    """Ask for a tooltip at a grid of places of every widget."""
    for widget in window.findChildren(QWidget):
        if widget.isVisible() and "event" in type(widget).__dict__:
            for x in range(4, widget.width(), 40):
                for y in range(4, widget.height(), 24):
                    point = QPoint(x, y)
                    event = QHelpEvent(QHelpEvent.Type.ToolTip, point, widget.mapToGlobal(point))
                    QApplication.sendEvent(widget, event)


def test_no_widget_shows_hostile_text_as_rich_text(app: QApplication, tmp_path: Path, tooltips: list[str]) -> None:
    path = write_hostile(tmp_path / "<img src=x>.h5")
    window = show(path, tmp_path, size=(1600, 1000))
    hostile = 0
    for frame in range(3):
        window.session.update(frame=frame)
        spin(0.05)
        wait_until_idle(window)
        hostile += check_widgets(window)
        hover_everywhere(window)
        assert not window.grab().isNull()
    window.session.noticed.emit(HOSTILE)
    spin()
    hostile += check_widgets(window)
    window.acts.settings.remember_file(path)
    menu = menus.build_full_menu(window.acts)
    for part in (menu, *menu.findChildren(QMenu)):
        for action in part.actions():
            assert_plain_text(action.toolTip(), "menu")
    for text in tooltips:
        assert_plain_text(text, "tooltip")
    assert hostile + sum("&lt;img" in text for text in tooltips) >= 3
    assert not BAD.search(window.windowTitle())
    window.perform_id("copy")
    close(window)


def test_no_row_of_the_episode_list_shows_hostile_text_as_rich_text(app: QApplication, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for number in range(2):
        write_hostile(folder / f"<img src=x>{number}.h5")
    window = show(folder / "<img src=x>0.h5", tmp_path)
    window.open(folder)
    until(lambda: window.files.run is not None and window.files.run.episodes.current is not None)
    spin(0.3)
    run = window.files.run
    assert run is not None
    until(lambda: all(episode.prompts for episode in run.episodes.run.episodes), 30)
    spin(0.3)
    assert check_widgets(window) >= 2
    close(window)
