"""The base class of plots is set up for speed and leaves keys, tooltips and menus to its panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from PySide6.QtCore import QEvent, QPoint, Qt
from PySide6.QtGui import QColor, QContextMenuEvent, QHelpEvent, QPalette
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QGraphicsScene, QGraphicsView, QWidget

from viewer.plots.view import PlotView
from viewer.rendering import drawing

if TYPE_CHECKING:
    from collections.abc import Iterator


class Recorder(QWidget):
    """Notes the events that reach it."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[int, int]]] = []
        self.resize(200, 100)

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            self.seen.append(("tooltip", event.pos().toTuple()))
        return super().event(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.seen.append(("menu", event.pos().toTuple()))


@pytest.fixture
def panel(app: QApplication) -> Iterator[Recorder]:
    made = Recorder()
    yield made
    made.close()


@pytest.mark.parametrize("receives_mouse", [True, False])
def test_view_is_fast_and_never_has_the_focus(panel: Recorder, receives_mouse: bool) -> None:
    view = PlotView(panel, receives_mouse=receives_mouse)
    assert view.viewportUpdateMode() == QGraphicsView.ViewportUpdateMode.FullViewportUpdate
    assert view.cacheMode() == QGraphicsView.CacheModeFlag.CacheNone
    assert view.scene().itemIndexMethod() == QGraphicsScene.ItemIndexMethod.NoIndex
    assert view.optimizationFlags() & QGraphicsView.OptimizationFlag.DontSavePainterState
    assert view.viewport().testAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
    assert view.focusPolicy() == view.viewport().focusPolicy() == Qt.FocusPolicy.NoFocus


def test_tooltips_and_menu_of_a_plot_with_the_mouse_reach_the_panel(panel: Recorder) -> None:
    view = PlotView(panel, receives_mouse=True)
    view.setGeometry(50, 20, 100, 60)
    panel.show()
    port = view.viewport()
    QApplication.sendEvent(port, QHelpEvent(QEvent.Type.ToolTip, QPoint(3, 4), port.mapToGlobal(QPoint(3, 4))))
    QApplication.sendEvent(port, QContextMenuEvent(QContextMenuEvent.Reason.Mouse, QPoint(3, 4), QPoint()))
    assert panel.seen == [("tooltip", (53, 24)), ("menu", (53, 24))]


def test_mouse_passes_through_a_plot_without_it(panel: Recorder) -> None:
    view = PlotView(panel, receives_mouse=False)
    view.setGeometry(50, 20, 100, 60)
    panel.show()
    assert panel.childAt(100, 50) is None
    QTest.mouseClick(panel, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, QPoint(100, 50))


def test_background_is_the_panels_also_after_a_change_of_the_theme(panel: Recorder) -> None:
    view = PlotView(panel, receives_mouse=False)
    assert view.backgroundBrush().color() == drawing.ground(panel)
    palette = panel.palette()
    palette.setColor(QPalette.ColorRole.Window, QColor("#123456"))
    panel.setPalette(palette)
    view.restyle()
    assert view.backgroundBrush().color() == QColor("#123456")
