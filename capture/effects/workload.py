"""How many calls the effects of a frame take, by how much of the policy they run."""

from __future__ import annotations

from dataclasses import dataclass

from capture.effects.frame_calls import EffectsRequest
from capture.effects.results_frames import ResultsFrames
from capture.effects.targets import list_blocks, list_words
from capture.policies.base import PolicySizes


@dataclass(frozen=True)
class CallCounts:
    """Interventions on one frame, at most."""

    actions: int = 0
    """Those that run the action expert alone, on the keys and values of one prefix."""
    prefix: int = 0
    """Those that run the language model too."""
    pictures: int = 0
    """Those that run the vision tower too."""
    backward: int = 0
    """Backward passes."""

    @property
    def total(self) -> int:
        """All interventions."""
        return self.actions + self.prefix + self.pictures + self.backward


def count_calls(request: EffectsRequest, frames: ResultsFrames, number: int, sizes: PolicySizes) -> CallCounts:
    """Return the interventions on a frame; the untouched calls with other noise are counted, the first one is not."""
    removed = len(request.regions) * (1 + request.controls)
    words = len(request.words)
    if request.map_block:
        removed += request.masks or len(list_blocks(frames.pictured(number), request.map_block))
        if request.intervention.mode == "knockout":
            words += len(list_words(frames.words(number)))
        if request.curves:  # two sets a point, but all blocks and none are the same for every order
            orders = len(frames.layers) * len(frames.steps) * sizes.heads + request.controls + 1
            removed += orders * (request.curves - 1) * 2 + 1
    heads = sizes.layers * sizes.heads
    actions = request.seeds + heads * ("actions" in request.heads)
    prefix = len(request.replacements) + heads * ("words" in request.heads)
    if request.intervention.mode == "occlude":
        return CallCounts(actions, prefix, removed, len(request.gradient))
    if request.intervention.queries == "actions":
        return CallCounts(actions + removed + words, prefix, 0, len(request.gradient))
    return CallCounts(actions, prefix + removed + words, 0, len(request.gradient))
