"""Form of the options of an export; its values are the arguments of pi0-export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from viewer.analysis import scores
from viewer.analysis.comparison import has_other_unit
from viewer.analysis.heads_wall import MOST_HEADS
from viewer.controllers import export_measures
from viewer.errors import READ_ERRORS
from viewer.export.request import FORMATS, KINDS, OVER, SCALES, SIZES
from viewer.model.number_ranges import format_numbers
from viewer.model.view_state import CHOICES, FROM_EFFECTS
from viewer.rendering import theme
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.controls.segmented_control import SegmentedControl
from viewer.widgets.overlays.export_arguments import list_arguments
from viewer.widgets.overlays.export_rows import (
    ALL_DIMS,
    FIGURES,
    KINDS_OF_ROWS,
    LIST,
    NOT_OF_EFFECTS,
    FormNote,
    FormRow,
    list_axis_options,
)  # fmt: skip

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.controllers.session import Session
    from viewer.model.view_state import Kind, Measure


class ExportForm(QWidget):
    """Form with one row for each option; the rows that a kind does not have are hidden."""

    changed = Signal()

    def __init__(self, session: Session, kind: str, folder: Path) -> None:
        super().__init__()
        self.session = session
        self.kind = kind
        self.unavailable_scores = self._find_unavailable_scores()
        self.unavailable_measures: dict[str, str] = {}
        self.has_effects = self.has_dims = False
        self.values: dict[str, str] = {"queries": "this", "reduce": session.state.reduce, "score": self._cells(),
                                       "wall": "best" if session.state.wall == "best" else "layer",
                                       "sorted": self._sort_score(),
                                       "lines": "rows", "range": session.state.range, "measure": session.state.measure,
                                       "dim": ALL_DIMS if session.state.dim is None else str(session.state.dim),
                                       "unit": session.state.unit,
                                       "colours": session.state.colours, "colour_scale": session.state.scale,
                                       "theme": "light", "caption": "shown", "existing": "keep"}  # fmt: skip
        self.fields: dict[str, QLineEdit] = {}
        self.rows: dict[str, FormRow] = {}
        self._segments: dict[str, SegmentedControl | DropDown] = {}
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(0, 0, 0, 0)
        self.column.setSpacing(5)
        self._build(folder)
        self.column.addStretch()
        self.show_kind(kind)

    def _find_unavailable_scores(self) -> dict[str, str]:
        """Return the scores that the window's query cannot have, and why."""
        session = self.session
        if session.results is None:
            return {}
        try:
            return scores.find_unavailable_scores(session.results, session.state)
        except READ_ERRORS:
            return {}

    def _cells(self) -> str:
        """Return what the cells of the window's atlas show, or an available score where they show none."""
        state = self.session.state
        return "maps" if state.thumbnails else "picture" if state.score in self.unavailable_scores else state.score

    def _sort_score(self) -> str:
        """Return the window's score, or an available one."""
        score = self.session.state.score
        return "picture" if score in self.unavailable_scores else score

    def _build(self, folder: Path) -> None:
        self.format = QWidget()
        self._formats = QHBoxLayout(self.format)
        self._formats.setContentsMargins(0, 0, 0, 0)
        self._add_row("format", "Format", self.format)
        self._add_drop_down("over", "Over", list_axis_options(self.kind))
        self._add_segments("queries", "Queries", (("this", "This one"), ("both", "Words and actions")))
        for name, word in (("frames", "Frames"), ("layers", "Layers"), ("steps", "Steps"), ("heads", "Heads")):
            self._add_field(name, word, self._find_shown_value(name), LIST)
        self._add_segments("reduce", "Heads by", (("mean", "Mean"), ("max", "Maximum"), ("both", "Both")))
        cell_contents = (*((score.name, score.title) for score in scores.SCORES.values()), ("maps", "small maps"))
        self._add_drop_down("score", "Cells", cell_contents)
        cells = self._segments["score"]
        assert isinstance(cells, DropDown)
        cells.disable(self.unavailable_scores)
        cells.set_tool_tips({score.name: score.description for score in scores.SCORES.values()})
        self._add_segments("wall", "Heads of", (("layer", "The layer"), ("best", f"All: best {MOST_HEADS}")))
        self._add_drop_down("sorted", "Sorted by", [(score.name, score.title) for score in scores.SCORES.values()])
        by = self._segments["sorted"]
        assert isinstance(by, DropDown)
        by.disable(self.unavailable_scores)
        self._add_drop_down(
            "lines", "Lines", (("rows", "heads"), ("maps", "patches of each head"), ("effects", "effects"))
        )
        self._add_drop_down("measure", "Measure", (
            ("weight", "attention weight"), ("contribution", "weight × value norm"), ("effect", "effect"),
            ("gradient", "attention × gradient"),
        ))  # fmt: skip
        self._add_drop_down("dim", "Dimension", ((ALL_DIMS, "all together"),))
        self.note = FormNote()
        self.column.addWidget(self.note)
        self._add_segments("unit", "Unit", (("weight", "Weight"), ("uniform", "Times uniform")))
        self._add_drop_down("colours", "Colours", [(name, name) for name in CHOICES["colours"]])
        self._add_segments("colour_scale", "Scale", (("linear", "Linear"), ("log", "Log"), ("rank", "Rank")))
        ranges = (
            ("uniform", "From 1 ×"), ("shared", "From 0"), ("map", "Per map"),
            ("set", "One for all files"), ("locked", "Locked, as in the window"),
        )  # fmt: skip
        self._add_drop_down("range", "Range", ranges)
        self._add_field("rate", "Rate", "4", "pictures a second")
        self._add_field("size", "Width", "", "px of one picture")
        self._add_field("scale", "Resolution", "", "pixels a px")
        self._add_segments("theme", "Page", (("light", "Light"), ("dark", "Dark")))
        self._add_segments("caption", "Caption", (("shown", "With colour bar"), ("none", "None")))
        place = QWidget()
        row = QHBoxLayout(place)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        self.folder = self._line_edit("Folder", str(folder), "where to write")
        self.choose = Button("Choose…", kind="quiet")
        self.choose.clicked.connect(self._choose_folder)
        row.addWidget(self.folder, 1)
        row.addWidget(self.choose)
        self._add_row("folder", "Folder", place)
        self._add_segments("existing", "If it exists", (("keep", "Stop"), ("replace", "Replace")))

    def _add_row(self, name: str, label: str, control: QWidget) -> None:
        self.rows[name] = FormRow(label, control)
        self.column.addWidget(self.rows[name])

    def _line_edit(self, name: str, text: str, hint: str) -> QLineEdit:
        field = QLineEdit(text)
        field.setAccessibleName(name)
        field.setPlaceholderText(hint)
        field.setToolTip(hint)
        field.setFixedHeight(24)
        field.setFont(theme.font(12))
        field.setStyleSheet(theme.sheet())
        field.textEdited.connect(self.changed)
        return field

    def _add_field(self, name: str, word: str, text: str, hint: str) -> None:
        self.fields[name] = self._line_edit(word, text, hint)
        self._add_row(name, word, self.fields[name])

    def _add_segments(self, name: str, word: str, options: Sequence[tuple[str, str]]) -> None:
        self._add_choice(name, word, SegmentedControl(word, options), options[0][0])

    def _add_drop_down(self, name: str, word: str, options: Sequence[tuple[str, str]]) -> None:
        self._add_choice(name, word, DropDown(word, options), options[0][0])

    def _add_choice(self, name: str, label: str, control: SegmentedControl | DropDown, usual: str) -> None:
        control.setProperty("option", name)
        control.chosen.connect(self._on_value_chosen)
        control.show_value(self.values.get(name, usual))
        self._segments[name] = control
        self._add_row(name, label, control)

    def _on_value_chosen(self, value: str) -> None:
        sender = self.sender()
        self.values[str(sender.property("option"))] = value
        if isinstance(sender, DropDown):
            sender.show_value(value)
        self._show_rows()
        self.changed.emit()

    def _find_shown_value(self, name: str) -> str:
        """Return what the window shows, as the value of an option."""
        state, results = self.session.state, self.session.results
        if results is None or name == "heads":
            return ""
        if name == "frames":
            return str(state.frame)
        if name == "layers":
            return str(results.layers[state.layer])
        return str(results.steps[state.step]) if results.steps else ""

    def show_kind(self, kind: str) -> None:
        """Show the rows, formats and default sizes of a kind."""
        self.kind = kind
        while (item := self._formats.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        formats = SegmentedControl("Format", [(name, name.upper()) for name in FORMATS[kind]])
        formats.setProperty("option", "format")
        formats.chosen.connect(self._on_value_chosen)
        self.values["format"] = FORMATS[kind][0]
        formats.show_value(FORMATS[kind][0])
        self._formats.addWidget(formats)
        if kind in OVER:
            self.values["over"] = self._default_axis()
            over = self._segments["over"]
            assert isinstance(over, DropDown)
            over.set_options(list_axis_options(kind))
            over.show_value(self.values["over"])
        if kind in FIGURES:
            self.fields["size"].setText(str(SIZES[kind]))
            self.fields["scale"].setText(f"{SCALES.get(kind, 2.0):g}")
        self._show_rows()
        self.changed.emit()

    def _default_axis(self) -> str:
        """Return the axis of the window's film or curves, or the default of the kind."""
        state = self.session.state
        axis = {"film": str(state.film), "curves": str(state.curve)}.get(self.kind, OVER[self.kind][0])
        return OVER[self.kind][0] if axis == "steps" and state.query.kind == "text" else axis

    @property
    def measure(self) -> str:
        """What the product draws: the chosen measure, or attention weights where it cannot draw that."""
        if self.kind not in KINDS_OF_ROWS["measure"] or self.values["measure"] in self.unavailable_measures:
            return "weight"
        return self.values["measure"]

    @property
    def _is_of_effects(self) -> bool:
        return self.measure in FROM_EFFECTS or (self.kind == "table" and self.values["lines"] == "effects")

    def _show_choices(self) -> None:
        """Show which measures, axes, lines and dimensions the product has, and in a sentence what it draws instead."""
        session, kind = self.session, self.kind
        shown: tuple[Kind, ...] = (session.state.query.kind,)
        kinds = ("text", "action") if kind in KINDS_OF_ROWS["queries"] and self.values["queries"] == "both" else shown
        try:
            self._choose_axis(export_measures.find_unavailable_axes(kind, kinds))
            over = self.values["over"] if kind in OVER else ""
            self.unavailable_measures = export_measures.find_unavailable_measures(session, kind, over, kinds)
            of_table = kind == "table" and self.values["lines"] != "rows"
            dims = export_measures.find_table_dims(session) if of_table else export_measures.find_figure_dims(
                session, self.measure, over)  # fmt: skip
            self.has_effects = bool(export_measures.find_table_frames(session))
        except READ_ERRORS:
            self.unavailable_measures, dims, self.has_effects = dict.fromkeys(FROM_EFFECTS, "not readable"), (), False
        self._disable("measure", self.unavailable_measures, self.measure)
        if not self.has_effects and self.values["lines"] == "effects":
            self.values["lines"] = "rows"
        self._disable("lines", {} if self.has_effects else {"effects": "none in this file"}, self.values["lines"])
        self._set_dims(dims)
        measure = self.values["measure"]
        reason = self.unavailable_measures.get(measure, "") if kind in KINDS_OF_ROWS["measure"] else ""
        self.note.show_sentence(export_measures.describe_substitute(kind, measure, reason, self.values["lines"]))

    def _disable(self, name: str, reasons: dict[str, str], shown: str) -> None:
        choice = self._segments[name]
        assert isinstance(choice, DropDown)
        choice.disable(reasons)
        choice.show_value(shown)

    def _choose_axis(self, lacking: dict[str, str]) -> None:
        if self.kind in OVER and self.values["over"] in lacking:
            self.values["over"] = next(axis for axis in OVER[self.kind] if axis not in lacking)
        self._disable("over", lacking, self.values.get("over", ""))

    def _set_dims(self, dims: tuple[int, ...]) -> None:
        """Offer these dimensions, and all together; the chosen one is replaced by all where it is none of them."""
        if self.values["dim"] != ALL_DIMS and int(self.values["dim"]) not in dims:
            self.values["dim"] = ALL_DIMS
        choice = self._segments["dim"]
        assert isinstance(choice, DropDown)
        together = (
            "all, and each by itself" if self.kind == "table" and self.values["lines"] == "effects" else "all together"
        )
        choice.set_options(((ALL_DIMS, together), *((str(dim), str(dim)) for dim in dims)))
        choice.show_value(self.values["dim"])
        self.has_dims = bool(dims)

    def _show_rows(self) -> None:
        """Show the rows of the kind, and `all` for the axis that it runs over unless the user typed a list."""
        self._show_choices()
        is_of_effects = self._is_of_effects
        along = self.values.get("over", "").split("-") if self.kind in OVER else ()
        film = self.kind == "film" and self.values["over"] == "steps"
        actions = self.session.state.query.kind == "action" or self.values["queries"] == "both"
        for name, line in self.rows.items():
            line.setVisible(self.kind in KINDS_OF_ROWS.get(name, frozenset(KINDS)) and (name != "steps" or actions))
            if is_of_effects and name in NOT_OF_EFFECTS:
                line.hide()
        if self.kind == "wall" and self.values["wall"] == "best":
            self.rows["layers"].hide()
        if not self.has_dims or not (is_of_effects or self.values["lines"] == "maps"):
            self.rows["dim"].hide()
        self._disable("range", self._find_unavailable_ranges(), self._find_range())
        for name in ("frames", "layers", "steps"):
            if not self.fields[name].isModified():
                whole = name in along or (film and name == "layers")
                # Frames with the shown prompt, which a list of numbers cannot express.
                is_own_frames = whole and name == "frames" and self.kind in {"film", "video"}
                chosen = "" if is_own_frames else "all" if whole else self._find_shown_value(name)
                if name == "frames" and self.kind == "table" and is_of_effects:
                    chosen = format_numbers(export_measures.find_table_frames(self.session), "-", ",")
                self.fields[name].setText(chosen)
                self.fields[name].setPlaceholderText("those of this prompt" if is_own_frames else LIST)

    def _find_unavailable_ranges(self) -> dict[str, str]:
        """Return the ranges that the product cannot have, and why."""
        state = self.session.state
        lacks = {"uniform": "of attention alone"} if self.measure in FROM_EFFECTS else {}
        if state.range != "locked":
            lacks["locked"] = "the window’s is not locked"
        elif has_other_unit(state.measure, cast("Measure", self.measure)):
            lacks["locked"] = "the window’s is in another unit"
        return lacks

    def _find_range(self) -> str:
        """Return the chosen range, or the usual one where the product cannot have it."""
        usual = "shared" if self.measure in FROM_EFFECTS else "uniform"
        return usual if self.values["range"] in self._find_unavailable_ranges() else self.values["range"]

    def _choose_folder(self) -> None:
        from PySide6.QtWidgets import QFileDialog

        chosen = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if chosen:
            self.folder.setText(chosen)
            self.changed.emit()

    def arguments(self) -> list[str]:
        """Return the arguments of pi0-export."""
        return list_arguments(self)

    def shown_value(self, name: str) -> str:
        """Return the value of a row: what is typed or chosen, or what the product takes instead; empty if hidden."""
        if self.rows[name].isHidden():
            return ""
        value = self.fields[name].text().strip() if name in self.fields else self.values[name]
        return {"measure": self.measure, "range": self._find_range()}.get(name, value)

    @property
    def replaces(self) -> bool:
        """Whether existing files are replaced."""
        return self.values["existing"] == "replace"
