"""Decisions about the input that the plan of a results file makes or finds: masked slots, frames, clipped states."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from capture.pipeline.planning.frame_selection import ALL_FRAMES, FrameSelection
from capture.pipeline.planning.prompts import OWN_PROMPT, Prompts
from capture.policies.base import TokenTable
from capture.provenance import Decision

OFTEN: Final = 0.5
"""Share of state values beyond the statistics from which these are doubted.

Of the training data it is about 2 % with quantiles, and a third with mean and standard deviation.
"""
LISTED_VALUES: Final = 8


@dataclass
class StateRange:
    """Counts of the state values that lie beyond the range of the policy's statistics, over frames."""

    frames: int = 0
    values: int = 0
    """Number of state values in the prompts of all frames."""
    by_value: Counter[int] = field(default_factory=Counter)
    """Index of a state value -> number of frames in which it lies beyond."""

    def add(self, table: TokenTable, size: int) -> None:
        """Count the state values of one frame, whose state has `size` numbers; bins beyond them are padding."""
        self.frames += 1
        self.values += 0 if table.state_bins is None else min(size, len(table.state_bins))
        self.by_value.update(table.state_beyond)

    def decide(self) -> tuple[Decision, ...]:
        """Return what the prompts spell for these values; empty where there are none."""
        beyond = sum(self.by_value.values())
        if not beyond:
            return ()
        listed = [f"{value} in {count}" for value, count in sorted(self.by_value.items())]
        more = f" and {len(listed) - LISTED_VALUES} values more" if len(listed) > LISTED_VALUES else ""
        choice = f"value {', '.join(listed[:LISTED_VALUES])}{more} of {self.frames} frame{'s' * (self.frames != 1)}"
        reason = "beyond the range of the statistics, where the prompt spells the bin at the edge"
        is_certain = beyond < OFTEN * self.values
        if not is_certain:
            reason += f"; {beyond / self.values:.0%} of all values are: check the statistics and the state's units"
        return (Decision("clipped state values", choice, reason, is_certain),)


def decide_masked_slots(
    slots: Sequence[str], shown: Mapping[str, object], known: Sequence[Decision]
) -> tuple[Decision, ...]:
    """Return a decision for each camera slot without a picture that no decision in `known` explains."""
    explained = {decision.subject for decision in known}
    reason = "no picture was given for it; --camera NAME=FILE gives one"
    masked = [f"{slot} camera" for slot in slots if slot not in shown]
    return tuple(
        Decision(subject, "masked", reason, is_certain=False) for subject in masked if subject not in explained
    )


def decide_frames(selection: FrameSelection, chosen: Sequence[int], length: int) -> Decision:
    """Return which frames of an episode of `length` frames are run."""
    reason = "all, without --frames" if selection == ALL_FRAMES else f"by --frames {selection.text}"
    return Decision("chosen frames", f"{len(chosen)} of {length}", reason, is_certain=True)


def decide_prompts(prompts: Prompts) -> Decision:
    """Return where the task instructions come from."""
    if prompts == OWN_PROMPT:
        return Decision("prompt", "the episode's own", "no other was given", is_certain=True)
    count = len(prompts.always) or sum(map(len, prompts.by_task.values()))
    return Decision("prompt", f"{count} given", "by --prompt or --prompts", is_certain=True)
