"""The whole window: no text cut off at any size, partial repaints, errors in slots, and no leaks after closing."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QKeyEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QAbstractSlider, QLineEdit, QWidget
from window_driver import check_screen, close, press, show, spin

from viewer.analysis import scores
from viewer.model.view_state import Query
from viewer.rendering import theme
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.mark.parametrize("choice", ["dark", "light"])
@pytest.mark.parametrize("size", [(900, 600), (1024, 700), (1280, 800), (2560, 1440)])
def test_no_text_is_cut_off_at_any_size(
    app: QApplication, small: Path, tmp_path: Path, choice: str, size: tuple[int, int]
) -> None:
    window = show(small, tmp_path, size)
    window.set_theme(choice)
    spin()
    for deck in window.panels.tab_names:
        window.panels.show_tab(deck)
        spin(0.01)
        for widget in window.findChildren(QWidget):
            if widget.isVisible() and isinstance(widget, QAbstractButton | QAbstractSlider | QLineEdit):
                corner = widget.mapTo(window, QPoint(widget.width(), widget.height()))
                assert corner.x() <= size[0] + 1, widget.accessibleName()
                assert corner.y() <= size[1] + 1, widget.accessibleName()
                assert widget.width() >= min(widget.sizeHint().width(), 24), widget.accessibleName()
        assert window.panels.camera_grid.panes[0].area().height() > 60
    close(window)
    theme.apply("dark")


def test_everything_that_takes_the_focus_has_a_name(window: MainWindow) -> None:
    for widget in window.findChildren(QWidget):
        if widget.focusPolicy() & Qt.FocusPolicy.TabFocus and widget.isVisible():
            assert widget.accessibleName(), widget


def test_partial_repaint_equals_a_complete_one(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path)
    rng = np.random.default_rng(5)
    dims = window.session.dims
    changes: list[Callable[[], dict[str, object]]] = [
        lambda: {"layer": int(rng.integers(dims.layers))},
        lambda: {"heads": (int(rng.integers(dims.heads)),), "reduce": "mean"},
        lambda: {"heads": (), "reduce": str(rng.choice(["mean", "max"]))},
        lambda: {"step": int(rng.integers(dims.steps))},
        lambda: {"frame": int(rng.integers(dims.frames))},
        lambda: {"query": Query("action", (int(rng.integers(dims.actions)),))},
        lambda: {"query": Query("text", (int(rng.integers(dims.chips)),))},
        lambda: {"film": str(rng.choice(["layers", "steps"]))},
        lambda: {"score": str(rng.choice(list(scores.SCORES)))},
        lambda: {"colours": str(rng.choice(["inferno", "viridis"]))},
        lambda: {"thumbnails": bool(rng.integers(2))},
        lambda: {"curve": str(rng.choice(["steps", "layers", "frames"]))},
        lambda: {"left_out": ("bos",) if rng.integers(2) else ()},
        lambda: {"range": str(rng.choice(["shared", "map"])), "scale": str(rng.choice(["linear", "log", "rank"]))},
    ]
    for number in range(60):
        change = changes[int(rng.integers(len(changes)))]()
        window.session.update(**change)
        check_screen(window, f"{number}: {change}")
    close(window)


def test_error_in_a_slot_becomes_a_notice(
    app: QApplication, window: MainWindow, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import sys

    from viewer import __main__ as program

    monkeypatch.setattr(program, "log_path", lambda: tmp_path / "viewer.log")
    old = sys.excepthook
    program.catch_errors(window)
    monkeypatch.setattr(window.session, "update", lambda **changes: 1 / 0)
    # Posted, as the system does it: an error below QTest.keyClick ends the interpreter.
    app.postEvent(window, QKeyEvent(QEvent.Type.KeyPress, Qt.Key.Key_Up, Qt.KeyboardModifier.NoModifier))
    spin()
    sys.excepthook = old
    assert "Something went wrong" in window.notice.text
    for handler in list(program.log.handlers):
        program.log.removeHandler(handler)
        handler.close()
    assert "ZeroDivisionError" in (tmp_path / "viewer.log").read_text()
    monkeypatch.undo()
    press(window, Qt.Key.Key_Up)
    assert window.session.state.layer == 3


def test_closed_windows_leave_no_objects(app: QApplication, small: Path, tmp_path: Path) -> None:
    import pyqtgraph

    plots = (pyqtgraph.GraphicsView, pyqtgraph.GraphicsScene, pyqtgraph.GraphicsObject, pyqtgraph.GraphicsWidget)
    gc.collect()
    # By type: isinstance asks an object for its class, and torch's deprecated objects answer that with a warning.
    before = [candidate for candidate in gc.get_objects() if issubclass(type(candidate), plots)]
    references: list[weakref.ref[MainWindow]] = []
    for _ in range(15):
        window = show(small, tmp_path)
        window.overlays.show("help")
        assert window.overlays.overlay is not None
        QTest.keyClick(window.overlays.overlay, Qt.Key.Key_Tab)
        QTest.keyClick(window.overlays.overlay, Qt.Key.Key_Backtab)
        references.append(weakref.ref(window))
        close(window)
        del window
        spin(0.01)
    gc.collect()
    alive = [ref() for ref in references if ref() is not None]
    assert not alive
    assert len([w for w in app.topLevelWidgets() if isinstance(w, MainWindow)]) == 0
    known = set(map(id, before))
    assert not [
        candidate for candidate in gc.get_objects() if issubclass(type(candidate), plots) and id(candidate) not in known
    ]


def test_closed_window_is_freed_without_the_garbage_collector(app: QApplication, small: Path, tmp_path: Path) -> None:
    """The collector clears objects in any order, and Qt would then call handlers of objects without attributes."""
    window = show(small, tmp_path)
    reference = weakref.ref(window)
    gc.disable()
    try:
        window.close()
        del window
        assert reference() is None
    finally:
        gc.enable()
