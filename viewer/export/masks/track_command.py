"""Follow regions that are drawn or imported, as `pi0-regions track` does: masks, where it stopped, progress."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from capture.results import schema
from viewer.errors import UserError
from viewer.export.masks.commands import describe_masks, ensure_masks, find_region, parse_frames
from viewer.export.masks.tracking import find_ways, track_both_ways
from viewer.regions.boxes import parse_region
from viewer.regions.coverage import draw_patches

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from viewer.export.masks.cli import DrawnBox, RegionsArguments
    from viewer.export.masks.commands import Report
    from viewer.export.masks.tracking import TrackedFrame
    from viewer.io.results import Results
    from viewer.regions.region import CameraMasks, Mask, RegionSet


def draw(regions: RegionSet, results: Results, drawn: tuple[DrawnBox, ...]) -> list[tuple[str, str]]:
    """Store drawn boxes of patches in the masks of their frames; return the names and cameras of them.

    Boxes of one region, camera and frame make one mask.

    Raises:
        UserError: A box, a frame or a name cannot be.
    """
    boxes: dict[tuple[str, int, int], list[DrawnBox]] = {}
    for mark in drawn:
        if not 0 <= mark.frame < results.done:
            raise UserError(f"There is no frame {mark.frame}; the file has frames 0 to {results.done - 1}.")
        camera = parse_region(results, (mark.box,))[0][0]
        boxes.setdefault((mark.name, camera, mark.frame), []).append(mark)
    for (name, camera, frame), marks in boxes.items():
        masks = ensure_masks(regions.add(name), results, results.cameras[camera])
        inside = np.zeros(results.grid.shape, np.bool_)
        for _, row, col in parse_region(results, [mark.box for mark in marks]):
            inside[row, col] = True
        mask = draw_patches(inside, results.to_model(frame, camera), masks.height, masks.width, results.grid)
        if not mask.any():
            raise UserError(f"{marks[0].box} lies in the letterbox’s bars, where there is no picture to follow.")
        masks.set(frame, mask, "drawn")
    return list(dict.fromkeys((name, results.cameras[camera]) for name, camera, _ in boxes))


def track(regions: RegionSet, results: Results, arguments: RegionsArguments, report: Report) -> Iterator[str]:
    """Track the drawn and the named regions in every camera that shows them; yield a sentence about each.

    Masks that were tracked before are replaced when the new ones are complete; drawn and imported masks never are.

    Raises:
        UserError: A name or a frame is unknown, a picture is missing, or OpenCV is not installed.
    """
    tracks = dict.fromkeys(draw(regions, results, arguments.drawn))
    for name in arguments.track:
        tracks |= dict.fromkeys((name, camera) for camera in find_region(regions, name).cameras)
    first, last = parse_frames(arguments.frames, results)
    episodes = find_episodes(results)
    total = sum(
        len(way)
        for name, camera in tracks
        for anchors, begin, end in _find_anchors(regions.regions[name].cameras[camera], episodes, first, last)
        for _, way in find_ways(anchors, begin, end)
    )
    if total and importlib.util.find_spec("cv2") is None:
        raise UserError('Tracking needs OpenCV: pip install "pi0-attention[export]"; --frames A-A only draws.')
    done = 0

    def note_visited(count: int) -> None:
        nonlocal done
        done += count
        report(done, total)

    for name, camera in tracks:
        masks = regions.regions[name].cameras[camera]
        _track_camera(results, camera, masks, (first, last), episodes, note_visited)
        yield f"{name} in {camera}: {describe_masks(masks, results.done)}"


def _find_anchors(
    masks: CameraMasks, episodes: list[tuple[int, int]], first: int, last: int
) -> Iterator[tuple[dict[int, Mask], int, int]]:
    """Yield, for each episode that has some, the masks to start from, and the first and last frame to be tracked."""
    anchors = masks.untracked()
    for begin, end in episodes:
        inside = {frame: mask for frame, mask in anchors.items() if begin <= frame <= end}
        if inside:
            yield inside, max(first, begin), min(last, end)


def _track_camera(
    results: Results,
    camera: str,
    masks: CameraMasks,
    frames: tuple[int, int],
    episodes: list[tuple[int, int]],
    note_visited: Callable[[int], object],
) -> None:
    """Track one region in one camera. Where `note_visited` raises an exception, what was tracked so far is kept."""
    first, last = frames
    if not masks.untracked():
        raise UserError(f"No mask in {camera} to start from; draw a box: NAME={camera}:7-8,8-11@0.")
    number = results.cameras.index(camera)

    def read_picture(frame: int) -> npt.NDArray[np.uint8]:
        picture = results.picture(frame, number, "source")
        if picture is None:
            raise UserError(f"The file holds no pictures of {camera}, which tracking needs; import masks instead.")
        return picture

    reached: dict[int, TrackedFrame] = {}
    is_complete = False
    try:
        for anchors, begin, end in _find_anchors(masks, episodes, first, last):
            for tracked in track_both_ways(read_picture, anchors, begin, end, note_visited):
                reached[tracked.frame] = tracked
        is_complete = True
    finally:
        replaced = range(first, last + 1) if is_complete else list(reached)
        masks.remove([frame for frame in replaced if masks.origins.get(frame) == "tracked"])
        masks.stops = {frame: reason for frame, reason in masks.stops.items() if frame not in replaced}
        for frame, tracked in reached.items():
            if tracked.mask is None:
                masks.stops[frame] = tracked.reason
            else:
                masks.set(frame, tracked.mask, "tracked")


def find_episodes(results: Results) -> list[tuple[int, int]]:
    """Return the first and last frame of each episode of the file, beyond which no region is followed."""
    names = [results.string(schema.FRAMES_EPISODE, frame) for frame in range(results.done)]
    starts = [frame for frame in range(results.done) if frame == 0 or names[frame] != names[frame - 1]]
    return [(start, end - 1) for start, end in zip(starts, [*starts[1:], results.done], strict=True)]
