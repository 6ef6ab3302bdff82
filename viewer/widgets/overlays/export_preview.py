"""Live preview of an export, rendered by another process."""

from __future__ import annotations

import contextlib
import json
from math import inf
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import QProcess, QRectF, QSizeF, QTimer, Signal
from PySide6.QtGui import QImage, QPainter, QPaintEvent, QResizeEvent
from PySide6.QtWidgets import QWidget

from viewer.controllers.python_process import create_python_process
from viewer.rendering import drawing, theme

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.controllers.settings import Settings
    from viewer.widgets.overlays.export_form import ExportForm

DELAY_MILLISECONDS: Final = 120
PATIENCE_MILLISECONDS: Final = 3000
"""Time a process has to end after SIGTERM before it is killed."""


class ExportPreview(QWidget):
    """Preview of the first file of an export; the last picture stays until the next one is there."""

    answered = Signal()
    """There is a new picture, or an error."""

    def __init__(self, form: ExportForm, session: Session, settings: Settings) -> None:
        super().__init__()
        self.form, self.session, self.settings = form, session, settings
        self.image: QImage | None = None
        self.error = ""
        self.reply: dict[str, Any] = {}
        self._shape = self.estimate_shape()
        self._request_number = 0
        self._buffer = bytearray()
        self._header: dict[str, Any] | None = None
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(DELAY_MILLISECONDS)
        self._timer.timeout.connect(self._request)
        self.process = create_python_process(self, "viewer.export.preview_server")
        self.process.readyReadStandardOutput.connect(self._read)
        self.process.finished.connect(self._on_process_ended)
        self.process.start()
        self.setMinimumSize(240, 200)
        self.setAccessibleName("Preview")

    def refresh(self) -> None:
        """Request a new picture once the options have not changed for a moment."""
        self._shape = self.estimate_shape()
        self._timer.start()

    def _request(self) -> None:
        if self.process.state() == QProcess.ProcessState.NotRunning:
            return
        self._request_number += 1
        ratio = self.devicePixelRatioF()
        ask = {"ask": self._request_number, "arguments": self.form.arguments(), "ratio": ratio,
               "width": (self.width() - 32) * ratio, "height": (self.height() - 32) * ratio}  # fmt: skip
        self.process.write(json.dumps(ask).encode() + b"\n")

    def _read(self) -> None:
        self._buffer += self.process.readAllStandardOutput().data()
        while True:
            if self._header is None:
                line, newline, remainder = bytes(self._buffer).partition(b"\n")
                if not newline:
                    return
                self._header, self._buffer = json.loads(line), bytearray(remainder)
            size = self._header["size"]
            if len(self._buffer) < size:
                return
            picture, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
            header, self._header = self._header, None
            if header["ask"] == self._request_number:
                self._show(header, picture)

    def _show(self, reply: dict[str, Any], picture: bytes) -> None:
        self.error, self.reply = reply["error"], reply
        if not self.error:
            width, height = reply["width"], reply["height"]
            self.image = QImage(picture, width, height, width * 4, QImage.Format.Format_RGB32).copy()
            self.image.setDevicePixelRatio(self.devicePixelRatioF())
            self.settings.set_text("export/shape", f"{self.form.kind} {width / max(height, 1):.3f}")
        self.setAccessibleDescription(self.error or f"{reply['files']} files, the first is {reply['first']}")
        self.update()
        self.answered.emit()

    def _on_process_ended(self) -> None:
        reason = bytes(self.process.readAllStandardError().data()).decode(errors="replace").strip().splitlines()
        self.error = f"No preview can be painted ({reason[-1] if reason else 'the process ended'})."
        self.update()

    def end(self) -> None:
        """End the process that renders."""
        self._timer.stop()
        self.process.finished.disconnect(self._on_process_ended)
        end_process(self.process)

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.refresh()

    def estimate_shape(self) -> float:
        """Return the likely width / height of the first picture: that of the last one of its kind, or of a summary."""
        kind, _, stored = self.settings.text("export/shape").partition(" ")
        if kind == self.form.kind:
            with contextlib.suppress(ValueError):
                return min(max(float(stored), 0.2), 5.0)
        results = self.session.results
        sizes = [results.picture_size(camera) for camera in range(len(results.cameras))] if results is not None else []
        tall = sum(lines / dots for lines, dots in sizes) or 1.0
        return 2 / (tall + 0.3)  # two pictures side by side for each camera, and the caption

    def paintEvent(self, event: QPaintEvent) -> None:
        colors, painter = theme.active(), QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        box = QRectF(self.rect())
        drawing.fill(painter, box, theme.color(colors.window if colors.dark else colors.raised))
        if self.error:
            self._paint_error(painter, box.adjusted(28, 0, -28, 0))
        elif self.image is None:
            _, area = _fit(QSizeF(self._shape, 1.0), box, inf)
            drawing.fill(painter, area, theme.color(colors.raised if colors.dark else colors.panel), 1)
        else:
            fit, area = _fit(self.image.deviceIndependentSize(), box, 1.0)
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, fit < 0.999)
            painter.drawImage(area, self.image)
            drawing.ring(painter, area.adjusted(-1, -1, 1, 1), theme.color(colors.line), 1, 1)

    def _paint_error(self, painter: QPainter, box: QRectF) -> None:
        """Paint the error, wrapped to the width of the box."""
        lines, line = [], ""
        for word in self.error.split():
            longer = f"{line} {word}".strip()
            if line and drawing.width_of(longer, 13) > box.width():
                lines.append(line)
                longer = word
            line = longer
        for number, text in enumerate([*lines, line]):
            top = box.center().y() - 10 * (len(lines) + 1) + 20 * number
            drawing.write(painter, QRectF(box.left(), top, box.width(), 20), text, theme.active().secondary, 13,
                          align="centre")  # fmt: skip


def _fit(size: QSizeF, box: QRectF, most: float) -> tuple[float, QRectF]:
    """Return the scale that fits a picture into a box with margins, at most `most`, and its centred rectangle."""
    fit = min((box.width() - 32) / size.width(), (box.height() - 32) / size.height(), most)
    area = QRectF(0, 0, size.width() * fit, size.height() * fit)
    area.moveCenter(box.center())
    area.moveTopLeft(area.topLeft().toPoint().toPointF())
    return fit, area


def end_process(process: QProcess) -> None:
    """Terminate a process; kill it if it does not end in PATIENCE_MILLISECONDS."""
    if process.state() != QProcess.ProcessState.NotRunning:
        process.closeWriteChannel()
        process.terminate()
        if not process.waitForFinished(PATIENCE_MILLISECONDS):
            process.kill()
            process.waitForFinished(PATIENCE_MILLISECONDS)
