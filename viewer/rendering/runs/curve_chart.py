"""Curves of a head over the time of an episode, as a chart: a line with a band for each group."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from viewer.analysis.scores import find_score
from viewer.rendering.axes import Axis, make_share_axis, make_value_axis
from viewer.rendering.line_chart import Band, LineChart
from viewer.rendering.lines import Line
from viewer.rendering.runs.group_colors import color_of_group
from viewer.runs.run_sentence import find_factor

if TYPE_CHECKING:
    import numpy.typing as npt

    from viewer.runs.answers import RunCurve


def find_points(curve: RunCurve) -> npt.NDArray[np.intp]:
    """Return the parts in which any group has a value: episodes of few frames have none in some."""
    means = np.stack([group.mean for group in curve.groups])
    return np.flatnonzero(np.isfinite(means).any(0))


def make_curve_chart(curve: RunCurve, *, is_log: bool = False) -> LineChart:
    """Return the chart of a curve; its points are those of `find_points`, at 0, 1, 2 …."""
    score, points = find_score(curve.query.score), find_points(curve)
    values = np.stack([values[points] for group in curve.groups for values in (group.mean, group.low, group.high)])
    if score.unit in {"%", "yes or no"} and not (values < 0).any():
        axis = make_share_axis(values, is_log=is_log)
    else:
        axis = make_value_axis(values)
        axis = Axis(axis.low, axis.high, factor=find_factor(score))
    lines = tuple(Line(group.name, color_of_group(group.name), group.mean[points]) for group in curve.groups)
    bands = tuple(
        Band(group.name, color_of_group(group.name), group.low[points], group.high[points]) for group in curve.groups
    )
    return LineChart(np.arange(len(points), dtype=np.float64), lines, axis, bands=bands)


def name_times(curve: RunCurve) -> list[str]:
    """Return the middle of each part of `find_points`, as a share of the episode's time: 2.5 %, 7.5 % …."""
    return [f"{100 * time:.4g} %" for time in curve.times[find_points(curve)].tolist()]
