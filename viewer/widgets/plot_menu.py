"""Context menu that every plot has: copy picture, copy data, export, reset view, log axis."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, ClassVar, Final

from PySide6.QtCore import QPoint, QRect, Qt
from PySide6.QtGui import QContextMenuEvent, QGuiApplication, QImage, QPainter, QRegion
from PySide6.QtWidgets import QMenu, QWidget

from viewer.model.plain_text import format_csv_cell
from viewer.rendering import drawing, theme
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from PySide6.QtGui import QAction

    Rows = Iterable[Sequence[object]]

SCALE: Final = 2
"""Pixels of a copied picture for each pixel of the window."""


class PlotPanel(Panel):
    """Panel with a plot: base class that gives it the context menu.

    Subclasses override `build_plot` (inherited), `data_table`, `reset_plot`, `is_log` and `set_log`.
    """

    log_text: ClassVar[str] = "Log axis"
    """Text of the entry that calls `set_log`."""

    def picture_area(self) -> QRect:
        """Return the part of the panel that “Copy picture” copies."""
        return self.rect()

    def data_table(self) -> tuple[Sequence[str], Rows] | None:
        """Return column names and rows of what is plotted, for “Copy data as CSV”; None if nothing is."""
        return None

    def is_zoomed(self) -> bool:
        """Whether “Reset view” would change the plot."""
        return False

    def reset_plot(self) -> None:
        """Show the whole plot again."""

    def is_log(self) -> bool | None:
        """Return whether values are on a logarithmic axis or colour scale; None if the plot has no such choice."""
        return None

    def set_log(self, log: bool) -> None:
        """Put values on a logarithmic axis or colour scale, or on a linear one."""

    def add_actions(self, menu: QMenu) -> None:
        """Add what only this plot has to its context menu."""

    # The menu

    def build_context_menu(self) -> QMenu:
        """Return the context menu, which deletes itself when it is closed."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.setStyleSheet(theme.sheet())
        menu.addAction("Copy picture").triggered.connect(self.copy_picture)
        copy = menu.addAction("Copy data as CSV")
        copy.triggered.connect(self.copy_data)
        copy.setEnabled(self.data_table() is not None)
        menu.addAction("Export…").triggered.connect(self._ask_export)
        menu.addSeparator()
        reset = menu.addAction("Reset view")
        reset.setEnabled(self.is_zoomed())
        reset.triggered.connect(self.reset_plot)
        log = self.is_log()
        if log is not None:
            action: QAction = menu.addAction(self.log_text)
            action.setCheckable(True)
            action.setChecked(log)
            action.toggled.connect(self.set_log)
        self.add_actions(menu)
        return menu

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        if self.session.results is not None and self.session.results.done:
            self.build_context_menu().popup(event.globalPos())
            event.accept()

    def copy_picture(self) -> None:
        """Copy the plot to the clipboard as a picture of twice its size, without the ring of the focus."""
        had_focus = self.hasFocus()
        self.clearFocus()
        QGuiApplication.clipboard().setImage(render_part(self, self.picture_area()))
        if had_focus:
            self.setFocus()
        self.session.noticed.emit(f"{self.accessibleName()}: picture copied, at twice the size.")

    def copy_data(self) -> None:
        """Copy what is plotted to the clipboard as CSV."""
        table = self.data_table()
        if table is not None:
            text = format_csv_text(*table)
            QGuiApplication.clipboard().setText(text)
            rows = text.count("\n") - 1
            self.session.noticed.emit(f"{self.accessibleName()}: {rows} rows copied, as comma-separated values.")

    def _ask_export(self) -> None:
        self.session.command_requested.emit("export")


def format_csv_text(names: Sequence[str], rows: Rows) -> str:
    """Return a table as comma-separated values with a line of column names; floats as short as they are exact."""
    import csv  # not before the first picture

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(format_csv_cell, names))
    writer.writerows([format_csv_cell(cell) for cell in row] for row in rows)
    return text.getvalue()


def render_part(widget: QWidget, area: QRect, scale: int = SCALE) -> QImage:
    """Return a part of a widget, with what lies on it, as an image of `scale` pixels for each of the window's."""
    image = QImage(area.size() * scale, QImage.Format.Format_RGB32)
    image.setDevicePixelRatio(scale)
    image.fill(drawing.ground(widget))
    with QPainter(image) as painter:
        widget.render(painter, QPoint(), QRegion(area), QWidget.RenderFlag.DrawChildren)
    return image
