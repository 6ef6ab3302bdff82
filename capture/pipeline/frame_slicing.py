"""The arrays of a whole call cut into frames of the results file. No torch, so that a process that writes can do it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.results import schema

Arrays = Mapping[str, npt.NDArray[Any]]
"""Dataset -> its values for every frame of a call, (B, ...)."""

_TEXT_AXES: Final[dict[str, tuple[int, ...]]] = {
    schema.TEXT_TO_IMAGE: (1,),
    schema.TEXT_TO_TEXT: (1, 3),
    schema.ACTION_TO_TEXT: (4,),
    schema.IMAGE_TO_TEXT: (5,),
    schema.TEXT_MASS: (1,),
    schema.TEXT_ENTROPY: (1,),
    schema.TEXT_VALUE_NORM_TEXT: (2,),
    schema.ACTION_VALUE_NORM_TEXT: (2,),
    schema.TEXT_POSITION: (0,),
}
"""Axes that run over text tokens, of one frame's values."""


@dataclass(frozen=True)
class BatchRow:
    """A frame of a call."""

    number: int
    """Of the file that it belongs to."""
    row: int
    """Its place in the call's arrays."""
    known: schema.Frame
    """What it holds beside them."""


def slice_frame(arrays: Arrays, row: BatchRow) -> schema.Frame:
    """The whole frame: its own part of the call's arrays, as long as its text, and what is known. Copies nothing."""
    known = row.known
    tokens = len(np.asarray(known[schema.TEXT_ID]))
    frame: schema.Frame = {}
    for name, values in arrays.items():
        one = values[row.row]
        cut = _TEXT_AXES.get(name, ())
        frame[name] = one[tuple(slice(tokens if axis in cut else None) for axis in range(one.ndim))]
    path = arrays[schema.ACTION_X][row.row]  # (steps + 1, H, A)
    return {**frame, schema.FRAMES_NOISE: path[0], **known}
