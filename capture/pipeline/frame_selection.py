"""Which frames of an episode are run: `--frames ::8`, `0,3,9`, `10:50:2`, `keyframes`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from capture.errors import UserError

KEYFRAMES: Final = "keyframes"
OPEN_LOOP_ACTIONS: Final = 8
"""Actions that openpi's DROID client carries out of a chunk before it asks the policy again (`open_loop_horizon`)."""

_SLICE: Final = re.compile(r"(-?\d{1,9})?:(-?\d{1,9})?(?::(\d{1,9})?)?")
_PART: Final = re.compile(r"(\d{1,9})(?:-(\d{1,9}))?")
_LIMIT: Final = 1_000_000


@dataclass(frozen=True)
class FrameSelection:
    """A choice of frames, good for an episode of any length.

    A slice as Python has it, without negative steps; a list of frame numbers and ranges; or `keyframes`, the moments at
    which a robot that carries out eight actions of every chunk asks the policy: every 8th frame, or every horizon-th
    where the policy's chunk is shorter. Other open-loop horizons are slices: `::5`.
    """

    text: str
    frames: tuple[int, ...] | None = None
    """The list, rising; None where it is none."""
    start: int | None = None
    stop: int | None = None
    step: int = 1

    def choose(self, length: int, horizon: int) -> tuple[int, ...]:
        """Frame numbers, rising, of an episode of `length` frames. Raises UserError if it lacks any or has none."""
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
    """The choice that `text` spells. Raises UserError for what spells none."""
    if text == KEYFRAMES:
        return FrameSelection(text)
    if found := _SLICE.fullmatch(text):
        start, stop, step = (None if part is None else int(part) for part in found.groups())
        if step == 0:
            raise UserError(f"{text!r} has steps of 0 frames; give 1 or more, such as ::8")
        return FrameSelection(text, start=start, stop=stop, step=step or 1)
    frames: set[int] = set()
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise UserError(f"{text!r} chooses no frames; give a slice such as ::8, a list such as 0,3,9, or keyframes")
        first, last = int(found[1]), int(found[2] or found[1])
        if last < first or last - first >= _LIMIT:
            raise UserError(f"{part.strip()!r} is not a range of frames that rises")
        frames.update(range(first, last + 1))
    return FrameSelection(text, frames=tuple(sorted(frames)))
