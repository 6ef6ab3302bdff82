from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest

from viewer.analysis import scene
from viewer.analysis.curves import read_curves, read_curves_over_frames, read_frame_masses
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path


def never() -> bool:
    return False


def test_curves_of_all_groups_sum_to_one(results: Results) -> None:
    for state in (ViewState(query=Query("action", (1,))), ViewState(query=Query("text", (4,)), curve="layers")):
        curves = read_curves(results, state)
        assert curves.values.sum(1) == pytest.approx(1, abs=4e-3)
        assert curves.names[:3] == ("exterior", "wrist", "bars")
    over_frames = read_curves_over_frames(results, ViewState(query=Query("text", (4,)), layer=1, heads=(2,)), never)
    assert over_frames is not None
    composed = scene.compose(results, ViewState(frame=2, query=Query("text", (4,)), layer=1, heads=(2,)))
    assert over_frames.values[2, 0] == pytest.approx(composed.mass["exterior"], abs=4e-3)


@pytest.mark.parametrize("heads", [(), (2,), (0, 1)])
@pytest.mark.parametrize("reduce", ["mean", "max"])
@pytest.mark.parametrize("measure", ["weight", "contribution"])
def test_masses_of_a_scene_are_the_stored_ones_as_in_the_curves(
    tmp_path: Path, heads: tuple[int, ...], reduce: str, measure: str
) -> None:
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe())
    with h5py.File(path, "r+", locking=False) as file:  # as sums of rounded weights differ from the masses
        for name in ("text/mass", "action/mass"):
            file[name][...] = file[name][...] * 1.002
    results = Results(path)
    for query in (Query("text", (4,)), Query("action", (1, 2))):
        view = ViewState(frame=1, query=query, layer=1, step=2, heads=heads, reduce=reduce, measure=measure)  # type: ignore[arg-type]
        shown = scene.compose(results, view)
        masses = read_frame_masses(results, view, 1)
        assert list(shown.mass) == list(results.groups)
        assert list(shown.mass.values()) == pytest.approx(masses.tolist(), rel=1e-6)
    results.close()


def test_masses_of_a_scene_without_readable_summaries_are_the_sums_of_its_weights(tmp_path: Path) -> None:
    view = ViewState(query=Query("action", (1,)), layer=1)
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe())
    masses = []
    for damage in (lambda file: None, lambda file: file.__delitem__("action/mass")):
        with h5py.File(path, "r+", locking=False) as file:
            damage(file)
        results = Results(path)
        masses.append(scene.compose(results, view).mass)
        results.close()
    assert list(masses[1].values()) == pytest.approx(list(masses[0].values()), abs=2e-3)


def test_curves_over_frames_are_computed_without_summaries(tmp_path: Path) -> None:
    results = Results(make_results.write(tmp_path / "a.h5", make_results.Recipe(summaries=False)))
    over_frames = read_curves_over_frames(results, ViewState(query=Query("action", (1,)), step=1), never)
    assert over_frames is not None
    assert over_frames.values.sum(1) == pytest.approx(1, abs=4e-3)
    results.close()


@pytest.mark.parametrize("layer", [0, 2])
def test_curves_over_steps_are_those_of_the_shown_layer(small: Path, results: Results, layer: int) -> None:
    curves = read_curves(results, ViewState(query=Query("action", (1,)), layer=layer, heads=(0, 2), curve="steps"))
    with h5py.File(small, locking=False) as file:
        stored, groups = file["action/mass"][0, layer, 1][:, [0, 2]].mean(1), list(file["action/mass"].attrs["groups"])
    assert curves.labels == (0, 1, 2)
    for name in ("exterior", "prompt", "action"):
        assert curves.values[:, curves.names.index(name)] == pytest.approx(stored[:, groups.index(name)], rel=1e-5)


def test_curves_of_a_word_are_the_mean_of_its_pieces(small: Path, results: Results) -> None:
    item = next(n for n, chip in enumerate(results.chips(0)) if len(chip.tokens) == 2)
    view = ViewState(query=Query("text", (item,)), layer=3, heads=(1,), curve="layers")
    tokens = list(results.chips(0)[item].tokens)
    with h5py.File(small, locking=False) as file:
        stored, groups = file["text/mass"][0, :, tokens, 1], list(file["text/mass"].attrs["groups"])
    mean, wrist = stored.mean(1), groups.index("wrist")
    assert np.abs(stored[:, 0, wrist] - mean[:, wrist]).max() > 1e-3, "the pieces differ"
    curves = read_curves(results, view)
    assert curves.values[:, curves.names.index("wrist")] == pytest.approx(mean[:, wrist], rel=1e-5)
    assert read_frame_masses(results, view, 0) == pytest.approx(mean[3], rel=1e-5)


def test_curves_over_frames_use_the_frames_present_at_the_beginning(small: Path) -> None:
    """A file that is followed grows while another thread reads it."""
    results = Results(small)
    results.done = 2

    def grow() -> bool:
        results.done = 3
        return False

    curves = read_curves_over_frames(results, ViewState(), grow)
    assert curves is not None
    assert (curves.at, len(curves.values)) == ((0, 1), 2)
    results.close()
