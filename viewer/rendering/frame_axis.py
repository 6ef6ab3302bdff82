"""The horizontal axis of plots over frames: ticks in seconds or frame numbers, episodes and changes of the prompt."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.rendering import theme
from viewer.rendering.axes import measure_label
from viewer.rendering.line_chart import Mark, Span
from viewer.rendering.ticks import Tick, fit_ticks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viewer.analysis.frame_timeline import FrameTimeline
    from viewer.rendering.axes import Axis

TICK_GAP: Final = 30.0
"""Least distance of two labels in pixels."""
MOST_TICKS: Final = 12
PROMPT_SHARE: Final = 0.35
"""Part of the height that the mark of a changed prompt takes."""


def find_frame_ticks(timeline: FrameTimeline, axis: Axis, room: float) -> tuple[Tick, ...]:
    """Return the ticks of the visible moments: round seconds, or numbers without times; none of several episodes.

    Times begin anew with each episode, so their names stand in place of times.

    Args:
        timeline: The moments; they lie at 0, 1, 2 … of the axis.
        axis: The visible part of the axis.
        room: Its length in pixels.
    """
    count, measure = len(timeline.moments), measure_label
    if not count or len(timeline.starts) > 1:
        return ()
    low, high = max(axis.low, 0.0), min(axis.high, float(count - 1))
    if count == 1 or not timeline.timed:
        return find_number_ticks(low, high, room, measure)
    first, last = np.interp([low, high], np.arange(count), timeline.seconds).tolist()
    seconds = fit_ticks(first, last, room, measure, gap=TICK_GAP, most=MOST_TICKS, unit="s")
    places = np.interp([tick.value for tick in seconds], timeline.seconds, np.arange(count))
    return tuple(Tick(place, tick.text) for place, tick in zip(places.tolist(), seconds, strict=True))


def find_number_ticks(low: float, high: float, room: float, measure: Callable[[str], float]) -> tuple[Tick, ...]:
    """Return the ticks of frames by their numbers, from `low` to `high`, along `room` pixels."""
    if high - low < 1:
        return (Tick(round(low), str(round(low))),)
    return fit_ticks(low, high, room, measure, gap=TICK_GAP, most=MOST_TICKS, whole=True)


def mark_prompts(prompt_changes: Sequence[int]) -> tuple[Mark, ...]:
    """Return vertical lines where the prompt changes, before each of these moments."""
    return tuple(Mark(moment - 0.5, theme.GROUP_COLORS["prompt"], PROMPT_SHARE) for moment in prompt_changes)


def name_episodes(timeline: FrameTimeline) -> tuple[Span, ...]:
    """Return the episodes as spans of the axis; none if there is only one."""
    if len(timeline.starts) < 2:
        return ()
    bounds = pairwise([*timeline.starts, len(timeline.moments)])
    return tuple(
        Span(start - 0.5, stop - 0.5, name) for name, (start, stop) in zip(timeline.names, bounds, strict=True)
    )
