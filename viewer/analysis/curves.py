"""Curves: where a query's weight goes along layers, denoise steps or frames. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.analysis import scene
from viewer.analysis.query_series import find_same_query
from viewer.model import attention
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from collections.abc import Callable

    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import ViewState

TEXT_GROUPS: Final = ("bos", "prompt", "template", "state", "newline", "action")
"""Groups that are shown as they are stored; those of pictures and bars differ from file to file."""


@dataclass(frozen=True, eq=False)
class Curves:
    """Attention mass of the query on each group along one axis."""

    names: tuple[str, ...]
    """Names of the groups."""
    values: Floats
    """(points, groups)"""
    labels: tuple[int, ...]
    """What the points are called: numbers of layers, steps or frames."""
    at: tuple[int, ...]
    """Their places on the axis."""
    starts: tuple[int, ...] = (0,)
    """Points at which the lines are interrupted: at episodes and gaps."""


def add_up_bars(masses: Floats, results: Results) -> tuple[tuple[str, ...], Floats]:
    """Return names and masses with the letterbox bars of all cameras as one group: (..., groups) to (..., fewer)."""
    index = {name: place for place, name in enumerate(results.groups)}
    bars = sum(
        (masses[..., index[f"{camera} bars"]] for camera in results.cameras), np.zeros(masses.shape[:-1], np.float32)
    )
    text_masses = [masses[..., index[name]] for name in TEXT_GROUPS]
    return (*results.cameras, "bars", *TEXT_GROUPS), np.stack(
        [*(masses[..., index[camera]] for camera in results.cameras), bars, *text_masses], -1
    ).astype(np.float32)


def read_curves(results: Results, view: ViewState) -> Curves:
    """Return masses over denoise steps at the shown layer, or over layers at the shown step; mean of the heads."""
    masses = scene.masses(results, view.frame, view.query)  # (layers, steps, heads, groups)
    masses = attention.reduce_axis(masses[:, :, list(view.heads)] if view.heads else masses, 2, "mean")
    if view.curve == "steps" and view.query.kind == "action":
        names, values = add_up_bars(masses[view.layer], results)
        return Curves(names, values, results.steps, tuple(range(len(results.steps))))
    names, values = add_up_bars(masses[:, min(view.step, masses.shape[1] - 1)], results)
    return Curves(names, values, results.layers, tuple(range(len(results.layers))))


def read_frame_masses(results: Results, view: ViewState, frame: int) -> Floats:
    """Return masses of the query in another frame, (groups,), from the summaries, else from the weights.

    NaN where the prompt of that frame lacks the words.
    """
    query = find_same_query(view.query, results, view.frame, frame)
    if query is None:
        return np.full(len(results.groups), np.nan, np.float32)
    tokens = scene.find_query_tokens(results, frame, query)
    parts = []
    for token in tokens:
        part = results.mass_at(frame, query.kind, token, view.layer, view.step)
        if part is None:
            masses = scene.masses(results, frame, Query(query.kind, query.items))
            part = masses[view.layer, min(view.step, masses.shape[1] - 1)]
        parts.append(attention.reduce_axis(part[list(view.heads)] if view.heads else part, 0, "mean"))
    return np.mean(parts, axis=0, dtype=np.float32) if parts else np.full(len(results.groups), np.nan, np.float32)


def read_curves_over_frames(results: Results, view: ViewState, is_stale: Callable[[], bool]) -> Curves | None:
    """Return masses over all finished frames, NaN in those whose prompt lacks the words.

    None once `is_stale` says so, or where there is no frame.
    """
    values = []
    frames = tuple(range(results.done))  # once: a file that is followed may grow meanwhile
    for frame in frames:
        if is_stale():
            return None
        values.append(read_frame_masses(results, view, frame))
    if not values:
        return None
    names, masses = add_up_bars(np.stack(values), results)
    return Curves(names, masses, frames, frames)
