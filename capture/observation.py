"""What a policy is shown for one frame, whatever source it came from. numpy only: readers of episodes need no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

EXTERIOR: Final = "exterior"
WRIST: Final = "wrist"
RIGHT_WRIST: Final = "right wrist"
"""What the camera slots of Pi0.5 are called here, in the model's order."""


@dataclass(frozen=True)
class Observation:
    """Pictures, state and task at one moment."""

    pictures: Mapping[str, npt.NDArray[np.uint8]]
    """Camera name -> (height, width, 3) RGB, as it came."""
    prompt: str
    state: npt.NDArray[np.float64] | None = None
    """(S,) in robot units, before normalisation; None where the source has none."""
    truth: npt.NDArray[np.float32] | None = None
    """Actions that were really taken from here on, (any length, robot dims) in robot units; None where unknown."""
    index: int = 0
    """Frame number in the source."""
    time: float = 0.0
    """Seconds since the source's start."""
    episode: str = ""
    turned: bool = False
    """The pictures stand on their head, as from LIBERO's simulator: the policy sees them turned by 180 degrees."""
