"""Sheet that exports an answer over a run, in another process: format, colours, folder, progress."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRectF, QUrl
from PySide6.QtGui import QCloseEvent, QDesktopServices, QGuiApplication, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QWidget

from viewer.controllers.export_run import ExportRun
from viewer.model.plain_text import clean_text
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.segmented_control import SegmentedControl
from viewer.widgets.overlays.export_preview import PATIENCE_MILLISECONDS
from viewer.widgets.overlays.export_sheet import find_default_folder
from viewer.widgets.overlays.overlay import Overlay

if TYPE_CHECKING:
    from viewer.controllers.settings import Settings
    from viewer.io.run_index import Run
    from viewer.runs.run_view import RunView

FORMATS: Final = (("png", "PNG"), ("pdf", "PDF"), ("svg", "SVG"), ("jpg", "JPG"), ("csv", "CSV tables"))
THEMES: Final = (("light", "Light"), ("dark", "Dark"))
LABEL_WIDTH: Final = 76
MOST_RESULT: Final = 300


class RunExportSheet(Overlay):
    """Runs `pi0-export run` with the view of the page; the figure carries the view, the tables the query and counts."""

    def __init__(self, window: QWidget, run: Run, view: RunView, sentence: str, settings: Settings) -> None:
        super().__init__(window, 620, 300)
        self.run, self.view, self.settings = run, view, settings
        self.exporting = ExportRun(self)
        self.exporting.progressed.connect(self._show_progress)
        self.exporting.ended.connect(self._finish)
        self.formats = SegmentedControl("Format", FORMATS)
        self.formats.chosen.connect(self._choose_format)
        self.themes = SegmentedControl("Colours", THEMES)
        self.themes.chosen.connect(self._choose_theme)
        self.format = settings.text("run_export/format", "png")
        if self.format not in dict(FORMATS):
            self.format = "png"
        self.theme = "dark" if settings.text("run_export/theme") == "dark" else "light"
        self.formats.show_value(self.format)
        self.themes.show_value(self.theme)
        folder = settings.text("export/folder") or str(find_default_folder(run.index or run.folder / "run"))
        self.folder = QLineEdit(folder)
        self.folder.setAccessibleName("Folder")
        self.replaces = Button("Replace what exists", kind="toggle")
        self.replaces.setCheckable(True)
        self.sentence, self.result = QLabel(clean_text(sentence, 600)), QLabel()
        for label in (self.sentence, self.result):
            label.setTextFormat(self.sentence.textFormat().PlainText)
            label.setWordWrap(True)
        self.open_folder, self.copy = Button("Open folder"), Button("Copy as command", kind="quiet")
        self.cancel, self.export = Button("Close"), Button("Export", kind="primary")
        self._build()
        self._refresh()
        self.export.setFocus()

    def _build(self) -> None:
        colors = theme.active()
        self.folder.setStyleSheet(theme.sheet())
        self.folder.setFixedHeight(28)
        self.sentence.setFont(theme.font(12))
        self.result.setFont(theme.font(12))
        self.sentence.setStyleSheet(f"color: {colors.secondary}; background: transparent;")
        self.result.setStyleSheet(f"color: {colors.text}; background: transparent;")
        self.column.setContentsMargins(20, 52, 20, 16)
        self.column.setSpacing(10)
        self.column.addWidget(self.sentence)
        for title, widgets in (
            ("Format", (self.formats,)), ("Colours", (self.themes, self.replaces)), ("Folder", (self.folder,)),
        ):  # fmt: skip
            row = QHBoxLayout()
            row.setSpacing(10)
            label = QLabel(title)
            label.setFont(theme.font(12))
            label.setFixedWidth(LABEL_WIDTH)
            label.setStyleSheet(f"color: {colors.secondary}; background: transparent;")
            row.addWidget(label)
            for widget in widgets:
                row.addWidget(widget)
            if self.folder not in widgets:
                row.addStretch(1)
            self.column.addLayout(row)
        self.column.addStretch(1)
        self.column.addWidget(self.result)
        lower = QHBoxLayout()
        lower.setSpacing(8)
        lower.addWidget(self.copy)
        lower.addStretch(1)
        for button in (self.open_folder, self.cancel, self.export):
            lower.addWidget(button)
        self.column.addLayout(lower)
        self.open_folder.clicked.connect(self._open_folder)
        self.copy.clicked.connect(self._copy)
        self.cancel.clicked.connect(self._cancel)
        self.export.clicked.connect(self.start)

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        colors, painter = theme.active(), QPainter(self)
        box = QRectF(self.sheet.geometry())
        line = QRectF(box.left() + 20, box.top() + 16, box.width() - 40, 24)
        used = drawing.write(painter, line, "Export", colors.text, 16, bold=True)
        drawing.write(painter, line.adjusted(used + 12, 1, 0, 1), clean_text(self.run.name, 200), colors.secondary, 13)

    def _choose_format(self, value: str) -> None:
        self.format = value
        self._refresh()

    def _choose_theme(self, value: str) -> None:
        self.theme = value

    def arguments(self) -> list[str]:
        """Return the arguments of pi0-export."""
        words = ["run", str((self.run.index or self.run.folder).absolute()), "--view", self.view.to_json()]
        words += ["--format", self.format, "-o", self.folder.text()]
        words += ["--theme", self.theme] if self.format != "csv" else []
        return [*words, "--overwrite"] if self.replaces.isChecked() else words

    def start(self) -> None:
        """Start the export."""
        for name, value in (("format", self.format), ("theme", self.theme)):
            self.settings.set_text(f"run_export/{name}", value)
        self.settings.set_text("export/folder", self.folder.text())
        self.result.setText("Starting …")
        self.exporting.export(self.arguments())
        self._refresh()

    def _show_progress(self) -> None:
        done, total = self.exporting.progress
        if total:
            self.result.setText(f"{done} of {total} episodes read")

    def _finish(self, code: int) -> None:
        text = self.exporting.describe_failure(code)
        if not text:
            written = self.exporting.written
            count = written["written"]
            names = Path(written["first"]).name if count == 1 else f"{count} files"
            text = f"{names} written to {written['folder']}"
        self.result.setText(clean_text(text, MOST_RESULT))
        self._refresh()

    def _refresh(self) -> None:
        is_busy = self.exporting.is_running
        self.export.setEnabled(not is_busy)
        self.themes.setEnabled(self.format != "csv")
        self.cancel.relabel("Cancel" if is_busy else "Close")
        self.open_folder.setVisible(bool(self.exporting.written) and not is_busy)

    def _cancel(self) -> None:
        if not self.exporting.is_running:
            self.close()
        else:
            self.exporting.stop()

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(shlex.join(["pi0-export", *self.arguments()]))
        self.result.setText("Copied the command that exports this")

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.exporting.written["folder"])))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self.exporting.is_running:
            event.accept()  # Escape must not leave a half-written set of files behind
            return
        super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.exporting.end(PATIENCE_MILLISECONDS)
        super().closeEvent(event)
