"""Info sheet: what the open file holds, what the model was shown and why, and the run's checks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QTextBrowser, QWidget

from capture.results import schema
from viewer.model.provenance import Decision, count_assumptions
from viewer.rendering import theme
from viewer.widgets.overlays.overlay import Overlay

if TYPE_CHECKING:
    from viewer.io.results import Results

NOT_STORED = "This file does not say what was decided about the input; files have held it since format 1.1."
CHECKS = {
    schema.CHECK_ROW_SUM: "Rows sum to 1 within",
    schema.CHECK_MASKED: "Largest weight on a masked key",
    schema.CHECK_ACTIONS: "Actions differ from an unrecorded run by",
    schema.CHECK_TIME: "Time of a recorded call over a plain one",
}


class InfoSheet(Overlay):
    """Shows facts about a results file as HTML; all text of the file is escaped."""

    def __init__(self, window: QWidget, results: Results) -> None:
        super().__init__(window, 760, 720)
        colors = theme.active()
        text = QTextBrowser()
        text.setOpenLinks(False)
        text.setAccessibleName("Info")
        text.setStyleSheet(theme.sheet())
        text.setFont(theme.font(13))
        text.document().setDefaultStyleSheet(
            f"h3 {{ color: {colors.text}; }} p, td {{ color: {colors.text}; }}"
            f".assumed {{ color: {colors.accent_text}; font-weight: bold; }} .quiet {{ color: {colors.secondary}; }}"
        )
        text.setHtml(
            f"<h3>What the model was shown</h3>{create_decisions_html(results.decisions)}"
            f"<h3>File</h3>{create_table_html(list_file_facts(results))}<h3>Checks</h3>{create_table_html(check_facts(results))}"
        )
        self.column.addWidget(text)
        self.text = text
        text.setFocus()


def create_decisions_html(decisions: tuple[Decision, ...] | None) -> str:
    """Return the decisions about the input as HTML, those that were assumed first."""
    if decisions is None:
        return f"<p>{NOT_STORED}</p>"
    assumed = count_assumptions(decisions)
    verb = "was" if assumed == 1 else "were"
    text = (
        f"{assumed} of {len(decisions)} decisions {verb} <span class='assumed'>assumed</span>: neither a file nor an "
        "option made them, so check them."
        if assumed
        else f"Nothing was assumed: files, options or definitions decided everything ({len(decisions)} decisions)."
    )
    rows = []
    for decision in sorted(decisions, key=lambda decision: decision.is_certain):
        mark = "" if decision.is_certain else "<span class='assumed'>assumed</span> "
        reason = f"<br><span class='quiet'>{escape(decision.reason)}</span>" if decision.reason else ""
        rows.append(
            f'<tr><td width="190" class="quiet">{escape(decision.subject)}</td>'
            f"<td>{mark}{escape(decision.choice)}{reason}</td></tr>"
        )
    return f"<p>{text}</p><table cellpadding=3>{''.join(rows)}</table>"


def create_table_html(facts: Iterable[tuple[str, str]]) -> str:
    """Return names and values as an HTML table."""
    rows = (f'<tr><td width="190" class="quiet">{escape(n)}</td><td>{escape(v)}</td></tr>' for n, v in facts)
    return f"<table cellpadding=3>{''.join(rows)}</table>"


def list_file_facts(results: Results) -> list[tuple[str, str]]:
    """Return name and value of what the file holds."""
    model = results.model
    kind, dtype = model.get("kind", "?"), model.get("dtype", "?")
    return [
        ("Name", results.path.name),
        ("Folder", str(results.path.absolute().parent)),
        ("Format", results.format),
        ("Written", f"{schema.describe_time(results.created)} by {results.generator}"),
        ("Checkpoint", f"{results.checkpoint_name or '?'} ({kind}), run in {dtype}"),
        ("Tokenizer", str(model.get("tokenizer", "?"))),
        ("Frames", f"{results.done}" + ("" if results.complete else f" of {results.planned}, not complete")),
        ("Cameras", ", ".join(results.cameras)),
        ("Kept", describe_kept(results)),
        ("Recorded", f"{len(results.layers)} layers × {results.heads} heads, {len(results.steps)} denoise steps"),
    ]


def describe_kept(results: Results) -> str:
    """Return of which frames the maps were kept, and which regions were scored while capturing."""
    count = len(results.frames_with_maps)
    maps = "attention maps of every frame" if count == results.done else f"summaries; attention maps of {count} frames"
    return maps + (f"; scores of {', '.join(results.regions)}" if results.regions else "")


def check_facts(results: Results) -> list[tuple[str, str]]:
    """Return name and value of the checks that the run made of itself."""
    checks = [(name, results.checks[key]) for key, name in CHECKS.items() if results.checks.get(key) is not None]
    facts = [(name, f"{value:.3g}" if isinstance(value, int | float) else str(value)) for name, value in checks]
    return facts or [("None", "they are stored when a run ends well")]
