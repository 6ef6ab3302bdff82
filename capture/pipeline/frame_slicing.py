"""Slice the arrays of a batched call into frames of the results file. No torch, so that writer processes need none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.results import schema

Arrays = Mapping[str, npt.NDArray[Any]]
"""Dataset -> its values for all B frames of a call, (B, ...)."""

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
"""Axes of one frame's values that run over text tokens."""


@dataclass(frozen=True)
class BatchRow:
    """One frame of a batched call."""

    number: int
    """Number of the file that it belongs to."""
    row: int
    """Its index along the call's batch axis."""
    metadata: schema.Frame
    """Its datasets that are not in the call's arrays: prompt, state, pictures, tokens, predicted actions."""


def slice_frame(arrays: Arrays, row: BatchRow) -> schema.Frame:
    """Return the whole frame: its row of the call's arrays, cut to its own text length, and its metadata. No copies."""
    metadata = row.metadata
    tokens = len(np.asarray(metadata[schema.TEXT_ID]))
    frame: schema.Frame = {}
    for name, values in arrays.items():
        one = values[row.row]
        cut = _TEXT_AXES.get(name, ())
        frame[name] = one[tuple(slice(tokens if axis in cut else None) for axis in range(one.ndim))]
    path = arrays[schema.ACTION_X][row.row]  # (steps + 1, H, A)
    return {**frame, schema.FRAMES_NOISE: path[0], **metadata}
