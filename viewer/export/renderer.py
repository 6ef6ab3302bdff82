"""Paint the files of a plan as figures, in one process."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Self

from PySide6.QtGui import QFontDatabase, QGuiApplication

from viewer.errors import UserError
from viewer.export import atomic_write
from viewer.export.figures import camera_figures, charts, films, walls
from viewer.export.figures.camera_painter import CameraPainter
from viewer.export.figures.figure import THEMES, Figure
from viewer.export.scenes import explain_read_errors
from viewer.rendering import theme

if TYPE_CHECKING:
    from viewer.export.plan import PlannedFile
    from viewer.export.request import ExportRequest
    from viewer.export.scenes import ExportSource


def ensure_application() -> QGuiApplication:
    """Return Qt's application, which is made where there is none: without a window, on Linux also without a screen.

    Raises:
        UserError: The machine has no font.
    """
    running = QGuiApplication.instance()
    if isinstance(running, QGuiApplication):
        return running
    if sys.platform.startswith("linux"):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    application = QGuiApplication(["pi0-export"])
    if not QFontDatabase.families():
        raise UserError(
            "There is no font on this machine to write captions with; on Debian: apt-get install fonts-inter."
        )
    return application


class FigureRenderer:
    """Paints the figures of a request from open files. A context manager that restores the theme."""

    def __init__(self, source: ExportSource, request: ExportRequest) -> None:
        self.application = ensure_application()
        self._previous_theme = theme.active()
        self.source = source
        self.cameras = CameraPainter(source.results)
        self.other_cameras = CameraPainter(source.other) if source.other else self.cameras
        self.set_request(request)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        theme.paint_with(self._previous_theme)

    def set_request(self, request: ExportRequest) -> None:
        """Paint another request of the same files from now on."""
        self.request = request
        theme.paint_with(THEMES[request.theme])

    def create_figure(self, file: PlannedFile) -> Figure:
        """Return the figure of a file; of a video its middle picture.

        Raises:
            UserError: The frame cannot be read, or the figure cannot show what is asked for.
        """
        with explain_read_errors(self.source.results, file.view.frame):
            return self._create_figure(file)

    def _create_figure(self, file: PlannedFile) -> Figure:
        source, request, view = self.source, self.request, file.view
        if request.kind == "summary":
            return camera_figures.create_summary(source, self.cameras, view, request)
        if request.kind == "heads":
            return camera_figures.create_head_figure(source, self.cameras, view, request)
        if request.kind == "difference":
            return camera_figures.create_difference(source, self.cameras, self.other_cameras, view, request)
        if request.kind == "film":
            return films.create_film(source, view, request, file.series)
        if request.kind == "curves":
            return charts.create_curves(source, view, request, file.series)
        if request.kind == "wall":
            return walls.create_wall(source, view, request)
        if request.kind == "atlas":
            create = films.create_thumbnail_atlas if view.thumbnails else charts.create_atlas
            return create(source, view, request)
        middle = file.sweep[len(file.sweep) // 2] if file.sweep else view
        return camera_figures.create_camera_row(source, self.cameras, middle, request, series=file.series)

    def write(self, file: PlannedFile) -> None:
        """Paint one figure into its file.

        Raises:
            UserError: It cannot be painted or written.
        """
        content = self.create_figure(file).encode(self.request.format, self.request.scale)
        atomic_write.write_bytes(file.path, content, overwrite=self.request.overwrite)
