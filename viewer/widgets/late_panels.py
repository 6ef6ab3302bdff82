"""Panels that the first picture does not show: made when they are first needed, or after that picture was painted."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, TypeVar

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from viewer.rendering import theme
from viewer.widgets.column_parts import TabStack
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from viewer.controllers.effects.effects_controller import EffectsController
    from viewer.controllers.regions.regions_controller import RegionsController
    from viewer.controllers.session import Session
    from viewer.widgets.effects.effect_tab import EffectTab
    from viewer.widgets.heads_wall import HeadsWallPanel
    from viewer.widgets.panels.action_chart import ActionChart
    from viewer.widgets.regions.region_list import RegionList

NO_FOCUS: Final = Qt.FocusPolicy.NoFocus
NAMES: Final = ("regions", "effect", "action_chart", "wall")
TabPanel = TypeVar("TabPanel", bound=QWidget)


class LatePanels(QWidget):
    """Makes a panel, and imports its module, on first access: not before the first picture, which shows none."""

    save_requested = Signal()
    """The wall of heads is to be saved as a picture."""

    def __init__(self, session: Session, effects: EffectsController, regions: RegionsController) -> None:
        super().__init__()
        self.session = session
        self._effects, self._regions = effects, regions
        self.stack = TabStack()
        """The tabs under the token strips."""
        self.front = QStackedWidget()
        """The left column, and the page with the wall of heads."""
        self.last_of_tabs: QWidget | None = None
        """The widget on the tabs that the Tab key comes to last."""

    @cached_property
    def regions(self) -> RegionList:
        """The tab of named regions."""
        from viewer.widgets.regions.region_list import RegionList

        return self._add_tab(RegionList(self.session, self._regions))

    @cached_property
    def effect(self) -> EffectTab:
        """The tab of measured effects."""
        from viewer.widgets.effects.effect_tab import EffectTab

        return self._add_tab(EffectTab(self.session, self._effects))

    @cached_property
    def action_chart(self) -> ActionChart:
        """The tab of predicted and true actions."""
        from viewer.widgets.panels.action_chart import ActionChart

        return self._add_tab(ActionChart(self.session))

    @cached_property
    def wall(self) -> HeadsWallPanel:
        """The wall of heads, on a page that takes the place of the left column."""
        from viewer.widgets.heads_wall import HeadsWallPanel

        wall, page = HeadsWallPanel(self.session), QWidget()
        around = QVBoxLayout(page)
        around.setContentsMargins(theme.MARGIN, 10, theme.MARGIN, 6)
        around.addWidget(wall)
        self.front.addWidget(page)
        self._show_file(page)
        wall.save_requested.connect(self.save_requested)
        return wall

    def make_late_panels(self) -> Iterator[None]:
        """Make the panels that are not there yet, one in each step of the iteration."""
        for name in NAMES:
            getattr(self, name)
            yield

    def _add_tab(self, panel: TabPanel) -> TabPanel:
        """Put a panel on the stack of tabs, behind the other tabs also in the order of the Tab key."""
        self.stack.addWidget(panel)
        for widget in list_focusable(panel):
            if self.last_of_tabs is not None:
                QWidget.setTabOrder(self.last_of_tabs, widget)
            self.last_of_tabs = widget
        self._show_file(panel)
        return panel

    def _show_file(self, part: QWidget) -> None:
        """Show the open file, whose opening came before the panels of `part` were there."""
        if self.session.results is None:
            return
        panels = [part] if isinstance(part, Panel) else []
        for panel in (*panels, *part.findChildren(Panel)):
            panel.reload()

    def made_panels(self, names: Iterable[str]) -> list[Any]:
        """Return those of the named panels that have been made."""
        return [vars(self)[name] for name in names if name in vars(self)]


def list_focusable(part: QWidget) -> list[QWidget]:
    """Return the widgets of a part that can have the keyboard's focus, in the order in which they were made.

    Not by `nextInFocusChain`: PySide lets each widget keep the next one alive, the window itself after the last one.
    """
    widgets: list[QWidget] = [part, *part.findChildren(QWidget)]
    return [widget for widget in widgets if widget.focusPolicy() != NO_FOCUS]
