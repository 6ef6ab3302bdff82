"""Summaries that are computed while capturing (`scores/*`, since format 1.3): names, axes and the rules of the scores.

numpy and the standard library only. The scores are defined in FORMAT.md. They are computed twice: from stored maps by
`viewer.analysis.scores`, which is the truth, and on the policy's device by `capture.policies.region_scores`;
tests/viewer/analysis/test_captured_scores.py compares the two.
"""

from __future__ import annotations

import re
from typing import Final, Literal

HAS_MAPS: Final = "frames/has_maps"
ROW_SUM_ERROR: Final = "frames/row_sum_error"
WORD: Final = "scores/word"
COVERAGE: Final = "scores/coverage"
WORD_ENTROPY: Final = "scores/text/entropy"
CHANGE: Final = "scores/action/change"

Measure = Literal["mass", "lift", "hit", "iou90"]
MEASURES: Final[tuple[Measure, ...]] = ("mass", "lift", "hit", "iou90")
"""Scores of a region, in the order in which they are stored."""
REGIONS_ATTRIBUTE: Final = "regions"
"""Attribute of each dataset with the axis `region`: the names of the regions, in order."""
MAX_REGIONS: Final = 64
"""Regions whose scores one file can hold."""

ALL_MAPS: Final = 1
NO_MAPS: Final = 0
"""Values of `Sizes.maps_every` beside N, which keeps the maps of the frames whose number is a multiple of N."""

HEAVIEST_PART: Final = 10
"""IoU90 takes the patches above the 90th percentile: one in ten."""


def region_score(phase: str, measure: str) -> str:
    """Return the name of the dataset of a region's scores; `phase` is `text` or `action`."""
    return f"scores/{phase}/{measure}"


def count_heaviest(patches: int) -> int:
    """Return how many of so many patches are the heaviest tenth: rounded, half to even, at least 1."""
    return max(1, round(patches / HEAVIEST_PART))


def parse_keep(text: str) -> int:
    """Return `Sizes.maps_every` of `maps`, `summaries` or `maps::N`. Raises ValueError for anything else."""
    if text == "maps":
        return ALL_MAPS
    if text == "summaries":
        return NO_MAPS
    match = re.fullmatch(r"maps::([1-9]\d{0,5})", text)
    if match is None:
        raise ValueError(f"{text[:40]!r} is none of maps, summaries and maps::N, such as maps::8")
    return int(match[1])


def format_keep(every: int) -> str:
    """Return what `parse_keep` reads."""
    return {ALL_MAPS: "maps", NO_MAPS: "summaries"}.get(every, f"maps::{every}")


def keeps_maps(every: int, frame: int) -> bool:
    """Return whether the maps of a frame, by its number in the file, are kept."""
    return every > 0 and frame % every == 0


AXES: Final[dict[str, str]] = {
    WORD_ENTROPY: "frame, layer, word, head",
    CHANGE: "frame, layer, action, head",
    **{region_score("text", measure): "frame, region, layer, word, head" for measure in MEASURES},
    **{region_score("action", measure): "frame, region, layer, action, step, head" for measure in MEASURES},
}
"""Axes of the datasets of numbers; those with the axis `region` are absent without regions."""

_OF: Final = {"text": "a word's weights", "action": "an action token's weights"}
DESCRIPTIONS: Final[dict[str, str]] = {
    HAS_MAPS: "1 where the frame's maps and value norms are kept, 0 where its summaries alone are",
    ROW_SUM_ERROR: "Largest |sum of a row - 1| of the weights as the policy computed them",
    WORD: "Number of the word, state value or mark that the token is part of; -1 for padding",
    COVERAGE: "Share of each patch that the region covers; NaN in cameras and frames in which it is not known",
    WORD_ENTROPY: "Entropy in nats of a word's weights over the picture patches, mean of its tokens; NaN if all are 0",
    CHANGE: "Weight on the pictures that moves to other patches from a denoise step to the next, mean over the steps",
    **{region_score(phase, "mass"): f"Sum of {of} on the region" for phase, of in _OF.items()},
    **{
        region_score(phase, "lift"): f"Share of {of} on the region's cameras' pictures that is on the region, over its "
        "share of their patches"
        for phase, of in _OF.items()
    },
    **{
        region_score(phase, "hit"): f"1 where the heaviest patch of {of} is in the region, and none outside as heavy"
        for phase, of in _OF.items()
    },
    **{
        region_score(phase, "iou90"): f"Intersection over union of the region and the heaviest tenth of {of}"
        for phase, of in _OF.items()
    },
}
