"""Groups of episodes as strips: what the distribution panel and the card of a head show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from viewer.analysis.scores import find_score
from viewer.rendering.axes import Axis, make_value_axis
from viewer.rendering.runs.group_colors import color_of_group
from viewer.rendering.runs.strip_plot import StripGroup
from viewer.runs.run_sentence import find_factor

if TYPE_CHECKING:
    from viewer.rendering.runs.strip_plot import Doubles
    from viewer.runs.answers import Distribution, RunAtlas

TITLES = {"all": "all episodes", "unknown": "unknown outcome"}


def make_strips(atlas: RunAtlas, distribution: Distribution) -> tuple[StripGroup, ...]:
    """Return a strip for each group of the atlas, with the episodes' values for one head."""
    if distribution.layer not in atlas.layers:
        return ()
    place = atlas.layers.index(distribution.layer), distribution.head
    strips = []
    for group in atlas.groups or (atlas.all,):
        values = np.array([episode.value for episode in distribution.values if episode.group == group.name], np.float64)
        numbers = (float(values[place]) for values in (group.mean, group.low, group.high))
        name = TITLES.get(group.name, group.name)
        strips.append(StripGroup(name, color_of_group(group.name), values, *numbers))
    return tuple(strips)


def make_strip_axis(atlas: RunAtlas, strips: tuple[StripGroup, ...]) -> Axis:
    """Return the axis of all values of some strips, in the score's unit."""
    intervals: list[Doubles] = [np.array([strip.mean, strip.low, strip.high]) for strip in strips]
    score = find_score(atlas.query.score)
    axis = make_value_axis(np.concatenate([*intervals, *(strip.values for strip in strips)]))
    unit = "%" if score.unit in {"%", "yes or no"} else ""
    return Axis(axis.low, axis.high, factor=find_factor(score), unit=unit)
