"""An export whose every choice is resolved against the open file, and the kinds of exports that there are. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from viewer.model.view_state import Cell, Query, Reduction, ViewState
from viewer.regions.in_frames import RegionInFrames

if TYPE_CHECKING:
    from capture.remote.address import Location

Kind = Literal["summary", "heads", "wall", "atlas", "film", "curves", "difference", "video", "table", "arrays"]
Phase = Literal["prefix", "suffix"]
Axis = Literal["frame", "layer", "step"]
TableUnit = Literal["rows", "maps", "effects"]
"""What a table holds a line of: a head's row of attention, a patch of its maps, or a patch, word or target and what was
measured of it."""

KINDS: Final[tuple[Kind, ...]] = (
    "summary", "heads", "wall", "atlas", "film", "curves", "difference", "video", "table", "arrays",
)  # fmt: skip
NUMBERS: Final = frozenset({"table", "arrays"})
"""Kinds that write numbers, for which Qt is not needed."""
FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "summary": ("jpg", "png", "pdf", "svg"),
    "heads": ("jpg", "png", "pdf", "svg"),
    "wall": ("png", "jpg", "pdf", "svg"),
    "atlas": ("png", "jpg", "pdf", "svg"),
    "film": ("png", "jpg", "pdf", "svg"),
    "curves": ("png", "jpg", "pdf", "svg"),
    "difference": ("png", "jpg", "pdf", "svg"),
    "video": ("mp4", "gif", "webp"),
    "table": ("csv", "parquet"),
    "arrays": ("npz",),
}
"""The formats of each kind, the default first."""
OVER: Final[dict[str, tuple[str, ...]]] = {
    "film": ("layers", "steps", "frames", "layers-frames"),
    "curves": ("layers", "steps", "frames"),
    "video": ("frames", "layers", "steps"),
}
"""The axes that a kind can run along, the default first; a film over steps or layers-frames shows every layer too."""
SIZES: Final[dict[str, int]] = {
    "summary": 480, "heads": 320, "wall": 160, "atlas": 46, "film": 64, "curves": 640, "difference": 360, "video": 480,
}  # fmt: skip
"""Default width of one picture, cell, thumbnail or plot in px."""
SCALES: Final[dict[str, float]] = {"summary": 1.5, "heads": 1.5, "video": 1.5}
"""Default pixels per px of the kinds for which it is not 2."""


@dataclass(frozen=True)
class NamedQuery:
    """A query as it is in one frame, and its name in file names and tables."""

    query: Query
    name: str
    frame: int = 0
    """The frame whose words the query counts."""
    is_default: bool = False
    """Whether it is what a figure shows where no query is named: the whole prompt, or all actions."""


@dataclass(frozen=True)
class PhaseQueries:
    """The queries of one phase."""

    phase: Phase
    by_frame: tuple[tuple[NamedQuery, ...], ...]
    """The queries in each chosen frame; in one frame alone where a figure runs along the frames."""


@dataclass(frozen=True)
class Comparison:
    """In what the subtracted view differs; None and empty fields are as in the view itself."""

    frame: int | None = None
    layer: int | None = None
    step: int | None = None
    heads: tuple[int, ...] = ()
    actions: tuple[int, ...] = ()
    word: str = ""
    """Looked up in the prompt of the frame that is subtracted."""
    reduce: Reduction | None = None
    dim: int | Literal["all"] | None = None
    """Action dimension of effects or gradients."""


@dataclass(frozen=True)
class ExportRequest:
    """One export: positions on the file's axes (from 0), views and settings, none of them text to be read."""

    kind: Kind
    file: Location
    other: Location | None
    """The file that is subtracted."""
    effects: tuple[Path, ...]
    """Effects files about the file, the one to prefer first."""
    other_effects: tuple[Path, ...]
    """Effects files about the file that is subtracted."""
    folder: Path
    """Where files are written: a folder named after the results file."""
    format: str
    overwrite: bool
    processes: int
    """How many processes paint; 0 for one per core."""
    view: ViewState
    """The view that all figures vary: the look, and frame, step and layer where a figure has one of them only."""
    over: str
    """The axis that a film, a curve or a video runs along; empty for other kinds."""
    frames: tuple[int, ...]
    """The frames to choose from: those whose prompt lacks a named word are left out."""
    layers: tuple[int, ...]
    steps: tuple[int, ...]
    heads: tuple[int, ...]
    queries: tuple[PhaseQueries, ...]
    reductions: tuple[Reduction, ...]
    comparison: Comparison | None
    shares_range: bool
    """Whether all figures of the export are on one colour range."""
    has_named_frames: bool
    """Whether frames were named."""
    notes: tuple[str, ...]
    """Sentences about frames that are left out."""
    region: RegionInFrames | None
    """Named regions, which lie elsewhere in each frame; None for the view's patches in all frames."""
    outcome: str | None
    """Of the episode in a run, in a column of its table; None for a file by itself."""
    has_effect_columns: bool
    """Whether a table has columns of effects where the file has none, as it does where other episodes of a run have."""
    table_of: TableUnit
    dim: int | None
    """Action dimension of the effects and gradients in a table; None for all of them."""
    width: int
    """Of one picture, cell, thumbnail or plot in px."""
    scale: float
    """Pixels of a PNG, JPEG or video per px."""
    theme: str
    caption: bool
    """Whether a figure has its caption and colour bar."""
    rate: float
    """Pictures of a video per second."""

    @property
    def is_numbers(self) -> bool:
        """Whether numbers are exported, not figures."""
        return self.kind in NUMBERS

    @property
    def figure_axes(self) -> frozenset[str]:
        """The axes that one figure runs along: frame, layer, step."""
        return axes_within_figure(self.kind, self.over)

    def find_region_at(self, frame: int) -> tuple[Cell, ...]:
        """Return the patches that are scored in a frame."""
        return self.view.region if self.region is None else self.region.cells[frame]

    def positions(self, axis: Axis) -> tuple[int, ...]:
        """Return the chosen positions on an axis."""
        return {"frame": self.frames, "layer": self.layers, "step": self.steps}[axis]

    def phase_steps(self, phase: Phase) -> tuple[int, ...]:
        """Return the positions of the denoise steps of a phase: words have one pass."""
        return self.steps if phase == "suffix" else (0,)


def axes_within_figure(kind: Kind, over: str) -> frozenset[str]:
    """Return the axes (frame, layer, step) that one figure of a kind runs along; a film over steps has every layer."""
    axes = {axis.removesuffix("s") for axis in over.split("-")} - {""}
    return frozenset(axes | {"layer"} if kind == "film" and over == "steps" else axes)
