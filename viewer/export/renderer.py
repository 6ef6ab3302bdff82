"""One process that paints: the open files, their pictures, and from a job to a file."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Self

from PySide6.QtGui import QFontDatabase, QGuiApplication

from viewer.errors import UserError
from viewer.export import atomic_write
from viewer.export.figures import camera_figures, charts, films
from viewer.export.figures.figure import THEMES, Figure
from viewer.export.figures.pane import Panes
from viewer.export.scenes import Source, readable
from viewer.export.selection import along_axes
from viewer.io.results import Results
from viewer.rendering import theme

if TYPE_CHECKING:
    from viewer.export.plan import Job
    from viewer.export.request import Options


def application() -> QGuiApplication:
    """Qt without a window; on Linux also without a screen."""
    running = QGuiApplication.instance()
    if isinstance(running, QGuiApplication):
        return running
    if sys.platform.startswith("linux"):
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    made = QGuiApplication(["pi0-export"])
    if not QFontDatabase.families():
        raise UserError(
            "There is no font on this machine to write captions with; on Debian: apt-get install fonts-inter."
        )
    return made


class Studio:
    """Paints the figures of one export. A context manager that closes its files."""

    def __init__(self, options: Options) -> None:
        self.app = application()
        self._before = theme.active()
        theme.paint_with(THEMES[options.theme])
        self.options = options
        self.source = Source(Results(options.file), Results(options.other) if options.other else None)
        self.panes = Panes(self.source.results)
        self.other_panes = Panes(self.source.other) if self.source.other else self.panes

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        theme.paint_with(self._before)
        self.source.results.close()
        if self.source.other is not None:
            self.source.other.close()

    def dress(self, options: Options) -> None:
        """Take other options for the same files."""
        self.options = options
        theme.paint_with(THEMES[options.theme])

    def figure(self, job: Job) -> Figure:
        """What a job shows; the middle picture of a video."""
        with readable(self.source.results, job.view.frame):
            return self._figure(job)

    def _figure(self, job: Job) -> Figure:
        options, view = self.options, job.view
        if options.kind == "summary":
            return camera_figures.summary(self.source, self.panes, view, options)
        if options.kind == "heads":
            return camera_figures.head_sheet(self.source, self.panes, view, options)
        if options.kind == "difference":
            return camera_figures.difference(self.source, self.panes, self.other_panes, view, options)
        if options.kind in {"curves", "film"}:
            axes = along_axes(self.source.results, options, view)
            if options.kind == "film":
                return films.film(self.source, view, options, axes)
            return charts.curves(self.source, view, options, axes[options.along.removesuffix("s")])
        if options.kind == "atlas":
            thumbnails = view.thumbnails
            return films.atlas_thumbnails(self.source, view, options) if thumbnails else charts.atlas(
                self.source, view, options
            )  # fmt: skip
        middle = job.sweep[len(job.sweep) // 2] if job.sweep else view
        return camera_figures.row(self.source, self.panes, middle, options)

    def write(self, job: Job) -> None:
        """Paint one figure into its file."""
        figure = self.figure(job)
        content = figure.encoded(self.options.suffix, self.options.density)
        atomic_write.write(job.path, content, overwrite=self.options.overwrite)
