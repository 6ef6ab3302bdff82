"""Whether effects are those of the calls that a results file holds. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from capture.results import effects_schema, schema
from viewer.errors import UserError

if TYPE_CHECKING:
    from viewer.io.effects import Effects
    from viewer.io.results_file import ResultsFile

BASELINE: Final = "baseline/robot_actions"
MOST_CHECKED: Final = 64
"""Frames that are compared, at equal distances: the window waits for them."""
MOST_CHECKED_REMOTE: Final = 4
"""Frames of a file on another machine that are compared: a request each, in the background of a window."""


def check_actions(effects: Effects, results: ResultsFile) -> None:
    """Check that the untouched calls of an effects file gave the actions that the results file holds.

    They did when the effects were measured, so that other actions mean that one of the files was changed.

    Raises:
        UserError: They gave other actions, or the file cannot be read.
        NotLoadedError: The file lies on another machine, and this thread must not wait for it.
    """
    most = MOST_CHECKED_REMOTE if results.access.is_slow else MOST_CHECKED
    limit = effects_schema.ACTION_LIMITS.get(str(results.model.get("dtype")), effects_schema.STRICTEST)
    frames = [frame for frame in effects.frames if frame < results.done]
    places = np.unique(np.linspace(0, max(len(frames) - 1, 0), most).round().astype(int))
    for frame in [frames[place] for place in places.tolist() if place < len(frames)]:
        stored, repeated = results.read_part(schema.ACTION_PREDICTED, 3, (frame,)), effects.row(BASELINE, frame)
        if stored is None or repeated is None or stored.dtype.kind not in "fiu":
            continue
        is_same = stored.shape == repeated.shape
        error = float(np.abs(stored.astype(np.float64) - repeated).max(initial=0)) if is_same else float("nan")
        if not error <= limit:
            by = f" by {error:.2g}, and {limit:g} is allowed" if is_same and np.isfinite(error) else ""
            raise UserError(
                f"{effects.path.name} holds effects on other calls than {results.path.name}: the actions of frame "
                f"{frame} differ{by}. One of the files was changed; measure {results.path.name} again."
            )
