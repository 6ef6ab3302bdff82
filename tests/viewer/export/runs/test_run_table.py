"""`pi0-export table RUN`: a table an episode, resumable, with what each prompt names."""

import csv
import json
import shutil
import subprocess
import sys
import time

import make_run
import numpy as np
import psutil
import pyarrow.dataset
import pyarrow.parquet
import pytest
from make_run import TASKS

from viewer import child_process
from viewer.errors import MissingWordError, UserError
from viewer.export.__main__ import main
from viewer.export.masks.__main__ import main as regions
from viewer.export.runs import run_table
from viewer.runs.named_object import NamedObjects, read_objects

SMALL = {"frames": 2, "layers": 2, "heads": 2, "steps": 2, "horizon": 2, "size": (36, 64)}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return make_run.write(tmp_path / "runs", 4, **SMALL)


def read_tables(folder):
    return pyarrow.dataset.dataset(str(folder), partitioning="hive").to_table().to_pylist()


def test_every_episode_has_a_table_of_all_its_frames(run, tmp_path, capsys):
    assert main(["table", "runs", "--words", "the", "--format", "parquet", "-o", "out", "--processes", "2"]) == 0
    assert capsys.readouterr().out == "4 episodes: out/runs\n"
    rows = read_tables(tmp_path / "out" / "runs")
    assert len(rows) == 4 * 2 * 2 * 2  # episodes, frames, layers, heads
    assert {(row["episode"], row["outcome"], row["prompt"]) for row in rows} == {
        (f"episode_{number:06d}", ["success", "failure", "success", ""][number], TASKS[number % len(TASKS)])
        for number in range(4)
    }
    # The same numbers as of one file by itself.
    main(["table", "runs/episode_000002.h5", "--words", "the", "--frames", "all", "-o", "one"])
    with (tmp_path / "one" / "episode_000002" / "table.csv").open() as stream:
        entropies = [float(row["entropy"]) for row in csv.DictReader(stream)]
    np.testing.assert_allclose(
        [row["entropy"] for row in rows if row["episode"] == "episode_000002"], entropies, rtol=1e-6
    )


def test_an_episode_is_one_row_group_with_described_columns(run, tmp_path):
    main(["table", "runs", "--format", "parquet", "-o", "out", "--processes", "1"])
    file = pyarrow.parquet.ParquetFile(tmp_path / "out/runs/episode=episode_000001/table.parquet")
    assert file.num_row_groups == 1
    assert b"from 0" in file.schema_arrow.field("layer").metadata[b"description"]


def test_second_call_resumes_where_the_first_stopped(run, tmp_path, capsys):
    command = ["table", "runs", "--words", "the", "-o", "out", "--processes", "1"]
    main([*command, "--share", "1/2"])
    assert capsys.readouterr().out == "2 episodes: out/runs\n"
    finished_table = tmp_path / "out/runs/episode=episode_000002/table.csv"
    before = finished_table.stat().st_mtime_ns
    assert main(command) == 0
    assert capsys.readouterr().out == "2 episodes, 2 more there already: out/runs\n"
    assert finished_table.stat().st_mtime_ns == before


def test_other_options_do_not_mix_with_an_existing_table(run, capsys):
    main(["table", "runs", "--words", "the", "-o", "out"])
    assert main(["table", "runs", "--words", "put", "-o", "out"]) == 2
    assert "out/runs holds tables that were made with other options" in capsys.readouterr().err


def test_broken_episode_is_reported_and_left_out_alone(run, tmp_path, capsys):
    damaged = run / "episode_000001.h5"
    damaged.write_bytes(damaged.read_bytes()[:3000])
    assert main(["table", "runs", "--words", "the", "-o", "out"]) == 2
    captured = capsys.readouterr()
    assert "1 episode that cannot be read (episode_000001): episode_000001.h5 " in captured.err
    assert captured.out == "3 episodes: out/runs\n"


@pytest.mark.parametrize("processes", ["1", "2"])
def test_table_that_cannot_be_written_ends_the_run_in_one_sentence(run, tmp_path, capsys, processes):
    blocked = tmp_path / "out" / "runs" / "episode=episode_000001"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("in the way")
    assert main(["table", "runs", "-o", "out", "--processes", processes]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("pi0-export: out/runs/episode=episode_000001/table.csv cannot be written (")


def test_leftovers_of_a_killed_call_are_removed(run, tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder = tmp_path / "out" / "runs" / "episode=episode_000002"
    folder.mkdir(parents=True)
    (folder / f".table.csv.{dead.pid}.partial").write_text("half")
    assert main(["table", "runs", "-o", "out", "--processes", "1"]) == 0
    assert [path.name for path in folder.iterdir()] == ["table.csv"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no timer that tells of a killed parent")
def test_processes_end_with_a_killed_parent(run, tmp_path):
    words = ["table", str(run), "-o", str(tmp_path / "out"), "--processes", "2"]
    command = subprocess.Popen(
        child_process.create_python_command("viewer.export", *words), env=child_process.create_python_environment()
    )
    process = psutil.Process(command.pid)
    until(lambda: len(process.children()) >= 2)
    workers = process.children()
    command.kill()
    command.wait()
    until(lambda: not any(is_running(worker) for worker in workers))


def is_running(process):
    """Return whether a process runs, other than as a zombie that nobody has asked about."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition, seconds=60):
    """Wait until a condition holds; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_folder_that_is_removed_meanwhile_is_a_sentence(run, tmp_path, capsys, monkeypatch):
    export_episode, calls = run_table.export_episode, []

    def remove_before_the_last(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            shutil.rmtree(tmp_path / "out")
        return export_episode(*arguments)

    monkeypatch.setattr(run_table, "export_episode", remove_before_the_last)
    assert main(["table", "runs", "-o", "out", "--processes", "1"]) == 2
    *_, line = capsys.readouterr().err.splitlines()  # after lines of progress, where it takes long
    assert line == (
        "pi0-export: out/runs was removed or emptied while its tables were written: 3 episodes without a table. "
        "Repeat the command."
    )


def test_object_of_each_prompt_is_the_query(run, tmp_path, capsys):
    objects = {task: task.split()[2] for task in TASKS[:2]}
    (tmp_path / "objects.json").write_text(json.dumps(objects))
    command = ["table", "runs", "--words", "{object}", "--objects", "objects.json", "-o", "out", "--format", "parquet"]
    assert main(command) == 0
    assert "1 episode without anything that is asked for (episode_000002)" in capsys.readouterr().err
    queries = {(row["prompt"], row["query"]) for row in read_tables(tmp_path / "out/runs")}
    assert queries == set(objects.items())


def test_named_region_of_each_episode_is_scored(run, tmp_path, capsys):
    word = TASKS[0].split()[2]
    np.savez(tmp_path / "m.npz", **{f"wrist/{word}": np.tile(np.eye(36, 64, dtype=bool), (2, 1, 1))})
    assert regions(["import", "runs/episode_000000.h5", "m.npz"]) == 0
    command = ["table", "runs", "--words", "{object}", "--region", "{object}", "-o", "out", "--format", "parquet"]
    assert main(command) == 0
    rows = read_tables(tmp_path / "out/runs")
    assert {(row["episode"], row["query"], row["region name"]) for row in rows} == {("episode_000000", word, word)}
    assert all(row["mass region"] > 0 for row in rows)
    assert "3 episodes without anything that is asked for" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--objects", "o.json"], '--objects says what {object} stands for; add --words "{object}"'),
        (["--share", "9/8"], "--share 9/8 is no share"),
        (["--words", "{object}", "--objects", "none.json"], "none.json cannot be read"),
    ],
)
def test_invalid_options_get_one_sentence(run, capsys, words, sentence):
    assert main(["table", "runs", *words, "-o", "out"]) == 2
    assert sentence in capsys.readouterr().err


def test_folder_without_results_is_a_sentence(tmp_path, capsys):
    assert main(["table", str(tmp_path), "-o", str(tmp_path / "out")]) == 2
    assert "holds neither an index.json nor results files" in capsys.readouterr().err


def test_object_is_the_region_that_the_prompt_mentions_first():
    objects = NamedObjects({"stack them": "the blocks"}, ("duck", "yellow duck", "bowl"))
    assert objects.find("Put the Yellow duck in the bowl") == "yellow duck"
    assert objects.find("stack them ") == "the blocks"
    assert objects.fill("the {object}", "fill the bowl") == "the bowl"
    with pytest.raises(MissingWordError, match="Which object “duckling” names is not known"):
        objects.find("duckling")


@pytest.mark.parametrize(
    ("name", "text"),
    [("o.json", "[1]"), ("o.json", "{"), ("o.yaml", "a: [1]"), ("o.yaml", "{"), ("o.json", '{"a": 1}')],
)
def test_damaged_file_of_objects_is_a_sentence(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"cannot be read|does not map prompts"):
        read_objects(tmp_path / name)


def test_yaml_maps_prompts(tmp_path):
    (tmp_path / "o.yaml").write_text("pick up the duck: duck\n")
    assert read_objects(tmp_path / "o.yaml").find("Pick up the duck") == "duck"


def test_slurm_array_task_exports_its_episodes(run, tmp_path, monkeypatch, capsys):
    for name, value in {"COUNT": "2", "ID": "7", "MIN": "6", "MAX": "7"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert main(["table", "runs", "--words", "the", "--format", "parquet", "-o", "out", "--processes", "1"]) == 0
    assert {row["episode"] for row in read_tables(tmp_path / "out" / "runs")} == {"episode_000001", "episode_000003"}
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "many")
    assert main(["table", "runs", "--words", "the", "--format", "parquet", "-o", "out"]) == 2
    assert "The environment variable SLURM_ARRAY_TASK_ID is 'many', which is no number" in capsys.readouterr().err
