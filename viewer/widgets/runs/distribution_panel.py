"""The chosen head over the run: its numbers, and its distribution over episodes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRect, QRectF, QSize, Qt
from PySide6.QtGui import QContextMenuEvent, QPainter
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme
from viewer.rendering.runs.strip_plot import FOOT, describe_strips, draw_strips
from viewer.rendering.runs.strips import make_strip_axis, make_strips
from viewer.runs.run_sentence import describe_cell
from viewer.runs.run_table import list_episode_rows
from viewer.widgets.plot_menu import PlotPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viewer.controllers.runs.run_controller import RunController
    from viewer.controllers.session import Session
    from viewer.rendering.axes import Axis
    from viewer.rendering.runs.strip_plot import StripGroup

LINE: Final = 18
ROW: Final = 52
"""Height of a strip in pixels."""
LABELS: Final = 96


class DistributionPanel(PlotPanel):
    """A heading with mean, interval and counts, and a strip of dots for each group of episodes."""

    def __init__(self, session: Session, controller: RunController, parent: QWidget | None = None) -> None:
        super().__init__(session, "Distribution over episodes", parent)
        self.controller = controller
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)  # so that the keyboard reaches its menu
        self._strips: tuple[StripGroup, ...] = ()
        self._axis: Axis | None = None
        self._lines: list[str] = []
        self._title = ""
        self.marked_value: float | None = None
        """A value to be marked: that of the episode under the pointer in the list."""
        controller.cell_answered.connect(self._on_answered)
        controller.answered.connect(self._on_answered)

    def _read_now(self, act: Callable[[], None], before: object = None) -> bool:
        act()  # nothing here is read from the open file
        return True

    def sizeHint(self) -> QSize:
        return QSize(360, round(self.HEADING + len(self._lines) * LINE + 8 + max(len(self._strips), 1) * ROW + FOOT))

    def minimumSizeHint(self) -> QSize:
        return QSize(240, self.sizeHint().height())

    def _on_answered(self) -> None:
        answer, atlas = self.controller.cell, self.controller.atlas
        self._strips, self._axis, self._lines, self._title, self.marked_value = (), None, [], "", None
        if answer is not None and atlas is not None:
            layer, head = answer.cell
            self._title = f"Layer {layer}, head {head}"
            self._lines = describe_cell(atlas, layer, head, is_contrast=self.controller.is_contrast_shown)
            self._strips = make_strips(atlas, answer.distribution)
            self._axis = make_strip_axis(atlas, self._strips)
        self.setAccessibleDescription("; ".join([self._title, *self._lines]))
        self.setToolTip(plain_tooltip("\n".join(self._lines)))  # a narrow panel does not show all of them
        self.setFixedHeight(self.sizeHint().height())
        self.update()

    def mark(self, value: float | None) -> None:
        """Mark a value in the strips; None for none."""
        if value != self.marked_value:
            self.marked_value = value
            self.update()

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors = theme.active()
        self.fill_background(painter, area)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.paint_heading(painter, self._title, describe_strips(self._strips))
        line = QRectF(0, self.HEADING - 4, self.width(), LINE)
        for text in self._lines:
            drawing.write(painter, line, text, colors.secondary, 12)
            line = line.translated(0, LINE)
        if self._axis is not None:
            box = QRectF(0, line.top() + 6, self.width() - 4, self.height() - line.top() - 6)
            draw_strips(painter, box, self._strips, self._axis, LABELS, marked=self.marked_value)
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.color(colors.accent))

    def data_table(self) -> tuple[Sequence[str], list[list[object]]] | None:
        answer = self.controller.cell
        return None if answer is None else list_episode_rows(answer.distribution)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if self.controller.cell is not None:
            self.build_context_menu().popup(event.globalPos())
            event.accept()
