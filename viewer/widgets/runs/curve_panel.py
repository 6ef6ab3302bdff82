"""The chosen head over the time of an episode: mean and interval, a line a group."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QPointF, QSize, Qt
from PySide6.QtGui import QContextMenuEvent, QFocusEvent, QKeyEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis.scores import find_score
from viewer.rendering import drawing
from viewer.rendering.axes import FONT, Axis, label_places
from viewer.rendering.runs.curve_chart import find_points, make_curve_chart, name_times
from viewer.runs.run_sentence import count_of, format_bare, format_number
from viewer.runs.run_table import list_curve_rows
from viewer.widgets.line_panel import LinePanel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viewer.controllers.runs.run_controller import RunController
    from viewer.controllers.session import Session
    from viewer.rendering.line_chart import LineChart
    from viewer.rendering.ticks import Tick
    from viewer.runs.answers import RunCurve


class RunCurvePanel(LinePanel):
    """Curves over normalised time; hovering or the arrow keys read every line, and there is no cursor."""

    HAS_LOADING_MARK = False

    def __init__(self, session: Session, controller: RunController, parent: QWidget | None = None) -> None:
        super().__init__(session, "Over the time of an episode", parent)
        self.controller = controller
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(110)
        self.setMaximumHeight(340)
        self._cached_chart: tuple[object, bool, LineChart] | None = None
        controller.cell_answered.connect(self.reload)

    def sizeHint(self) -> QSize:
        return QSize(360, 180)

    def _read_now(self, act: Callable[[], None], before: object = None) -> bool:
        act()  # nothing here is read from the open file
        return True

    @property
    def curve(self) -> RunCurve | None:
        """What is shown; None for nothing."""
        return None if self.controller.cell is None else self.controller.cell.curve

    def times(self) -> list[float]:
        """Return the time of each point, 0 to 1."""
        return [] if self.curve is None else self.curve.times[find_points(self.curve)].tolist()

    def make_chart(self) -> LineChart | None:
        curve = self.curve
        if curve is None or not curve.groups:
            return None
        if self._cached_chart is None or self._cached_chart[0] is not curve or self._cached_chart[1] != self._is_log:
            self._cached_chart = curve, self._is_log, make_curve_chart(curve, is_log=self._is_log)
        return self._cached_chart[2]

    def is_log(self) -> bool:
        return self._is_log

    def find_x_ticks(self, axis: Axis, room: float) -> tuple[Tick, ...]:
        names = [] if self.curve is None else name_times(self.curve)
        return label_places(names, axis, room, partial(drawing.width_of, pixels=FONT))

    def position(self) -> int | None:
        return None

    def go_to(self, point: int) -> None:
        """Do nothing: the plot has no cursor."""

    def select_at(self, point: QPointF) -> None:
        """Do nothing: a part of all episodes is no frame that could be opened."""

    def titles(self) -> tuple[str, str]:
        return "Over the time of an episode", "mean, 95 % interval"

    def point_title(self) -> str:
        return "time"

    def name_point(self, point: int) -> str:
        return f"{100 * self.times()[point]:.1f} % of the episode"

    def read_out_rows(self, point: int) -> list[tuple[str, str, str]]:
        curve, chart = self.curve, self._chart
        if curve is None or chart is None:
            return []
        score, part = find_score(curve.query.score), int(find_points(curve)[point])
        rows = []
        for group, line in zip(curve.groups, chart.lines, strict=True):
            low, high = format_bare(group.low[part], score), format_bare(group.high[part], score)
            counted = count_of(int(group.episodes[part]), "episode")
            text = f"{format_number(group.mean[part], score)} ({low} to {high}), {counted}"
            rows.append((line.color, line.name, text))
        return rows

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}
        key, last = Qt.Key(event.key()), self.point_count() - 1
        if key not in moves or last < 0 or event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier:
            super().keyPressEvent(event)
            return
        first = 0 if key == Qt.Key.Key_Right else last
        point = first if self.hovered is None else min(max(self.hovered + moves[key], 0), last)
        self.hover(point)
        values = "; ".join(f"{name}: {value}" for _, name, value in self.read_out_rows(point))
        self.setAccessibleDescription(f"{self.name_point(point)}; {values}")

    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self.hover(None)

    def is_over_frames(self) -> bool:
        return False

    def on_file_changed(self) -> None:
        """Keep the chart: it is not of the open file."""

    def data_table(self) -> tuple[Sequence[str], list[list[object]]] | None:
        return None if self.curve is None else list_curve_rows(self.curve)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if self.curve is not None:
            self.build_context_menu().popup(event.globalPos())
            event.accept()
