"""Random commands, keys and mouse events on a real window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractSlider

from viewer.controllers import commands

if TYPE_CHECKING:
    import numpy as np

    from viewer.widgets.main_window import MainWindow

MODAL = {"open", "effects", "folder", "save", "second", "quit", "close", "demo", "full", "forget"}
KEYS = [
    Qt.Key.Key_Left,
    Qt.Key.Key_Right,
    Qt.Key.Key_Up,
    Qt.Key.Key_Down,
    Qt.Key.Key_Space,
    Qt.Key.Key_Return,
    Qt.Key.Key_Tab,
    Qt.Key.Key_Escape,
    Qt.Key.Key_H,
    Qt.Key.Key_B,
    Qt.Key.Key_1,
    Qt.Key.Key_9,
    Qt.Key.Key_0,
    Qt.Key.Key_PageUp,
    Qt.Key.Key_Home,
]


def send_random_event(window: MainWindow, rng: np.random.Generator) -> str:
    """Send one random command, click, move, drag, key or resize to a window, and return its description."""
    kind = int(rng.integers(7))
    panels = window.panels
    panels = [
        *panels.camera_grid.panes,
        panels.strips,
        panels.film,
        panels.timeline,
        panels.mass,
        panels.atlas,
        panels.curves,
        panels.heat.bar,
        panels.region_ranking,
        panels.action_chart,
    ]
    panel = panels[int(rng.integers(len(panels)))]
    point = QPoint(int(rng.integers(max(panel.width(), 1))), int(rng.integers(max(panel.height(), 1))))
    if kind == 0:
        names = [command.id for command in commands.TABLE if command.id not in MODAL]
        name = names[int(rng.integers(len(names)))]
        window.perform_id(name)
        return name
    if kind == 1:
        modifiers = [
            Qt.KeyboardModifier.NoModifier,
            Qt.KeyboardModifier.ControlModifier,
            Qt.KeyboardModifier.ShiftModifier,
        ]
        QTest.mouseClick(panel, Qt.MouseButton.LeftButton, modifiers[int(rng.integers(3))], point)
        return f"click {panel.accessibleName()} {point.toTuple()}"
    if kind == 2:
        QTest.mouseMove(panel, point)
        return "move"
    if kind == 3:
        end = QPoint(int(rng.integers(max(panel.width(), 1))), int(rng.integers(max(panel.height(), 1))))
        QTest.mousePress(panel, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, point)
        QTest.mouseMove(panel, end)
        QTest.mouseRelease(panel, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, end)
        return f"drag {panel.accessibleName()}"
    if kind == 4:
        key = KEYS[int(rng.integers(len(KEYS)))]
        target = window.focusWidget() or window
        QTest.keyClick(target, key)
        return f"key {key}"
    if kind == 5:
        sliders = window.findChildren(QAbstractSlider)
        slider = sliders[int(rng.integers(len(sliders)))]
        slider.setValue(int(rng.integers(slider.minimum(), slider.maximum() + 1)))
        return "slider"
    if rng.random() < 0.15:
        window.resize(int(rng.integers(900, 1700)), int(rng.integers(600, 1000)))
    return "resize"
