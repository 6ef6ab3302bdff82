"""What is asked over a run, as a value that a view can keep. No Qt."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

from viewer.analysis.scores import SCORES, find_score
from viewer.model.number_ranges import parse_range

Grouping = Literal["none", "outcome", "prompt"]
Outcome = Literal["success", "failure", ""]
"""The last one is unknown."""

OBJECT: Final = "{object}"
"""Stands in words and regions for what each prompt names."""
ALL_ACTIONS: Final = "all"
RUN_SCORES: Final = tuple(name for name, score in SCORES.items() if not score.needs_effects)
"""Scores that can be asked for over a run: those that need no effects file."""
MAX_TEXT: Final = 1000
MAX_PROMPTS: Final = 1000
MAX_FRAME: Final = 1 << 53


@dataclass(frozen=True)
class Subject:
    """Whose attention is summarised, and to which region: what one summary on the disk is about.

    Either `words` or `actions` is not empty.
    """

    words: str = ""
    """One or several words of the prompts, in any case; `{object}` stands for what each prompt names."""
    actions: str = ""
    """Action tokens by number, `3` or `0-4`, or `all`: the mean of these tokens."""
    region: str = ""
    """The name of a region, `{object}`, or boxes of patches with blanks between them; empty for none."""

    @property
    def kind(self) -> Literal["text", "action"]:
        """Which kind of tokens is asked about."""
        return "action" if self.actions else "text"

    @property
    def title(self) -> str:
        """The words in quotation marks, or the actions: “duck”, `action 3`, `all actions`."""
        if not self.actions:
            return f"“{self.words}”"
        if self.actions == ALL_ACTIONS:
            return "all actions"
        return f"action{'s' * (not self.actions.isdecimal())} {self.actions}"


@dataclass(frozen=True)
class RunQuery:
    """One question over the episodes of a run. Every value fits every run; what a run lacks gives an empty answer."""

    score: str = "lift"
    words: str = OBJECT
    actions: str = ""
    region: str = OBJECT
    prompts: tuple[str, ...] = ()
    """Frames with one of these prompts; empty for all."""
    outcomes: tuple[Outcome, ...] = ()
    """Episodes with one of these outcomes; empty for all."""
    times: tuple[float, float] = (0.0, 1.0)
    """From and to which time of an episode, as parts of its length."""
    frames: tuple[int, int] | None = None
    """First and last frame by the files' numbers, from 0; None for all. Both ranges hold where both are set."""
    step: int | None = None
    """A denoise step by number, from 0; None for the mean of all. Words have one pass, whatever is set."""
    group: Grouping = "none"

    @property
    def subject(self) -> Subject:
        """What its summary is about; scores that need no region share the summary with those that do."""
        return Subject("" if self.actions else self.words, self.actions, self.region)

    @property
    def is_whole(self) -> bool:
        """Whether it is about all frames of the episodes."""
        return self.frames is None and self.times == (0.0, 1.0)

    def find_problem(self) -> str:
        """Return why there can be no answer, as a sentence; empty if there can be one."""
        score = find_score(self.score)
        if score.needs_effects:
            return f"The score “{score.title}” comes from effects files, which a run is not asked about."
        if score.needs_region and not self.region:
            return f"The score “{score.title}” needs a region; name one, such as duck or {OBJECT}."
        if "steps" in score.needs and not self.actions:
            return f"The score “{score.title}” is about denoise steps, and words have one pass; take actions."
        if not self.words and not self.actions:
            return f"Name words, such as {OBJECT}, or actions."
        return ""

    def describe(self) -> str:
        """Return the query in words: `lift of region of “duck”, region duck, denoise step 9, prompts: …`."""
        parts = [f"{find_score(self.score).title} of {self.subject.title}"]
        if self.region and find_score(self.score).needs_region:
            parts.append(f"region {self.region}")
        if self.actions and "steps" not in find_score(self.score).needs:
            parts.append("mean of the denoise steps" if self.step is None else f"denoise step {self.step}")
        if self.times != (0.0, 1.0):
            parts.append(f"time {self.times[0]:.0%} to {self.times[1]:.0%} of each episode")
        if self.frames is not None:
            parts.append(f"frames {self.frames[0]}–{self.frames[1]}")
        if self.outcomes:
            parts.append("outcome " + " or ".join(outcome or "unknown" for outcome in self.outcomes))
        if self.prompts:
            parts.append("prompt " + " or ".join(f"“{prompt}”" for prompt in self.prompts))
        return ", ".join(parts)


def read_query(value: dict[str, Any]) -> RunQuery:
    """Return the query of a JSON object, such as the one a view keeps; what cannot be is left at its default."""
    query = RunQuery()
    if value.get("score") in RUN_SCORES:
        query = replace(query, score=value["score"])
    for name in ("words", "region"):
        if isinstance(value.get(name), str) and len(value[name]) <= MAX_TEXT:
            query = replace(query, **{name: value[name]})
    if isinstance(value.get("actions"), str) and is_actions(value["actions"]):
        query = replace(query, actions=value["actions"])
    prompts, outcomes = value.get("prompts"), value.get("outcomes")
    if isinstance(prompts, list) and len(prompts) <= MAX_PROMPTS and all(isinstance(prompt, str) for prompt in prompts):
        query = replace(query, prompts=tuple(prompts))
    if isinstance(outcomes, list) and all(outcome in get_args(Outcome) for outcome in outcomes):
        query = replace(query, outcomes=tuple(dict.fromkeys(outcomes)))
    if (times := _parse_pair(value.get("times"), (int, float))) is not None and 0 <= times[0] <= times[1] <= 1:
        query = replace(query, times=(float(times[0]), float(times[1])))
    if (frames := _parse_pair(value.get("frames"), (int,))) is not None and 0 <= frames[0] <= frames[1] <= MAX_FRAME:
        query = replace(query, frames=(int(frames[0]), int(frames[1])))
    step = value.get("step")
    if type(step) is int and 0 <= step < 10_000:
        query = replace(query, step=step)
    if value.get("group") in get_args(Grouping):
        query = replace(query, group=value["group"])
    return query


def is_actions(text: str) -> bool:
    """Return whether a text names action tokens: `all`, or numbers such as `3` or `0-4,7`; empty names none."""
    if text in {"", ALL_ACTIONS}:
        return True
    return len(text) <= MAX_TEXT and all(parse_range(part) is not None for part in text.replace(",", " ").split())


def _parse_pair(value: object, kinds: tuple[type, ...]) -> tuple[float, float] | None:
    if not isinstance(value, list) or len(value) != 2:
        return None
    first, second = value
    if type(first) not in kinds or type(second) not in kinds or not all(map(math.isfinite, (first, second))):
        return None
    return first, second
