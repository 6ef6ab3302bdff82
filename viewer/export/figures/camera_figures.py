"""Figures of camera pictures: the summary, one head's sheet, a difference, a row of panes for video."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRectF

from viewer.analysis.caption import heading_of, heads_of, words_of
from viewer.analysis.scene import on_one_range
from viewer.export import scenes
from viewer.export.figures import color_bar
from viewer.export.figures import text_layout as words
from viewer.export.figures.color_bar import ColourScale
from viewer.export.figures.figure import Figure, on_scale, sentence, titled
from viewer.rendering import drawing, theme

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PySide6.QtGui import QPainter

    from viewer.analysis.scene import Scene
    from viewer.export.figures.pane import Panes
    from viewer.export.request import Options
    from viewer.export.scenes import Source
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState

GAP: Final = 12.0
TITLE: Final = 22.0
SWEEP: Final = "one scale for all pictures"


@dataclass(frozen=True)
class Cell:
    """One picture of a sheet."""

    panes: Panes
    camera: int
    view: ViewState
    scene: Scene | None = None
    """Its heat; none for a bare picture."""
    values: Floats | None = None
    """A map (rows, cols) to be shown by itself, on `scale`."""
    scale: ColourScale | None = None
    title: str = ""
    note: str = ""
    """After the title, in the accent's colour; where it is too narrow, the number alone."""

    def paint(self, painter: QPainter, box: QRectF) -> None:
        """Title and picture."""
        t = theme.active()
        line = QRectF(box.left(), box.top() - TITLE, box.width(), TITLE - 4)
        used = words.write(painter, line, self.title, t.text, 12, bold=True) if self.title else -8.0
        if self.note:
            room = line.adjusted(used + 8, 0, 0, 0)
            whole = words.width_of(self.note, 12) <= room.width()
            words.write(painter, room, self.note if whole else self.note.partition(" of ")[0], t.accent_text, 12)
        if self.values is not None and self.scale is not None:
            self.panes.paint_map(painter, box, self.camera, self.view, self.values, self.scale)
        else:
            self.panes.paint(painter, box, self.camera, self.view, self.scene, grid=self.scene is not None)


@dataclass(frozen=True)
class Sheet:
    """Cells in columns, each as wide as all others and as tall as its picture."""

    columns: Sequence[Sequence[Cell]]
    size: int
    headings: Sequence[str] = ()

    @property
    def width(self) -> float:
        """In px."""
        return len(self.columns) * (self.size + GAP) - GAP

    @property
    def height(self) -> float:
        """In px."""
        rows = max(len(column) for column in self.columns)
        return sum(self._row_height(row) + TITLE for row in range(rows)) + (rows - 1) * 6.0 + self._top

    @property
    def _top(self) -> float:
        return 18.0 if self.headings else 0.0

    def _row_height(self, row: int) -> int:
        cells = [column[row] for column in self.columns if row < len(column)]
        return max(cell.panes.height_at(cell.camera, cell.view, self.size) for cell in cells)

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """All cells, headings over their columns."""
        for number, column in enumerate(self.columns):
            x, y = left + number * (self.size + GAP), top + self._top
            if number < len(self.headings):
                line = QRectF(x, top - 2, self.size, 16)
                words.write(painter, line, self.headings[number], theme.active().secondary, 12)
            for row, cell in enumerate(column):
                y += TITLE
                tall = cell.panes.height_at(cell.camera, cell.view, self.size)
                cell.paint(painter, QRectF(x, y, self.size, tall))
                y += self._row_height(row) + 6


def _share(scene: Scene, camera: str) -> str:
    return f"{drawing.per_cent(scene.share(camera))} of this row’s weight"


def summary(source: Source, panes: Panes, view: ViewState, options: Options) -> Figure:
    """A line a camera: the picture, and the picture with the heat of all chosen heads put together."""
    made, names = source.shown(view), source.results.cameras
    plain = [Cell(panes, number, view, title=heading_of(name)) for number, name in enumerate(names)]
    heated = [Cell(panes, number, view, scene=made, note=_share(made, name)) for number, name in enumerate(names)]
    body = Sheet((plain, heated), options.pixels)
    return titled(
        source,
        body,
        view,
        sentence(source, view),
        color_bar.of_scene(made, view, source.results.cameras),
        words=options.caption,
    )


def row(source: Source, panes: Panes, view: ViewState, options: Options, made: Scene | None = None) -> Figure:
    """The panes side by side as the window shows them: a picture of a video. `made` are its numbers if known."""
    about = sentence(source, view) if made is None else on_scale(sentence(source, view), SWEEP)
    made = made or source.shown(view)
    columns = [
        (Cell(panes, number, view, scene=made, title=heading_of(name), note=_share(made, name)),)
        for number, name in enumerate(source.results.cameras)
    ]
    body = Sheet(columns, options.pixels)
    return titled(
        source, body, view, about, color_bar.of_scene(made, view, source.results.cameras), words=options.caption
    )


def head_sheet(source: Source, panes: Panes, view: ViewState, options: Options) -> Figure:
    """One head by itself: a column of its map for each camera, and the pictures beside them.

    All heads of a layer are on one colour range, so that a weak head looks weak.
    """
    results = source.results
    if view.range == "shared" and view.scale != "rank":
        heads = [replace(view, heads=(head,)) for head in range(results.heads)]
        view = scenes.on_range(view, scenes.common_range(source.plain(one) for one in heads))
    made = source.plain(view)
    bars = color_bar.of_scene(made, view, source.results.cameras)
    columns: list[list[Cell]] = []
    for number, name in enumerate(results.cameras):
        low, high = made.ranges[number]
        scale = ColourScale(view.colours, low, high, view.scale, bars[0].label)
        columns.append(
            [
                Cell(
                    panes,
                    number,
                    view,
                    values=made.maps[number],
                    scale=scale,
                    title=heading_of(name),
                    note=_share(made, name),
                )
            ]
        )
    pictures = [Cell(panes, number, view, title="Picture") for number in range(len(results.cameras))]
    body = HeadSheet(columns, options.pixels, pictures=pictures)
    shared = "one scale for all heads of this layer" if options.range in {"", "shared"} else ""
    about = on_scale(sentence(source, view), shared) if shared else sentence(source, view)
    return titled(source, body, view, about, bars, words=options.caption)


@dataclass(frozen=True)
class HeadSheet(Sheet):
    """Maps side by side, and at their right the pictures under each other, together as tall as the maps."""

    pictures: Sequence[Cell] = ()

    @property
    def _each(self) -> tuple[float, float]:
        """Width and height of a reference picture."""
        count = len(self.pictures)
        tall = self._row_height(0)
        each = (tall - (count - 1) * 6.0) / count
        first = self.pictures[0]
        height, width = first.panes.size_of(first.camera, first.view)
        return round(each * width / height), each

    @property
    def width(self) -> float:
        """In px."""
        return len(self.columns) * (self.size + GAP) + self._each[0]

    def paint(self, painter: QPainter, left: float, top: float) -> None:
        """Maps, then pictures."""
        super().paint(painter, left, top)
        x, y = left + len(self.columns) * (self.size + GAP), top + TITLE
        line = QRectF(x, top, self._each[0], TITLE - 4)
        words.write(painter, line, "Pictures", theme.active().text, 12, bold=True)
        width, height = self._each
        for cell in self.pictures:
            own_height, own_width = cell.panes.size_of(cell.camera, cell.view)
            fit = min(width / own_width, height / own_height)
            box = QRectF(x, round(y), round(own_width * fit), round(own_height * fit))
            cell.panes.paint(painter, box, cell.camera, cell.view, None, grid=False)
            y += height + 6


def difference(source: Source, panes: Panes, other_panes: Panes, view: ViewState, options: Options) -> Figure:
    """The view, what it is compared with, and the one less the other, a line a camera."""
    pair = source.compared(view)
    assert pair is not None
    _, other = pair
    one, two = source.both(view)
    if view.range != "map":
        one, two = on_one_range(one, two)
    apart = source.shown(view)
    # Both sides are dressed alike, whatever the pinned view looked like when it was pinned.
    pinned = replace(
        other, colours=view.colours, opacity=view.opacity, picture=view.picture, smooth=view.smooth, grid=view.grid,
        scale=view.scale, region=view.region,
    )  # fmt: skip
    plain = replace(view, compare="off")
    names = source.results.cameras
    columns = [
        [
            Cell(panes, n, plain, scene=one, title=heading_of(name), note=drawing.per_cent(one.share(name)))
            for n, name in enumerate(names)
        ],
        [
            Cell(other_panes, n, pinned, scene=two, title=heading_of(name), note=drawing.per_cent(two.share(name)))
            for n, name in enumerate(names)
        ],
        [
            Cell(panes, n, view, scene=apart, title=heading_of(name), note=_signed(one, two, name))
            for n, name in enumerate(names)
        ],
    ]
    headings = [f"{letter} · {words}" for letter, words in zip("AB", apart_by(source, view), strict=True)]
    body = Sheet(columns, options.pixels, (*headings, "A − B"))
    scales = (*color_bar.of_scene(one, plain, names), *color_bar.of_scene(apart, view, names))
    return titled(source, body, view, sentence(source, view), scales, words=options.caption)


def apart_by(source: Source, view: ViewState) -> tuple[str, str]:
    """The two sides of a comparison in words: what differs between them alone."""
    pair = source.compared(view)
    assert pair is not None
    sides = []
    for results, one in ((source.results, view), pair):
        step = f"step {results.steps[one.step]}" if one.query.kind == "action" and results.steps else ""
        sides.append((
            results.path.name if source.other is not None else "", words_of(results, one.frame, one.query)[0],
            f"frame {one.frame + 1}", step, f"layer {results.layers[one.layer]}", heads_of(one, results.heads),
        ))  # fmt: skip
    kept = [(a, b) for a, b in zip(*sides, strict=True) if a != b]
    here, there = (", ".join(part for part in parts if part) for parts in zip(*kept, strict=True)) if kept else ("", "")
    return here or "the same", there or "the same"


def _signed(one: Scene, two: Scene, camera: str) -> str:
    apart = one.share(camera) - two.share(camera)
    return f"{'+' if apart > 0 else ''}{drawing.per_cent(apart)}"
