"""Options of the command line of pi0-export, before a file is open. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from viewer.analysis.scores import find_score
from viewer.export.request import NUMBERS, OVER, Kind, Phase, TableUnit
from viewer.model.view_state import ColorMap, Measure, Picture, Reduction, Scale, Unit, ViewState, Wall

if TYPE_CHECKING:
    from capture.remote.address import Location


@dataclass(frozen=True)
class ExportArguments:
    """The options of one export. Fields that are empty or None stand for the view's value, else for the default.

    What names something in the file (frames, words, layers, regions ...) is text until `resolve.resolve_request` has
    looked it up there.
    """

    kind: Kind
    file: Location
    format: str
    folder: Path = Path("results")
    view: ViewState | None = None
    """The view to start from."""
    frames: str = ""
    words: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    steps: str = ""
    layers: str = ""
    heads: str = ""
    phases: tuple[Phase, ...] = ()
    reduce: tuple[Reduction, ...] = ()
    colours: ColorMap | None = None
    range: str = ""
    """`shared`, `map`, `set` or `LOW:HIGH`."""
    opacity: float | None = None
    picture: Picture | None = None
    smooth: bool | None = None
    grid: bool | None = None
    over: str = ""
    score: str | None = None
    region: tuple[str, ...] = ()
    """Boxes of patches, `exterior:4-7,8-11`, or names of regions, `duck`."""
    regions: Path | None = None
    """The file in which named regions are looked up; None for the one beside the results file."""
    objects: Path | None = None
    """Maps prompts to the words that `{object}` stands for."""
    share: str = ""
    """Which part of the episodes of a run: `3/8`."""
    wall: Wall | None = None
    """Which heads a wall has: those of a layer, or the best of all."""
    thumbnails: bool | None = None
    against: tuple[str, ...] = ()
    """Fields of the view that is subtracted: `layer=4`."""
    other: Location | None = None
    effects: tuple[Path, ...] = ()
    """Effects files about the file, besides those that lie beside it."""
    table_of: TableUnit = "rows"
    unit: Unit | None = None
    measure: Measure | None = None
    dim: int | Literal["all"] | None = None
    """Action dimension of which effects or gradients are shown; None for that of the view."""
    colour_scale: Scale | None = None
    left_out: tuple[str, ...] = ()
    """Groups of keys; `sinks` stands for several and `none` for no group."""
    size: int = 0
    scale: float = 0.0
    theme: str = "light"
    caption: bool = True
    rate: float = 4.0
    overwrite: bool = False
    processes: int = 0

    @property
    def is_numbers(self) -> bool:
        """Whether numbers are exported, not figures."""
        return self.kind in NUMBERS

    @property
    def is_table_of_effects(self) -> bool:
        """Whether a table of effects is exported, which are of actions, and of no layer, step and head."""
        return self.kind == "table" and self.table_of == "effects"

    @property
    def asks_for_words(self) -> bool:
        """Whether queries of the prefix are named."""
        return bool(self.words or self.tokens)

    def scores_region(self, view: ViewState) -> bool:
        """Return whether an export from a view has numbers of its region, not only the outline."""
        score = self.score or view.score
        return self.kind == "table" or (self.kind in {"atlas", "wall"} and find_score(score).needs_region)

    def resolve_over(self) -> str:
        """Return the axis that a film, a curve or a video runs along; empty for other kinds.

        Named, else as in the view, else the default. The view's denoise steps are not taken where words are asked for,
        which have one pass.
        """
        default = OVER.get(self.kind, ("",))[0]
        if self.over or self.view is None or self.kind not in {"film", "curves"}:
            return self.over or default
        over = self.view.film if self.kind == "film" else self.view.curve
        is_word_view = self.view.query.kind == "text" and not self.actions
        if over == "steps" and ("prefix" in self.phases or (not self.phases and (self.asks_for_words or is_word_view))):
            return default
        return over
