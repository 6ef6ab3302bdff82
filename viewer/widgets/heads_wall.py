"""The wall of heads: every head of a layer, or the best of all by a score, as overlays on one colour scale."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QKeyEvent, QMouseEvent, QPainter, QResizeEvent
from PySide6.QtWidgets import QWidget

from viewer.analysis.caption import LOOKS, caption
from viewer.analysis.effects.measured import create_attention_view
from viewer.analysis.heads_wall import MOST_HEADS, HeadsWall, read_heads_wall
from viewer.analysis.scene import DATA_FIELDS
from viewer.analysis.scores import SCORES, find_unavailable_scores
from viewer.controllers.commands import key_hint
from viewer.errors import READ_ERRORS, UserError, split_library_words
from viewer.model.view_state import FROM_EFFECTS
from viewer.model.wall_layout import Tile, arrange_tiles
from viewer.rendering import colormaps, drawing, theme
from viewer.rendering.head_tiles import TilePicture, describe_wall_scale, paint_tiles, title_tiles
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.controls.segmented_control import SegmentedControl
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.model.geometry import Affine

TOP: Final = 68
"""Height of the heading with its controls, in pixels."""
FOOT: Final = 26
TITLE: Final = 18
GAP: Final = 10
CHOICES: Final = (("layer", "Heads of the layer"), ("best", f"Best {MOST_HEADS} of all"))
IDENTITY: Final[Affine] = np.array([[1.0, 0, 0], [0, 1.0, 0]])
LOOK_FIELDS: Final = ("score", "wall", "colours", "opacity", "picture", "region")


class HeadsWallPanel(Panel):
    """Shows the wall; the pointer previews a head in the rest of the window, a click shows it and closes the wall."""

    watched_fields = frozenset({*DATA_FIELDS, *LOOK_FIELDS})
    HAS_LOADING_MARK = True
    save_requested = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "All heads", parent)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setMouseTracking(True)
        self.choice = SegmentedControl("Heads", CHOICES, parent=self)
        self.choice.chosen.connect(self._set_choice)
        self.score = DropDown(
            "Score", [(score.name, score.title) for score in SCORES.values()], prefix="by ", parent=self
        )
        self.score.set_tool_tips({score.name: score.description for score in SCORES.values()})
        self.score.chosen.connect(self._set_score)
        self.save = Button("Save picture…", parent=self)
        self.save.clicked.connect(self.save_requested)
        self.close_button = Button("Close", hint=key_hint("wall"), parent=self)
        self.close_button.clicked.connect(self._close)
        self._wall: HeadsWall | None = None
        self._key: tuple[object, ...] = ()
        self._reason = ""
        self._subject = ""
        self._pictures: list[TilePicture] = []
        self._static_layer = drawing.Layer()
        self._pointed_tile: int | None = None
        """The tile under the pointer or the keyboard's."""
        session.bared.connect(self.update)

    def _set_choice(self, value: str) -> None:
        self.session.update(wall=value)

    def _set_score(self, value: str) -> None:
        self.session.update(score=value)

    def _close(self) -> None:
        self.session.update(wall="off")

    # Content

    def load(self) -> None:
        results, state = self.session.results, self.session.state
        if results is None or not results.done or state.wall == "off":
            self._wall, self._key, self._reason = None, (), ""
            return
        names = (*(name for name in DATA_FIELDS if name not in {"heads", "reduce", "layer"}), "score", "wall", "region")
        layer = state.layer if state.wall == "layer" else None
        key = (id(results), results.done, layer, state.picture, *(getattr(state, name) for name in names))
        if key == self._key:
            return
        self._key = ()
        try:
            self._reason = find_unavailable_scores(results, state).get(state.score, "")
            self._wall = read_heads_wall(results, state)
            is_source = state.picture == "source"
            self._pictures = [
                TilePicture(
                    results.picture(state.frame, camera, state.picture),
                    results.picture_size(camera) if is_source else (results.grid.height, results.grid.width),
                    results.to_model(state.frame, camera) if is_source else IDENTITY,
                )
                for camera in range(len(results.cameras))
            ]
            shown = caption(results, create_attention_view(state))
            self._subject = f"{shown.subject} {shown.place.removesuffix(f' {LOOKS}')} · frame {state.frame}"
        except UserError as error:
            self._wall, self._reason = None, split_library_words(str(error))[0]
            return
        self._key = key

    def refresh(self) -> None:
        state = self.session.state
        if state.wall == "off":  # nothing of it is in sight
            return
        self.choice.show_value(state.wall)
        self.score.show_value(state.score)
        results = self.session.results
        if results is not None and results.done:
            try:
                self.score.disable(find_unavailable_scores(results, state))
            except READ_ERRORS as error:
                self.session.report_failure(error)
        self._place_controls()
        self.schedule_description()
        self.update()

    def on_file_changed(self) -> None:
        self._wall, self._key, self._pointed_tile = None, (), None
        self._static_layer.drop()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self._place_controls()

    def _place_controls(self) -> None:
        right = self.width()
        for widget in (self.close_button, self.save):
            size = widget.sizeHint()
            right -= size.width()
            widget.setGeometry(right, 0, size.width(), size.height())
            right -= 8
        size = self.choice.sizeHint()
        self.choice.setGeometry(0, 32, size.width(), size.height())
        hint = self.score.sizeHint()
        self.score.setGeometry(
            size.width() + 12, 32 + (size.height() - hint.height()) // 2, hint.width(), hint.height()
        )

    def tiles(self) -> tuple[list[Tile], int]:
        """Return the tiles, relative to the lower edge of the heading, and how many stand in a line."""
        if self._wall is None:
            return [], 0
        shapes = [picture.size[1] / picture.size[0] for picture in self._pictures]
        return arrange_tiles(
            self.width(), max(self.height() - TOP - FOOT, 1), len(self._wall.heads), shapes, GAP, TITLE
        )

    def describe_scale(self) -> str:
        """Return the one scale of all tiles in words."""
        if self._wall is None:
            return ""
        measure = self.session.state.measure
        note = f"attention, as {measure}s have no heads · " if measure in FROM_EFFECTS else ""
        return note + describe_wall_scale(self._wall, self.session.state)

    # Painting

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, wall, state = theme.active(), self._wall, self.session.state
        results = self.session.results

        def draw_static(inner: QPainter) -> None:
            drawing.write(inner, QRectF(0, 0, self.save.x() - 16, 28), self._subject, colors.text, 14.5, bold=True)
            tiles, _ = self.tiles()
            if wall is None or results is None or not tiles:
                return
            levels = None if self.session.bare else wall.levels(state.scale)
            titles = title_tiles(results, wall, state, tiles[0].width)
            paint_tiles(
                inner, tiles, self._pictures, levels, titles, grid=results.grid,
                colours=state.colours, opacity=state.opacity, offset=QPointF(0, TOP),
            )  # fmt: skip
            self._paint_scale(inner)

        key = (id(wall), state.colours, state.opacity, state.scale, state.score, self.session.bare, self._subject)
        self._static_layer.draw(painter, self, key, draw_static, self.ground(), wall)
        if self._reason:
            x = self.score.geometry().right() + 12
            drawing.write(painter, QRectF(x, 32, self.width() - x, 28), self._reason, colors.secondary, 12)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for place, color in ((self._place_of_state(), colors.accent), (self._pointed_tile, colors.text)):
            box = self._find_tile(place)
            if box is not None:
                drawing.ring(painter, box.adjusted(-1, -1, 1, 1), theme.color(color), 2)

    def _paint_scale(self, painter: QPainter) -> None:
        colors, line = theme.active(), QRectF(0, self.height() - FOOT + 6, self.width(), 18)
        ramp = drawing.create_word_image(colormaps.opaque(self.session.state.colours)[None], blended=False)
        painter.drawImage(QRectF(0, line.top() + 4, 160, 10), ramp)
        drawing.write(painter, line.adjusted(172, 0, 0, 0), self.describe_scale(), colors.secondary, 12)

    def _place_of_state(self) -> int | None:
        """Return the tile of the head that the view shows; None if it shows several or another."""
        state, wall = self.session.state, self._wall
        if wall is None or len(state.heads) != 1 or (state.layer, state.heads[0]) not in wall.heads:
            return None
        return wall.heads.index((state.layer, state.heads[0]))

    def _find_tile(self, place: int | None) -> QRectF | None:
        tiles, _ = self.tiles()
        if place is None or place >= len(tiles):
            return None
        tile = tiles[place]
        return QRectF(tile.left, tile.top + TOP, tile.width, tile.height)

    # Mouse and keyboard

    def tile_at(self, point: QPointF) -> int | None:
        """Return the tile under a point."""
        tiles, _ = self.tiles()
        hits = (n for n, _ in enumerate(tiles) if (box := self._find_tile(n)) is not None and box.contains(point))
        return next(hits, None)

    def point_at(self, place: int | None) -> None:
        """Preview the head of a tile in the other panels; None ends the preview."""
        if place == self._pointed_tile or self._wall is None:
            return
        self._pointed_tile = place
        self.session.preview_view(**({} if place is None else self._list_changes(place)))
        self.update()

    def _list_changes(self, place: int) -> dict[str, object]:
        assert self._wall is not None
        layer, head = self._wall.heads[place]
        return {"layer": layer, "heads": (head,), "reduce": "mean"}

    def go(self, place: int) -> None:
        """Show the head of a tile, and close the wall."""
        changes = self._list_changes(place)
        self.point_at(None)
        self.session.update(wall="off", **changes)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self.point_at(self.tile_at(event.position()))

    def leaveEvent(self, event: QEvent) -> None:
        self.point_at(None)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        place = self.tile_at(event.position())
        if place is not None and event.button() == Qt.MouseButton.LeftButton:
            self.go(place)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        tiles, columns = self.tiles()
        moves = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Up: -columns, Qt.Key.Key_Down: columns}
        key = Qt.Key(event.key())
        if key in moves and tiles and not event.modifiers():
            index = self._pointed_tile if self._pointed_tile is not None else -1 if moves[key] > 0 else 0
            self.point_at(min(max(index + (moves[key] if index >= 0 else 1), 0), len(tiles) - 1))
        elif key in {Qt.Key.Key_Return, Qt.Key.Key_Enter} and self._pointed_tile is not None:
            self.go(self._pointed_tile)
        else:
            super().keyPressEvent(event)

    def describe(self) -> None:
        wall, results = self._wall, self.session.results
        if wall is None or results is None:
            self.setAccessibleDescription(self._reason)
            return
        best = ", ".join(f"layer {results.layers[layer]} head {head}" for layer, head in wall.heads[:5])
        heads = f"{len(wall.heads)} heads, first {best}"
        self.setAccessibleDescription(f"{self._subject}; {heads}; {self.describe_scale()}")
