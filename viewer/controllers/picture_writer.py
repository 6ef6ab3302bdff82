"""Save pictures of the view in another process, which encodes them with OpenCV where it is installed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QObject, QProcess, Signal

from viewer.controllers.python_process import create_python_process

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtGui import QImage

CLOSING_MILLISECONDS: Final = 10_000
"""How long a window that is closed waits for a picture to be written."""


class PictureWriter(QObject):
    """Writes pictures as PNG or JPEG without making the window wait.

    Qt encodes a PNG of the view in 0.2 to 0.7 s and OpenCV in 0.05 to 0.15 s, but OpenCV sets environment variables of
    Qt when it is imported, which must not happen in the window's process.
    """

    noticed = Signal(str)
    """A picture is written, or cannot be: one sentence."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._paths: dict[QProcess, Path] = {}

    @property
    def is_busy(self) -> bool:
        """Whether a picture is still being written."""
        return bool(self._paths)

    def write(self, path: Path, image: QImage, view: str) -> None:
        """Begin to write a picture; `noticed` is emitted when it is done.

        Args:
            path: JPEG for `.jpg` and `.jpeg`, PNG for any other suffix; an existing file is replaced.
            image: The picture, in the format RGB32.
            view: The view as JSON, which is put into the file.
        """
        process = create_python_process(self, "viewer.export.encoding")
        process.finished.connect(self._on_finished)
        process.errorOccurred.connect(self._on_error)
        self._paths[process] = path
        process.start()
        header = {"path": str(path), "width": image.width(), "height": image.height(), "view": view,
                  "ratio": image.devicePixelRatio()}  # fmt: skip
        process.write(json.dumps(header).encode() + b"\n")
        process.write(bytes(image.constBits()))
        process.closeWriteChannel()

    def stop(self) -> None:
        """Wait until all pictures are written, before the window ends."""
        for process in list(self._paths):
            process.waitForFinished(CLOSING_MILLISECONDS)

    def _on_finished(self, code: int) -> None:
        process = self.sender()
        assert isinstance(process, QProcess)
        path = self._paths.pop(process, None)
        if path is None:
            return
        stderr_lines = bytes(process.readAllStandardError().data()).decode(errors="replace").strip().splitlines()
        process.deleteLater()
        if code == 0:
            self.noticed.emit(f"Saved {path.name}.")
        else:
            self.noticed.emit(
                stderr_lines[-1]
                if stderr_lines
                else f"{path} cannot be written: the process that encodes it ended early."
            )

    def _on_error(self, error: QProcess.ProcessError) -> None:
        process = self.sender()
        assert isinstance(process, QProcess)
        if error == QProcess.ProcessError.FailedToStart and (path := self._paths.pop(process, None)) is not None:
            process.deleteLater()
            self.noticed.emit(f"{path} cannot be written: no other Python process starts ({process.errorString()}).")
