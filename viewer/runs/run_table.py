"""Answers over a run as tables: a line a head, an episode, a part of the time. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from viewer.runs.answers import Distribution, RunAtlas, RunCurve

Table = tuple[list[str], list[list[object]]]
"""Names of the columns, and the lines."""


def list_atlas_rows(atlas: RunAtlas, *, is_contrast: bool) -> Table:
    """Return a line for each head: of all episodes mean, interval and counts; of a contrast those of each group too."""
    groups = atlas.groups if is_contrast else (atlas.all,)
    contrast = atlas.contrast if is_contrast else None
    names = ["layer", "head"]
    columns: list[npt.NDArray[np.generic]] = []
    if contrast is not None:
        names += ["difference", "difference low", "difference high", "effect g", "p", "q"]
        columns += [contrast.difference, contrast.low, contrast.high, contrast.effect, contrast.p, contrast.q]
    for group in groups:
        before = f"{group.name} " if contrast is not None else ""
        names += [f"{before}{name}" for name in ("mean", "low", "high", "episodes", "frames")]
        columns += [group.mean, group.low, group.high, group.episodes, group.frames]
    rows: list[list[object]] = [
        [layer, head, *(column[row, head].item() for column in columns)]
        for row, layer in enumerate(atlas.layers)
        for head in range(atlas.heads)
    ]
    return names, rows


def list_episode_rows(distribution: Distribution) -> Table:
    """Return a line for each episode, the largest value first."""
    names = ["rank", "episode", "file", "outcome", "group", "value", "frames"]
    rows: list[list[object]] = [
        [rank, episode.name, episode.file, episode.outcome, episode.group, episode.value, episode.frames]
        for rank, episode in enumerate(distribution.values)
    ]
    return names, rows


def list_curve_rows(curve: RunCurve) -> Table:
    """Return a line for each part of the time of an episode, with the numbers of each group."""
    names = ["time"]
    for group in curve.groups:
        names += [f"{group.name} {name}" for name in ("mean", "low", "high", "episodes")]
    rows: list[list[object]] = [
        [time, *(values[part].item() for group in curve.groups for values in (group.mean, group.low, group.high,
                                                                       group.episodes))]
        for part, time in enumerate(curve.times.tolist())
    ]  # fmt: skip
    return names, rows
