"""Timeline of an episode: the query's attention mass on each camera over time."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, QSizeF, Qt
from PySide6.QtGui import QMouseEvent, QPainter, QPixmap, QPolygonF, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis import caption
from viewer.controllers.playback import SPEEDS, speed_words
from viewer.model.number_ranges import format_place
from viewer.rendering import drawing, theme, ticks
from viewer.rendering.ticks import find_ticks
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    import numpy.typing as npt

    from viewer.analysis.frame_timeline import FrameTimeline
    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.session import Session

LABEL: Final = 64
"""Pixels left of the lines, as for chips and thumbnails; the highest value is written there."""
FOOT: Final = 16
MIN_TICK_PIXELS: Final = 90
"""Minimum distance of the labels of the axis."""


class Timeline(Panel):
    """Shows moments from left to right; a click or drag selects one, and hovering shows time and values."""

    watched_fields = frozenset({"frame"})
    MIN_HEIGHT = 66
    """Pixels; a lower timeline shows its heading only."""

    def __init__(self, session: Session, frame_series: FrameSeries, parent: QWidget | None = None) -> None:
        super().__init__(session, "Timeline", parent)
        self.frame_series = frame_series
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.speed = DropDown("Speed of frames", [(one, speed_words(one)) for one in SPEEDS], parent=self)
        self.speed.setToolTip("Playback speed: multiples of the data set’s rate, or moments a second ( , and . )")
        self.speed.show_value("1x")
        self.hovered: int | None = None
        """The moment under the pointer."""
        self._along: tuple[tuple[object, ...], tuple[int, ...]] = ((), ())
        self._still: tuple[tuple[object, ...], QPixmap] | None = None
        frame_series.ready.connect(self.update)
        frame_series.followed.connect(self._followed)

    def sizeHint(self) -> QSize:
        return QSize(600, 92)

    def minimumSizeHint(self) -> QSize:
        return QSize(300, self.MIN_HEIGHT)

    # Content

    @property
    def course(self) -> FrameTimeline:
        """The frames as moments in time."""
        return self.frame_series.course

    def along(self) -> tuple[int, ...]:
        """Return the frame of each moment that has the prompt of the shown frame."""
        course, frame = self.course, self.session.shown.frame
        if frame >= len(course.moment_of):
            return ()
        place = course.moments[course.moment_of[frame]].index(frame)
        key = (id(course), course.prompts[frame], place)
        if self._along[0] != key:
            self._along = key, course.along(frame)
        return self._along[1]

    def values(self) -> npt.NDArray[np.float32] | None:
        """Return the query's mass on each camera at each moment, (moments, cameras); None while it is being read."""
        results, curves, along = self.session.results, self.frame_series.curves, self.along()
        if results is None or curves is None or not along or len(curves.at) <= max(along):
            return None
        shown: npt.NDArray[np.float32] = curves.values[list(along), : len(results.cameras)]
        return shown

    def _followed(self) -> None:
        self.hovered = None
        self.refresh()

    def on_file_changed(self) -> None:
        self.hovered = None
        self._still = None

    def plot(self) -> QRectF:
        """Return the rectangle of the lines."""
        return QRectF(
            LABEL, self.HEADING + 2, self.width() - LABEL - 5, max(self.height() - self.HEADING - 2 - FOOT, 4)
        )

    def x_of(self, moment: float) -> float:
        """Return the x of a moment in pixels."""
        box, last = self.plot(), len(self.course.moments) - 1
        return box.left() + (box.width() * moment / last if last > 0 else box.width() / 2)

    def moment_at(self, x: float) -> int | None:
        """Return the moment nearest to an x in pixels; None if there are no moments."""
        box, last = self.plot(), len(self.course.moments) - 1
        part = (x - box.left()) / max(box.width(), 1)
        return round(min(max(part, 0.0), 1.0) * last) if last >= 0 else None

    def describe_moment(self, moment: int) -> str:
        """Return the text for a moment: episode, number, time, mass on each camera."""
        course, along, values, results = self.course, self.along(), self.values(), self.session.results
        frames = len(course.moment_of)
        many = frames > len(course.moments)
        parts = [f"{'moment' if many else 'frame'} {format_place(moment, range(len(course.moments)))}"]
        if course.timed:
            parts.append(f"{course.seconds[moment]:.2f} s")
        name = course.names[course.episode_of(moment)]
        if len(course.starts) > 1 and name:
            parts.insert(0, name)
        if values is not None and results is not None and moment < len(values):
            parts += [
                f"{caption.spoken(camera)} {ticks.format_share(float(value))}"
                for camera, value in zip(results.cameras, values[moment], strict=True)
                if np.isfinite(value)
            ]
        if moment in self.prompt_changes(along):
            parts.append(f"“{course.prompts[along[moment]]}”")
        return " · ".join(parts)

    def prompt_changes(self, along: tuple[int, ...]) -> list[int]:
        """Return the moments at which the prompt changes within an episode."""
        course = self.course
        if len(set(course.prompts)) < 2:
            return []
        prompts = [course.prompts[frame] for frame in along]
        return [n for n in range(1, len(along)) if prompts[n] != prompts[n - 1] and n not in course.starts]

    # Painting

    def _curves(self, painter: QPainter) -> None:
        """Paint one line for each camera; several moments on one pixel are drawn as their minimum and maximum."""
        results, values, box = self.session.results, self.values(), self.plot()
        if results is None or values is None or not len(values):
            return
        high = max(float(np.nanmax(values, initial=0.0)), 1e-6)
        pixels = max(int(box.width()), 1)
        bounds = [*self.course.starts, len(values)]
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for column in reversed(range(values.shape[1])):
            colour = theme.colour(theme.group_colour(results.cameras[column], results.cameras))
            for start, stop in pairwise(bounds):  # lines do not connect episodes
                places, line = thin_line(values[start:stop, column], pixels)
                points = [
                    QPointF(self.x_of(start + place), box.bottom() - value / high * (box.height() - 8))
                    for place, value in zip(places.tolist(), line.tolist(), strict=True)
                ]
                if len(points) == 1:
                    drawing.fill(painter, QRectF(points[0] - QPointF(3, 3), QSizeF(6, 6)), colour, 3)
                painter.setPen(colour)
                for shift in (-0.4, 0.4):  # two thin lines: Qt strokes a wider pen twenty times slower
                    painter.drawPolyline(QPolygonF([point + QPointF(0, shift) for point in points]))
        label = QRectF(0, box.top() + 1, LABEL - 8, 14)
        drawing.write(painter, label, ticks.format_share(high), theme.active().secondary, 11, align="right")

    def _axis(self, painter: QPainter) -> None:
        """Paint the axis with episodes, changes of the prompt, and times or numbers below it."""
        t, box, course = theme.active(), self.plot(), self.course
        painter.fillRect(QRectF(box.left(), box.bottom(), box.width(), 1), theme.colour(t.line))
        feet = QRectF(0, box.bottom() + 2, 0, 14)
        for moment in self.prompt_changes(self.along()):
            x = self.x_of(moment - 0.5)
            painter.fillRect(QRectF(x - 1, box.bottom() - 5, 2, 6), theme.colour(theme.GROUP_COLOURS["prompt"]))
        if len(course.starts) > 1:
            bounds = [*course.starts, len(course.moments)]
            for number, (start, stop) in enumerate(pairwise(bounds)):
                left = self.x_of(start - 0.5) if start else box.left()
                right = self.x_of(stop - 0.5) if stop < len(course.moments) else box.right()
                if start:
                    painter.fillRect(QRectF(left, box.top(), 1, box.height() + 12), theme.colour(t.faint))
                if right - left > 40:
                    room = QRectF(left + 5, feet.top(), right - left - 8, 14)
                    drawing.write(painter, room, course.names[number], t.secondary, 11)
            return
        for place, label in self.ticks():
            width = drawing.width_of(label, 11)
            left = min(max(self.x_of(place) - width / 2, box.left()), box.right() - width)
            drawing.write(painter, QRectF(left, feet.top(), width + 1, 14), label, t.secondary, 11)

    def ticks(self) -> list[tuple[float, str]]:
        """Return positions and labels of the axis: round seconds, or numbers of moments without times."""
        course, count = self.course, len(self.course.moments)
        if count < 2:
            return [(0, "0")] if count else []
        most = max(int(self.plot().width() / MIN_TICK_PIXELS), 1) + 1
        if not course.timed:
            return [(tick.value, tick.text) for tick in find_ticks(0, count - 1, most, whole=True)]
        seconds = find_ticks(0, float(course.seconds[-1]), most, unit="s")
        places = np.interp([tick.value for tick in seconds], course.seconds, np.arange(count))
        return [(place, tick.text) for place, tick in zip(places.tolist(), seconds, strict=True)]

    def still(self) -> QPixmap:
        """Return an image of everything but the cursor; it is kept until its content changes."""
        t, ratio = theme.active(), self.devicePixelRatioF()
        key = (
            id(self.frame_series.curves), id(self.course), self.along(), self.width(), self.height(), ratio, t.dark,
        )  # fmt: skip
        if self._still is None or self._still[0] != key:
            made = QPixmap(self.size() * ratio)
            made.setDevicePixelRatio(ratio)
            made.fill(theme.colour(t.window))
            with QPainter(made) as painter:
                drawing.write(painter, QRectF(0, 0, 90, self.HEADING - 6), "Timeline", t.text, 12, bold=True)
                self._axis(painter)
                self._curves(painter)
            self._still = key, made
        return self._still[1]

    def paint(self, painter: QPainter, area: QRect) -> None:
        t, course = theme.active(), self.course
        painter.drawPixmap(0, 0, self.still())
        shown = self.session.shown.frame
        if shown >= len(course.moment_of):
            return
        here, box = course.moment_of[shown], self.plot()
        if self.hovered is not None and self.hovered != here:
            painter.fillRect(QRectF(self.x_of(self.hovered), box.top(), 1, box.height()), theme.colour(t.secondary))
        x = self.x_of(here)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self.height() >= self.MIN_HEIGHT:  # else only the heading fits
            painter.fillRect(QRectF(x - 0.75, box.top() - 2, 1.5, box.height() + 4), theme.colour(t.text))
            drawing.fill(painter, QRectF(x - 4, box.top() - 4, 8, 8), theme.colour(t.text), 4)
        left = drawing.width_of("Timeline", 12, bold=True) + 12
        room = QRectF(left, 0, self.speed.x() - left - 12, self.HEADING - 6)
        drawing.write(
            painter, room, self.describe_moment(here if self.hovered is None else self.hovered), t.secondary, 12
        )
        if self.hasFocus():
            drawing.ring(painter, QRectF(self.rect()), theme.colour(t.accent))

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.place_right(self.speed)

    # Mouse and keyboard

    def go(self, x: float) -> None:
        """Select the moment at an x in pixels."""
        moment, along = self.moment_at(x), self.along()
        if moment is not None and moment < len(along):
            self.session.update(frame=along[moment])

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and event.position().y() >= self.HEADING - 6:
            self.session.begin()
            self.go(event.position().x())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        inside = event.position().y() >= self.HEADING - 6
        hovered = self.moment_at(event.position().x()) if inside else None
        if hovered != self.hovered:
            self.hovered = hovered
            self.update()
        if event.buttons() & Qt.MouseButton.LeftButton:
            self.go(event.position().x())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.session.end()

    def leaveEvent(self, event: QEvent) -> None:
        self.hovered = None
        self.update()


def thin_line(values: npt.NDArray[np.float32], pixels: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.float32]]:
    """Return indices and values of a line with at most two points for each pixel; peaks are kept, NaN is left out."""
    places = np.flatnonzero(np.isfinite(values))
    if len(places) > 2 * pixels:
        parts = np.array_split(places, pixels)
        lows = [int(part[np.argmin(values[part])]) for part in parts]
        highs = [int(part[np.argmax(values[part])]) for part in parts]
        places = np.unique(np.array([places[0], *lows, *highs, places[-1]], np.intp))
    return places, values[places]
