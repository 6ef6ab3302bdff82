"""Slice the arrays of a batched call into frames of the results file. No torch, so that writer processes need none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture.results import schema, scores_schema

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

_SCORE_AXES: Final = {name: axes.split(", ")[1:] for name, axes in scores_schema.AXES.items()}
"""Axes of one frame's values of the datasets that have words or regions, of which a batch may have more."""


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
    counts: dict[str, int] = {}
    if scores_schema.WORD in metadata:
        counts["word"] = int(np.max(np.asarray(metadata[scores_schema.WORD]), initial=-1)) + 1
        counts["region"] = len(np.asarray(metadata.get(scores_schema.COVERAGE, ())))
    frame: schema.Frame = {}
    for name, values in arrays.items():
        of_row = values[row.row]
        if name in _SCORE_AXES:
            if "region" in counts and not ("region" in _SCORE_AXES[name] and not counts["region"]):
                frame[name] = of_row[tuple(slice(counts.get(axis)) for axis in _SCORE_AXES[name])]
            continue
        cut = _TEXT_AXES.get(name, ())
        frame[name] = of_row[tuple(slice(tokens if axis in cut else None) for axis in range(of_row.ndim))]
    path = arrays[schema.ACTION_X][row.row]  # (steps + 1, H, A)
    return {**frame, schema.FRAMES_NOISE: path[0], **metadata}
