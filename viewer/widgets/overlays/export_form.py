"""Form of the options of an export; its values are the arguments of pi0-export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import QRectF, Signal
from PySide6.QtGui import QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QLineEdit, QVBoxLayout, QWidget

from viewer.analysis import scores
from viewer.analysis.heads_wall import MOST_HEADS
from viewer.errors import READ_ERRORS
from viewer.export.request import FORMATS, KINDS, OVER, SCALES, SIZES
from viewer.io.effects import find_effects_files
from viewer.model.view_state import CHOICES
from viewer.regions.regions_file import default_path
from viewer.rendering import drawing, theme
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.controls.segmented_control import SegmentedControl

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.controllers.session import Session

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
    "lines": "--of", "wall": "--heads-of", "sorted": "--score", "measure": "--measure", "unit": "--unit",
    "colours": "--colours",
    "colour_scale": "--colour-scale", "range": "--range",
    "rate": "--rate", "size": "--size", "scale": "--scale", "theme": "--theme",
}  # fmt: skip

LIST: Final = "such as 4,10,15-17 or all"


def _axis_options(kind: str) -> list[tuple[str, str]]:
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


class ExportForm(QWidget):
    """Form with one row for each option; the rows that a kind does not have are hidden."""

    changed = Signal()

    def __init__(self, session: Session, kind: str, folder: Path) -> None:
        super().__init__()
        self.session = session
        self.kind = kind
        self.unavailable_scores = self._find_unavailable_scores()
        self.values: dict[str, str] = {"queries": "this", "reduce": session.state.reduce, "score": self._cells(),
                                       "wall": "best" if session.state.wall == "best" else "layer",
                                       "sorted": self._sort_score(),
                                       "lines": "rows", "range": session.state.range, "measure": session.state.measure,
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
        self._add("format", "Format", self.format)
        self._choice("over", "Over", _axis_options(self.kind))
        self._words("queries", "Queries", (("this", "This one"), ("both", "Words and actions")))
        for name, word in (("frames", "Frames"), ("layers", "Layers"), ("steps", "Steps"), ("heads", "Heads")):
            self._field(name, word, self._chosen(name), LIST)
        self._words("reduce", "Heads by", (("mean", "Mean"), ("max", "Maximum"), ("both", "Both")))
        cell_contents = (*((score.name, score.title) for score in scores.SCORES.values()), ("maps", "small maps"))
        self._choice("score", "Cells", cell_contents)
        cells = self._segments["score"]
        assert isinstance(cells, DropDown)
        cells.disable(self.unavailable_scores)
        cells.set_tool_tips({score.name: score.description for score in scores.SCORES.values()})
        self._words("wall", "Heads of", (("layer", "The layer"), ("best", f"All: best {MOST_HEADS}")))
        self._choice("sorted", "Sorted by", [(score.name, score.title) for score in scores.SCORES.values()])
        by = self._segments["sorted"]
        assert isinstance(by, DropDown)
        by.disable(self.unavailable_scores)
        self._words("lines", "Lines", (("rows", "A head"), ("maps", "A patch")))
        self._words("measure", "Measure", (("weight", "Weight"), ("contribution", "× value norm")))
        self._words("unit", "Unit", (("weight", "Weight"), ("uniform", "Times uniform")))
        self._choice("colours", "Colours", [(name, name) for name in CHOICES["colours"]])
        self._words("colour_scale", "Scale", (("linear", "Linear"), ("log", "Log"), ("rank", "Rank")))
        ranges = (
            ("uniform", "From 1 ×"), ("shared", "From 0"), ("map", "Per map"),
            ("set", "One for all files"), ("locked", "Locked, as in the window"),
        )  # fmt: skip
        self._choice("range", "Range", ranges)
        self._field("rate", "Rate", "4", "pictures a second")
        self._field("size", "Width", "", "px of one picture")
        self._field("scale", "Resolution", "", "pixels a px")
        self._words("theme", "Page", (("light", "Light"), ("dark", "Dark")))
        self._words("caption", "Caption", (("shown", "With colour bar"), ("none", "None")))
        place = QWidget()
        row = QHBoxLayout(place)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        self.folder = self._line_edit("Folder", str(folder), "where to write")
        self.choose = Button("Choose…", kind="quiet")
        self.choose.clicked.connect(self._choose_folder)
        row.addWidget(self.folder, 1)
        row.addWidget(self.choose)
        self._add("folder", "Folder", place)
        self._words("existing", "If it exists", (("keep", "Stop"), ("replace", "Replace")))

    def _add(self, name: str, label: str, control: QWidget) -> None:
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

    def _field(self, name: str, word: str, text: str, hint: str) -> None:
        self.fields[name] = self._line_edit(word, text, hint)
        self._add(name, word, self.fields[name])

    def _words(self, name: str, word: str, options: Sequence[tuple[str, str]]) -> None:
        self._add_choice(name, word, SegmentedControl(word, options), options[0][0])

    def _choice(self, name: str, word: str, options: Sequence[tuple[str, str]]) -> None:
        self._add_choice(name, word, DropDown(word, options), options[0][0])

    def _add_choice(self, name: str, label: str, control: SegmentedControl | DropDown, usual: str) -> None:
        control.setProperty("option", name)
        control.chosen.connect(self._set)
        control.show_value(self.values.get(name, usual))
        self._segments[name] = control
        self._add(name, label, control)

    def _set(self, value: str) -> None:
        sender = self.sender()
        self.values[str(sender.property("option"))] = value
        if isinstance(sender, DropDown):
            sender.show_value(value)
        self._show_rows()
        self.changed.emit()

    def _chosen(self, name: str) -> str:
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
        formats.chosen.connect(self._set)
        self.values["format"] = FORMATS[kind][0]
        formats.show_value(FORMATS[kind][0])
        self._formats.addWidget(formats)
        if kind in OVER:
            self.values["over"] = self._default_axis()
            over = self._segments["over"]
            assert isinstance(over, DropDown)
            over.set_options(_axis_options(kind))
            over.show_value(self.values["over"])
        if kind in FIGURES:
            self.fields["size"].setText(str(SIZES[kind]))
            self.fields["scale"].setText(f"{SCALES.get(kind, 2.0):g}")
        self._show_rows()
        self.changed.emit()

    def _default_axis(self) -> str:
        """Return the axis of the window's film or curves, or the default of the kind."""
        state = self.session.state
        own = {"film": str(state.film), "curves": str(state.curve)}.get(self.kind, OVER[self.kind][0])
        return OVER[self.kind][0] if own == "steps" and state.query.kind == "text" else own

    def _show_rows(self) -> None:
        """Show the rows of the kind, and `all` for the axis that it runs over unless the user typed a list."""
        along = self.values.get("over", "").split("-") if self.kind in OVER else ()
        film = self.kind == "film" and self.values["over"] == "steps"
        actions = self.session.state.query.kind == "action" or self.values["queries"] == "both"
        for name, line in self.rows.items():
            line.setVisible(self.kind in KINDS_OF_ROWS.get(name, frozenset(KINDS)) and (name != "steps" or actions))
        if self.kind == "wall" and self.values["wall"] == "best":
            self.rows["layers"].hide()
        for name in ("frames", "layers", "steps"):
            if not self.fields[name].isModified():
                whole = name in along or (film and name == "layers")
                # Frames with the shown prompt, which a list of numbers cannot express.
                own = whole and name == "frames" and self.kind in {"film", "video"}
                self.fields[name].setText("" if own else "all" if whole else self._chosen(name))
                self.fields[name].setPlaceholderText("those of this prompt" if own else LIST)

    def _choose_folder(self) -> None:
        from PySide6.QtWidgets import QFileDialog

        chosen = QFileDialog.getExistingDirectory(self, "Export to", self.folder.text())
        if chosen:
            self.folder.setText(chosen)
            self.changed.emit()

    def arguments(self) -> list[str]:
        """Return the arguments of pi0-export."""
        session, kind = self.session, self.kind
        assert session.path is not None
        arguments = [kind, str(session.path.absolute()), "--view", session.state.to_json()]
        arguments += ["-o", str(Path(self.folder.text().strip() or ".").expanduser().absolute())]
        arguments += self._effects()
        if session.other is not None and (kind == "difference" or session.state.compare == "difference"):
            arguments += ["--other", str(session.other.path.absolute())]
        if len(FORMATS[kind]) > 1:
            arguments += ["--format", self.values["format"]]
        for name, option in OPTION.items():
            if self.rows[name].isHidden():
                continue
            value = self.fields[name].text().strip() if name in self.fields else self.values[name]
            if name == "range" and value == "locked":
                continue  # the view has the locked range
            if value:
                arguments += [option, value]
        if kind in KINDS_OF_ROWS["queries"] and self.values["queries"] == "both":
            arguments += ["--phase", "prefix", "suffix"]
        if kind in KINDS_OF_ROWS["reduce"]:
            arguments += [
                "--reduce",
                *(("mean", "max") if self.values["reduce"] == "both" else (self.values["reduce"],)),
            ]
        if kind == "atlas":
            small = self.values["score"] == "maps"
            arguments += ["--thumbnails"] if small else ["--no-thumbnails", "--score", self.values["score"]]
        if kind in FIGURES and self.values["caption"] == "none":
            arguments.append("--no-caption")
        arguments += self._region_arguments()
        if self.replaces:
            arguments.append("--overwrite")
        return arguments

    def _effects(self) -> list[str]:
        """Return the option that names the open effects files; empty where pi0-export finds the same ones by itself."""
        results = self.session.results
        paths = [] if results is None else [one.path.absolute() for one in results.effects]
        if results is None or paths == [path.absolute() for path in find_effects_files(results.path)][: len(paths)]:
            return []
        return ["--effects", *map(str, paths)]

    def _region_arguments(self) -> list[str]:
        """Return the options that name the chosen region, where it is scored, and its file, if that is elsewhere."""
        session, state = self.session, self.session.state
        score = {"atlas": self.values["score"], "wall": self.values["sorted"]}.get(self.kind)
        is_scored = self.kind == "table" or (score in scores.SCORES and scores.find_score(str(score)).needs_region)
        if not state.region_name or session.regions is None or not is_scored:
            return []
        path, results = session.regions.path, session.path
        is_beside = path is None or not isinstance(results, Path) or path == default_path(results.absolute())
        return ["--region", state.region_name, *([] if is_beside else ["--regions", str(path)])]

    @property
    def replaces(self) -> bool:
        """Whether existing files are replaced."""
        return self.values["existing"] == "replace"
