"""The regions of one call of an episode: which they are, and which patches they cover."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from capture.datasets.regions.source import Masks
from capture.errors import UserError
from capture.policies.region_coverage import cover_patches
from capture.results.scores_schema import MAX_REGIONS
from capture.rollouts.peers.pictures import name_cameras

if TYPE_CHECKING:
    from capture.policies.base import Prepared
    from capture.rollouts.call_masks import CallMasks


@dataclass(frozen=True)
class CoveredObservation:
    """An observation with the coverage of the regions, where there are any."""

    prepared: Prepared
    names: tuple[str, ...] = ()
    """Names of the regions, in the order of `prepared.coverage`."""
    masks: Masks = field(default_factory=dict)
    """Masks of the regions that are known; empty if none is."""
    problem: str = ""
    """Why masks of the call are not used; empty if they are."""


@dataclass(frozen=True)
class CallRegions:
    """The regions of an episode up to one of its calls, and the call's masks."""

    names: tuple[str, ...] = ()
    call_masks: CallMasks | None = None

    def cover(self, prepared: Prepared) -> CoveredObservation:
        """Return the observation of the call with the coverage of all regions: NaN for those that are not known.

        Masks that do not fit its pictures make no region known. They are given by the policy's names of the cameras, or
        by the names of their pictures in openpi's and lerobot's models.
        """
        if not self.names:
            return CoveredObservation(prepared)
        masks, problem = self._find_masks(prepared)
        covered = replace(prepared, coverage=cover_patches(self.names, masks, prepared.pictures))
        return CoveredObservation(covered, self.names, masks, problem)

    def _find_masks(self, prepared: Prepared) -> tuple[Masks, str]:
        if self.call_masks is None:
            return {}, ""
        pictures = prepared.observation.pictures

        def rename(camera: str) -> str:
            name = camera if camera in prepared.pictures else name_cameras((camera,))[0]
            if name not in prepared.pictures:
                shown = ", ".join(prepared.pictures)
                raise UserError(f"the masks are of a camera {camera[:40]!r}; the policy is shown {shown}")
            return name

        try:
            renamed = self.call_masks.rename_cameras(rename)
            renamed.check_sizes(pictures)
        except UserError as error:
            return {}, f"masks were not used: {error}"
        masks = renamed.split()
        left_out = [name for name in renamed.names if name not in self.names]
        if left_out:
            reason = f"an episode has at most {MAX_REGIONS} regions; {left_out[0]} is not scored"
            return {key: mask for key, mask in masks.items() if key[0] in self.names}, reason
        return masks, ""
