"""What pi0-regions does: each function changes or describes the regions of one open results file."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from viewer.errors import UserError
from viewer.export.masks import mask_export, mask_import
from viewer.export.masks.cli import parse_names
from viewer.model.number_ranges import format_numbers, parse_range
from viewer.model.plain_text import clean_text
from viewer.regions.region import COLORS, CameraMasks
from viewer.regions.region_name import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from viewer.export.masks.cli import RegionsArguments
    from viewer.io.results import Results
    from viewer.regions.region import Region, RegionSet

    Report = Callable[[int, int], None]
    """Called with how many frames are done, and of how many."""


def ensure_masks(region: Region, results: Results, camera: str) -> CameraMasks:
    """Return the masks of a region in a camera's pictures; empty ones are added to it if there are none yet."""
    if camera not in region.cameras:
        region.cameras[camera] = CameraMasks(*results.picture_size(results.cameras.index(camera)))
    return region.cameras[camera]


def import_masks(regions: RegionSet, results: Results, arguments: RegionsArguments, report: Report) -> Iterator[str]:
    """Read the masks of another program; yield a sentence about each region, and about what was left out.

    Raises:
        UserError: The masks cannot be read, or fit no camera or frame of the file.
    """
    path, dataset = mask_import.split_source(arguments.source)
    names = parse_names(arguments.names)
    if names is None and path.is_dir():
        names = _read_label_names(path)
    source = mask_import.MaskSource(path, dataset, results.cameras, names)
    if arguments.camera and arguments.camera not in results.cameras:
        raise UserError(f"There is no camera {arguments.camera}; the file has {', '.join(results.cameras)}.")
    only = results.cameras[0] if len(results.cameras) == 1 else ""
    changed: dict[tuple[str, str], int] = {}
    beyond = 0
    frames: set[int] = set()
    for object_mask in mask_import.read_masks(source):
        camera = object_mask.camera or arguments.camera or only
        if not camera:
            raise UserError(
                f"{path.name} does not say which camera its masks belong to; add --camera, one of "
                f"{', '.join(results.cameras)}."
            )
        frame = object_mask.frame - arguments.first_frame
        if not 0 <= frame < results.done:
            beyond += 1
            continue
        masks = ensure_masks(regions.add(object_mask.name), results, camera)
        masks.set(frame, _fit(object_mask.mask, masks, path.name), "imported")
        changed[object_mask.name, camera] = changed.get((object_mask.name, camera), 0) + 1
        frames.add(frame)
        report(len(frames), results.done)
    if not changed:
        raise UserError(
            f"No mask of {path.name} belongs to a frame of {results.path.name} (0 to {results.done - 1}); "
            "--first-frame says which number its first picture has, --names which labels are meant."
        )
    for name, camera in changed:
        yield f"{name} in {camera}: {describe_masks(regions.regions[name].cameras[camera], results.done)}"
    if beyond:
        yield f"{beyond} masks of frames that the results file does not have were left out."


def _read_label_names(folder: Path) -> dict[int, str] | None:
    """Return the names in `labels.json` beside label pictures; None without one."""
    path = folder / "labels.json"
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {int(label): str(name) for label, name in content.items()}
    except (OSError, ValueError, AttributeError, RecursionError):
        raise UserError(f'{path} cannot be read; write {{"1": "duck", "2": "mug"}}.') from None


def _fit(mask: npt.NDArray[np.bool_], masks: CameraMasks, source: str) -> npt.NDArray[np.bool_]:
    """Return a mask at the size of the camera's pictures, which must have the same shape to a hundredth."""
    height, width = mask.shape
    if (height, width) == (masks.height, masks.width):
        return mask
    if abs(height * masks.width - width * masks.height) > 0.01 * width * masks.height:
        raise UserError(
            f"The masks of {source} have {height} × {width} pixels, the file’s pictures {masks.height} × "
            f"{masks.width}: not the same shape, so that where they lie is not known."
        )
    rows = ((np.arange(masks.height) + 0.5) * height / masks.height).astype(int)
    cols = ((np.arange(masks.width) + 0.5) * width / masks.width).astype(int)
    fitted: npt.NDArray[np.bool_] = mask[rows[:, None], cols[None, :]]
    return fitted


def remove(regions: RegionSet, results: Results, texts: tuple[str, ...]) -> Iterator[str]:
    """Forget regions, or their masks in a camera, or in some of its frames; yield a sentence about each."""
    for text in texts:
        name, _, place = text.partition("=")
        region = find_region(regions, name)
        if not place:
            del regions.regions[name]
            yield f"{clean_text(name)} is forgotten."
            continue
        camera, at, frames = place.partition("@")
        if camera not in region.cameras:
            raise UserError(
                f"{name} has no masks in {camera}; it has some in {', '.join(region.cameras) or 'no camera'}."
            )
        masks = region.cameras[camera]
        if at:
            first, last = parse_frames(frames, results)
            masks.remove(range(first, last + 1))
        else:
            del region.cameras[camera]
        yield f"{name} in {camera}: {describe_masks(masks, results.done) if at else 'forgotten'}"


def rename(regions: RegionSet, old: str, new: str) -> str:
    """Give a region another name, at its place among the others; return a sentence about it.

    Raises:
        UserError: There is no region of the old name, or another one has the new name, or none can have it.
    """
    find_region(regions, old)
    check_name(new)
    if new != old and new in regions.regions:
        raise UserError(f"There is a region {clean_text(new)} already; take another name, or remove that one first.")
    for region in list(regions):  # all of them, so that their order stays
        del regions.regions[region.name]
        region.name = new if region.name == old else region.name
        regions.regions[region.name] = region
    return f"{clean_text(old)} is called {clean_text(new)}."


def recolor(regions: RegionSet, name: str, color: str) -> str:
    """Give a region another colour, `#rrggbb`; return a sentence about it. UserError if it cannot be."""
    region = find_region(regions, name)
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", color):
        raise UserError(f"“{color[:20]}” is no colour; write #rrggbb, such as {COLORS[0]}.")
    region.color = color.lower()
    return f"{clean_text(name)} is drawn in {region.color}."


def describe(regions: RegionSet, results: Results) -> Iterator[str]:
    """Yield a line about each region and camera."""
    for region in regions:
        for camera, masks in region.cameras.items():
            yield f"{region.name} in {camera}: {describe_masks(masks, results.done)}"


def describe_masks(masks: CameraMasks, frames: int) -> str:
    """Return in which frames a region is known, from where, and where tracking stopped."""
    parts = []
    for origin in ("drawn", "imported", "tracked"):
        mask_frames = [frame for frame in masks.frames() if masks.origins[frame] == origin]
        if mask_frames:
            parts.append(f"{origin} in {format_numbers(mask_frames)}")
    coverage = f"known in {len(masks)} of {frames} frames" + (f" ({'; '.join(parts)})" if parts else "")
    stops = [f"stopped at frame {frame}: {reason}" for frame, reason in sorted(masks.stops.items())]
    return "; ".join([coverage, *stops]) + "."


def export(regions: RegionSet, arguments: RegionsArguments) -> Iterator[str]:
    """Write the masks for other programs; yield sentences about what could not be kept."""
    if not any(len(masks) for region in regions for masks in region.cameras.values()):
        raise UserError(f"{arguments.file.name} has no regions yet; track or import some first.")
    assert arguments.output is not None
    yield from mask_export.write_masks(regions, arguments.output, arguments.form, overwrite=arguments.overwrite)


def parse_frames(text: str, results: Results) -> tuple[int, int]:
    """Return the first and last frame of `20-39`, all of them for an empty text; UserError if they cannot be."""
    if not text:
        return 0, results.done - 1
    ends = parse_range(text)
    if ends is None or not ends[0] <= ends[1] < results.done:
        raise UserError(f"“{text[:40]}” are no frames of the file; it has 0 to {results.done - 1}: write 20-39.")
    return ends


def find_region(regions: RegionSet, name: str) -> Region:
    """Return the region of a name; UserError if there is none."""
    if name not in regions.regions:
        names = ", ".join(regions.regions) or "none yet"
        raise UserError(f"There is no region {clean_text(name)[:60]}; the file of regions has {names}.")
    return regions.regions[name]
