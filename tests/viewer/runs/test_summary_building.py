"""Summaries are made in processes, resumed, brought up to date and rebuilt; files of others harm nothing."""

import json
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import replace
from functools import partial

import make_run
import numpy as np
import pyarrow.parquet
import pytest
from run_summaries import QUERY, SMALL, SUBJECT, answer, build

from viewer import child_process
from viewer.errors import UserError
from viewer.export import cancellation
from viewer.export.masks.__main__ import main as regions
from viewer.export.runs import build_summary, folder_lock
from viewer.io import run_index
from viewer.runs import summary_files, summary_process
from viewer.runs.frame_ranking import rank_frames
from viewer.runs.query import Subject
from viewer.runs.summary import RunSummary


def test_progress_counts_episodes_and_reports_what_is_written(folder):
    reports = build(folder)
    assert [(report.done, report.total) for report in reports] == [(0, 3), (1, 3), (2, 3), (3, 3), (3, 3)]
    assert reports[-1].is_finished
    assert reports[-1].is_written
    assert [report.done for report in build(folder)] == [3, 3]


def test_process_is_started_by_its_command_and_its_lines_are_read(folder):
    command = summary_process.command(folder, [SUBJECT])
    environment = child_process.create_python_environment()
    out = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout
    lines = [summary_process.parse_progress(line) for line in out.splitlines()]
    assert lines[-1].is_finished
    assert answer(folder).all.episodes.max() == 3
    assert summary_process.parse_progress("") is None
    assert summary_process.parse_progress('{"other": 1}') is None


def test_stopped_build_resumes_after_its_finished_episodes(folder):
    class Stop(BaseException):
        pass

    def stop(progress):
        if progress.done == 2:
            raise Stop

    run = run_index.read_run(folder)
    with pytest.raises(Stop):
        build_summary.build(run, [SUBJECT], None, stop, processes=1)
    assert RunSummary.open(run, SUBJECT).state.done == 2
    assert build(folder)[0].done == 2


def test_terminated_process_leaves_a_summary_that_can_be_read(folder):
    for number in range(3, 6):
        shutil.copy(folder / "episode_000000.h5", folder / f"episode_{number:06d}.h5")
    make_run.write_index(folder, [make_run.make_entry(number) for number in range(6)])
    command = summary_process.command(folder, [SUBJECT])
    environment = child_process.create_python_environment()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        process.stdout.readline()
        process.stdout.readline()  # the first episode
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(30) in {130, 0}  # 0 where it had finished
    assert 1 <= RunSummary.open(run_index.read_run(folder), SUBJECT).state.done <= 6
    assert build(folder)[-1].done == 6


def test_damaged_episode_is_left_out_with_its_reason(folder):
    damaged = folder / "episode_000001.h5"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    build(folder)
    state = RunSummary.open(run_index.read_run(folder), SUBJECT).state
    assert (state.total, state.done, state.is_complete) == (3, 3, True)
    [left_out] = state.left_out
    assert left_out.file == damaged.name
    assert left_out.is_damaged
    assert "episode_000001.h5" in left_out.reason
    assert answer(folder).all.episodes.max() == 2


def test_episodes_without_the_word_are_left_out_but_not_damaged(folder):
    subject = Subject(words="duck")
    build(folder, subject)
    left_out = RunSummary.open(run_index.read_run(folder), subject).state.left_out
    assert [(episode.file, episode.is_damaged) for episode in left_out] == [
        ("episode_000001.h5", False),
        ("episode_000002.h5", False),
    ]
    assert "There is no word “duck”" in left_out[0].reason


def test_episode_with_other_heads_is_left_out(folder, tmp_path):
    other = make_run.write_episode(tmp_path / "other", 2, **SMALL | {"heads": 3})
    shutil.copy(other, folder / "episode_000002.h5")
    build(folder, processes=1)
    [left_out] = RunSummary.open(run_index.read_run(folder), SUBJECT).state.left_out
    assert left_out.reason.startswith("It has other layers, heads or denoise steps")
    assert answer(folder).notes[:2] == (
        "2 of 3 episodes are counted, each once, by its mean over frames.",
        "1 has no numbers, episode_000002.h5: It has other layers, heads or denoise steps than the first episode of the "
        "run.",
    )


def test_first_episode_of_the_run_decides_layers_and_heads(folder):
    """It takes longer than the others, which another process has read before."""
    make_run.write_episode(folder, 0, **SMALL | {"heads": 3, "frames": 12})
    (folder / "episode_000002.h5").unlink()
    build(folder, processes=2)
    assert answer(folder).all.mean.shape == (2, 3)


def test_layers_and_heads_of_episodes_that_are_gone_no_longer_decide(folder, tmp_path):
    other = make_run.write_episode(tmp_path / "other", 0, **SMALL | {"heads": 3})
    shutil.copy(other, folder / "episode_000000.h5")
    (folder / "episode_000002.h5").unlink()
    build(folder, processes=1)
    assert answer(folder).all.mean.shape == (2, 3)
    (folder / "episode_000000.h5").unlink()
    build(folder, processes=1)
    assert answer(folder).all.mean.shape == (2, 2)
    assert answer(folder).all.episodes.max() == 1


def test_answer_does_not_depend_on_the_order_in_which_episodes_were_read(copied_summary):
    folder = copied_summary
    first = answer(folder).all
    list_path = next((folder / "summary").rglob(summary_files.LIST_NAME))
    listed = json.loads(list_path.read_text())
    listed["episodes"].reverse()
    list_path.write_text(json.dumps(listed))
    second = answer(folder).all
    np.testing.assert_array_equal(first.low, second.low)
    np.testing.assert_array_equal(first.high, second.high)


def test_removed_episode_is_no_longer_counted(copied_summary):
    folder = copied_summary
    (folder / "episode_000001.h5").unlink()
    summary = RunSummary.open(run_index.read_run(folder), SUBJECT)
    assert [episode.file for episode in summary.episodes] == ["episode_000000.h5", "episode_000002.h5"]
    assert (summary.state.done, summary.state.total) == (2, 2)


def test_state_counts_only_episodes_as_they_are_now(copied_summary, tmp_path):
    folder = copied_summary
    run = run_index.read_run(folder)
    before = RunSummary.open(run, SUBJECT).state
    assert (before.done, before.total) == (3, 3)
    shutil.copy(make_run.write_episode(tmp_path / "other", 7, **SMALL), folder / "episode_000001.h5")
    replaced = RunSummary.open(run, SUBJECT).state
    assert (replaced.done, replaced.total) == (2, 3)
    (folder / "objects.json").write_text("{}")
    objects = RunSummary.open(run, SUBJECT).state
    assert objects.done == 0
    assert len({before.signature, replaced.signature, objects.signature}) == 3


def test_object_of_each_prompt_is_followed_and_a_changed_one_rebuilds(folder):
    objects = dict.fromkeys(make_run.TASKS, "the")
    query = replace(QUERY, words="{object}")
    (folder / "objects.json").write_text(json.dumps(objects))
    build(folder, query.subject)
    first = answer(folder, query).all.mean
    assert build(folder, query.subject)[0].done == 3
    (folder / "objects.json").write_text(json.dumps(dict.fromkeys(make_run.TASKS, "put")))
    assert build(folder, query.subject)[0].done == 0
    second = answer(folder, query).all
    assert second.episodes.max() == 3
    assert not np.allclose(first, second.mean)


def test_given_objects_are_kept_for_the_window(folder, tmp_path):
    make_run.write_index(folder, [make_run.make_entry(0)])
    query = replace(QUERY, words="{object}")
    objects = tmp_path / "mine.json"
    objects.write_text(json.dumps({make_run.TASKS[0]: "the"}))
    run = run_index.read_run(folder)
    build_summary.build(run, [query.subject], objects, lambda _: None)
    assert build(folder, query.subject)[0].done == 1  # nothing is to be done without the file
    assert answer(folder, query).all.episodes.max() == 1
    assert len(rank_frames(run, query, "episode_000000.h5", 0, 0).values) == 2
    objects.write_text("[1]")
    with pytest.raises(UserError, match="does not map prompts to words"):
        build_summary.build(run, [query.subject], objects, lambda _: None)


def test_new_regions_of_an_episode_are_noticed(folder):
    make_run.write_index(folder, [make_run.make_entry(number) for number in range(2)])
    query = replace(QUERY, score="region", region="thing")
    build(folder, query.subject)
    assert not answer(folder, query).has_values
    np.savez(folder / "m.npz", **{"wrist/thing": np.tile(np.eye(36, 64, dtype=bool), (2, 1, 1))})
    assert regions(["import", str(folder / "episode_000001.h5"), str(folder / "m.npz")]) == 0
    assert build(folder, query.subject)[0].done == 1
    atlas = answer(folder, query)
    assert atlas.all.episodes.max() == 1
    assert (atlas.all.mean > 0).all()


def test_files_of_few_episodes_are_merged_and_old_ones_deleted(folder, monkeypatch):
    monkeypatch.setattr(build_summary, "EPISODES_OF_FILE", 1)
    build(folder)
    before = answer(folder).all.mean
    [summary] = (folder / "summary").iterdir()
    assert len(list(summary.glob("*.parquet"))) == 3
    monkeypatch.setattr(build_summary, "EPISODES_OF_FILE", 8)
    monkeypatch.setattr(build_summary, "MOST_SMALL_FILES", 3)
    os.utime(folder / "episode_000001.h5", ns=(1, 1))
    shutil.copy(folder / "episode_000000.h5", folder / "episode_000003.h5")
    make_run.write_index(folder, [make_run.make_entry(number) for number in range(4)])
    build(folder)
    build(folder)  # deletes what the one before made useless
    listed = summary_files.read_list(summary)
    [data] = summary.glob("*.parquet")
    assert {episode.data for episode in listed.episodes.values()} == {data.name}
    numbers = {episode.number for episode in listed.episodes.values()}
    table = pyarrow.parquet.read_table(data)
    assert set(table["episode"].to_pylist()) == numbers
    moments = json.loads(table.schema.metadata[b"moments"])
    lines = table.to_pylist()
    rows = [row for row in lines if row["part"] >= 0 and row["step"] == lines[0]["step"] and not row["layer"]]
    for name in ("episode", "prompt", "part", "middle frame"):
        assert moments[name] == [row[name] for row in rows if not row["head"]]
    (folder / "episode_000003.h5").unlink()
    make_run.write_index(folder, [make_run.make_entry(number) for number in range(3)])
    np.testing.assert_allclose(answer(folder).all.mean, before)


def test_run_that_cannot_be_written_to_is_summarised_in_the_cache(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(summary_files.os, "access", lambda path, mode: False)  # root may write anywhere
    build(folder)
    assert not (folder / "summary").exists()
    assert list((tmp_path / "cache" / "pi0-attention" / "runs").glob("*/the-*/summary.json"))
    assert answer(folder).all.episodes.max() == 3


def test_second_process_waits_for_the_first(tmp_path):
    calls = []

    def give_up():
        calls.append(1)
        raise cancellation.Cancelled

    with (
        folder_lock.lock_folder(tmp_path, lambda: None),
        pytest.raises(cancellation.Cancelled),
        folder_lock.lock_folder(tmp_path, give_up),
    ):
        pass
    with folder_lock.lock_folder(tmp_path, give_up):
        assert calls == [1]


def test_other_subjects_have_folders_of_their_own(folder):
    subjects = [SUBJECT, Subject(actions="all"), Subject(actions="0"), Subject(words="../the", region="a/b")]
    assert len({summary_files.name_folder(subject) for subject in subjects}) == 4
    assert all("/" not in summary_files.name_folder(subject) for subject in subjects)
    build(folder, *subjects[:3])
    assert {path.name for path in (folder / "summary").iterdir()} == set(map(summary_files.name_folder, subjects[:3]))


@pytest.mark.parametrize(("subject", "sentence"), [(Subject(), "Name words or actions")])
def test_subject_that_no_file_has_is_a_sentence(folder, subject, sentence):
    with pytest.raises(UserError, match=sentence):
        build(folder, subject)


def test_database_reads_only_its_folder(copied_summary, tmp_path):
    [data] = (copied_summary / "summary").glob("*/*.parquet")
    outside = shutil.copy(data, tmp_path / "outside.parquet")
    from viewer.runs.database import Database

    database = Database(data.parent)
    ask = partial(database.ask, values=[])
    assert ask("SELECT count(*) AS n FROM FILES", files=[data])["n"][0] > 0
    for sql, files in (
        ("SELECT count(*) AS n FROM FILES", [outside]),
        ("SELECT count(*) AS n FROM FILES", [data.parent / ".." / ".." / ".." / "outside.parquet"]),
        (f"SELECT * FROM read_csv('{copied_summary}/index.json'), FILES", [data]),
        ("INSTALL httpfs; SELECT count(*) AS n FROM FILES", [data]),
        ("SET enable_external_access = true; SELECT count(*) AS n FROM FILES", [data]),
        ("COPY (SELECT 1) TO '/tmp/there.csv'; SELECT count(*) AS n FROM FILES", [data]),
    ):
        with pytest.raises(UserError):
            ask(sql, files=files)
    database.close()


def test_closing_the_database_interrupts_a_query(copied_summary):
    from viewer.runs.database import Database

    [data] = (copied_summary / "summary").glob("*/*.parquet")
    database = Database(data.parent)
    answers = []
    endless = "SELECT sum(a.range * b.range) AS n FROM range(10000000) a, range(10000000) b, FILES"

    def ask_for_long():
        try:
            database.ask(endless, [], [data])
        except UserError as error:
            answers.append(str(error))

    thread = threading.Thread(target=ask_for_long)
    thread.start()
    time.sleep(0.1)
    while thread.is_alive():  # again, as an interrupt before the query has begun is lost
        database.close()
        thread.join(0.1)
    assert answers == ["The run was closed before its summary had answered."]
    with pytest.raises(UserError, match="closed before"):
        database.ask("SELECT count(*) AS n FROM FILES", [], [data])
    database.close()
