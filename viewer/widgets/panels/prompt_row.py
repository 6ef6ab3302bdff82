"""Prompts that the shown moment was run with, beside each other: a click shows the moment with another one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRect, QRectF, QSize
from PySide6.QtGui import QPainter, QResizeEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.model.plain_text import clean_text, plain_tooltip
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.frame_series import FrameSeries
    from viewer.controllers.session import Session

LABEL: Final = 64
"""As for the chips below."""
HEIGHT: Final = 26
GAP: Final = 4
LEAST_WIDTH: Final = 72
"""Pixels; of more prompts than fit at this width, those near the shown one are there."""


class PromptRow(Panel):
    """One button for each prompt of the moment; hidden where a moment has one prompt."""

    watched_fields = frozenset({"frame"})

    def __init__(self, session: Session, frame_series: FrameSeries, parent: QWidget | None = None) -> None:
        super().__init__(session, "Prompts of this moment", parent)
        self.frame_series = frame_series
        self.buttons: list[Button] = []
        self.frames: tuple[int, ...] = ()
        """The frame of each prompt."""
        self._allowed = True
        self.setFixedHeight(HEIGHT)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.hide()
        frame_series.followed.connect(self.refresh)

    def sizeHint(self) -> QSize:
        return QSize(600, HEIGHT)

    def set_allowed(self, allowed: bool) -> None:
        """Show the row where a moment has several prompts, or never."""
        self._allowed = allowed
        self.setVisible(allowed and bool(self.buttons))

    def refresh(self) -> None:
        timeline, frame = self.frame_series.timeline, self.session.shown.frame
        inside = self.session.results is not None and frame < len(timeline.moment_of)
        frames = timeline.moments[timeline.moment_of[frame]] if inside else ()
        prompts = [clean_text(timeline.prompts[number]) for number in frames] if len(frames) > 1 else []
        if [button.text() for button in self.buttons] != prompts:
            self._make_buttons(prompts)
        self.frames = frames
        for button, number in zip(self.buttons, frames, strict=False):
            button.setChecked(number == frame)
        self.set_allowed(self._allowed)
        self._place_buttons()
        self.update()

    def _make_buttons(self, prompts: list[str]) -> None:
        for button in self.buttons:
            button.setParent(None)
            button.deleteLater()
        self.buttons = []
        for number, prompt in enumerate(prompts):
            button = Button(prompt, kind="toggle", parent=self)
            button.setCheckable(True)
            button.setAccessibleName(f"Prompt {number + 1} of {len(prompts)}: {prompt}")
            button.setToolTip(plain_tooltip(f"This moment with the prompt “{prompt}” (T and Shift T go round)"))
            button.setProperty("number", number)
            button.clicked.connect(self._on_clicked)
            button.show()
            self.buttons.append(button)

    def _on_clicked(self) -> None:
        self.go(int(self.sender().property("number")))

    def go(self, number: int) -> None:
        """Show the moment with one of its prompts."""
        if number < len(self.frames):
            self.session.update(frame=self.frames[number])
        for button, frame in zip(self.buttons, self.frames, strict=False):
            button.setChecked(frame == self.session.state.frame)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place_buttons()

    def _place_buttons(self) -> None:
        """Give each button the width of its text, or an equal share of the row where there is no room."""
        if not self.buttons:
            return
        room = self.width() - LABEL
        fits = max((room + GAP) // (LEAST_WIDTH + GAP), 1)
        current = next((n for n, button in enumerate(self.buttons) if button.isChecked()), 0)
        first = min(max(current - fits // 2, 0), max(len(self.buttons) - fits, 0))
        shown = self.buttons[first : first + fits]
        preferred = [button.sizeHint().width() for button in shown]
        free, widths = room - GAP * (len(shown) - 1), dict.fromkeys(range(len(shown)), 0)
        for left, place in enumerate(
            sorted(widths, key=lambda place: preferred[place])
        ):  # short ones leave their rest to others
            widths[place] = min(preferred[place], free // (len(shown) - left))
            free -= widths[place]
        x = LABEL
        for button in self.buttons:
            button.setVisible(button in shown)
        for place, button in enumerate(shown):
            button.setGeometry(x, 1, widths[place], HEIGHT - 2)
            x += widths[place] + GAP

    def paint(self, painter: QPainter, area: QRect) -> None:
        self.fill_background(painter, area)
        label = QRectF(0, 0, LABEL - 8, HEIGHT)
        drawing.write(painter, label, "Prompts", theme.active().secondary, 13)
