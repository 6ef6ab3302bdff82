"""Sheet that exports: kinds, options, a live preview, the number of files, and progress."""

from __future__ import annotations

import contextlib
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QRectF, QStandardPaths, QUrl
from PySide6.QtGui import QCloseEvent, QDesktopServices, QGuiApplication, QKeyEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QButtonGroup, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from viewer.controllers.export_run import ExportRun
from viewer.export.request import KINDS
from viewer.io.demo_files import find_demo_path, is_of_demo_run
from viewer.io.open_file import read_identity
from viewer.model.plain_text import plain_tooltip
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button
from viewer.widgets.overlays.export_form import ExportForm
from viewer.widgets.overlays.export_preview import PATIENCE_MILLISECONDS, ExportPreview
from viewer.widgets.overlays.export_rows import TITLES
from viewer.widgets.overlays.overlay import Overlay

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.controllers.session import Session
    from viewer.controllers.settings import Settings


class ExportStatus(QWidget):
    """Shows what will be written, or the progress."""

    def __init__(self, sheet: ExportSheet) -> None:
        super().__init__()
        self.sheet = sheet
        self.setFixedHeight(40)

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter, sheet = theme.active(), QPainter(self), self.sheet
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect())
        words, quiet = sheet.words()
        drawing.write(painter, QRectF(0, 0, box.width(), 20), words, colors.text, 13)
        if sheet.exporting.is_running:
            done, total = sheet.exporting.progress
            track = QRectF(0, 27, box.width() - 12, 4)
            drawing.fill(painter, track, theme.color(colors.hover), 2)
            part = done / total if total else 0.0
            drawing.fill(painter, QRectF(0, 27, track.width() * part, 4), theme.color(colors.accent), 2)
        else:
            drawing.write(painter, QRectF(0, 20, box.width() - 12, 20), quiet, colors.secondary, 12)


class ExportSheet(Overlay):
    """Runs pi0-export in another process, which can be stopped; its options start from what the window shows."""

    def __init__(self, window: QWidget, session: Session, settings: Settings) -> None:
        super().__init__(window, max(1180, round(window.width() * 0.62)), max(720, round(window.height() * 0.7)))
        session.flush()
        self.session, self.settings = session, settings
        self.exporting = ExportRun(self)
        self.exporting.progressed.connect(self._show_progress)
        self.exporting.ended.connect(self._finish)
        self.result = ""
        folder = Path(self.settings.text("export/folder") or find_default_folder(self.session.path))
        kind = "wall" if session.state.wall != "off" else self.settings.text("export/kind", "summary")
        kind = kind if kind in KINDS and not self.reason(kind) else "summary"
        self.form = ExportForm(self.session, kind, folder)
        self.kinds: dict[str, Button] = {}
        self.preview = ExportPreview(self.form, session, settings)
        self.status = ExportStatus(self)
        self.open_folder, self.cancel, self.export = (
            Button("Open folder"),
            Button("Close"),
            Button("Export", kind="primary"),
        )
        self.copy = Button("Copy as command", kind="quiet")
        self._build()
        self.form.changed.connect(self._on_form_changed)
        self.preview.answered.connect(self.refresh)
        self.refresh()
        self.preview.refresh()
        self.export.setFocus()

    def _build(self) -> None:
        names = QVBoxLayout()
        names.setSpacing(2)
        # Auto-exclusive buttons would exclude those of the form, too: Qt looks for them in all children.
        exclusive = QButtonGroup(self)
        for kind in KINDS:
            button = Button(TITLES[kind], kind="quiet")
            button.setCheckable(True)
            exclusive.addButton(button)
            button.setChecked(kind == self.form.kind)
            button.setProperty("kind", kind)
            reason = self.reason(kind)
            button.setEnabled(not reason)
            button.setToolTip(plain_tooltip(reason))
            button.setFixedSize(96, 26)
            button.clicked.connect(self._on_kind_chosen)
            self.kinds[kind] = button
            names.addWidget(button)
        names.addStretch()
        scroll = QScrollArea()
        scroll.setWidget(self.form)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QScrollArea.Shape.NoFrame)
        scroll.setFixedWidth(310)
        scroll.setStyleSheet(
            theme.sheet() + "QScrollArea, QScrollArea > QWidget > QWidget { background: transparent; }"
        )
        upper = QHBoxLayout()
        upper.setSpacing(18)
        upper.addLayout(names)
        upper.addWidget(scroll)
        upper.addWidget(self.preview, 1)
        lower = QHBoxLayout()
        lower.setSpacing(8)
        lower.addWidget(self.status, 1)
        for button in (self.copy, self.open_folder, self.cancel, self.export):
            lower.addWidget(button)
        self.column.setContentsMargins(20, 52, 20, 16)
        self.column.setSpacing(12)
        self.column.addLayout(upper, 1)
        self.column.addLayout(lower)
        self.open_folder.clicked.connect(self._open_folder)
        self.copy.clicked.connect(self._copy)
        self.cancel.clicked.connect(self._cancel)
        self.export.clicked.connect(self.start)

    def reason(self, kind: str) -> str:
        """Return why a kind cannot be exported now; empty if it can."""
        if kind != "difference" or self.session.pin is not None:
            return ""
        return self.session.not_compared or "pin a view first (P)"

    def paintEvent(self, event: QPaintEvent) -> None:
        super().paintEvent(event)
        colors, painter = theme.active(), QPainter(self)
        box = QRectF(self.sheet.geometry())
        line = QRectF(box.left() + 20, box.top() + 16, box.width() - 40, 24)
        used = drawing.write(painter, line, "Export", colors.text, 16, bold=True)
        name = self.session.path.name if self.session.path else ""
        drawing.write(painter, line.adjusted(used + 12, 1, 0, 1), name, colors.secondary, 13)

    # Status

    def words(self) -> tuple[str, str]:
        """Return the line under the preview, and a second line in the secondary colour."""
        reply = self.preview.reply
        if self.exporting.is_running:
            done, total = self.exporting.progress
            return (f"{done} of {total}" if total else "Starting …"), ""
        if self.result:
            return self.result, ""
        if not reply or reply.get("error"):
            return "", ""
        count = reply["files"]
        words = f"{count} file{'s' if count > 1 else ''}"
        if reply["pictures"] > count:
            with contextlib.suppress(ValueError):
                seconds = reply["pictures"] / count / float(self.form.fields["rate"].text())
                words += f" of {reply['pictures'] // count} pictures, {seconds:.1f} s"
        if reply["bytes"]:
            words += f", about {_format_size(reply['bytes'])}"
        if reply["exist"] and not self.form.replaces:
            words += f" · {reply['exist']} exist{'s' if reply['exist'] == 1 else ''} already"
        return words, reply["first"] + (" …" if count > 1 else "")

    def refresh(self) -> None:
        """Update the buttons and the status."""
        busy = self.exporting.is_running
        reply = self.preview.reply
        refused = bool(reply.get("exist")) and not self.form.replaces
        self.export.setEnabled(not busy and bool(reply) and not reply.get("error") and not refused)
        self.export.setToolTip("Choose another folder, or to replace what exists" if refused else "")
        self.form.setEnabled(not busy)
        self.cancel.relabel("Cancel" if busy else "Close")
        self.open_folder.setVisible(bool(self.exporting.written) and not busy)
        self.status.update()

    def _on_form_changed(self) -> None:
        self.result, self.exporting.written = "", {}
        self.preview.refresh()
        self.refresh()

    def _on_kind_chosen(self) -> None:
        self.form.show_kind(str(self.sender().property("kind")))

    # Export

    def start(self) -> None:
        """Start the export."""
        self.settings.set_text("export/kind", self.form.kind)
        self.settings.set_text("export/folder", self.form.folder.text())
        self.result = ""
        self.exporting.export(self.form.arguments())
        self.refresh()

    def _show_progress(self) -> None:
        self.status.update()

    def _finish(self, code: int) -> None:
        self.result = self.exporting.describe_failure(code)
        if not self.result:
            count = self.exporting.written["written"]
            folder = Path(self.exporting.written["folder"]).name
            self.result = f"{count} file{'s' if count > 1 else ''} written to {folder}"
        self.preview.refresh()  # some of the files exist now
        self.refresh()

    def _cancel(self) -> None:
        if not self.exporting.is_running:
            self.close()
        else:
            self.exporting.stop()

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(shlex.join(["pi0-export", *self.form.arguments()]))
        self.result = "Copied the command that exports this"
        self.status.update()

    def _open_folder(self) -> None:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.exporting.written["folder"])))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if self.exporting.is_running:
            event.accept()  # Escape must not leave a half-written set of files behind
            return
        super().keyPressEvent(event)

    def closeEvent(self, event: QCloseEvent) -> None:
        self.preview.end()
        self.exporting.end(PATIENCE_MILLISECONDS)
        super().closeEvent(event)


def find_default_folder(path: Location | None) -> Path:
    """Return `results` beside the file; for the demo, or a folder that is not writable, the user's pictures folder."""
    demo = find_demo_path()
    bundled = path is not None and demo is not None and read_identity(path) == read_identity(demo)
    bundled = bundled or (isinstance(path, Path) and is_of_demo_run(path))
    if isinstance(path, Path) and not bundled and os.access(path.absolute().parent, os.W_OK):
        return path.absolute().parent / "results"
    pictures = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation)
    return Path(pictures or Path.home()) / "pi0-export"


def _format_size(count: int) -> str:
    return (
        f"{count / 1e9:.1f} GB" if count > 1e9 else f"{count / 1e6:.1f} MB" if count > 1e5 else f"{count / 1e3:.0f} kB"
    )
