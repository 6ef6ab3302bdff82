"""Strip of the views that are kept, above the pictures: what they are compared with, and a way back to each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QEvent, QPoint, QRect, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QContextMenuEvent, QEnterEvent, QMouseEvent, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from viewer.analysis.comparison import SIDE_FIELDS, create_side_caption, name_view
from viewer.errors import READ_ERRORS
from viewer.model.plain_text import plain_tooltip
from viewer.model.view_state import MAX_NAME, Pin
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.session import Session

HEIGHT: Final = 26
LABEL: Final = 56
GAP: Final = 5
CROSS: Final = 22
"""Width of the place of a chip that removes it, in pixels."""


class PinChip(Button):
    """One kept view: a click compares with it or ends that, a cross removes it, the pointer over it shows it."""

    entered = Signal(int)
    """The pointer is on the chip of this place; so the other signals."""
    left = Signal()
    chosen = Signal(int)
    removed = Signal(int)
    menu_requested = Signal(int, QPoint)

    def __init__(self, name: str, place: int, parent: QWidget) -> None:
        super().__init__(name, kind="toggle", parent=parent)
        self.place = place
        self.clicked.connect(self._on_clicked)
        self.setCheckable(True)
        self.setMouseTracking(True)

    def sizeHint(self) -> QSize:
        return QSize(round(drawing.width_of(self.text(), 12)) + 14 + CROSS, HEIGHT)

    def _on_clicked(self) -> None:
        self.chosen.emit(self.place)

    def _is_on_cross(self, x: float) -> bool:
        return x >= self.width() - CROSS

    def enterEvent(self, event: QEnterEvent) -> None:
        self.entered.emit(self.place)
        super().enterEvent(event)

    def leaveEvent(self, event: QEvent) -> None:
        self.left.emit()
        super().leaveEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton and self._is_on_cross(event.position().x()):
            self.setDown(False)
            if self.rect().contains(event.position().toPoint()):
                self.removed.emit(self.place)
            return
        super().mouseReleaseEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu_requested.emit(self.place, event.globalPos())

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter = theme.active(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box, hot = QRectF(self.rect()), self.underMouse()
        drawing.fill(painter, box, theme.color(colors.hover if hot else colors.raised))
        ink = colors.text if self.isChecked() or hot else colors.secondary
        drawing.write(painter, box.adjusted(8, 0, -CROSS, 0), self.text(), ink, 12)
        drawing.write(painter, box.adjusted(box.width() - CROSS, 0, -4, 0), "×", colors.secondary, 13, align="centre")
        if self.isChecked() or self.hasFocus():
            drawing.ring(painter, box, theme.color(colors.accent), 2.0 if self.hasFocus() else 1.5)


class PinStrip(Panel):
    """One chip for each kept view and for a second file; hidden where there is none."""

    watched_fields = frozenset({"pins", "pinned", "frame", "query", "layer", "step", "heads", "reduce"})
    OPAQUE = False

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Pinned views", parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFixedHeight(HEIGHT)
        self.chips: list[PinChip] = []
        self._shown: tuple[object, ...] = ()
        self._menu_place = 0
        """The chip whose menu was opened last."""
        self.hide()

    def pins(self) -> tuple[Pin, ...]:
        """Return the kept views, with the one that is compared with if it is not among them."""
        state = self.session.state
        pins = state.pins
        if state.pinned is not None and all(pin.view != state.pinned for pin in pins):
            return (*pins, Pin("", state.pinned))
        return pins

    def refresh(self) -> None:
        pins, other = self.pins(), self.session.other
        names = [self._name_pin(pin) for pin in pins]
        key = (*names, other.path.name if other is not None else None)
        if key != self._shown:
            self._shown = key
            self._build(names)
        active = self.session.state.pinned
        for chip, pin in zip(self.chips, pins, strict=False):
            chip.setChecked(other is None and pin.view == active)
            self._explain(chip, pin)
        self.update()

    def _name_pin(self, pin: Pin) -> str:
        results = self.session.results
        try:
            return pin.name or (name_view(results, pin.view) if results is not None else "")
        except READ_ERRORS:
            return f"frame {pin.view.frame}"

    def _build(self, names: list[str]) -> None:
        for chip in self.chips:
            chip.hide()
            chip.deleteLater()
        self.chips = []
        other = self.session.other
        for place, name in enumerate([*names, *([other.path.name] if other is not None else [])]):
            chip = PinChip(name, place, self)
            for signal, slot in (
                (chip.chosen, self.select), (chip.removed, self.remove), (chip.entered, self._on_entered),
                (chip.left, self._on_left), (chip.menu_requested, self.show_menu),
            ):  # fmt: skip
                signal.connect(slot)
            self.chips.append(chip)
        if other is not None:
            self.chips[-1].setChecked(True)
            self.chips[-1].setToolTip(
                plain_tooltip(f"{other.path}\nThe same view of another file; × ends the comparison")
            )
        self._place_chips()
        for chip in self.chips:
            chip.show()
        self.setVisible(bool(self.chips))
        self.updateGeometry()

    def _explain(self, chip: PinChip, pin: Pin) -> None:
        results = self.session.results
        try:
            text = str(create_side_caption(results, pin.view)) if results is not None else ""
        except READ_ERRORS:
            text = "This view cannot be read"
        chip.setAccessibleDescription(text)
        chip.setToolTip(plain_tooltip(f"{text}\nClick: compare with it · right click: rename, go there, remove"))

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place_chips()

    def _place_chips(self) -> None:
        """Give each chip the width that it wants, or an equal share where there is too little."""
        if not self.chips:
            return
        room = self.width() - LABEL - GAP * (len(self.chips) - 1)
        preferred_widths = [chip.sizeHint().width() for chip in self.chips]
        share = room // len(self.chips)
        x = LABEL
        for chip, width in zip(self.chips, preferred_widths, strict=True):
            name_width = width if sum(preferred_widths) <= room else min(width, share)
            chip.setGeometry(QRect(x, 0, max(name_width, CROSS + 20), HEIGHT))
            x += name_width + GAP

    def paint(self, painter: QPainter, area: QRect) -> None:
        drawing.write(painter, QRectF(0, 0, LABEL - 8, HEIGHT), "Pinned", theme.active().secondary, 12)

    # What chips do

    def _is_file(self, place: int) -> bool:
        """Return whether a chip stands for the second file."""
        return place >= len(self.pins())

    def _on_entered(self, place: int) -> None:
        if not self._is_file(place):
            self.session.blink(True, self.pins()[place].view)
        elif self.session.other is not None:
            self.session.blink(True)

    def _on_left(self) -> None:
        self.session.blink(False)

    def select(self, place: int) -> None:
        """Compare with a kept view, or with none if it is compared with already; a second file stays compared with."""
        if self._is_file(place):
            self.chips[place].setChecked(True)
            return
        view = self.pins()[place].view
        self.session.blink(False)
        if self.session.other is not None:
            self.session.open_other(None)
        chosen = self.session.state.pinned == view
        self.session.update(pinned=None if chosen else view, **({"compare": "off"} if chosen else {}))

    def remove(self, place: int) -> None:
        """Remove a kept view or close the second file; the comparison with it ends."""
        self.session.blink(False)
        if self._is_file(place):
            self.session.open_other(None)
            return
        removed, state = self.pins()[place], self.session.state
        pins = tuple(pin for pin in state.pins if pin.view != removed.view)
        ends = state.pinned == removed.view
        self.session.update(pins=pins, **({"pinned": None, "compare": "off"} if ends else {}))

    def rename(self, place: int, name: str) -> None:
        """Give a kept view another name; an empty one changes nothing."""
        name = " ".join(name.split())[:MAX_NAME]
        pins = list(self.pins())
        if name and name != self._name_pin(pins[place]):
            pins[place] = pins[place]._replace(name=name)
            self.session.update(pins=tuple(pins))

    def go(self, place: int) -> None:
        """Show a kept view."""
        self.session.blink(False)
        view = self.pins()[place].view
        self.session.update(**{name: getattr(view, name) for name in SIDE_FIELDS})

    def show_menu(self, place: int, at: QPoint) -> None:
        """Show what can be done with a kept view."""
        if self._is_file(place):
            return
        self.session.blink(False)
        self._menu_place = place
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setStyleSheet(theme.sheet())
        for text, slot in (
            ("Go to this view", self._go), ("Rename…", self._ask_name), ("Remove", self._remove),
        ):  # fmt: skip
            menu.addAction(text).triggered.connect(slot)
        menu.popup(at)

    def _go(self) -> None:
        self.go(self._menu_place)

    def _remove(self) -> None:
        self.remove(self._menu_place)

    def _ask_name(self) -> None:
        from PySide6.QtWidgets import QInputDialog

        dialog = QInputDialog(self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setWindowTitle("Rename pinned view")
        dialog.setLabelText("Name")
        dialog.setTextValue(self._name_pin(self.pins()[self._menu_place]))
        dialog.textValueSelected.connect(self._on_named)
        dialog.open()

    def _on_named(self, name: str) -> None:
        self.rename(self._menu_place, name)
