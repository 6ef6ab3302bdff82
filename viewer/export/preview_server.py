"""Paint previews for the window's export sheet, in a process of their own so that the window never waits.

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
from viewer.export import arrays, cli, tables
from viewer.export.encoding import pixels
from viewer.export.figures import text_layout
from viewer.export.figures.figure import Figure
from viewer.export.formats.csv_lines import format_csv_values
from viewer.export.plan import ExportPlan, build_plan
from viewer.export.renderer import FigureRenderer
from viewer.export.resolve.request_resolver import resolve_request
from viewer.export.scenes import ExportSource, explain_read_errors
from viewer.io.effects_names import find_effects_files
from viewer.model.view_state import ViewState
from viewer.rendering import theme

if TYPE_CHECKING:
    from pathlib import Path

    from capture.remote.address import Location
    from viewer.export.arguments import ExportArguments

MOST_ROWS: Final = 16
MOST_ARRAYS: Final = 24
ASIDE: Final = frozenset({"bar", "in region", "noise", "method", "controls", "control median", "controls smaller"})
"""Columns of a table of effects that its preview leaves out."""
SAMPLED_LINES: Final = 256
"""Lines of a table from which the size of the file is estimated."""
MOST_COLUMNS: Final = 12
"""Of more, the first six, which say what a line stands for, and the last four are shown."""


@dataclass(frozen=True)
class TablePreview:
    """The first lines of a table, as the content of a figure."""

    rows: tuple[tuple[str, ...], ...]
    """The first is the heading."""

    @property
    def _column_widths(self) -> list[float]:
        return [
            max(text_layout.measure_text_width(text, 12) for text in column) + 22
            for column in zip(*self.rows, strict=True)
        ]

    @property
    def width(self) -> float:
        """In px."""
        return sum(self._column_widths)

    @property
    def height(self) -> float:
        """In px."""
        return len(self.rows) * 20.0

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Draw the columns, the heading in a weaker colour."""
        colors = theme.active()
        for number, row in enumerate(self.rows):
            x = left
            for text, width in zip(row, self._column_widths, strict=True):
                box = QRectF(x, top + number * 20, width - 10, 20)
                text_layout.draw_line(painter, box, text, colors.text if number else colors.secondary, 12)
                x += width


class PreviewServer:
    """Answers requests of the export sheet, and keeps the files of the last one open."""

    def __init__(self) -> None:
        self._paths: tuple[Location, Location | None, tuple[Path, ...]] | None = None
        self._source: ExportSource | None = None
        self._renderer: FigureRenderer | None = None

    def _open_source(self, arguments: ExportArguments) -> ExportSource:
        paths = arguments.file, arguments.other, arguments.effects
        if self._source is not None and self._paths == paths:
            self._source.results.grow()
            return self._source
        if self._source is not None:
            self._source.close()
            self._source = self._renderer = None
        beside = [find_effects_files(file) if file is not None else [] for file in (arguments.file, arguments.other)]
        self._source, self._paths = ExportSource.open(*paths, *beside), paths
        return self._source

    def answer(self, ask: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
        """Return what the sheet shows for a command line, and the picture of the first file.

        `ask`: its number, the arguments, the size of the picture and pixels per px. The answer has the number, an error
        or the number of files and pictures, bytes of all files (0 if unknown), files that exist, and the first one.
        """
        try:
            arguments = cli.parse_arguments(ask["arguments"])
            source = self._open_source(arguments)
            with explain_read_errors(source.results):
                plan = build_plan(source, resolve_request(source, arguments))
                if self._renderer is None:
                    self._renderer = FigureRenderer(source, plan.request)
                self._renderer.set_request(plan.request)
                figure, size = _create_preview(self._renderer, plan)
        except UserError as error:
            return {"ask": ask["ask"], "error": str(error)}, b""
        scale = min(ask["width"] / figure.width, ask["height"] / figure.height, ask["ratio"] * 2.0)
        image = figure.render(max(scale, 0.05))
        first = plan.files[0].path
        answer = {
            "ask": ask["ask"], "error": "", "files": len(plan.files), "pictures": plan.pictures, "bytes": size,
            "exist": sum(file.path.exists() for file in plan.files), "first": str(first.relative_to(arguments.folder)),
            "width": image.width(), "height": image.height(),
        }  # fmt: skip
        return answer, pixels(image).tobytes()


def _create_preview(renderer: FigureRenderer, plan: ExportPlan) -> tuple[Figure, int]:
    """Return a figure of the first file, and about how many bytes all files have; 0 where that is not known."""
    request = plan.request
    if request.kind == "table":
        return _preview_table(tables.BlockReader(renderer.source.results, request))
    if request.kind == "arrays":
        return _preview_arrays(tables.BlockReader(renderer.source.results, request))
    figure = renderer.create_figure(plan.files[0])
    if request.kind == "video":
        return figure, 0
    return figure, len(figure.encode(request.format, request.scale)) * len(plan.files)


def _preview_arrays(reader: tables.BlockReader) -> tuple[Figure, int]:
    block = next(reader.blocks())
    assert block.maps is not None
    effects = arrays.find_effect_axes(reader)
    rows = (
        ("array", "axes"),
        ("maps", ", ".join(arrays.MAP_AXES)),
        ("mass", ", ".join(arrays.MASS_AXES)),
        ("entropy", ", ".join(arrays.SCORE_AXES)),
        *((score.column.replace(" ", "_"), ", ".join(arrays.SCORE_AXES)) for score in reader.scores[1:]),
        ("query, layer, step, head, camera, group", "what the axes are called"),
        *((name, ", ".join(axes)) for name, axes in effects.items() if len(axes) > 1),
    )
    if len(rows) > MOST_ARRAYS:
        rows = (*rows[: MOST_ARRAYS - 1], (f"and {len(rows) - MOST_ARRAYS + 1} more", "pi0-export arrays -h"))
    size = reader.count_rows() * block.maps[0, 0, 0, 0].nbytes
    return Figure(TablePreview(rows), ViewState(), "arrays"), size


def _preview_table(reader: tables.BlockReader) -> tuple[Figure, int]:
    block = next(reader.blocks())
    columns = tables.table_columns(reader, block)
    names = list(columns)
    lines = len(columns["frame"])
    first = 0
    if reader.is_of_effects:
        names = [name for name in names if name not in ASIDE]
        measured = np.flatnonzero(np.isfinite(columns["effect"]) | np.isfinite(columns["gradient"]))
        first = int(measured[0]) if measured.size else 0
    elif len(names) > MOST_COLUMNS:
        names = [*names[:6], *names[-4:]]
    shown = range(first, min(first + MOST_ROWS, lines))
    rows = [tuple(_format_value(columns[name][line]) for name in names) for line in shown]
    sampled = sum(
        len(str(text)) + 1 for column in columns.values() for text in format_csv_values(column[:SAMPLED_LINES])
    )
    per_row = round(sampled * max(lines / SAMPLED_LINES, 1) / block.rows)
    return Figure(TablePreview((tuple(names), *rows)), ViewState(), "table"), per_row * reader.count_rows()


def _format_value(value: object) -> str:
    return f"{float(value):.4g}" if isinstance(value, float | np.floating) else str(value)


def main() -> int:
    """Answer requests until the input ends."""
    asks: queue.Queue[str] = queue.Queue()

    def read_input() -> None:
        for line in sys.stdin:
            asks.put(line)
        asks.put("")

    threading.Thread(target=read_input, daemon=True).start()
    server = PreviewServer()
    while True:
        line = newest = asks.get()
        while newest and not asks.empty():  # older requests are skipped
            newest = asks.get()
            line = newest or line
        if not line:
            return 0
        answer, picture = server.answer(json.loads(line))
        answer["size"] = len(picture)
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + picture)
        sys.stdout.buffer.flush()
        if not newest:
            return 0


if __name__ == "__main__":
    sys.exit(main())
