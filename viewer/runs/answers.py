"""Answers over a run: numbers of every head, of the episodes behind a head, and over time. No Qt.

Arrays of heads are (layers, heads); layers and denoise steps carry the policy's numbers, from 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from viewer.analysis.scores import NEED_MAPS_OF_SEVERAL, find_score
from viewer.model.plain_text import clean_text
from viewer.regions.in_frames import is_box
from viewer.runs.query import OBJECT
from viewer.runs.summary_files import PARTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.runs.query import RunQuery
    from viewer.runs.summary_files import SummaryEpisode

Doubles = npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]

MOST_REASON: Final = 200
MOST_FILE: Final = 80
"""Characters of a reason and of a file's name in a sentence."""


@dataclass(frozen=True, eq=False)
class GroupAtlas:
    """The score of every head over the episodes of one group."""

    name: str
    """`success`, `failure`, `unknown`, a prompt, or `all`."""
    mean: Doubles
    """(layers, heads): mean over episodes of each episode's mean over frames; NaN where no episode has a value."""
    low: Doubles
    """(layers, heads): lower end of the bootstrap interval of 95 % over episodes; NaN for fewer than two episodes."""
    high: Doubles
    episodes: Counts
    """(layers, heads): episodes behind each cell."""
    frames: Counts
    """(layers, heads): frames of these episodes with a value."""


@dataclass(frozen=True, eq=False)
class Contrast:
    """How two groups of episodes differ in every head: first minus second; arrays are (layers, heads)."""

    first: str
    second: str
    difference: Doubles
    low: Doubles
    """Welch's interval of 95 %."""
    high: Doubles
    effect: Doubles
    """Hedges' g: the difference in pooled standard deviations, corrected for few episodes."""
    p: Doubles
    """Welch's t test, two-sided."""
    q: Doubles
    """p adjusted by Benjamini and Hochberg over all heads: of the cells with q ≤ 0.05 about 5 % are false, or fewer."""


@dataclass(frozen=True, eq=False)
class RunAtlas:
    """The answer to a query for every layer and head."""

    query: RunQuery
    layers: tuple[int, ...]
    """Numbers of the layers, in the order of the rows."""
    heads: int
    all: GroupAtlas
    """All episodes that the query counts, whatever their group."""
    groups: tuple[GroupAtlas, ...]
    """One for each group that has episodes; empty where the query does not group."""
    contrast: Contrast | None
    """Success minus failure, or the first of two prompts minus the second; None for other groups."""
    notes: tuple[str, ...] = ()
    """Sentences about what is counted and what is not, such as episodes without the region."""

    @property
    def has_values(self) -> bool:
        """Whether any head has a value."""
        return bool(np.isfinite(self.all.mean).any())


@dataclass(frozen=True)
class EpisodeValue:
    """One episode's value for one head: a point of a distribution."""

    name: str
    file: str
    """Path inside the run's folder, as in `viewer.io.run_index.Episode.file`."""
    outcome: str
    """`success`, `failure`, or empty where it is unknown."""
    prompts: tuple[str, ...]
    group: str
    """The name of its group in the atlas; `all` where the query does not group."""
    value: float
    frames: int
    """Frames behind the value."""


@dataclass(frozen=True)
class Distribution:
    """What each episode has for one head: one value for each episode and group, the largest value first."""

    query: RunQuery
    layer: int
    head: int
    values: tuple[EpisodeValue, ...]


@dataclass(frozen=True, eq=False)
class GroupCurve:
    """A score over the time of an episode, of one group; arrays are (parts,)."""

    name: str
    mean: Doubles
    low: Doubles
    """Bootstrap interval of 95 % over episodes, part by part."""
    high: Doubles
    episodes: Counts


@dataclass(frozen=True, eq=False)
class RunCurve:
    """A score of one head over the time of an episode, from 0 to 1."""

    query: RunQuery
    layer: int
    head: int
    times: Doubles
    """(parts,): the middle of each part."""
    groups: tuple[GroupCurve, ...]
    """One line each; a single one, `all`, where the query does not group."""


@dataclass(frozen=True)
class FrameValue:
    """A frame's value for one head."""

    frame: int
    """By the file's number, from 0."""
    value: float


@dataclass(frozen=True)
class FrameRanking:
    """The frames of one episode by their value for one head."""

    file: str
    values: tuple[FrameValue, ...]
    """In the order of the frames; those without a value are left out."""

    @property
    def mean(self) -> float:
        """Mean over the frames; NaN where there are none."""
        return float(np.mean([episode.value for episode in self.values])) if self.values else float("nan")

    @property
    def most_typical(self) -> FrameValue | None:
        """The frame whose value is nearest to the episode's mean; the first of equals."""
        return min(self.values, key=lambda episode: abs(episode.value - self.mean), default=None)

    @property
    def most_extreme(self) -> FrameValue | None:
        """The frame whose value is farthest from the episode's mean; the first of equals."""
        return max(self.values, key=lambda episode: abs(episode.value - self.mean), default=None)

    @property
    def highest(self) -> FrameValue | None:
        """The frame with the largest value; the first of equals."""
        return max(self.values, key=lambda episode: episode.value, default=None)

    @property
    def lowest(self) -> FrameValue | None:
        """The frame with the smallest value; the first of equals."""
        return min(self.values, key=lambda episode: episode.value, default=None)


def describe_counted(
    query: RunQuery,
    values: Doubles,
    total: int,
    left_out: Sequence[SummaryEpisode] = (),
    steps: Sequence[int] = (),
) -> tuple[str, ...]:
    """Return sentences about what an answer counts: episodes, time, and which episodes have no value and why.

    Args:
        query: The question.
        values: (episodes, cells) of the counted episodes.
        total: Episodes with numbers, counted or not.
        left_out: Episodes that have no numbers about what is asked, and why.
        steps: Numbers of the recorded denoise steps; none for words.
    """
    everything = total + len(left_out)
    notes = [
        f"{len(values)} of {everything} episode{'s' * (everything != 1)} {'is' if len(values) == 1 else 'are'} "
        "counted, each once, by its mean over frames."
    ]
    if left_out:
        first = left_out[0]
        reason = clean_text(first.reason, MOST_REASON)
        have = "1 has no numbers" if len(left_out) == 1 else f"{len(left_out)} have no numbers"
        notes.append(f"{have}, {'such as ' * (len(left_out) > 1)}{clean_text(first.file, MOST_FILE)}: {reason}")
    ends = [end * PARTS for end in query.times]
    if query.frames is not None or any(abs(end - round(end)) > 1e-9 for end in ends):
        notes.append(
            f"Time is counted in {PARTS} parts of each episode: a part counts where its middle is in the range."
        )
    if query.step is not None and steps and query.step not in steps and "steps" not in find_score(query.score).needs:
        known = ", ".join(map(str, steps))
        return (*notes, f"There is no denoise step {query.step}; those that were recorded are {known}.")
    without = int((~np.isfinite(values).any(1)).sum())
    is_several = not query.actions.isdecimal() if query.actions else query.words == OBJECT or " " in query.words.strip()
    if without and is_several and query.score in NEED_MAPS_OF_SEVERAL:
        noun = "actions" if query.actions else "words"
        notes.append(
            f"{without} of them {'has' if without == 1 else 'have'} no {find_score(query.score).title} of several "
            f"{noun} together: that needs attention maps, which a capture with --keep summaries leaves out; ask for "
            f"one {noun[:-1]}."
        )
    elif without:
        score = find_score(query.score)
        is_named = score.needs_region and not is_box(query.region)
        why = "there is no such region in these frames" if is_named else score.undefined
        notes.append(f"{without} of them {'has' if without == 1 else 'have'} no value: {why}.")
    return tuple(notes)
