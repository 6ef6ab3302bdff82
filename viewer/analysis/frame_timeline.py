"""Timeline of a file's frames: moments, the prompts at each moment, episodes and seconds. No Qt.

A moment is one point in time of an episode. A moment that was run with several prompts has several frames; playback
goes along the moments with one prompt.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from capture.results import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.io.results import Results

PLAIN_RATE: Final = 12.0
"""Moments per second where neither the file nor the run's index gives times."""
MOST_FRAMES: Final = 50_000
LONGEST: Final = 10.0
"""Longest time of a moment in playback, in medians: a pause in the recording is shortened."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class FrameTimeline:
    """The frames of a file, arranged by moments."""

    moments: tuple[tuple[int, ...], ...]
    """Frames of each moment, one for each prompt."""
    moment_of: tuple[int, ...]
    """The moment of each frame."""
    seconds: Doubles
    """(moments,) seconds since the first moment of the episode."""
    lasting: Doubles
    """(moments,) for how many seconds each moment is shown in playback at the data set's rate."""
    starts: tuple[int, ...]
    """Moments at which an episode begins; the first is 0."""
    names: tuple[str, ...]
    """Names of those episodes."""
    prompts: tuple[str, ...]
    """The prompt of each frame."""
    timed: bool
    """Whether the times are known and not assumed."""

    def along(self, frame: int) -> tuple[int, ...]:
        """Return one frame of each moment: with the prompt of `frame` if there is one, else at its place among them."""
        if len(self.moments) == len(self.moment_of):
            return tuple(frames[0] for frames in self.moments)
        prompt, place = self.prompts[frame], self.moments[self.moment_of[frame]].index(frame)
        return tuple(
            next((frame for frame in frames if self.prompts[frame] == prompt), frames[min(place, len(frames) - 1)])
            for frames in self.moments
        )

    def beside(self, frame: int, by: int) -> int:
        """Return the frame `by` moments later (or earlier) with the same prompt, at most the last (first)."""
        if len(self.moments) == len(self.moment_of):
            moment = min(max(self.moment_of[frame] + by, 0), len(self.moments) - 1)
            return self.moments[moment][0]
        along = self.along(frame)
        return along[min(max(self.moment_of[frame] + by, 0), len(along) - 1)]

    def cycle_prompt(self, frame: int, by: int) -> int:
        """Return the frame of the same moment with the next prompt, cyclically."""
        frames = self.moments[self.moment_of[frame]]
        return frames[(frames.index(frame) + by) % len(frames)]

    def prompt_changes(self, along: Sequence[int]) -> list[int]:
        """Return the moments at which the prompt changes within an episode, for one frame of each moment."""
        if len(set(self.prompts)) < 2:
            return []
        prompts = [self.prompts[frame] for frame in along]
        return [n for n in range(1, len(along)) if prompts[n] != prompts[n - 1] and n not in self.starts]

    def episode_of(self, moment: int) -> int:
        """Return the index of the episode that a moment belongs to."""
        return int(np.searchsorted(self.starts, moment, "right")) - 1


def plain(count: int, rate: float | None = None) -> FrameTimeline:
    """Return the timeline of a file of which only the number of frames is known."""
    each = tuple(range(count))
    lasting = np.full(count, 1 / (rate or PLAIN_RATE))
    return FrameTimeline(
        tuple((frame,) for frame in each),
        each,
        np.arange(count) * lasting,
        lasting,
        (0,),
        ("",),
        ("",) * count,
        rate is not None,
    )


def build_frame_timeline(results: Results, rate: float | None = None) -> FrameTimeline:
    """Return the timeline of an open file; `rate`, moments per second, is used where the file's times are unusable."""
    count = results.done
    if not 0 < count <= MOST_FRAMES:
        return plain(count, rate)
    names = results.words_of(schema.FRAMES_EPISODE)
    prompts = results.words_of(schema.FRAMES_PROMPT)
    index, times = results.column_of(schema.FRAMES_INDEX), results.column_of(schema.FRAMES_TIME)
    names = names if len(names) == count else ("",) * count
    prompts = prompts if len(prompts) == count else ("",) * count
    frames_by_moment: dict[tuple[str, float], list[int]] = {}
    if index is not None and len(index) == count:
        for frame, (name, place) in enumerate(zip(names, index.tolist(), strict=True)):
            frames_by_moment.setdefault((name, place), []).append(frame)
    if not frames_by_moment or any(
        len({prompts[frame] for frame in frames}) < len(frames) for frames in frames_by_moment.values()
    ):
        # The same prompt twice at one place: the index does not tell moments apart.
        frames_by_moment = {(names[frame], float(frame)): [frame] for frame in range(count)}
    moments = tuple(tuple(frames) for frames in frames_by_moment.values())
    firsts = [frames[0] for frames in moments]
    starts = tuple(n for n, frame in enumerate(firsts) if n == 0 or names[frame] != names[firsts[n - 1]])
    moment_of = [0] * count
    for number, frames in enumerate(moments):
        for frame in frames:
            moment_of[frame] = number
    usable = [values if values is not None and len(values) == count else None for values in (times, index)]
    sources = [None if values is None else np.asarray(values, np.float64)[firsts] for values in usable]
    if sources[1] is not None:
        sources[1] = sources[1] / rate if rate else None
    seconds, lasting, timed = _find_times(sources, len(moments), starts, rate)
    titles = tuple(names[firsts[start]] for start in starts)
    return FrameTimeline(moments, tuple(moment_of), seconds, lasting, starts, titles, prompts, timed)


def _find_times(
    sources: list[Doubles | None], count: int, starts: tuple[int, ...], rate: float | None
) -> tuple[Doubles, Doubles, bool]:
    """Return seconds within episodes, durations of moments, and whether they are known.

    They come from the first usable times, else from the rate.
    """
    bounds = list(pairwise([*starts, count]))
    inside = np.ones(max(count - 1, 0), bool)
    inside[[start - 1 for start in starts if start]] = False
    for times in sources:
        gaps = np.diff(times)[inside] if times is not None and np.isfinite(times).all() else np.zeros(0)
        if times is not None and gaps.size and (gaps > 0).all():
            usual = float(np.median(gaps))
            lasting = np.append(np.where(inside, np.diff(times), usual), usual)
            seconds = np.concatenate([times[start:stop] - times[start] for start, stop in bounds])
            return seconds, np.clip(lasting, 1e-3, LONGEST * usual), True
    each = 1 / (rate or PLAIN_RATE)
    return (
        np.concatenate([np.arange(stop - start) * each for start, stop in bounds]),
        np.full(count, each),
        rate is not None,
    )
