"""Frames of an episode to run: `--frames ::8`, `0,3,9`, `10:50:2`, `keyframes`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from capture.errors import UserError
from capture.number_ranges import parse_ranges

KEYFRAMES: Final = "keyframes"
OPEN_LOOP_ACTIONS: Final = 8
"""Actions of a chunk that are executed before the policy is called again; openpi's DROID client does so
(`open_loop_horizon`)."""

_SLICE: Final = re.compile(r"(-?\d{1,9})?:(-?\d{1,9})?(?::(\d{1,9})?)?")
_LIMIT: Final = 1_000_000


@dataclass(frozen=True)
class FrameSelection:
    """A choice of frames that applies to episodes of any length.

    It is a Python slice without negative steps, a list of frame numbers and ranges, or `keyframes`: the frames at which
    a robot that executes eight actions of every chunk calls the policy, that is every 8th frame, or every horizon-th
    frame if chunks are shorter. Other open-loop horizons are slices: `::5`.
    """

    text: str
    frames: tuple[int, ...] | None = None
    """Frame numbers in rising order; None for a slice or `keyframes`."""
    start: int | None = None
    stop: int | None = None
    step: int = 1

    def choose(self, length: int, horizon: int) -> tuple[int, ...]:
        """Return the chosen frame numbers of an episode of `length` frames, in rising order.

        Raises UserError if a number does not exist or no frame is chosen.
        """
        if self.frames is not None:
            beyond = [frame for frame in self.frames if frame >= length]
            if beyond:
                raise UserError(
                    f"there is no frame {beyond[0]}: the episode has {length}, numbered from 0; "
                    "leave it out of --frames, or give a slice such as ::8"
                )
            return self.frames
        step = min(OPEN_LOOP_ACTIONS, horizon) if self.text == KEYFRAMES else self.step
        chosen = tuple(range(length)[self.start : self.stop : step])
        if not chosen:
            raise UserError(f"--frames {self.text} chooses none of the episode's {length} frames")
        return chosen


ALL_FRAMES: Final = FrameSelection(":")


def parse_frames(text: str) -> FrameSelection:
    """Return the choice that `text` names. Raises UserError if it names none."""
    if text == KEYFRAMES:
        return FrameSelection(text)
    if match := _SLICE.fullmatch(text):
        start, stop, step = (None if part is None else int(part) for part in match.groups())
        if step == 0:
            raise UserError(f"{text!r} has steps of 0 frames; give 1 or more, such as ::8")
        return FrameSelection(text, start=start, stop=stop, step=step or 1)
    ranges = parse_ranges(text)
    if ranges is None:
        raise UserError(f"{text!r} chooses no frames; give a slice such as ::8, a list such as 0,3,9, or keyframes")
    frames: set[int] = set()
    for first, last in ranges:
        if last < first or last - first >= _LIMIT:
            raise UserError(f"'{first}-{last}' is not a range of frames that rises")
        frames.update(range(first, last + 1))
    return FrameSelection(text, frames=tuple(sorted(frames)))
