"""Where named regions lie in each frame, as patches."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from capture.results import regions_schema
from viewer.errors import UserError
from viewer.model.number_ranges import format_numbers
from viewer.model.plain_text import clean_text
from viewer.regions.coverage import measure_coverage
from viewer.regions.file_versions import default_path
from viewer.regions.regions_file import read_regions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from capture.remote.address import Location
    from viewer.io.results import Results
    from viewer.model.view_state import Cell, ViewState
    from viewer.regions.region import Region, RegionSet

    ReadRegions = Callable[[Path, Results], RegionSet]
    """Reads a file of regions that belongs to a results file."""


@dataclass(frozen=True)
class RegionInFrames:
    """One or several named regions together, in the frames in which all of them are known."""

    names: Mapping[int, str]
    """The name in each frame: another one where prompts name other objects."""
    cells: Mapping[int, tuple[Cell, ...]]
    """Patches (camera, row, col) in order, by frame; none where no camera shows it."""
    is_one: bool = True
    """Whether it is one region, which a view can have."""

    def put_into(self, view: ViewState) -> ViewState:
        """Return a view with the region as it is in the view's frame, under its name if it has one."""
        names = set(self.names.values())
        name = self.names.get(view.frame, "") if self.is_one and len(names) == 1 else ""
        return replace(view, region=self.cells.get(view.frame, ()), region_name=name)

    def describe_left_out(self, frames: Sequence[int]) -> tuple[str, ...]:
        """Return a sentence about those of `frames` in which the region is not known, if there are any."""
        unknown = [frame for frame in frames if frame not in self.cells]
        if not unknown:
            return ()
        name = " or ".join(dict.fromkeys(self.names.values()))
        return (f"Frames in which the region {name} is not known are left out: {format_numbers(unknown)}.",)


def find_cells(region: Region, results: Results, frame: int) -> tuple[Cell, ...] | None:
    """Return the patches of a region in a frame, of every camera in which it is known; None where it is in none."""
    cells: list[Cell] = []
    is_known = False
    for camera, name in enumerate(results.cameras):
        masks = region.cameras.get(name)
        if masks is None or frame not in masks:
            continue
        is_known = True
        coverage = measure_coverage(masks.mask(frame), results.to_model(frame, camera), results.grid)
        rows, cols = np.nonzero(regions_schema.choose_patches(coverage))
        cells += [(camera, row, col) for row, col in zip(rows.tolist(), cols.tolist(), strict=True)]
    return tuple(cells) if is_known else None


class UnknownRegionError(UserError):
    """A region is known in none of the frames, or there is none of its name."""


def place_in_frames(
    regions: RegionSet,
    texts: Sequence[str],
    results: Results,
    frames: Sequence[int],
    fill: Callable[[str, int], str] = lambda text, _: text,
) -> RegionInFrames:
    """Return where named regions lie together in those of `frames` in which all of them are known.

    `fill(text, frame)` returns the name that a text stands for in a frame.

    Raises:
        UnknownRegionError: There is no region of a name, or it is known in none of the frames.
        UserError: `fill` raises it in every frame.
    """
    return _find_in_all_frames(
        texts, frames, lambda name, frame: find_cells(_find_region(regions, name), results, frame), fill
    )


def place_captured(
    texts: Sequence[str], results: Results, frames: Sequence[int], fill: Callable[[str, int], str]
) -> RegionInFrames:
    """Return the same for regions that were scored while capturing, which the results file itself knows."""

    def find(name: str, frame: int) -> tuple[Cell, ...] | None:
        if name not in results.regions:
            raise UnknownRegionError(
                f"There is no region {clean_text(name)[:60]}; {results.path.name} has scores of "
                f"{', '.join(results.regions)}."
            )
        return results.region_cells(frame, results.regions.index(name))

    return _find_in_all_frames(texts, frames, find, fill)


def _find_in_all_frames(
    texts: Sequence[str],
    frames: Sequence[int],
    find: Callable[[str, int], tuple[Cell, ...] | None],
    fill: Callable[[str, int], str],
) -> RegionInFrames:
    cells: dict[int, tuple[Cell, ...]] = {}
    names: dict[int, str] = {}
    error: UserError | None = None
    for frame in frames:
        try:
            named = [fill(text, frame) for text in texts]
            cells_by_region = [find(name, frame) for name in named]
        except UserError as problem:  # such as a prompt that names no object
            error = error or problem
            continue
        if all(cells is not None for cells in cells_by_region):
            names[frame] = " ".join(named)
            cells[frame] = tuple(sorted({cell for cells in cells_by_region if cells for cell in cells}))
    if not cells:
        raise error or UnknownRegionError(
            f"The region {' '.join(texts)} is known in none of these frames; `pi0-regions list` says in which it is."
        )
    return RegionInFrames(names, cells, len(texts) == 1)


def _find_region(regions: RegionSet, name: str) -> Region:
    if name not in regions.regions:
        names = ", ".join(regions.regions) or "none"
        raise UnknownRegionError(f"There is no region {clean_text(name)[:60]}; the file of regions has {names}.")
    return regions.regions[name]


def is_box(text: str) -> bool:
    """Return whether `exterior:4-7,8-11` is meant, not the name of a region, which has no colon."""
    return ":" in text


def follow_region_of_view(
    view: ViewState,
    path: Path | None,
    results_path: Location,
    results: Results,
    frames: Sequence[int],
    read: ReadRegions = read_regions,
) -> RegionInFrames | None:
    """Return where the named region of a view lies in each frame, for figures that only show it; None without one.

    Frames in which it is not known have no patches. Where there is no file of regions, or none of this name in it, the
    view's own patches are those of the view's frame alone.
    """
    if not view.region_name:
        return None
    own_cells = {view.frame: view.region}
    try:
        named_region = find_named_region(
            (view.region_name,), path, results_path, results, frames, lambda text, _: text, read
        )
    except UserError:
        named_region = None
    cells = own_cells if named_region is None else dict(named_region.cells)
    return RegionInFrames(dict.fromkeys(frames, view.region_name), {frame: cells.get(frame, ()) for frame in frames})


def find_named_region(
    texts: Sequence[str],
    path: Path | None,
    results_path: Location,
    results: Results,
    frames: Sequence[int],
    fill: Callable[[str, int], str],
    read: ReadRegions = read_regions,
) -> RegionInFrames | None:
    """Return where regions that `texts` name lie in each frame; None where they are boxes of patches, or empty.

    `path` is the file of regions; None for the one beside `results_path`, else for the regions that were scored while
    capturing. `fill` is as for `place_in_frames`. `read` reads the file.

    Raises:
        UserError: Names and boxes are mixed, there is no file of regions or no region of a name in it, or it is known
            in none of the frames.
    """
    boxes = [text for text in texts if is_box(text)]
    if len(boxes) == len(texts):
        if path is not None:
            raise UserError("--regions is the file of named regions; add --region and a name in it.")
        return None
    if boxes:
        raise UserError(f"--region takes either names or boxes; {boxes[0]} is a box.")
    if (
        path is None
        and results.regions
        and not (isinstance(results_path, Path) and default_path(results_path).exists())
    ):
        return place_captured(texts, results, frames, fill)
    if path is None:
        if not isinstance(results_path, Path):
            raise UserError(
                f"--region {texts[0]} is no box, and {results_path.name} lies elsewhere; add --regions FILE."
            )
        path = default_path(results_path)
    if not path.exists():
        raise UnknownRegionError(
            f"--region {texts[0]} is no box such as exterior:4-7,8-11, and there is no file of named regions "
            f"({path}); `pi0-regions track` makes one."
        )
    return place_in_frames(read(path, results), texts, results, frames, fill)
