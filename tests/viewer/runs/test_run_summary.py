"""Summaries of real small runs: what is asked is what the results files hold."""

import json
import shutil
from dataclasses import replace

import duckdb
import make_run
import numpy as np
import pyarrow.parquet
import pytest
from paths import ROOT

from viewer.analysis.query_attention import QueryAttention
from viewer.analysis.scores import SCORES
from viewer.export.runs import build_summary
from viewer.export.runs.episode_parts import EpisodeParts, PromptParts
from viewer.io import run_index
from viewer.io.results import Results
from viewer.model.view_state import Query
from viewer.regions.boxes import parse_region
from viewer.runs import part_table
from viewer.runs.episode_scores import find_scores
from viewer.runs.frame_ranking import rank_frames
from viewer.runs.query import RunQuery
from viewer.runs.summary import RunSummary
from viewer.runs.summary_files import PARTS, choose_folder, name_folder, read_list

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


def expected_means(folder, number, score, query, frames):
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
    episodes = [expected_means(folder, number, "lift", Query("action", (0, 1)), range(6)) for number in range(4)]
    np.testing.assert_allclose(atlas.all.mean, np.mean(episodes, axis=0)[:, 1], rtol=1e-5)
    assert atlas.all.episodes.tolist() == [[4, 4], [4, 4]]
    assert atlas.all.frames.tolist() == [[24, 24], [24, 24]]
    assert (atlas.all.low < atlas.all.mean).all()
    assert (atlas.all.mean < atlas.all.high).all()


def test_mean_of_steps_and_half_of_the_time(run, folder):
    query = replace(ACTIONS, step=None, times=(0.0, 0.5))
    atlas = RunSummary.open(run, query.subject).atlas(query)
    episodes = [expected_means(folder, number, "lift", Query("action", (0, 1)), range(3)) for number in range(4)]
    np.testing.assert_allclose(atlas.all.mean, np.mean(episodes, axis=0).mean(1), rtol=1e-5)
    frames = replace(ACTIONS, step=None, frames=(0, 2))
    np.testing.assert_array_equal(RunSummary.open(run, query.subject).atlas(frames).all.mean, atlas.all.mean)


RANGES = ({"times": (0.0, 0.5)}, {"times": (0.3, 0.9)}, {"frames": (1, 4)}, {"frames": (2, 2), "times": (0.2, 1.0)}, {})


@pytest.mark.parametrize("query", [WORDS, ACTIONS, replace(ACTIONS, step=None), replace(ACTIONS, score="hit")])
def test_answers_from_parts_in_memory_are_those_of_the_database(run, query, monkeypatch):
    plain, ahead = RunSummary.open(run, query.subject), RunSummary.open(run, query.subject)
    ahead.atlas(query)  # which starts the database
    ahead.read_parts_ahead(query)
    questions = [replace(query, **changes) for changes in RANGES]
    with monkeypatch.context() as patch:
        patch.setattr(part_table, "MOST_ROWS", 0)  # the database adds up each range
        wanted = [(plain.atlas(one), plain.curve(one, 1, 0)) for one in questions]
    assert plain._part_table is None
    assert ahead._part_table[1] is not None
    monkeypatch.setattr(ahead._database, "ask", None)  # nothing is read any more
    for question, (atlas, curve) in zip(questions, wanted, strict=True):
        if question.frames or question.times != (0.0, 1.0):
            answer = ahead.atlas(question)
            np.testing.assert_allclose(answer.all.mean, atlas.all.mean, rtol=1e-6)
            np.testing.assert_allclose(answer.all.high, atlas.all.high, rtol=1e-6)
            np.testing.assert_array_equal(answer.all.frames, atlas.all.frames)
            assert answer.notes == atlas.notes
        curve_ahead = ahead.curve(question, 1, 0)
        np.testing.assert_array_equal(curve_ahead.times, curve.times)
        for one, other in zip(curve_ahead.groups, curve.groups, strict=True):
            np.testing.assert_allclose(one.mean, other.mean, rtol=1e-6)
            np.testing.assert_array_equal(one.episodes, other.episodes)


def read_parts(run, query, folder, monkeypatch, **patches):
    """Return the table of a query's parts, and the queries that reading it took."""
    summary, asked = RunSummary(run, folder, read_list(folder)), []
    with monkeypatch.context() as patch:
        for name, value in patches.items():
            patch.setattr(part_table, name, value)
        summary.atlas(query)
        ask = summary._database.ask
        patch.setattr(summary._database, "ask", lambda sql, *rest: asked.append(sql) or ask(sql, *rest))
        summary.read_parts_ahead(query)
    table = summary._part_table[1]
    summary.close()
    return table, asked


def check_same_parts(one, other):
    for name in ("number", "prompt", "total", "frames", "middle_frame"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), strict=True)


@pytest.mark.parametrize("query", [WORDS, replace(ACTIONS, score="hit")])
def test_moments_noted_in_the_files_are_those_of_their_rows(run, query, monkeypatch):
    folder = choose_folder(run, query.subject)
    noted, asked = read_parts(run, query, folder, monkeypatch)
    assert len(asked) == 2
    assert not any("layer" in sql or "frames" in sql for sql in asked), "neither keys nor counts of rows are read"
    looked_up, asked = read_parts(run, query, folder, monkeypatch, _read_moments=lambda *_: None)
    assert any("layer" in sql for sql in asked)
    check_same_parts(noted, looked_up)


@pytest.mark.parametrize(
    "change",
    [
        lambda noted: None,
        lambda noted: "{",
        lambda noted: "[1]",
        lambda noted: json.dumps({**noted, "heads": 4}),
        lambda noted: json.dumps({**noted, "layers": [1, 0]}),
        lambda noted: json.dumps({**noted, "part": noted["part"][1:]}),
        lambda noted: json.dumps({**noted, "part": [[part] for part in noted["part"]]}),
        lambda noted: json.dumps({**noted, "prompt": [-1] * len(noted["part"])}),
        lambda noted: json.dumps({**noted, "episode": [1e400] * len(noted["part"])}),
        lambda noted: json.dumps({**noted, "episode": ["a"] * len(noted["part"])}),
        lambda noted: json.dumps({name: values for name, values in noted.items() if name != "middle frame"}),
        lambda noted: json.dumps({**noted, "frames": 3}),
        lambda noted: json.dumps({**noted, "frames": {"lift": 3}}),
        lambda noted: json.dumps({**noted, **{name: [] for name in ("episode", "prompt", "part", "middle frame")}}),
    ],
)
def test_moments_that_cannot_be_are_looked_up_in_the_rows(change, run, tmp_path, monkeypatch):
    before, folder = choose_folder(run, ACTIONS.subject), tmp_path / "copy"
    shutil.copytree(before, folder)
    [data] = folder.glob("*.parquet")
    table = pyarrow.parquet.read_table(data)
    changed = change(json.loads(table.schema.metadata[b"moments"]))
    metadata = {} if changed is None else {"moments": changed}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), data)
    wanted, _ = read_parts(run, ACTIONS, before, monkeypatch)
    parts, asked = read_parts(run, ACTIONS, folder, monkeypatch)
    assert any("layer" in sql for sql in asked)
    check_same_parts(parts, wanted)


@pytest.mark.parametrize("frames", [{}, {"lift": [1, 2]}, {"lift": {}}])
def test_frames_of_parts_that_are_not_noted_are_read(frames, run, tmp_path, monkeypatch):
    before, folder = choose_folder(run, ACTIONS.subject), tmp_path / "copy"
    shutil.copytree(before, folder)
    [data] = folder.glob("*.parquet")
    table = pyarrow.parquet.read_table(data)
    noted = json.loads(table.schema.metadata[b"moments"])
    assert noted["frames"]["lift"] == [1] * len(noted["part"])
    metadata = {"moments": json.dumps({**noted, "frames": frames})}
    pyarrow.parquet.write_table(table.replace_schema_metadata(metadata), data)
    wanted, _ = read_parts(run, ACTIONS, before, monkeypatch)
    parts, asked = read_parts(run, ACTIONS, folder, monkeypatch)
    assert any("frames" in sql for sql in asked)
    check_same_parts(parts, wanted)


def test_parts_of_too_many_episodes_are_not_kept(run, monkeypatch):
    monkeypatch.setattr(part_table, "MOST_ROWS", 4 * PARTS * 4 - 1)
    summary = RunSummary.open(run, ACTIONS.subject)
    half = replace(ACTIONS, times=(0.0, 0.5))
    summary.atlas(ACTIONS)
    summary.read_parts_ahead(ACTIONS)
    assert summary._part_table is None
    assert summary.atlas(half).all.frames.tolist() == [[12, 12], [12, 12]]


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
        assert frames.highest.value == max(frame.value for frame in frames.values)


def test_only_new_and_changed_episodes_are_read_again(tmp_path):
    folder = make_run.write(tmp_path / "runs", 2, **SMALL)
    run, progress = run_index.read_run(folder), []
    build_summary.build(run, [WORDS.subject], None, progress.append)
    before = RunSummary.open(run, WORDS.subject).atlas(WORDS).all.mean
    shutil.copy(make_run.write_episode(tmp_path / "other", 5, **SMALL), folder / "episode_000001.h5")
    make_run.write_episode(folder, 2, **SMALL)
    make_run.write_index(folder, [make_run.make_entry(number) for number in range(3)])
    run = run_index.read_run(folder)
    assert RunSummary.open(run, WORDS.subject).state.done == 1, "the other one was replaced"
    progress.clear()
    build_summary.build(run, [WORDS.subject], None, progress.append)
    assert (progress[0].done, progress[0].total, progress[-1].done, progress[-1].is_finished) == (1, 3, 3, True)
    after = RunSummary.open(run, WORDS.subject).atlas(WORDS)
    assert after.all.episodes[0, 0] == 3
    assert not np.allclose(after.all.mean, before)


def test_query_of_the_format_document_gives_the_means_of_the_atlas(run, folder):
    section = (ROOT / "FORMAT.md").read_text().partition("## The summary of a run")[2]
    sql = section.partition("```sql\n")[2].partition("```")[0]
    name = name_folder(ACTIONS.subject)
    rows = duckdb.sql(
        sql.replace("runs/summary/*", f"{folder}/summary/{name}").replace("step = 9", "step = 1")
    ).fetchall()
    atlas = RunSummary.open(run, ACTIONS.subject).atlas(ACTIONS)
    assert {(layer, head): (pytest.approx(value), count) for layer, head, value, count in rows} == {
        (layer, head): (atlas.all.mean[layer, head], 4) for layer in range(2) for head in range(2)
    }


def test_planted_heads_are_found_among_noise_through_the_summary(tmp_path):
    """40 episodes of 6 frames: two heads follow the object, one of them less where the robot fails."""
    layers, heads = 6, 4
    entries = [make_run.make_entry(number, success=number % 2 == 0, prompts=["do it"]) for number in range(40)]
    make_run.write_index(tmp_path / "runs", entries)
    run = run_index.read_run(tmp_path / "runs")
    query = replace(ACTIONS, region="duck", group="outcome", step=None)
    builder = build_summary.SummaryBuilder(choose_folder(run, query.subject), query.subject)
    rng = np.random.default_rng(6)
    for number, episode in enumerate(run.episodes):
        (run.folder / episode.file).touch()
        means = rng.normal(1.0, 0.1, (layers, heads))
        means[1, 2] += 1
        means[4, 0] += 1.0 if number % 2 == 0 else 0.6
        task = build_summary.EpisodeTask(run.folder / episode.file, episode.file, "", (query.subject,))
        builder.add(task, plant_parts(means + rng.normal(0, 0.3, (6, layers, heads))))
    builder.write()
    atlas = RunSummary.open(run, query.subject).atlas(query)
    assert sorted(map(tuple, np.argwhere(atlas.all.low > 1.3).tolist())) == [(1, 2), (4, 0)]
    assert np.argwhere(atlas.contrast.q <= 0.05).tolist() == [[4, 0]]
    assert 0.25 < atlas.contrast.difference[4, 0] < 0.55
    assert atlas.contrast.low[4, 0] < 0.4 < atlas.contrast.high[4, 0]
    assert atlas.contrast.effect[4, 0] > 1
    curve = RunSummary.open(run, query.subject).curve(query, 4, 0)
    assert [group.name for group in curve.groups] == ["success", "failure"]
    assert len(curve.times) == 5  # six frames fill five parts, not ten
    assert (curve.groups[0].mean > curve.groups[1].mean).all()


def test_parts_without_a_value_are_left_out_of_means(tmp_path):
    make_run.write_index(tmp_path / "runs", [make_run.make_entry(0)])
    run = run_index.read_run(tmp_path / "runs")
    (run.folder / run.episodes[0].file).touch()
    query = replace(ACTIONS, region="duck", step=None, times=(0.0, 0.5))
    builder = build_summary.SummaryBuilder(choose_folder(run, query.subject), query.subject)
    task = build_summary.EpisodeTask(run.folder / run.episodes[0].file, run.episodes[0].file, "", (query.subject,))
    builder.add(task, plant_parts(np.array([1.0, np.nan, 3.0, 9.0]).reshape(4, 1, 1)))
    builder.write()
    summary = RunSummary.open(run, query.subject)
    [value] = summary.distribution(query, 0, 0).values
    assert (value.value, value.frames) == (1.0, 1)
    [value] = summary.distribution(replace(query, times=(0.0, 1.0)), 0, 0).values
    assert (value.value, value.frames) == (pytest.approx(13 / 3), 3)
    assert summary.atlas(replace(query, score="picture")).has_values is False


def plant_parts(values):
    """The sums of an episode with one step, whose frames have these values of lift: (frames, layers, heads)."""
    frames, layers, heads = values.shape
    total = np.zeros((PARTS, 2, layers, heads))
    counts = np.zeros((PARTS, 2, layers, heads), np.int32)
    middle = np.full(PARTS, -1)
    for frame in range(frames):
        part = frame * PARTS // frames
        total[part] += np.nan_to_num(values[frame])
        counts[part] += np.isfinite(values[frame])
        middle[part] = frame
    empty = {score.name: np.zeros_like(total) for score in find_scores(ACTIONS.subject)}
    zeros = {name: np.zeros_like(counts) for name in empty}
    of_steps = PromptParts("do it", middle, middle, empty | {"lift": total}, zeros | {"lift": counts})
    return EpisodeParts(tuple(range(layers)), heads, (0,), frames, (of_steps,))


def test_data_without_rows_gives_no_values(folder, tmp_path):
    copied = shutil.copytree(folder, tmp_path / "copied")
    run = run_index.read_run(copied)
    build_summary.build(run, [WORDS.subject], None, lambda _: None, processes=1)
    for path in (copied / "summary").rglob("*.parquet"):
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).slice(0, 0), path)
    summary = RunSummary.open(run, WORDS.subject)
    assert not summary.atlas(WORDS).has_values
    assert summary.distribution(WORDS, 0, 0).values == ()
    [group] = summary.curve(WORDS, 0, 0).groups
    assert group.episodes.tolist() == [0] * 20
    summary.close()
