"""Top bar and status bar of the window."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRect, QRectF
from PySide6.QtGui import QPainter
from PySide6.QtWidgets import QHBoxLayout, QWidget

from capture.results import schema
from viewer.analysis import caption, scores
from viewer.analysis.effects import measured as effects
from viewer.analysis.query_attention import QueryAttention
from viewer.analysis.regions.carried_region import describe_region
from viewer.analysis.scene import DATA_FIELDS
from viewer.controllers.commands import key_hint
from viewer.errors import READ_ERRORS, NoMapsError
from viewer.model.plain_text import clean_text, plain_tooltip
from viewer.rendering import drawing, theme, ticks
from viewer.rendering.patches import describe_patch
from viewer.widgets.controls.button import Button
from viewer.widgets.panels.panel import Panel

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.io.results import Results
    from viewer.model.view_state import Cell, ViewState


TOOLTIP_LINES: Final = 6


class TopBar(Panel):
    """Shows the file's name, checkpoint, episode and prompt, and the buttons of the most used commands."""

    watched_fields = frozenset({"frame", "compare", "pinned", "query"})

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "File", parent)
        self.setFixedHeight(44)
        self._details = self._comparison = ""
        self._painted = "", ""
        self.episodes = Button("Episodes", hint=key_hint("episodes"))
        self.episodes.setCheckable(True)
        self.episodes.hide()
        self.run = Button("Run", hint=key_hint("run"))
        self.run.setAccessibleName("Run page: answers over the whole run")
        self.run.setToolTip("Which heads do it over all frames and episodes of the run (Shift+R)")
        self.run.setCheckable(True)
        self.run.hide()
        self._run_name, self._has_run = "", False
        self.assumed = Button("", kind="warning")
        self.assumed.hide()
        self.live = Button("", kind="warning")
        self.live.hide()
        self.compare = Button("Compare")
        self.picture = Button("Picture")
        self.export = Button("Export…", hint=key_hint("export"))
        self.commands = Button("Commands", hint=key_hint("palette"))
        self.menu = Button("Menu")
        row = QHBoxLayout(self)
        row.setContentsMargins(theme.MARGIN, 0, theme.MARGIN, 0)
        row.setSpacing(8)
        row.addStretch()
        for button in (
            self.live,
            self.assumed,
            self.episodes,
            self.run,
            self.compare,
            self.picture,
            self.export,
            self.commands,
            self.menu,
        ):
            row.addWidget(button)

    def show_episodes(self, *, open_run: bool, shown: bool) -> None:
        """Show the button of the episode list if a run is open; `shown` checks it."""
        self.episodes.setVisible(open_run)
        self.episodes.setChecked(shown)
        self.run.setVisible(open_run)
        self.update()

    def show_run_page(self, *, shown: bool, name: str) -> None:
        """Show the name of the run in place of the file's, while the Run page is shown."""
        self.run.setChecked(shown)
        self._run_name, self._has_run = name if shown else "", self.run.isVisibleTo(self)
        for button in (self.compare, self.picture):
            button.setVisible(not shown)
        self.reload()

    def show_live(self, text: str, sentence: str) -> None:
        """Show that the policy is acting; an empty text shows nothing."""
        self.live.setVisible(bool(text))
        self.live.relabel(f"● {text}")
        self.live.setAccessibleName(text)
        self.live.setToolTip(plain_tooltip(sentence))
        self.update()

    def details(self) -> str:
        """Return checkpoint, episode and prompt of the shown frame."""
        results, frame = self.session.results, self.session.shown.frame
        if results is None:
            return ""
        try:
            parts = [results.checkpoint_name]
            if results.done:
                parts += [results.string(schema.FRAMES_EPISODE, frame), results.string(schema.FRAMES_PROMPT, frame)]
        except READ_ERRORS:
            parts = []
        return " · ".join(" ".join(part.split()) for part in parts if part)

    def load(self) -> None:
        self._details, self._comparison = self.details(), self.comparison()
        self._show_assumptions()

    def refresh(self) -> None:
        texts = self._details, self._comparison
        if texts != self._painted:  # most frames and words have those of the one before
            self._painted = texts
            self.update()

    def _show_assumptions(self) -> None:
        """Show how many decisions about the input of the open file were assumed; hide the button if none were."""
        results = self.session.results
        assumed = [decision for decision in (results.decisions if results else None) or () if not decision.is_certain]
        self.assumed.setVisible(bool(assumed) and not self._run_name)
        if not assumed:
            return
        count = f"{len(assumed)} assumption{'s' * (len(assumed) != 1)}"
        self.assumed.relabel(f"⚠ {len(assumed)} assumed")
        self.assumed.setAccessibleName(f"{count} about the input: show them")
        lines = [f"{decision.subject}: {decision.choice}" for decision in assumed[:TOOLTIP_LINES]]
        lines += [f"and {len(assumed) - TOOLTIP_LINES} more"] if len(assumed) > TOOLTIP_LINES else []
        shown = "\n".join(line if len(line) <= 100 else line[:99] + "…" for line in lines)
        self.assumed.setToolTip(plain_tooltip(f"{count} about the input. Click for the reasons.\n{shown}"))

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors = theme.active()
        painter.fillRect(self.rect(), theme.color(colors.panel))
        painter.fillRect(QRectF(0, self.height() - 1, self.width(), 1), theme.color(colors.line))
        buttons = self.live, self.assumed, self.episodes, self.run, self.compare, self.export
        first = next(button for button in buttons if not button.isHidden())
        box = QRectF(theme.MARGIN, 0, max(first.x() - theme.MARGIN - 16, 0), self.height() - 1)
        path = self.session.path
        name = self._run_name or (path.name if path else "pi0-viewer")
        used = drawing.write(painter, box, name, colors.text, 13, bold=True)
        parts = ("all episodes" * self._has_run,) if self._run_name else (self._comparison, self._details)
        note = " · ".join(part for part in parts if part)
        if used + 40 < box.width():
            drawing.write(painter, box.adjusted(used + 12, 0, 0, 0), note, colors.secondary, 13)

    def comparison(self) -> str:
        """Return which file the open one is compared with, or that it is not just now; empty without one."""
        other = self.session.other
        if other is None:
            return ""
        return f"{'not ' if self.session.not_compared else ''}compared with {other.path.name}"


class StatusBar(Panel):
    """Shows the patch under the pointer or the region at the left, the sum of the row and notes at the right."""

    watched_fields = frozenset(DATA_FIELDS) | {"region", "region_name", "compare"}

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, "Status", parent)
        self.setFixedHeight(26)
        self._texts = "", ""
        session.pointed.connect(self._on_pointed)
        session.bared.connect(self._on_pointed)

    def left(self) -> str:
        """Return the text for the patch under the pointer, else for the region, else a hint."""
        session, scene, displayed = self.session, self.session.scene(), self.session.displayed
        if displayed is None or scene is None:
            return session.failure
        results, view = displayed
        cameras = len(scene.maps)
        if session.pointer is not None and session.pointer[0] < cameras:
            camera, row, col = session.pointer
            weight, details = describe_patch(scene, session.pointer, view.unit)
            bar = " (letterbox bar)" if results.bars(view.frame)[camera, row, col] else ""
            name = caption.format_camera(results.cameras[camera])
            kind = view.measure if scene.effect is not None else "weight"
            return f"{name}, patch ({row}, {col}){bar} · {kind} {weight} · {details}"
        region = tuple(cell for cell in session.shown.region if cell[0] < cameras)
        if region:
            of = f" {clean_text(view.region_name)}," if view.region_name else " of"
            text = f"region{of} {len(region)} patch{'es' if len(region) > 1 else ''}: "
            if scene.effect is not None:
                return text + self._describe_effect(results, view, region)
            if scene.missing:
                return text + self._describe_captured(results, view, region)
            mass = float(scores.region_mass(scene.maps, region))
            if view.unit == "weight" and view.measure == "weight":
                text += f"{ticks.format_share(mass)} of this row"
            else:
                text += ticks.format_number(mass)
            if scene.difference:
                return text
            bars = results.bars(view.frame)
            lack = scores.find_unavailable_reason("lift", view.query.kind, region, bars)
            if lack:
                return f"{text} · {lack}"
            lift = float(scores.lift(scene.maps, region, bars))
            return f"{text} · lift {scores.find_score('lift').format_value(lift)}" if math.isfinite(lift) else text
        return describe_region(session.shown) or "drag a box on a picture: who looks there?"

    def _describe_captured(self, results: Results, view: ViewState, region: tuple[Cell, ...]) -> str:
        """Return the scores of a region computed while capturing, mean of the heads, or that there are none."""
        step = view.step if view.query.kind == "action" else 0
        heads = view.heads or None
        row = QueryAttention(
            results, view.frame, view.query, region, layers=(view.layer,), steps=(step,), heads=heads
        ).mean_of_heads()
        try:
            mass, lift = float(row.stored_region_mass.item()), float(row.stored_region_score("lift").item())
        except NoMapsError:
            return "not scored while capturing, and this frame has no maps"
        share = f"{ticks.format_share(mass)} of this row"
        return f"{share} · lift {scores.find_score('lift').format_value(lift)}" if math.isfinite(lift) else share

    def _describe_effect(self, results: Results, view: ViewState, region: tuple[Cell, ...]) -> str:
        """Return the measured effect of a region, or that there is none."""
        target = effects.find_region_effect(results, view.frame, region)
        if target is None:
            return "its effect as a whole is not measured"
        return " ".join(effects.describe_target(target, view.query))

    def right(self) -> str:
        """Return the sum of the row and the notes on the file."""
        results, scene = self.session.results, self.session.plain_scene()
        if results is None or scene is None:
            return ""
        growing = f"recording, {results.done} frames so far · " if results.growing else ""
        total = (
            ""
            if self.session.shown.measure != "weight" or self.session.shown.reduce == "max"
            else f"row sum {scene.row_sum:.3f} · "
        )
        demo = "demo: words’ layer 1 head 0 and actions’ layer 2 head 0 were taught to point · "
        taught = demo if results.model.get("kind") == "demo" else ""
        return f"{growing}{taught}{total}{effects.find_warning(self.session.shown)}"

    def load(self) -> None:
        self._texts = self.left(), self.right()

    def _on_pointed(self) -> None:
        self._read_now(self._load_if_visible)
        self.refresh()

    def refresh(self) -> None:
        self.update()
        self.schedule_description()

    def describe(self) -> None:
        self.setAccessibleDescription(f"{self.left()}; {self.right()}")

    def paint(self, painter: QPainter, area: QRect) -> None:
        colors, (left, right) = theme.active(), self._texts
        painter.fillRect(self.rect(), theme.color(colors.panel))
        painter.fillRect(QRectF(0, 0, self.width(), 1), theme.color(colors.line))
        box = QRectF(theme.MARGIN, 1, self.width() - 2 * theme.MARGIN, self.height() - 1)
        used = drawing.write(painter, box, right, colors.secondary, 12, align="right")
        drawing.write(painter, box.adjusted(0, 0, -used - 16, 0), left, colors.secondary, 12)
