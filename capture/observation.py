"""Input of the policy for one frame, from any source. numpy only: readers of data sets need no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # the names of cameras are needed before numpy is loaded
    import numpy as np
    import numpy.typing as npt

EXTERIOR: Final = "exterior"
WRIST: Final = "wrist"
RIGHT_WRIST: Final = "right wrist"
"""Names of Pi0.5's camera slots, in the model's order."""


@dataclass(frozen=True)
class Observation:
    """Pictures, robot state and task of one frame, with the true actions that follow it."""

    pictures: Mapping[str, npt.NDArray[np.uint8]]
    """Camera name -> (height, width, 3) RGB, not resized."""
    prompt: str
    state: npt.NDArray[np.float64] | None = None
    """(state dims,) in robot units, before normalisation; None where the source has none."""
    true_actions: npt.NDArray[np.float32] | None = None
    """(actions, robot dims) in robot units: the actions taken from this frame on; None where the source has none."""
    index: int = 0
    """Frame number in the source."""
    time: float = 0.0
    """Seconds since the episode's first frame."""
    episode: str = ""
    """Episode name; empty if none."""
    is_upside_down: bool = False
    """Whether the pictures are stored upside down (LIBERO's simulator); the policy sees them turned by 180 degrees."""
