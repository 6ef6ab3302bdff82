"""Frames in which a query exists, for films, curves, videos, tables and the timeline. No Qt.

A series holds the frames whose prompt has all words of the query. Words are matched by their text, never by their place
in the prompt. The other frames are left out and counted, and a line over the frames breaks there and between episodes.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final, NamedTuple

from viewer.analysis.caption import elide
from viewer.model.number_ranges import format_numbers
from viewer.model.view_state import Query
from viewer.model.words import align

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from viewer.analysis.frame_timeline import FrameTimeline
    from viewer.io.results import Results

MOST_NAMED: Final = 3
"""Words, or ranges of frames, that a sentence about left-out frames names."""


class QuerySeries(NamedTuple):
    """The frames of a series, in the order in which they were asked for."""

    frames: tuple[int, ...]
    """Frames whose prompt has the words."""
    left_out: tuple[int, ...] = ()
    """Frames whose prompt lacks one of them."""
    words: str = ""
    """The words, each in quotation marks; empty for actions, which every frame has."""
    unpaired: tuple[int, ...] = ()
    """Frames that have the words, but no counterpart in the file that is subtracted."""
    other: str = ""
    """Name of that file."""
    measured: str = ""
    """`effects` or `gradients`, where they are what is subtracted."""

    def describe_left_out(self, before: str = "") -> str:
        """Return how many frames are left out and why: `8 left out, whose prompts lack “ball”`; empty for none.

        `before` stands before that.
        """
        parts = []
        if self.left_out:
            whose = "prompts lack" if len(self.left_out) > 1 else "prompt lacks"
            parts.append(f"{len(self.left_out)} left out, whose {whose} {self.words}")
        if self.unpaired:
            parts.append(
                f"{len(self.unpaired)} left out, which {self.other} lacks{self._with_words()}{self._with_effects()}"
            )
        return f"{before}{'; '.join(parts)}" if parts else ""

    def _with_words(self) -> str:
        return f" or whose prompt there lacks {self.words}" if self.words else ""

    def _with_effects(self) -> str:
        return f" or has no {self.measured} of" if self.measured else ""

    def describe_unpaired(self, total: int) -> str:
        """Return a sentence about the frames without a counterpart, of so many; empty if there are none."""
        if not self.unpaired:
            return ""
        frames = f"frame{'s' * (len(self.unpaired) > 1)} {_list_frames(self.unpaired)}"
        condition = f"whose prompt has {self.words}" if self.words else "of that number"
        with_effects = f" and with {self.measured}" if self.measured else ""
        count = f"{len(self.unpaired)} of {total} frames"
        return f"{self.other} has no frame {condition}{with_effects} for {count}; left out: {frames}."


def find_same_query(query: Query, results: Results, frame: int, other_frame: int) -> Query | None:
    """Return the same words in another frame of a file, found by their text; None if its prompt lacks one of them."""
    if query.kind == "action" or frame == other_frame:
        return query
    chips, other_chips = results.chips(frame), results.chips(other_frame)
    if chips == other_chips:
        return query
    positions = {align(chips[item], other_chips) for item in query.items if item < len(chips)}
    if not positions or None in positions:
        return None
    return Query("text", tuple(sorted(place for place in positions if place is not None)))


def find_query_series(
    results: Results, query: Query, frame: int, frames: Iterable[int], prompts: Sequence[str] = ()
) -> QuerySeries:
    """Return those of `frames` that have the query of a frame.

    Args:
        results: The open file.
        query: The query.
        frame: The frame whose words the query counts.
        frames: The frames to choose from.
        prompts: The prompt of every frame of the file, which spares reading the tokens of frames with the same one.
    """
    requested = tuple(frames)
    if query.kind == "action":
        return QuerySeries(requested)
    has_words_by_prompt: dict[str, bool] = {}
    with_words, left_out = list[int](), list[int]()
    for number in requested:
        prompt = prompts[number] if number < len(prompts) else ""
        has_words = has_words_by_prompt.get(prompt)
        if has_words is None:
            has_words = find_same_query(query, results, frame, number) is not None
            if prompt:
                has_words_by_prompt[prompt] = has_words
        (with_words if has_words else left_out).append(number)
    return QuerySeries(tuple(with_words), tuple(left_out), name_words(results, frame, query))


def name_words(results: Results, frame: int, query: Query) -> str:
    """Return the words of a query in quotation marks, the first few of many; empty for actions, which have none."""
    if query.kind == "action":
        return ""
    chips = results.chips(frame)
    labels = [f"“{elide(chips[item].label)}”" for item in query.items if item < len(chips)]
    if len(labels) > MOST_NAMED:
        labels = [*labels[:MOST_NAMED], f"{len(labels) - MOST_NAMED} more"]
    return ", ".join(labels)


def find_line_starts(frames: Sequence[int], timeline: FrameTimeline) -> tuple[int, ...]:
    """Return the places in a series at which its line begins: the first, after episodes' ends and after gaps.

    A gap is a distance, in moments, that is longer than the shortest of the series.
    """
    if not frames:
        return ()
    moments = [timeline.moment_of[frame] for frame in frames]
    episodes = [timeline.episode_of(moment) for moment in moments]
    steps = [after - before for before, after in pairwise(moments)]
    least = min((step for step in steps if step > 0), default=1)
    breaks = [
        place for place, step in enumerate(steps, 1) if not 0 < step <= least or episodes[place] != episodes[place - 1]
    ]
    return (0, *breaks)


def describe_frames_left_out(name: str, left_out: Sequence[int], total: int) -> str:
    """Return a sentence about frames that an export leaves out for they lack a word: `name` in quotation marks."""
    frames = f"frame{'s' * (len(left_out) > 1)} {_list_frames(left_out)}"
    return f"{name} is in the prompts of {total - len(left_out)} of {total} frames; left out: {frames}."


def _list_frames(frames: Sequence[int]) -> str:
    """Return numbers of frames as ranges, the first few of many."""
    numbers = format_numbers(sorted(frames))
    if numbers.count(",") >= MOST_NAMED:
        numbers = ", ".join(numbers.split(", ")[:MOST_NAMED]) + " …"
    return numbers
