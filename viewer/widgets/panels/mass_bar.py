"""Stacked bar of the shown row's attention mass on each group of keys, with a legend."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import QHelpEvent, QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QToolTip, QWidget

from viewer.analysis import caption
from viewer.analysis.scene import DATA_FIELDS
from viewer.model.attention import SINKS
from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme, ticks
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.analysis.scene import Scene
    from viewer.controllers.session import Session

LINE: Final = 19


MEANINGS: Final = {
    "bars": "letterbox bars, the black borders that make a camera’s picture square for the model; no picture is there",
    "bos": "the mark at the beginning of the text, on which many heads rest weight that they need nowhere",
    "prompt": "the words of the task",
    "template": "the fixed words around task and state, such as “Task:”",
    "state": "the numbers of the robot’s state",
    "newline": "the line break before the actions",
    "action": "the other actions of the chunk",
}
"""What each group of keys is; the others are cameras."""
RENORMALISED: Final = "left out: the weight of the groups that are crossed out; the rest is renormalised to 1."
SINKS_MEANING: Final = (
    "sinks: BOS, newline and letterbox bars, on which heads rest weight whatever the picture shows. S leaves them out."
)


class MassBar(Panel):
    """Shows each group's mass; a click on a group leaves it out of the maps or includes it again."""

    watched_fields = frozenset(DATA_FIELDS) | {"compare", "pinned"}

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Where this row’s weight goes", parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self._hovered = ""
        self._focused_share = 0
        self._static_layer = drawing.Layer()
        self._scene: Scene | None = None
        self._lines: tuple[tuple[int, int], list[QRectF]] = (0, 0), []
        self.session.bared.connect(self.reload_and_update)

    def shares(self) -> list[tuple[str, float]]:
        """Return the shown groups with their shares; the letterbox bars of all cameras are one group."""
        scene, results = self._scene, self.displayed[0]
        if scene is None or results is None:
            return []
        bars = sum(value for name, value in scene.mass.items() if name.endswith(" bars"))
        listed = [(camera, scene.mass[camera]) for camera in results.cameras]
        listed += [("bars", bars), *((n, scene.mass[n]) for n in ("bos", "prompt", "template", "state", "newline"))]
        if self.displayed[1].query.kind == "action":
            listed.append(("action", scene.mass["action"]))
        return listed

    @property
    def columns(self) -> int:
        """Number of groups in a line of the legend."""
        return max(min(self.width() // 150, 5), 2)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.updateGeometry()

    def sizeHint(self) -> QSize:
        results = self.session.results
        entries = (len(results.cameras) if results else 2) + 7 + 1  # the groups of an action, and the summary
        return QSize(288, self.HEADING + 20 + -(-entries // self.columns) * LINE + 1)

    def minimumSizeHint(self) -> QSize:
        return self.sizeHint()

    def on_file_changed(self) -> None:
        self._scene = None
        self.updateGeometry()

    def load(self) -> None:
        self._scene = self.session.plain_scene()

    def refresh(self) -> None:
        self.update()
        self.schedule_description()

    def describe(self) -> None:
        self.load()
        words = ", ".join(f"{_name_group(name)} {ticks.format_share(share)}" for name, share in self.shares())
        self.setAccessibleDescription(words)

    def lines(self, count: int) -> list[QRectF]:
        """Return the rectangles of the legend's entries."""
        across = self.columns
        width = self.width() / across
        return [
            QRectF(
                width * (number % across) + (8 if number % across else 0),
                self.HEADING + 19 + number // across * LINE,
                width - 8,
                LINE,
            )
            for number in range(count)
        ]

    def boxes(self) -> list[tuple[str, float, QRectF, QRectF]]:
        """Return each group with its share, its part of the bar and its entry of the legend."""
        shares, whole = self.shares(), self.width()
        if self._lines[0] != (whole, len(shares)):
            self._lines = (whole, len(shares)), self.lines(len(shares) + 1)
        total = sum(max(share, 0.0) for _, share in shares) or 1.0
        x, parts = 0.0, []
        for (name, share), line in zip(shares, self._lines[1][:-1], strict=True):
            width = max(share, 0.0) / total * whole
            parts.append((name, share, QRectF(x, self.HEADING, width, 11), line))
            x += width
        return parts

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, scene, (results, shown) = theme.active(), self._scene, self.displayed
        if results is None or scene is None:
            self.fill_background(painter, area)
            self.paint_heading(painter, "Where this row’s weight goes")
            return
        boxes = self.boxes()
        names = tuple(name for name, *_ in boxes)

        def draw_static(inner: QPainter) -> None:
            note = "mean of heads" if len(shown.heads) != 1 and shown.reduce == "max" else ""
            self.paint_heading(inner, "Where this row’s weight goes", note)
            inner.setRenderHint(QPainter.RenderHint.Antialiasing)
            for name, _, _, line in boxes:
                self._paint_name(inner, name, line)

        key = (names, shown.left_out, len(shown.heads) != 1 and shown.reduce == "max", results.cameras)
        self._static_layer.draw(painter, self, key, draw_static, self.ground())
        focused = self._focused_share if self.hasFocus() else None
        for number, (name, share, part, line) in enumerate(boxes):
            is_left_out, width = name in shown.left_out, part.width()
            touched = self._hovered == name or number == focused
            if width > 0:
                alpha = 0.25 if is_left_out else 1.0 if not self._hovered or self._hovered == name else 0.55
                color = theme.color(_color_of(name, results.cameras), alpha)
                painter.fillRect(part.adjusted(0, 0, -min(1.0, width / 2), 0), color)
            if touched:
                painter.setRenderHint(QPainter.RenderHint.Antialiasing)
                drawing.fill(painter, line.adjusted(-5, 0, 4, 0), theme.color(colors.hover), 4)
                self._paint_name(painter, name, line)
            ink = colors.secondary if is_left_out else colors.text
            drawing.write(painter, line, ticks.format_share(share), ink, 12, align="right")
        self._paint_summary(painter, sum(share for name, share, *_ in boxes if name in SINKS))
        if self.hasFocus():
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            drawing.ring(painter, QRectF(self.rect()), theme.color(colors.accent))

    def find_summary_box(self) -> QRectF:
        """Return the rectangle of the summary: the entry behind the last group, up to the right edge."""
        last = self._lines[1][-1] if self._lines[1] else QRectF()
        return QRectF(last.left(), last.top(), self.width() - last.left(), last.height())

    def _paint_summary(self, painter: QPainter, sinks: float) -> None:
        """Paint what was left out, else the share of the sinks; which groups these are where there is room."""
        colors, box, scene = theme.active(), self.find_summary_box(), self._scene
        left_out = scene is not None and bool(self.shown.left_out)
        share = ticks.format_share(scene.removed if scene is not None and left_out else sinks)
        ink = colors.accent_text if left_out else colors.secondary
        whole = (
            f"left out {share}, the rest renormalised" if left_out else f"sinks: BOS, newline, letterbox bars {share}"
        )
        if drawing.width_of(whole, 12) <= box.width():
            drawing.write(painter, box, whole, ink, 12)
            return
        entry = self._lines[1][-1]
        drawing.write(painter, entry.adjusted(15, 0, 0, 0), "left out" if left_out else "sinks", ink, 12)
        drawing.write(painter, entry, share, ink, 12, align="right")

    def _paint_name(self, painter: QPainter, name: str, line: QRectF) -> None:
        """Paint a group's colour and name."""
        colors, is_left_out = theme.active(), name in self.shown.left_out
        results = self.displayed[0]
        color = theme.color(_color_of(name, results.cameras if results is not None else ()))
        mark = QRectF(line.left(), line.center().y() - 4, 8, 8)
        if is_left_out:
            drawing.ring(painter, mark, color, 1.5, 2)
        else:
            drawing.fill(painter, mark, color, 2)
        room = line.adjusted(15, 0, -drawing.width_of("100.0 %", 12) - 4, 0)
        drawing.write(painter, room, _name_group(name), colors.secondary if is_left_out else colors.text, 12)

    def group_at(self, point: QPointF) -> str:
        """Return the group under a point; empty if there is none."""
        for name, _, part, line in self.boxes():
            if part.adjusted(0, -4, 0, 4).contains(point) or line.contains(point):
                return name
        return ""

    def toggle(self, group: str) -> None:
        """Leave a group out, or include it again."""
        out = set(self.session.state.left_out) ^ {group}
        order = [name for name, _ in self.shares()]
        self.session.update(left_out=tuple(name for name in order if name in out))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        name = self.group_at(event.position())
        if name != self._hovered:
            self._hovered = name
            self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = ""
        self.update()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        name = self.group_at(event.position())
        if name and event.button() == Qt.MouseButton.LeftButton:
            self.toggle(name)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -self.columns, Qt.Key.Key_Down: self.columns}
        shares = self.shares()
        if event.key() in moves and shares:
            self._focused_share = min(max(self._focused_share + moves[Qt.Key(event.key())], 0), len(shares) - 1)
            self.update()
        elif event.key() in {Qt.Key.Key_Space, Qt.Key.Key_Return} and self._focused_share < len(shares):
            self.toggle(shares[self._focused_share][0])
        else:
            super().keyPressEvent(event)

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ToolTip and isinstance(event, QHelpEvent):
            name = self.group_at(QPointF(event.pos()))
            back = name in self.session.state.left_out
            meaning = MEANINGS.get(name, "the camera’s picture, without its letterbox bars") if name else ""
            act = "bring it back" if back else "leave it out and renormalise"
            text = f"{_name_group(name)}: {meaning}.\nClick to {act}." if name else ""
            if not name and self._scene is not None and self.find_summary_box().contains(QPointF(event.pos())):
                text = RENORMALISED if self.session.state.left_out else SINKS_MEANING
            QToolTip.showText(event.globalPos(), plain_tooltip(text), self)
            return True
        return super().event(event)


def _color_of(group: str, cameras: tuple[str, ...]) -> str:
    """Return the colour of a group; the letterbox bars of all cameras have one."""
    return theme.group_color("exterior bars" if group == "bars" else group, cameras)


def _name_group(group: str) -> str:
    return {"bos": "BOS", "action": "actions"}.get(group) or caption.format_camera(group)
