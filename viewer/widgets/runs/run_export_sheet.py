"""Sheet that exports an answer over a run, in another process: format, colours, folder, progress."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QProcess, QRectF, QTimer, QUrl
from PySide6.QtGui import QCloseEvent, QDesktopServices, QGuiApplication, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QLineEdit, QWidget

from viewer.controllers.python_process import create_python_process
from viewer.model.plain_text import clean_text
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.segmented_control import SegmentedControl
from viewer.widgets.overlays.export_preview import PATIENCE_MILLISECONDS, end_process
from viewer.widgets.overlays.export_sheet import default_folder
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
        self.running: QProcess | None = None
        self.progress = 0, 0
        self._last: dict[str, Any] = {}
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
        folder = settings.text("export/folder") or str(default_folder(run.index or run.folder / "run"))
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
        t = theme.active()
        self.folder.setStyleSheet(theme.sheet())
        self.folder.setFixedHeight(28)
        self.sentence.setFont(theme.font(12))
        self.result.setFont(theme.font(12))
        self.sentence.setStyleSheet(f"color: {t.secondary}; background: transparent;")
        self.result.setStyleSheet(f"color: {t.text}; background: transparent;")
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
            label.setStyleSheet(f"color: {t.secondary}; background: transparent;")
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
        t, painter = theme.active(), QPainter(self)
        box = QRectF(self.sheet.geometry())
        line = QRectF(box.left() + 20, box.top() + 16, box.width() - 40, 24)
        used = drawing.write(painter, line, "Export", t.text, 16, bold=True)
        drawing.write(painter, line.adjusted(used + 12, 1, 0, 1), clean_text(self.run.name, 200), t.secondary, 13)

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
        self._last, self.progress = {}, (0, 0)
        self.running = create_python_process(self, "viewer.export", "--progress-lines", *self.arguments())
        self.running.readyReadStandardOutput.connect(self._read_progress)
        self.running.finished.connect(self._on_finished)
        self.running.errorOccurred.connect(self._on_error)
        self.result.setText("Starting …")
        self.running.start()
        self._refresh()

    def _read_progress(self) -> None:
        process = self.running
        while process is not None and process.canReadLine():
            message = json.loads(bytes(process.readLine().data()))
            if "total" in message:
                self.progress = message["done"], message["total"]
                self.result.setText(f"{self.progress[0]} of {self.progress[1]} episodes read")
            else:
                self._last = message

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._on_finished(-1)

    def _on_finished(self, code: int) -> None:
        process = self.running
        if process is None:
            return
        self._read_progress()
        errors = bytes(process.readAllStandardError().data()).decode(errors="replace").strip().splitlines()
        self.running = None
        process.deleteLater()
        if code == 0 and self._last:
            count = self._last["written"]
            names = Path(self._last["first"]).name if count == 1 else f"{count} files"
            self.result.setText(clean_text(f"{names} written to {self._last['folder']}", MOST_RESULT))
        else:
            self._last = {}
            text = (errors[-1] if errors else "The export ended early.").removeprefix("pi0-export: ")
            self.result.setText(clean_text(text[:1].upper() + text[1:], MOST_RESULT))
        self._refresh()

    def _refresh(self) -> None:
        is_busy = self.running is not None
        self.export.setEnabled(not is_busy)
        self.themes.setEnabled(self.format != "csv")
        self.cancel.relabel("Cancel" if is_busy else "Close")
        self.open_folder.setVisible(bool(self._last) and not is_busy)

    def _cancel(self) -> None:
        if self.running is None:
            self.close()
        else:
            self.running.terminate()
            QTimer.singleShot(PATIENCE_MILLISECONDS, self.running, self.running.kill)

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(shlex.join(["pi0-export", *self.arguments()]))
        self.result.setText("Copied the command that exports this")

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._last["folder"])))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self.running is not None:
            event.accept()  # Escape must not leave a half-written set of files behind
            return
        super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        if self.running is not None:
            self.running.finished.disconnect(self._on_finished)
            end_process(self.running)
            self.running = None
        super().closeEvent(event)
