"""Show, drive and close a main window in tests."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from PySide6.QtCore import QCoreApplication, QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QWidget

from viewer.controllers.settings import Settings
from viewer.io.results import Results
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def spin(seconds: float = 0.05) -> None:
    """Run the event loop for `seconds`, and at least 20 times, so that chains of 0 ms timers end on a busy machine."""
    end, turns = time.monotonic() + seconds, 20 if seconds else 1
    while True:
        QCoreApplication.processEvents()
        turns -= 1
        if turns <= 0 and time.monotonic() > end:
            return
        time.sleep(0.002)


def press(window: MainWindow, key: Qt.Key, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    """Send a key to the window."""
    QTest.keyClick(window, key, modifiers)
    spin(0.01)


def turn_wheel(widget: QWidget, point: QPointF, notches: float) -> None:
    """Turn the wheel over a point of a widget, away from the user where `notches` is positive."""
    no_buttons = Qt.MouseButton.NoButton, Qt.KeyboardModifier.NoModifier
    turned = QPoint(0, round(120 * notches))
    widget.wheelEvent(
        QWheelEvent(
            point, widget.mapToGlobal(point), QPoint(), turned, *no_buttons, Qt.ScrollPhase.NoScrollPhase, False
        )
    )
    spin(0.02)


def double_click(widget: QWidget, point: QPoint | None = None) -> None:
    """Double-click with the left button, in the middle of the widget without `point`."""
    point = widget.rect().center() if point is None else point
    button, no_modifier = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    QTest.mouseDClick(widget, button, no_modifier, point)
    QTest.mouseRelease(widget, button, no_modifier, point)  # else Qt holds it pressed, for all windows of later tests


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Run the event loop until a condition holds; fail after `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        QCoreApplication.processEvents()
        assert time.monotonic() < end, f"the condition did not hold within {seconds} s"
        time.sleep(0.002)


def show(
    path: Path, folder: Path, size: tuple[int, int] = (1280, 800), *, plots: bool = True, **view: object
) -> MainWindow:
    """Return a visible window with an open file; `view` changes fields of the view.

    `plots` waits until pyqtgraph is loaded and the plots are built, unless the file has a page instead of panels;
    without it, panels paint all themselves.
    """
    settings = Settings(folder / "settings.ini")
    settings.set_text("toured", "yes")
    window = MainWindow(settings)
    window.resize(*size)
    window.show_results(Results(path), False)
    if not plots:
        window.panels.removeEventFilter(window.plot_loader)
    window.show()
    if view:
        window.session.update(**view)
    spin()
    until(lambda: not plots or window.plot_loader.is_done or window.stack.currentWidget() is window.page)
    settle(window)
    return window


def settle(window: MainWindow) -> None:
    """Run the event loop until the geometry of all widgets is stable."""
    stable, last = 0, None
    while stable < 5:
        QCoreApplication.processEvents()
        now = [child.geometry().getRect() for child in window.findChildren(QWidget)]
        stable, last = (stable + 1 if now == last else 0), now


def wait_until_idle(window: MainWindow) -> None:
    """Wait until the last changes are shown, with the worker's answers to them."""
    spin(0.01)  # the session announces a change from its event loop, and what it needs is then asked of the worker
    until(lambda: not window.panels.frame_series._timer.isActive())
    if window.worker._pool is not None:
        window.worker._pool.submit(lambda: None).result(20)
    spin()


def check_screen(window: MainWindow, what: str) -> None:
    """Fail unless the screen shows what a complete repaint would show, at the latest when the worker has answered.

    What is not repainted stays wrong; what comes between the two pictures is in both of the next ones.
    """
    screen = QApplication.primaryScreen()
    for _ in range(20):
        wait_until_idle(window)
        shown = screen.grabWindow(window.winId()).toImage()
        whole = window.grab().toImage()
        if shown.convertToFormat(whole.format()) == whole:
            return
    raise AssertionError(f"not all was repainted after this change: {what}")


def close(window: MainWindow) -> None:
    """Close and delete the window."""
    window.close()
    window.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)


def close_overlays(window: MainWindow) -> None:
    """Close menus and overlays, which would take all further events, and stop playback."""
    for widget in QApplication.topLevelWidgets():
        if widget is not window and widget.isVisible():
            widget.close()
    if window.overlays.overlay is not None:
        window.overlays.overlay.close()
    window.playback.stop()
