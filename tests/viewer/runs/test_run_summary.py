"""Summaries of real small runs: what is asked is what the results files hold."""

import shutil
from dataclasses import replace

import make_run
import numpy as np
import pytest

from viewer.analysis.query_attention import QueryAttention
from viewer.analysis.scores import SCORES
from viewer.export.runs import build_summary
from viewer.io import run_index
from viewer.io.results import Results
from viewer.model.view_state import Query
from viewer.regions.boxes import parse_region
from viewer.runs.frame_ranking import rank_frames
from viewer.runs.query import RunQuery
from viewer.runs.summary import RunSummary

SMALL = {"frames": 6, "layers": 2, "heads": 2, "steps": 3, "horizon": 2, "size": (36, 64)}
BOX = "exterior:4-7,8-11"
WORDS = RunQuery(score="picture", words="the", region=BOX)
ACTIONS = RunQuery(score="lift", words="", actions="all", region=BOX, step=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_run.write(tmp_path_factory.mktemp("run") / "runs", 4, **SMALL)


@pytest.fixture(scope="module")
def run(folder):
    run = run_index.read_run(folder)
    build_summary.build(run, [WORDS.subject, ACTIONS.subject], None, lambda _: None)
    return run


def expected(folder, number, score, query, frames):
    """Mean over frames of a score at every step, straight from the results file: (layers, steps, heads)."""
    with_values = []
    results = Results(folder / f"episode_{number:06d}.h5")
    try:
        for frame in frames:
            region = parse_region(results, [BOX])
            with_values.append(SCORES[score].compute(QueryAttention(results, frame, query, region)))
    finally:
        results.close()
    return np.mean(with_values, axis=0)


def test_atlas_is_the_mean_over_episodes_of_their_means_over_frames(run, folder):
    atlas = RunSummary.open(run, ACTIONS.subject).atlas(ACTIONS)
    episodes = [expected(folder, number, "lift", Query("action", (0, 1)), range(6)) for number in range(4)]
    np.testing.assert_allclose(atlas.all.mean, np.mean(episodes, axis=0)[:, 1], rtol=1e-5)
    assert atlas.all.episodes.tolist() == [[4, 4], [4, 4]]
    assert atlas.all.frames.tolist() == [[24, 24], [24, 24]]
    assert (atlas.all.low < atlas.all.mean).all()
    assert (atlas.all.mean < atlas.all.high).all()


def test_mean_of_steps_and_half_of_the_time(run, folder):
    query = replace(ACTIONS, step=None, times=(0.0, 0.5))
    atlas = RunSummary.open(run, query.subject).atlas(query)
    episodes = [expected(folder, number, "lift", Query("action", (0, 1)), range(3)) for number in range(4)]
    np.testing.assert_allclose(atlas.all.mean, np.mean(episodes, axis=0).mean(1), rtol=1e-5)
    frames = replace(ACTIONS, step=None, frames=(0, 2))
    np.testing.assert_array_equal(RunSummary.open(run, query.subject).atlas(frames).all.mean, atlas.all.mean)


def test_success_against_failure_has_the_difference_of_the_groups(run):
    atlas = RunSummary.open(run, WORDS.subject).atlas(replace(WORDS, group="outcome", outcomes=("success", "failure")))
    assert [group.name for group in atlas.groups] == ["success", "failure"]
    assert [int(group.episodes[0, 0]) for group in atlas.groups] == [2, 1]
    np.testing.assert_allclose(atlas.contrast.difference, atlas.groups[0].mean - atlas.groups[1].mean)
    assert np.isnan(atlas.contrast.p).all()  # one failure alone has no spread


def test_distribution_and_frames_of_an_episode_agree(run):
    summary = RunSummary.open(run, ACTIONS.subject)
    distribution = summary.distribution(ACTIONS, 1, 0)
    assert [value.frames for value in distribution.values] == [6] * 4
    for value in distribution.values:
        frames = rank_frames(run, ACTIONS, value.file, 1, 0)
        assert frames.mean == pytest.approx(value.value, rel=1e-5)
        assert frames.highest.value == max(one.value for one in frames.values)


def test_only_new_and_changed_episodes_are_read_again(tmp_path):
    folder = make_run.write(tmp_path / "runs", 2, **SMALL)
    run, said = run_index.read_run(folder), []
    build_summary.build(run, [WORDS.subject], None, said.append)
    before = RunSummary.open(run, WORDS.subject).atlas(WORDS).all.mean
    shutil.copy(make_run.write_episode(tmp_path / "other", 5, **SMALL), folder / "episode_000001.h5")
    make_run.write_episode(folder, 2, **SMALL)
    make_run.write_index(folder, [make_run.entry(number) for number in range(3)])
    run = run_index.read_run(folder)
    assert RunSummary.open(run, WORDS.subject).state.done == 2
    said.clear()
    build_summary.build(run, [WORDS.subject], None, said.append)
    assert (said[0].done, said[0].total, said[-1].done, said[-1].is_finished) == (1, 3, 3, True)
    after = RunSummary.open(run, WORDS.subject).atlas(WORDS)
    assert after.all.episodes[0, 0] == 3
    assert not np.allclose(after.all.mean, before)
