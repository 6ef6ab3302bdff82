"""Layout of the panels: pictures and strips at the left, numbers at the right, folded in a narrow window."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QSplitter, QWidget

from viewer.controllers.frame_series import FrameSeries
from viewer.controllers.prefetch import Prefetch
from viewer.rendering import theme
from viewer.widgets.column_handles import ColumnHandles
from viewer.widgets.column_parts import Hairline, SideColumn
from viewer.widgets.controls.tabs import Tabs
from viewer.widgets.late_panels import LatePanels, list_focusable
from viewer.widgets.left_column import LeftColumnLayout, PreferredHeights
from viewer.widgets.panels.atlas import Atlas
from viewer.widgets.panels.axis_sliders import AxisSliders
from viewer.widgets.panels.camera_grid import CameraGrid
from viewer.widgets.panels.chip_lines import LINE
from viewer.widgets.panels.curves import CurvesPanel
from viewer.widgets.panels.film import FilmPanel
from viewer.widgets.panels.heat_panel import HeatPanel
from viewer.widgets.panels.mass_bar import MassBar
from viewer.widgets.panels.prompt_row import PromptRow
from viewer.widgets.panels.region_ranking import RegionRanking
from viewer.widgets.panels.sentence import Sentence
from viewer.widgets.panels.timeline import Timeline
from viewer.widgets.panels.token_strips import TokenStrips
from viewer.widgets.pin_strip import PinStrip

if TYPE_CHECKING:
    from PySide6.QtGui import QImage

    from viewer.controllers.effects.effects_controller import EffectsController
    from viewer.controllers.regions.regions_controller import RegionsController
    from viewer.controllers.session import Session
    from viewer.controllers.worker import Worker
    from viewer.model.view_state import ViewState

FOLD_WIDTH = 1028
"""Below this width the right column becomes tabs: in a window of 1024, but not in one of 1280 with an episode list."""
MIN_SIDE, MAX_SIDE = 300, 460
"""Pixels of the right column, in a window of usual size: room for its widest row beside a scroll bar."""
MOST_OF_SIDE = 0.38
"""Largest part of the width that the right column takes by itself, where one picture leaves width unused."""
LEAST_LEFT = 980
"""Pixels that it leaves to the left column then."""
PICTURES_SHARE = 0.56
"""Part of the left column's height that pictures usually have."""
SIDE_BY_SIDE_HEIGHT = 1100
"""In a lower column, two views side by side take the space of the tab panels."""
TABS = (
    ("film", "Film"), ("region_ranking", "Who looks here?"), ("regions", "Regions"), ("effect", "Effect"),
    ("action_chart", "Actions"), ("time", "Time"), ("mass", "Weight"), ("atlas", "Heads"), ("curves", "Masses"),
    ("heat", "Heat"),
)  # fmt: skip
TABS_OF_WIDE_WINDOW = 5
"""So many of them are tabs in a window of usual width, too; the others stand in the right column there."""


class PanelLayout(LatePanels):
    """Lays out all panels that show the open file.

    Left: pictures, sentence, tokens, tabs, timeline, sliders. Right: attention mass, heads, curves, colour scale. In a
    narrow window the panels of the right column are tabs, too.
    """

    folded = Signal(bool)

    def __init__(
        self, session: Session, worker: Worker, effects: EffectsController, regions: RegionsController
    ) -> None:
        super().__init__(session, effects, regions)
        self.frame_series = FrameSeries(session, worker, self)
        self.prefetch = Prefetch(session, worker, self.frame_series, self)
        self.camera_grid = CameraGrid(session)
        self.pin_strip = PinStrip(session)
        self.sentence = Sentence(session)
        self.prompts = PromptRow(session, self.frame_series)
        self.strips = TokenStrips(session)
        self.film = FilmPanel(session, worker, self.frame_series)
        self.region_ranking = RegionRanking(session, worker)
        self.timeline = Timeline(session, self.frame_series)
        self.axes = AxisSliders(session)
        self.mass = MassBar(session)
        self.atlas = Atlas(session)
        self.curves = CurvesPanel(session, self.frame_series)
        self.curves.link_with(self.timeline)
        self.heat = HeatPanel(session)
        self.is_folded = False
        self.current_tab = "film"
        self.tabs_folded = False
        self.pictures_only = False
        self._is_side_by_side = False
        self._is_splitter_set = False
        self._build()
        self.tabs.show_only(set(self.tab_names))
        self.show_tab("film")
        session.changed.connect(self._on_changed)
        session.opened.connect(self._update_side_by_side)
        session.opened.connect(self._show_wall)
        session.opened.connect(self._place_splitter)

    def _build(self) -> None:
        margin = theme.MARGIN
        self.line, self.last_line = Hairline(), Hairline()
        self.tabs = Tabs("Panel", TABS)
        self.tabs.chosen.connect(self._tab_clicked)
        self.tabs.add_at_end(self.film.note)
        self.tabs.add_at_end(self.film.mode)
        self.stack.addWidget(self.film)
        self.stack.addWidget(self.region_ranking)
        self.last_of_tabs = list_focusable(self.region_ranking)[-1]
        self.stack.least = self.region_ranking.minimumHeight()  # comes forward with a new region
        self.main = QWidget()
        self.left = LeftColumnLayout(self.main, self._preferred_heights, 5)
        self.left.setContentsMargins(margin, 10, margin, 4)
        self.left.flexible = (self.camera_grid, self.strips, self.stack, self.timeline)
        self.left.rules = {self.line: self.timeline}
        self.left.find_aside, self.left.width_within = self._find_aside, self.camera_grid.width_within
        for widget in (
            self.pin_strip, self.camera_grid, self.sentence, self.prompts, self.strips, self.tabs, self.stack,
            self.line, self.timeline, self.last_line, self.axes,
        ):  # fmt: skip
            self.left.addWidget(widget)
        self.handles = ColumnHandles(self.left, self.camera_grid, self.strips, self.main)
        self.side = SideColumn()
        self.splitter = QSplitter(Qt.Orientation.Horizontal)
        self.splitter.setChildrenCollapsible(False)
        self.splitter.setHandleWidth(1)
        self.front.addWidget(self.main)
        self.splitter.addWidget(self.front)
        self.side_scroll = QScrollArea()  # of a low window, which squeezes no panel below its minimum
        self.side_scroll.setWidget(self.side)
        self.side_scroll.setWidgetResizable(True)
        self.side_scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        self.side_scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.side_scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.side_scroll.verticalScrollBar().setStyleSheet(theme.sheet())
        self.splitter.addWidget(self.side_scroll)
        self.splitter.setStretchFactor(0, 1)
        self.splitter.setStretchFactor(1, 0)
        whole = QHBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.addWidget(self.splitter)
        self.splitter.splitterMoved.connect(self._on_splitter_moved)
        self._fill_side()

    def _on_splitter_moved(self) -> None:
        self._is_splitter_set = True

    def _preferred_heights(self, width: int) -> PreferredHeights:
        """Return the preferred heights of the panels of the left column at a width."""

        def within(most: int) -> int:
            return self.camera_grid.height_within(width, most)

        pictures, lines = self.camera_grid.height_at(width), self.strips.lines
        if self.pictures_only:
            return PreferredHeights(pictures, within, 0, LINE, (0, 0), (0, 0, 0))
        chips_height = lines.height() if self.left.chosen.prompt_lines is not None else lines.preferred_height()
        return PreferredHeights(
            pictures,
            within,
            chips_height,
            LINE,
            (0, 0) if self.tabs_folded else self.stack.heights(),
            (0, 0, 0) if self.is_folded else self.timeline.heights(),
            lines.count["action"] * LINE,
        )

    def _find_aside(self) -> QWidget | None:
        """Return what is placed beside two views where they leave room: the sentences that tell them apart."""
        return self.sentence if self.camera_grid.beside and not self.pictures_only else None

    def _fill_side(self) -> None:
        for place, (panel, stretch) in enumerate(((self.mass, 0), (self.atlas, 3), (self.curves, 1), (self.heat, 0))):
            self.side.panels.insertWidget(place, panel, stretch)
            panel.show()
        self.side_scroll.setMinimumWidth(MIN_SIDE)
        self.side.setMinimumWidth(MIN_SIDE - 20)  # beside a scroll bar; panels take less than they ask for

    def resizeEvent(self, event: QResizeEvent) -> None:
        narrow = self.width() < FOLD_WIDTH
        if narrow != self.is_folded:
            self._fold(narrow)
        self._place_splitter()
        super().resizeEvent(event)

    def _place_splitter(self) -> None:
        """Give the right column its width: what the user chose, or its share and what the pictures cannot use."""
        width = self.width()
        self.side_scroll.setMaximumWidth(max(MAX_SIDE, round(width * MOST_OF_SIDE)))
        if self.is_folded or self._is_splitter_set:
            return
        side = min(max(round(width * 0.21), MIN_SIDE), 400)
        if len(self.camera_grid.panes) == 1:  # it is as high as it can be and leaves width unused
            used = self.camera_grid.width_within(width - side, round(self.main.height() * PICTURES_SHARE))
            most = min(round(width * MOST_OF_SIDE), width - LEAST_LEFT)
            side = max(side, min(width - used - 2 * theme.MARGIN - 1, most))
        self.splitter.setSizes([width - side, side])

    def _fold(self, narrow: bool) -> None:
        self.is_folded = narrow
        self.tabs.buttons["region_ranking"].relabel("Ranking" if narrow else dict(TABS)["region_ranking"])
        moving = (self.timeline, self.mass, self.atlas, self.curves, self.heat)
        if narrow:
            for panel in moving:
                self.stack.addWidget(panel)
        else:
            for panel in moving:
                self.stack.removeWidget(panel)
            self.left.insert(self.left.indexOf(self.line) + 1, self.timeline)
            self._fill_side()
        self.tabs.show_only(set(self.tab_names))
        self._show_tab_folded(self.current_tab if self.current_tab in self.tab_names else "film", self.tabs_folded)
        self.folded.emit(narrow)

    @property
    def tab_names(self) -> list[str]:
        """Names of the panels under the token strips that are shown as tabs, in their order."""
        return [name for name, _ in TABS][: None if self.is_folded else TABS_OF_WIDE_WINDOW]

    def _tab_panel(self, name: str) -> QWidget:
        panel: QWidget = getattr(self, "timeline" if name == "time" else name)
        return panel

    def show_tab(self, name: str) -> None:
        """Show one of the tab panels, unfolding them if need be."""
        if name in self.tab_names:
            self.current_tab = name
            self.stack.setCurrentWidget(self._tab_panel(name))
            self.fold_tabs(False)

    def fold_tabs(self, folded: bool) -> None:
        """Hide the tab panels, which leaves their space to the pictures, or show them again."""
        self.tabs_folded = folded
        self.tabs.show_value("" if folded else self.current_tab)
        self._update_visibility()

    def show_pictures_only(self, only: bool) -> None:
        """Hide all but the pictures, the pins and the sentence, or show everything again."""
        self.pictures_only = self.left.is_centred = only
        self._update_visibility()

    def _update_visibility(self) -> None:
        """Show and hide the parts of both columns."""
        shows_panels, is_wide = not self.pictures_only, not self.is_folded
        parts: tuple[QWidget, ...] = (self.strips, self.tabs, self.last_line, self.axes)
        for part in parts:
            part.setVisible(shows_panels)
        self.prompts.set_allowed(shows_panels)
        self.stack.setVisible(shows_panels and not self.tabs_folded)
        self.line.setVisible(shows_panels and is_wide)
        if is_wide:
            self.timeline.setVisible(shows_panels)
        self.side_scroll.setVisible(shows_panels and is_wide)
        for widget in (self.film.note, self.film.mode):
            widget.setVisible(not self.tabs_folded and self.current_tab == "film")
        self.left.invalidate()

    @property
    def has_value_norms(self) -> bool:
        """Whether the open file has value norms, which contributions need."""
        return self.heat.measure.buttons["contribution"].isEnabled()

    def name_region(self) -> None:
        """Show the named regions, and give the keyboard to the field for the name of the marked or chosen one."""
        self.show_tab("regions")
        self.regions.controls.name_region()

    def step_ranked(self, by: int) -> None:
        """Go to the next better or worse head of the atlas."""
        self.atlas.step_ranked(by)

    def next_score(self) -> None:
        """Rank the atlas by the next score."""
        self.atlas.next_score()

    def toggle_uniform(self) -> None:
        """Show weights as multiples of the uniform weight, or as they are."""
        self.heat.uniform.toggle()

    def lock_range(self) -> None:
        """Lock the colour range that is shown."""
        self.heat.range.chosen.emit("locked")

    @property
    def is_zoom_linked(self) -> bool:
        """Whether all pictures are zoomed together."""
        return self.camera_grid.is_zoom_linked

    def link_zoom(self, linked: bool) -> None:
        """Zoom all pictures together, or each for itself."""
        self.camera_grid.link_zoom(linked)

    def reset_zoom(self) -> None:
        """Show every picture as a whole."""
        self.camera_grid.reset_zoom()

    def render_picture(self) -> QImage:
        """Return the pictures, sentence and strips as an image at twice the size."""
        from viewer.widgets.view_picture import render_view

        return render_view(self)

    def describe_view(self) -> str:
        """Return the view as JSON, as it is put into a saved picture."""
        from viewer.widgets.view_picture import describe_view

        return describe_view(self)

    def _show_tab_folded(self, name: str, folded: bool) -> None:
        self.show_tab(name)
        self.fold_tabs(folded)

    def _tab_clicked(self, name: str) -> None:
        if name == self.current_tab and not self.tabs_folded:
            self.fold_tabs(True)
        else:
            self.show_tab(name)

    def _show_wall(self) -> None:
        """Show the wall of heads in place of the left column, or the left column."""
        page = self.main if self.session.state.wall == "off" else self.wall.parentWidget()
        assert page is not None
        self.front.setCurrentWidget(page)

    def _on_changed(self, before: ViewState, after: ViewState) -> None:
        self._show_wall()
        self._update_side_by_side()
        had, has = (bool(view.region or view.region_name) for view in (before, after))
        if had != has:
            if has and self.current_tab == "film":
                self.show_tab("region_ranking")
            elif not has and self.current_tab == "region_ranking":
                self._show_tab_folded("film", self.tabs_folded or self._needs_tab_space())

    def _update_side_by_side(self) -> None:
        """Fold or unfold the tab panels after a second view was put beside the first, or was closed."""
        if self.camera_grid.beside != self._is_side_by_side:
            self._is_side_by_side = self.camera_grid.beside
            self.fold_tabs(self._needs_tab_space())

    def _needs_tab_space(self) -> bool:
        return self._is_side_by_side and self.main.height() < SIDE_BY_SIDE_HEIGHT

    def restyle(self) -> None:
        """Apply the theme's colours where they are kept between paints."""
        self.side.restyle()
        self.side_scroll.verticalScrollBar().setStyleSheet(theme.sheet())
        for scrolled in (self.strips, self.region_ranking, *self.made_panels(["regions"])):
            scrolled.restyle()
        for panel in (self.film, self.atlas, *self.made_panels(["wall"])):
            panel.reload()

    def reset_sizes(self) -> None:
        """Forget what the user chose by dragging handles."""
        self.handles.reset()
        self._is_splitter_set = False
        self._place_splitter()

    @property
    def has_chosen_width(self) -> bool:
        """Whether the user chose the width of the right column."""
        return self._is_splitter_set

    def splitters(self) -> QByteArray:
        """Return the state of the splitter."""
        return self.splitter.saveState()

    def restore(self, across: QByteArray, heights: str) -> None:
        """Restore the state of the splitter, and the heights of the left column."""
        self.handles.restore(heights)
        if not across.isEmpty() and self.splitter.restoreState(across):
            self._is_splitter_set = True
