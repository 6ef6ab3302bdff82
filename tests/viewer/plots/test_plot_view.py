"""The base class of plots is set up for speed and leaves the mouse to its panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QGraphicsScene, QGraphicsView, QWidget

from viewer.plots.view import PlotView

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PySide6.QtGui import QMouseEvent


class PressRecorder(QWidget):
    """Notes the presses that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.presses: list[tuple[int, int]] = []
        self.resize(200, 100)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.presses.append(event.position().toPoint().toTuple())


@pytest.fixture
def panel(app: QApplication) -> Iterator[PressRecorder]:
    panel = PressRecorder()
    yield panel
    panel.close()


def test_view_is_fast_and_never_has_the_focus(panel: PressRecorder) -> None:
    view = PlotView(panel)
    assert view.viewportUpdateMode() == QGraphicsView.ViewportUpdateMode.FullViewportUpdate
    assert view.cacheMode() == QGraphicsView.CacheModeFlag.CacheNone
    assert view.scene().itemIndexMethod() == QGraphicsScene.ItemIndexMethod.NoIndex
    assert view.optimizationFlags() & QGraphicsView.OptimizationFlag.DontSavePainterState
    assert view.viewport().testAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
    assert view.focusPolicy() == view.viewport().focusPolicy() == Qt.FocusPolicy.NoFocus


def test_mouse_reaches_the_panel_below_the_view(panel: PressRecorder) -> None:
    view = PlotView(panel)
    view.setGeometry(50, 20, 100, 60)
    panel.show()
    assert panel.childAt(100, 50) is None
    window = panel.windowHandle()
    QTest.mouseClick(window, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(100, 50))
    assert panel.presses == [(100, 50)]
