"""Time within an episode, from 0 to 1, and its parts of equal length. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from viewer.analysis.frame_timeline import build_frame_timeline

if TYPE_CHECKING:
    from viewer.io.results import Results


def find_times(results: Results) -> npt.NDArray[np.float64]:
    """Return when each frame is, as a part of the episode's length from 0 up to 1 (excluded): (frames,).

    Frames of one moment with several prompts have the same time. Times go by the number of moments, not by the clock.
    """
    timeline = build_frame_timeline(results)
    return np.array(timeline.moment_of, np.float64) / max(len(timeline.moments), 1)
