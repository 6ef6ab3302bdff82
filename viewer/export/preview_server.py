"""Previews for the viewer's dialog, painted in a process of their own so that the window never waits.

`python -m viewer.export.preview_server` reads one JSON line a request and answers the newest: a JSON line, then the
picture's bytes (0xFFRRGGBB words). It ends when its input does.
"""

from __future__ import annotations

import json
import queue
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter

from viewer.errors import UserError
from viewer.export import cli, tables
from viewer.export.encoding import pixels
from viewer.export.figures import text_layout
from viewer.export.figures.figure import Figure
from viewer.export.plan import Plan, plan
from viewer.export.renderer import Studio
from viewer.export.scenes import readable
from viewer.model.view_state import ViewState
from viewer.rendering import theme

if TYPE_CHECKING:
    from viewer.export.request import Options

MOST_ROWS: Final = 16
SAMPLED: Final = 256
"""Lines of a table by which the size of all is told."""
MOST_COLUMNS: Final = 12
"""Of more, the first six, which say what a line is about, and the last four."""


@dataclass(frozen=True)
class Listing:
    """The first lines of a table as a drawing."""

    rows: tuple[tuple[str, ...], ...]
    """The first is the heading."""

    @property
    def _widths(self) -> list[float]:
        return [max(text_layout.width_of(text, 12) for text in column) + 22 for column in zip(*self.rows, strict=True)]

    @property
    def width(self) -> float:
        """In px."""
        return sum(self._widths)

    @property
    def height(self) -> float:
        """In px."""
        return len(self.rows) * 20.0

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Columns at equal distances, the heading quiet."""
        t = theme.active()
        for number, row in enumerate(self.rows):
            x = left
            for text, width in zip(row, self._widths, strict=True):
                box = QRectF(x, top + number * 20, width - 10, 20)
                text_layout.write(painter, box, text, t.text if number else t.secondary, 12)
                x += width


class Server:
    """Keeps the file of the last ask open."""

    def __init__(self) -> None:
        self.studio: Studio | None = None

    def _opened(self, options: Options) -> Studio:
        known = self.studio
        if known is not None and (known.options.file, known.options.other) == (options.file, options.other):
            known.dress(options)
            known.source.results.grow()
            return known
        if known is not None:
            known.__exit__()
        self.studio = Studio(options)
        return self.studio

    def answer(self, ask: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """What the dialog shows for one set of options: a picture of the first file, how many, how large."""
        try:
            options = cli.options(ask["arguments"])
            studio = self._opened(options)
            with readable(studio.source.results):
                made = plan(studio.source.results, options, studio.source.other)
            figure, size = self._figure(studio, made)
        except UserError as error:
            return {"ask": ask["ask"], "error": str(error)}, b""
        scale = min(ask["width"] / figure.width, ask["height"] / figure.height, ask["ratio"] * 2.0)
        image = figure.image(max(scale, 0.05))
        first = made.jobs[0].path
        told = {
            "ask": ask["ask"], "error": "", "files": len(made.jobs), "pictures": made.pictures, "bytes": size,
            "exist": sum(job.path.exists() for job in made.jobs), "first": str(first.relative_to(options.folder)),
            "width": image.width(), "height": image.height(),
        }  # fmt: skip
        return told, pixels(image).tobytes()

    def _figure(self, studio: Studio, made: Plan) -> tuple[Figure, int]:
        """The first figure, and about how many bytes all files have; 0 where that is not known beforehand."""
        options = made.options
        if options.kind in {"table", "arrays"}:
            return self._numbers(studio, options)
        figure = studio.figure(made.jobs[0])
        if options.kind == "video":
            return figure, 0
        return figure, len(figure.encoded(options.suffix, options.density)) * len(made.jobs)

    def _numbers(self, studio: Studio, options: Options) -> tuple[Figure, int]:
        reading = tables.Reading(studio.source.results, options)
        block = next(reading.blocks(reading.phases[0]))
        if options.kind == "arrays":
            rows = [("array", "axes"), ("maps", ", ".join(tables.MAP_AXES))]
            rows += [
                ("mass", ", ".join((*tables.MAP_AXES[:5], "group"))),
                ("entropy", ", ".join(tables.MAP_AXES[:5])),
            ]
            rows.append(("query, layer, step, head, camera, group", "what the axes are called"))
            assert block.maps is not None
            return Figure(Listing(tuple(rows)), ViewState(), "arrays"), reading.count() * block.maps[0, 0, 0].nbytes
        columns = tables.columns(reading, block)
        names = list(columns)
        if len(names) > MOST_COLUMNS:
            names = [*names[:6], *names[-4:]]
        count = min(MOST_ROWS, len(columns["frame"]))
        lines = [tuple(names)] + [tuple(_short(columns[name][row]) for name in names) for row in range(count)]
        each = int(np.prod(block.lead))
        size = sum(len(str(text)) + 1 for column in columns.values() for text in tables.as_text(column[:SAMPLED]))
        size = round(size * max(len(columns["frame"]) / SAMPLED, 1) / each)
        return Figure(Listing(tuple(lines)), ViewState(), "table"), size * reading.count()


def _short(value: object) -> str:
    return f"{float(value):.4f}" if isinstance(value, float | np.floating) else str(value)


def main() -> int:
    """Answer until the input ends."""
    asks: queue.Queue[str] = queue.Queue()

    def listen() -> None:
        for line in sys.stdin:
            asks.put(line)
        asks.put("")

    threading.Thread(target=listen, daemon=True).start()
    server = Server()
    while True:
        line = newest = asks.get()
        while newest and not asks.empty():  # only the newest is still wanted
            newest = asks.get()
            line = newest or line
        if not line:
            return 0
        told, picture = server.answer(json.loads(line))
        told["size"] = len(picture)
        sys.stdout.buffer.write(json.dumps(told).encode() + b"\n" + picture)
        sys.stdout.buffer.flush()
        if not newest:
            return 0


if __name__ == "__main__":
    sys.exit(main())
