"""List of the named regions: name, colour, in how many frames each is known, and where tracking lost it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from PySide6.QtCore import QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QResizeEvent, QShowEvent, QWheelEvent
from PySide6.QtWidgets import QSizePolicy

from viewer.analysis.caption import format_camera
from viewer.model.plain_text import clean_text, plain_tooltip
from viewer.rendering import drawing, theme
from viewer.widgets.controls.line_scroll_bar import SCROLL_WIDTH, LineScrollBar
from viewer.widgets.panels.panel import Panel
from viewer.widgets.regions.region_controls import HEIGHT, RegionControls

if TYPE_CHECKING:
    from PySide6.QtWidgets import QWidget

    from viewer.controllers.regions.regions_controller import RegionsController
    from viewer.controllers.session import Session
    from viewer.regions.known_patches import NamedPatches

LINE: Final = 22
LEAST_LINES: Final = 2
"""Lines that it always has room for: with the controls no more than other tabs need, so that pictures stay in place."""
PREFERRED_LINES: Final = 6
COLUMNS: Final = ((0.24, "region"), (0.36, "known in"), (0.40, "lost by tracking"))
HINT: Final = "No regions yet: drag a box on a picture, or paint patches with Shift, and give them a name here."


class Row(NamedTuple):
    """Texts of a line of the list."""

    name: str
    color: str
    known: str
    """In how many frames, and of which cameras."""
    lost: str
    """Where tracking lost the region first."""
    stop: tuple[int, str, str] | None
    """Frame, camera and reason of that."""
    tooltip: str


def make_row(region: NamedPatches, frames: int) -> Row:
    """Return the line of a region in a file of so many frames."""
    cameras = ", ".join(f"{format_camera(name)} {len(patches.cells)}" for name, patches in region.cameras.items())
    coverage = f"{len(region.frames)} of {frames} frames" + (f" ({cameras})" if cameras else "")
    stops = region.stops
    lost = "" if not stops else f"frame {stops[0][0]}, {format_camera(stops[0][1])}: {stops[0][2]}"
    if len(stops) > 1:
        lost += f" · {len(stops) - 1} more"
    cells = [
        f"{region.name}: known in {coverage}",
        *(f"lost at frame {frame} in {name}: {why}" for frame, name, why in stops),
    ]
    return Row(
        clean_text(region.name), region.color, clean_text(coverage), clean_text(lost), stops[0] if stops else None,
        plain_tooltip("\n".join(cells)),
    )  # fmt: skip


class RegionList(Panel):
    """Lists the regions; a click chooses one, a click on where it was lost goes there."""

    watched_fields = frozenset({"frame", "region", "region_name"})
    HEADING = 22
    FOOT = HEIGHT

    def __init__(self, session: Session, regions: RegionsController, parent: QWidget | None = None) -> None:
        super().__init__(session, "Named regions", parent)
        self.regions = regions
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setMinimumHeight(self.HEADING + LEAST_LINES * LINE + self.FOOT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.rows: list[Row] = []
        self.top = 0
        self.at = 0
        """The line that the keyboard is at."""
        self.scroll_bar = LineScrollBar("Lines of the list of regions", self)
        self.scroll_bar.valueChanged.connect(self.scroll_to)
        self._controls: RegionControls | None = None
        self.restyle()
        session.regions_changed.connect(self.reload)
        regions.changed.connect(self.reload)
        regions.process.changed.connect(self.refresh)

    def sizeHint(self) -> QSize:
        return QSize(600, self.HEADING + PREFERRED_LINES * LINE + self.FOOT)

    def restyle(self) -> None:
        """Apply the theme's colours to the scroll bar."""
        self.scroll_bar.setStyleSheet(theme.sheet())
        if self._controls is not None:
            self._controls.restyle()

    @property
    def controls(self) -> RegionControls:
        """The row of controls; made when it is first needed, as that takes 2 ms, which the window's start is spared."""
        if self._controls is None:
            self._controls = RegionControls(self.session, self.regions, self)
            self._place_controls()
            self._controls.refresh()
            self._controls.show()
        return self._controls

    def _place_controls(self) -> None:
        if self._controls is not None:
            self._controls.setGeometry(0, self.height() - HEIGHT, self.width(), HEIGHT)

    def showEvent(self, event: QShowEvent) -> None:
        self.controls.refresh()
        super().showEvent(event)

    # Content

    def load(self) -> None:
        known_patches, results = self.session.regions, self.session.results
        regions = [] if known_patches is None or results is None else list(known_patches.regions.values())
        self.rows = [make_row(region, results.done) for region in regions if results is not None]
        self.at = min(self.at, max(len(self.rows) - 1, 0))
        self.scroll_to(self.top)

    def refresh(self) -> None:
        if self._controls is not None:
            self._controls.refresh()
        self.schedule_description()
        self.update()

    def describe(self) -> None:
        self.setAccessibleDescription("; ".join(f"{row.name}: {row.known}" for row in self.rows) or self.message())

    def message(self) -> str:
        """Return what stands in place of the lines; empty if there are some."""
        if self.rows:
            return ""
        return self.regions.problem or ("Reading the regions …" if self.regions.is_reading else HINT)

    # Lines

    def visible(self) -> int:
        """Return how many lines fit."""
        return max((self.height() - self.HEADING - self.FOOT) // LINE, 1)

    def scroll_to(self, top: int) -> None:
        """Scroll so that a line is the first."""
        self.top = self.scroll_bar.show_lines(top, len(self.rows), self.visible())
        self.scroll_bar.place(self.width(), self.HEADING, self.height() - self.FOOT)
        self.update()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place_controls()
        self.scroll_to(self.top)

    def edges(self) -> list[tuple[float, float]]:
        """Return left end and width of each column, in pixels."""
        edges, left, room = [], 0.0, self.width() - SCROLL_WIDTH
        for part, _ in COLUMNS:
            edges.append((left, part * room))
            left += part * room
        return edges

    def row_at(self, point: QPointF) -> int | None:
        """Return the number of the line at a point; None if there is none."""
        y = point.y() - self.HEADING
        if not 0 <= y < self.visible() * LINE:
            return None
        number = self.top + int(y // LINE)
        return number if number < len(self.rows) else None

    # Painting

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, message = theme.active(), self.message()
        self.fill_background(painter, area)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if message:
            drawing.write(painter, QRectF(0, 4, self.width(), 22), message, colors.secondary, 13)
            return
        edges = self.edges()
        for (left, width), (_, title) in zip(edges, COLUMNS, strict=True):
            drawing.write(painter, QRectF(left, 0, width - 8, 20), title, colors.secondary, 12)
        for number in range(self.top, min(self.top + self.visible(), len(self.rows))):
            self._paint_row(painter, number, edges)

    def _paint_row(self, painter: QPainter, number: int, edges: list[tuple[float, float]]) -> None:
        colors, row, y = theme.active(), self.rows[number], self.HEADING + (number - self.top) * LINE
        is_chosen = row.name == clean_text(self.shown.region_name)
        if is_chosen or (self.hasFocus() and number == self.at):
            whole = QRectF(-4, y, self.width() - SCROLL_WIDTH, LINE - 1)
            drawing.fill(painter, whole, theme.color(colors.hover), 4)
        boxes = [QRectF(x, y, width - 8, LINE) for x, width in edges]
        drawing.fill(painter, QRectF(2, y + LINE / 2 - 5, 10, 10), theme.color(row.color), 3)
        drawing.write(painter, boxes[0].adjusted(20, 0, 0, 0), row.name, colors.text, 13, bold=is_chosen)
        drawing.write(painter, boxes[1], row.known, colors.text, 13)
        drawing.write(painter, boxes[2], row.lost, colors.accent_text, 13)

    # Mouse and keyboard

    def choose(self, number: int) -> None:
        """Make the region of a line the view's; clear it if it already is."""
        self.at = number
        name = self.rows[number].name
        if self.session.state.region_name == name:
            self.session.update(region=())
        else:
            self.session.update(region_name=name)

    def go_to_stop(self, number: int) -> None:
        """Choose the region of a line and show the frame at which tracking lost it."""
        self.at = number
        row = self.rows[number]
        if row.stop is not None:
            self.session.update(region_name=row.name, frame=row.stop[0])

    def mousePressEvent(self, event: QMouseEvent) -> None:
        number = self.row_at(event.position())
        if number is None or event.button() != Qt.MouseButton.LeftButton:
            return
        if event.position().x() >= self.edges()[2][0] and self.rows[number].lost:
            self.go_to_stop(number)
        else:
            self.choose(number)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        number = self.row_at(event.position())
        self.setToolTip("" if number is None else self.rows[number].tooltip)
        is_link = number is not None and bool(self.rows[number].lost) and event.position().x() >= self.edges()[2][0]
        self.setCursor(Qt.CursorShape.PointingHandCursor if is_link else Qt.CursorShape.ArrowCursor)

    def wheelEvent(self, event: QWheelEvent) -> None:
        self.scroll_to(self.top + (-1 if event.angleDelta().y() > 0 else 1))
        event.accept()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}
        if Qt.Key(event.key()) in moves and self.rows:
            self.at = min(max(self.at + moves[Qt.Key(event.key())], 0), len(self.rows) - 1)
            if not self.top <= self.at < self.top + self.visible():
                self.scroll_to(self.at - self.visible() // 2)
            self.update()
        elif event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter} and self.rows:
            self.choose(self.at)
        else:
            super().keyPressEvent(event)
