"""Comparison of two views: what both sides have in common, and what each keeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from viewer.analysis import comparison
from viewer.analysis import scene as scenes
from viewer.export.scenes import ExportSource
from viewer.model.view_state import Pin, Query, ViewState, from_json

if TYPE_CHECKING:
    from viewer.io.results import Results

PINNED = ViewState(query=Query("text", (3,)), layer=1, heads=(2,), unit="uniform", range="map", colours="magma")
SHOWN = ViewState(query=Query("action", (1,)), step=2, layer=3, pinned=PINNED, pins=(Pin("first", PINNED),))


def test_pinned_view_takes_the_display_settings_of_the_shown_one() -> None:
    side = comparison.take_side(SHOWN, PINNED)
    assert (side.query, side.layer, side.heads) == (PINNED.query, 1, (2,))
    assert (side.unit, side.range, side.colours) == ("weight", "uniform", "inferno")


def test_figure_of_a_difference_subtracts_in_the_unit_of_the_view(results: Results) -> None:
    source = ExportSource(results)
    first, second = source.compose_both(SHOWN)
    single_view = scenes.compose(results, replace(PINNED, unit="weight", range="uniform"))
    assert np.array_equal(second.maps, single_view.maps)
    assert np.array_equal(
        source.compose_shown(replace(SHOWN, compare="difference")).maps, first.maps - single_view.maps
    )


@pytest.mark.parametrize("mode", ["uniform", "shared", "map"])
def test_difference_reaches_as_far_as_its_largest_value(results: Results, mode: str) -> None:
    view = replace(SHOWN, range=mode)
    first, second = (scenes.compose(results, replace(view, layer=layer)) for layer in (2, 3))
    largest = float(np.abs(first.maps - second.maps).max())
    assert scenes.compare(first, second, view).ranges == ((-largest, largest),) * 2
    alike = scenes.compare(first, replace(first, maps=first.maps * np.float32(1.001)), view)
    assert alike.ranges[0][1] == float(np.abs(alike.maps).max()) < 0.01 * first.ranges[0][1]
    same = scenes.compare(first, first, view)
    assert same.ranges[0][1] == max(high for _, high in first.ranges)
    locked = scenes.compare(first, second, replace(view, range="locked", low=0.0, high=0.25))
    assert locked.ranges == ((-0.25, 0.25),) * 2


def test_measures_are_not_put_on_one_range(results: Results) -> None:
    scene = scenes.compose(results, SHOWN)
    weighed = replace(SHOWN, measure="contribution")
    weighed_scene = scenes.compose(results, weighed)
    assert comparison.put_on_one_range(scene, weighed_scene, SHOWN, weighed) == (scene, weighed_scene)
    joined = comparison.put_on_one_range(scene, scenes.compose(results, replace(SHOWN, layer=0)), SHOWN, SHOWN)
    assert joined[0].ranges == joined[1].ranges


def test_sentence_of_a_side_names_every_difference_from_the_other(results: Results) -> None:
    sentence = str(comparison.create_side_caption(results, replace(SHOWN, frame=2, heads=(1,))))
    for part in ("action 1", "step 2", "layer 3", "head 1", "raw weights", "frame 2", results.path.name, "“put the"):
        assert part in sentence
    assert "scale" not in sentence


def test_kept_views_are_stored_with_the_view() -> None:
    assert from_json(SHOWN.to_json()) == SHOWN
    with pytest.raises(Exception, match="named views"):
        from_json(f'{{"pins": [{",".join(["{}"] * 9)}]}}')
