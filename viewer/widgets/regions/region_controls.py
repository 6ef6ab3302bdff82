"""Row of controls under the list of regions: name and track what is marked, change the chosen region, stop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QPoint, QRectF, Qt
from PySide6.QtGui import QIcon, QKeyEvent, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QMenu, QWidget

from viewer.model.plain_text import clean_text, plain_tooltip
from viewer.regions.region import COLORS, MAX_NAME
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button

if TYPE_CHECKING:
    from viewer.controllers.regions.regions_controller import RegionsController
    from viewer.controllers.session import Session

HEIGHT: Final = 34
FIELD_WIDTH: Final = 150
COLOR_NAMES: Final = ("teal", "pink", "blue", "green", "violet", "yellow", "orange", "red")
"""Of COLORS."""


class NameField(QLineEdit):
    """Field for the name of a region; Escape gives the keyboard back to the window."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.setAccessibleName("Name of the region")
        self.setPlaceholderText("name, such as duck")
        self.setMaxLength(MAX_NAME)
        self.setFixedSize(FIELD_WIDTH, 26)
        self.setFont(theme.font(13))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.window().setFocus()
        else:
            super().keyPressEvent(event)
            if event.key() in {Qt.Key.Key_Return, Qt.Key.Key_Enter}:
                event.accept()  # else the list under the field would take it, too


class RegionControls(QWidget):
    """Shows what can be done with the marked patches, or with the chosen region, or what is being done."""

    def __init__(self, session: Session, regions: RegionsController, parent: QWidget) -> None:
        super().__init__(parent)
        self.session, self.regions = session, regions
        self.setFixedHeight(HEIGHT)
        self._shown_for: object = None
        """What the text of the field is about: the marked patches, or the chosen region."""
        self.field = NameField(self)
        self.track = Button("Track", kind="primary", parent=self)
        self.track.setToolTip(plain_tooltip("Follow it through the frames, in a process of its own"))
        self.only = Button("This frame only", parent=self)
        self.again = Button("Track again", parent=self)
        self.again.setToolTip(plain_tooltip("Follow it from the frames in which it was drawn, also into new frames"))
        self.color = Button("Colour ▾", parent=self)
        self.remove = Button("Remove", parent=self)
        self.remove.setToolTip(plain_tooltip("Forget this region in all frames; Ctrl+Z brings it back"))
        self.lost = Button("Go to where it was lost", kind="warning", parent=self)
        self.stop = Button("Stop", parent=self)
        self.stop.setToolTip(plain_tooltip("Stop tracking; the frames tracked so far are kept"))
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 3, 0, 3)
        row.setSpacing(8)
        for widget in (
            self.field, self.track, self.only, self.color, self.again, self.remove, self.lost, self.stop,
        ):  # fmt: skip
            row.addWidget(widget)
        row.addStretch(1)
        self.field.returnPressed.connect(self.confirm)
        self.track.clicked.connect(self._track)
        self.only.clicked.connect(self._draw)
        self.again.clicked.connect(self._track_again)
        self.color.clicked.connect(self._show_colors)
        self.remove.clicked.connect(self._remove)
        self.lost.clicked.connect(regions.go_to_stop)
        self.stop.clicked.connect(regions.process.cancel)
        self.restyle()

    def restyle(self) -> None:
        """Apply the theme's colours to the field."""
        self.field.setStyleSheet(theme.sheet())

    @property
    def chosen(self) -> str:
        """The name of the chosen region, if the file has it; else empty."""
        known_patches, name = self.session.regions, self.session.state.region_name
        return name if known_patches is not None and name in known_patches.regions else ""

    @property
    def has_marked(self) -> bool:
        """Whether patches are marked that have no name yet."""
        return bool(self.session.state.region) and not self.session.state.region_name

    def refresh(self) -> None:
        """Show the controls that apply now."""
        running, reason = self.regions.process.is_running, self.regions.find_unavailable_reason()
        marked = self.has_marked and not running and not reason
        chosen = self.chosen if not running and not reason else ""
        stops = self.session.regions.regions[chosen].stops if chosen and self.session.regions is not None else ()
        if self.field.hasFocus() and not (marked or chosen):
            self.window().setFocus()  # not to the next widget, which hiding it would give the keyboard to
        self.field.setVisible(marked or bool(chosen))
        for widget in (self.track, self.only):
            widget.setVisible(marked)
        for widget in (self.color, self.again, self.remove):
            widget.setVisible(bool(chosen))
        self.lost.setVisible(bool(stops))
        self.stop.setVisible(running)
        about: object = ("marked", self.regions.suggest_name()) if marked else chosen
        if about != self._shown_for:
            self._shown_for = about
            self.field.setText(about[1] if isinstance(about, tuple) else chosen)
        self.field.setToolTip(plain_tooltip("Enter renames the region" if chosen else "Enter tracks it"))
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter, job = QPainter(self), self.regions.process.job
        painter.fillRect(self.rect(), drawing.ground(self))
        if job is None:
            return
        colors, (done, total) = theme.active(), self.regions.process.progress
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left = self.stop.geometry().right() + 14
        text = clean_text(job.title) + (f": {done} of {total} frames" if total else " …")
        used = drawing.write(painter, QRectF(left, 0, self.width() - left, HEIGHT), text, colors.text, 13)
        bar = QRectF(left + used + 14, HEIGHT / 2 - 3, max(min(self.width() - left - used - 18, 240), 0), 6)
        drawing.fill(painter, bar, theme.color(colors.raised), 3)
        share = min(done / total, 1.0) if total else 0.0
        drawing.fill(painter, QRectF(bar.left(), bar.top(), bar.width() * share, 6), theme.color(colors.accent), 3)

    # What the controls do

    def name_region(self) -> None:
        """Give the keyboard to the field, with its text selected."""
        self.refresh()
        self.field.setFocus()
        self.field.selectAll()

    def confirm(self) -> None:
        """Track what is marked under the typed name, or rename the chosen region."""
        if self.has_marked:
            self._track()
        elif self.chosen and self.regions.rename(self.chosen, self.field.text().strip()):
            self.window().setFocus()

    def _track(self) -> None:
        if self.regions.track(self.field.text().strip()):
            self.window().setFocus()

    def _draw(self) -> None:
        if self.regions.track(self.field.text().strip(), is_whole=False):
            self.window().setFocus()

    def _track_again(self) -> None:
        self.regions.track_again(self.chosen)

    def _remove(self) -> None:
        self.regions.remove(self.chosen)

    def build_color_menu(self) -> QMenu:
        """Return the menu of colours, which deletes itself when it is closed."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setStyleSheet(theme.sheet())
        for color, name in zip(COLORS, COLOR_NAMES, strict=True):
            sample = QPixmap(14, 14)
            sample.fill(theme.color(color))
            menu.addAction(QIcon(sample), name.capitalize()).setData(color)
        menu.addSeparator()
        menu.addAction("Other…").setData("")
        menu.triggered.connect(self._on_color_chosen)
        return menu

    def _show_colors(self) -> None:
        self.build_color_menu().popup(self.color.mapToGlobal(QPoint(0, self.color.height() + 4)))

    def _on_color_chosen(self, action: object) -> None:
        color = str(action.data())  # type: ignore[attr-defined]
        if not color:
            from PySide6.QtWidgets import QColorDialog

            picked = QColorDialog.getColor(parent=self, title="Colour of the region")
            if not picked.isValid():
                return
            color = picked.name()
        if self.chosen:
            self.regions.recolor(self.chosen, color)
