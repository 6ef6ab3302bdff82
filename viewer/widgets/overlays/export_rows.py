"""Rows of the export sheet's form, and which products have them."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLabel, QWidget

from viewer.export.request import KINDS, OVER
from viewer.rendering import drawing, theme
from viewer.widgets.controls.drop_down import DropDown

TITLES: Final = {
    "summary": "Summary", "heads": "Heads", "wall": "Wall", "atlas": "Atlas", "film": "Film", "curves": "Curves",
    "difference": "Difference", "video": "Video", "table": "Table", "arrays": "Arrays",
}  # fmt: skip
FIGURES: Final = frozenset(KINDS) - {"table", "arrays"}
KINDS_OF_ROWS: Final = {
    "over": frozenset(OVER),
    "frames": frozenset(KINDS),
    "layers": frozenset(KINDS) - {"atlas"},
    "steps": frozenset(KINDS),
    "heads": frozenset({"heads", "table", "arrays"}),
    "queries": frozenset(KINDS) - {"difference"},
    "reduce": frozenset({"summary", "film", "difference", "video"}),
    "score": frozenset({"atlas"}),
    "wall": frozenset({"wall"}),
    "sorted": frozenset({"wall"}),
    "lines": frozenset({"table"}),
    "dim": frozenset({"summary", "film", "difference", "video", "table"}),
    "measure": frozenset({"summary", "heads", "wall", "film", "difference", "video"}),
    "unit": frozenset({"summary", "heads", "wall", "difference", "video"}),
    "colours": FIGURES - {"curves"},
    "colour_scale": frozenset({"summary", "heads", "wall", "difference", "video"}),
    "range": frozenset({"summary", "heads", "difference"}),
    "rate": frozenset({"video"}),
    "size": FIGURES,
    "scale": FIGURES,
    "theme": FIGURES,
    "caption": FIGURES,
}
"""Kinds that have each row of the form; rows that are not listed belong to all kinds."""
OPTION: Final = {
    "over": "--over", "frames": "--frames", "layers": "--layers", "steps": "--steps", "heads": "--heads",
    "lines": "--of", "wall": "--heads-of", "sorted": "--score", "measure": "--measure", "dim": "--dim",
    "unit": "--unit", "colours": "--colours",
    "colour_scale": "--colour-scale", "range": "--range",
    "rate": "--rate", "size": "--size", "scale": "--scale", "theme": "--theme",
}  # fmt: skip

ALL_DIMS: Final = "all"
NOT_OF_EFFECTS: Final = frozenset({"queries", "layers", "steps", "heads", "reduce", "unit"})
"""Rows that exports of effects do not have: an effect is on actions, and of no layer, step or head."""
LIST: Final = "such as 4,10,15-17 or all"


def list_axis_options(kind: str) -> list[tuple[str, str]]:
    """Return the axes that a kind can run over, as (value, label) pairs."""
    words = {"layers": "layers", "steps": "denoise steps", "frames": "frames", "layers-frames": "layers × frames"}
    if kind == "film":
        words["steps"] = "layers × denoise steps"
    return [(name, words[name]) for name in OVER.get(kind, OVER["film"])]


class FormRow(QWidget):
    """A label and its control."""

    LABEL_WIDTH = 72

    def __init__(self, label: str, control: QWidget) -> None:
        super().__init__()
        self.label = label
        row = QHBoxLayout(self)
        row.setContentsMargins(self.LABEL_WIDTH, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(control)
        if isinstance(control, DropDown):
            row.addStretch()
        self.setFixedHeight(28)

    def paintEvent(self, event: QPaintEvent) -> None:
        box = QRectF(0, 0, self.LABEL_WIDTH - 8, self.height())
        drawing.write(QPainter(self), box, self.label, theme.active().secondary, 12)


class FormNote(QLabel):
    """What is drawn instead of what the window shows, in a sentence of its own lines; hidden without one."""

    def __init__(self) -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setFont(theme.font(12))
        self.setContentsMargins(FormRow.LABEL_WIDTH, 0, 8, 4)
        self.setStyleSheet(f"color: {theme.active().secondary};")
        self.hide()

    def show_sentence(self, text: str) -> None:
        """Show a sentence, or nothing."""
        self.setText(text)
        self.setVisible(bool(text))
