"""Join the masks that one program made with what another has changed in the regions file meanwhile."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viewer.regions.region import CameraMasks, RegionSet


def join_changes(before: RegionSet, changed: RegionSet, now: RegionSet) -> RegionSet:
    """Return the regions `now` with the masks in which `changed` differs from `before`, from which it was made.

    What was drawn or imported by others meanwhile is kept, in the cameras that `changed` differs in, too.
    """
    joined = copy.deepcopy(now)
    for region in changed:
        earlier = before.regions.get(region.name)
        for camera, masks in region.cameras.items():
            previous = None if earlier is None else earlier.cameras.get(camera)
            if previous is not None and _is_same(masks, previous):
                continue
            target = joined.regions.get(region.name)
            if target is None:
                target = joined.add(region.name)
                target.color = region.color
            others = target.cameras.get(camera)
            target.cameras[camera] = copy.deepcopy(masks)
            if others is not None:
                _keep_untracked(target.cameras[camera], others, previous)
    return joined


def _is_same(one: CameraMasks, other: CameraMasks) -> bool:
    return (one.origins, one.stops) == (other.origins, other.stops) and all(
        (one.mask(frame) == other.mask(frame)).all() for frame in one.frames()
    )


def _keep_untracked(masks: CameraMasks, others: CameraMasks, before: CameraMasks | None) -> None:
    """Add to `masks` what `others` have that was drawn or imported since `before`, where `masks` have no such mask."""
    for frame in others.frames():
        is_new = before is None or frame not in before or not (before.mask(frame) == others.mask(frame)).all()
        is_untracked = others.origins[frame] != "tracked" and masks.origins.get(frame, "tracked") == "tracked"
        if is_new and is_untracked:
            masks.set(frame, others.mask(frame), others.origins[frame])
