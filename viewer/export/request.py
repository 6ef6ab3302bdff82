"""What an export is asked for: plain values, the same for the command line and the viewer's dialog. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from viewer.model.view_state import ColourMap, Measure, Picture, Reduction, Scale, Unit

Kind = Literal["summary", "heads", "atlas", "film", "curves", "difference", "video", "table", "arrays"]
Phase = Literal["prefix", "suffix"]
KINDS: Final[tuple[Kind, ...]] = (
    "summary", "heads", "atlas", "film", "curves", "difference", "video", "table", "arrays",
)  # fmt: skip
FORMATS: Final[dict[str, tuple[str, ...]]] = {
    "summary": ("jpg", "png", "pdf", "svg"),
    "heads": ("jpg", "png", "pdf", "svg"),
    "atlas": ("png", "jpg", "pdf", "svg"),
    "film": ("png", "jpg", "pdf", "svg"),
    "curves": ("png", "jpg", "pdf", "svg"),
    "difference": ("png", "jpg", "pdf", "svg"),
    "video": ("mp4", "gif", "webp"),
    "table": ("csv", "parquet"),
    "arrays": ("npz",),
}
"""The formats of each kind, the usual one first."""
OVER: Final[dict[str, tuple[str, ...]]] = {
    "film": ("layers", "steps", "frames", "layers-frames"),
    "curves": ("layers", "steps", "frames"),
    "video": ("frames", "layers", "steps"),
}
"""The axes that a kind can run along, the usual one first; steps and layers-frames of a film have every layer too."""
SIZES: Final[dict[str, int]] = {
    "summary": 480, "heads": 320, "atlas": 46, "film": 64, "curves": 640, "difference": 360, "video": 480,
}  # fmt: skip
"""Width of one picture, cell, thumbnail or plot in px."""
SCALES: Final[dict[str, float]] = {"summary": 1.5, "heads": 1.5, "video": 1.5}
"""Pixels a px where they are not 2."""
LINES: Final = ("rows", "maps")
"""What a table holds a line of: a head's row of attention, or a patch."""


@dataclass(frozen=True)
class Options:
    """One export. Empty fields stand for what the view says, or for the usual where there is no view."""

    kind: Kind
    file: Path
    folder: Path = Path("results")
    view: str = ""
    """JSON of a view, or the name of a figure that carries one."""
    frames: str = ""
    words: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    steps: str = ""
    layers: str = ""
    heads: str = ""
    phases: tuple[Phase, ...] = ()
    reduce: tuple[Reduction, ...] = ()
    colours: ColourMap | None = None
    range: str = ""
    opacity: float | None = None
    picture: Picture | None = None
    smooth: bool | None = None
    grid: bool | None = None
    over: str = ""
    score: str | None = None
    region: tuple[str, ...] = ()
    """Boxes of patches as they are typed: `exterior:4-7,8-11`."""
    thumbnails: bool | None = None
    against: tuple[str, ...] = ()
    other: Path | None = None
    lines: str = "rows"
    unit: Unit | None = None
    measure: Measure | None = None
    colour_scale: Scale | None = None
    left_out: tuple[str, ...] = ()
    """Groups of keys as they are typed; `sinks` and `none` stand for themselves."""
    size: int = 0
    scale: float = 0.0
    theme: str = "light"
    caption: bool = True
    rate: float = 4.0
    format: str = ""
    overwrite: bool = False
    processes: int = 0

    @property
    def suffix(self) -> str:
        """The format of the files."""
        return self.format or FORMATS[self.kind][0]

    @property
    def along(self) -> str:
        """What a film, a curve or a video runs along; empty for other kinds."""
        return self.over or OVER.get(self.kind, ("",))[0]

    @property
    def axes(self) -> frozenset[str]:
        """The axes that one figure runs along: those of `along`, and the layers of a film over steps."""
        also = {"layers"} if self.kind == "film" and self.along == "steps" else set()
        return frozenset({*self.along.split("-"), *also} - {""})

    @property
    def pixels(self) -> int:
        """Width of one picture, cell, thumbnail or plot in px."""
        return self.size or SIZES.get(self.kind, 480)

    @property
    def density(self) -> float:
        """Pixels of a PNG, JPG or video a px."""
        return self.scale or SCALES.get(self.kind, 2.0)
