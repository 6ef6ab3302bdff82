"""Rollouts whose process was killed: what of their files can be read, and what is said of them."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from rollouts import describe_toy_run, record_toy_call

from capture.__main__ import main
from capture.cli.info.describe import describe
from capture.errors import UserError
from capture.pipeline.frame_builder import build_frames
from capture.results import run_index, schema, superblock
from capture.results.partial_file import PartialFile
from capture.results.read_access import open_for_reading
from capture.rollouts.recovery import recover_file
from capture.rollouts.writer import RolloutWriter
from viewer.io.results import Results

KILLED = """
import sys, time
from pathlib import Path
from rollouts import record_toy_call, describe_toy_run
from capture.rollouts.recovery import recover_file
from capture.rollouts.writer import RolloutWriter
writer = RolloutWriter(Path(sys.argv[1]), describe_toy_run())
stream = writer.open_stream("loop")
for number in range(10_000):
    stream.start_call("go").store(record_toy_call(number, "go"))
    writer.settle()
    print(number + 1, flush=True)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which a process was killed that recorded an episode."""
    folder = tmp_path_factory.mktemp("killed") / "runs"
    support = Path(__file__).parents[2] / "support"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(support), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(folder)], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) == 5:
            break
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return folder


def copy_killed(killed: Path, folder: Path) -> Path:
    """Copy the folder; return the unfinished file in it."""
    shutil.copytree(killed, folder)
    return folder / "episode_000000.h5.partial"


def assert_frames_are_whole(path: Path, done: int) -> None:
    """Assert that a file has these frames of the killed process."""
    with open_for_reading(path) as file:
        assert int(file["frames/done"][()]) == done
        for number in range(done):
            [(frame, _)] = build_frames(record_toy_call(number, "go"))
            np.testing.assert_array_equal(file["action/to_image"][number], frame[schema.ACTION_TO_IMAGE])


def count_frames(partial: Path) -> int:
    with open_for_reading(partial) as file:
        return int(file["frames/done"][()])


def test_killed_process_loses_no_finished_frame(killed: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    partial = copy_killed(killed, folder)
    done, told = count_frames(partial), []
    assert done >= 5
    assert_frames_are_whole(partial, done)
    with RolloutWriter(folder, describe_toy_run(), log=told.append) as writer:
        writer.open_stream("loop").start_call("go").store(record_toy_call(0, "go"))
    index = json.loads((folder / schema.INDEX_NAME).read_text())
    assert [entry["frames"] for entry in index["episodes"]] == [None, 1]
    assert told == [f"{folder} has 1 unfinished recording; pi0-capture recover {folder} completes it"]


def test_recording_of_a_killed_process_is_completed(
    killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    done = count_frames(copy_killed(killed, folder))
    before = {entry["name"]: entry for entry in json.loads((folder / schema.INDEX_NAME).read_text())["episodes"]}
    assert main(["recover", str(folder)]) == 0
    path = folder / "episode_000000.h5"
    assert capsys.readouterr().out == f"{path}: {done} frames\n"
    assert sorted(item.name for item in folder.iterdir()) == ["episode_000000.h5", "index.json"]
    assert_frames_are_whole(path, done)
    with h5py.File(path) as file:
        assert bool(file.attrs["complete"])
        assert json.loads(file.attrs["checks"])["row_sum_error"] < 1e-5
        assert {file[name].shape[0] for name in (schema.FRAMES_SEED, schema.ACTION_TO_IMAGE)} == {done}
        rollout = json.loads(file.attrs[schema.ROLLOUT_ATTRIBUTE])
    assert (rollout["calls"], rollout["success"]) == (done, None)
    assert rollout["ended"] == "its process was killed; completed by pi0-capture recover"
    index = json.loads((folder / schema.INDEX_NAME).read_text())
    assert index["episodes"] == [{**before["episode_000000"], "frames": done}]
    assert main(["recover", str(folder)]) == 0
    assert "holds no unfinished recording" in capsys.readouterr().out
    with RolloutWriter(folder, describe_toy_run()) as writer:  # the folder takes further episodes
        writer.open_stream("loop").start_call("go").store(record_toy_call(0, "go"))
    assert (folder / "episode_000001.h5").is_file()


def test_frame_that_was_begun_is_cut_off(killed: Path, tmp_path: Path) -> None:
    partial = copy_killed(killed, tmp_path / "runs")
    done = count_frames(partial)
    with partial.open("r+b") as file:
        superblock.clear_writer_flag(file.fileno())
    with h5py.File(partial, "r+") as file:
        for name in (schema.FRAMES_INDEX, schema.ACTION_TO_IMAGE):
            file[name].resize(done + 1, axis=0)
            file[name][done] = 7
    assert recover_file(partial).frames == done
    assert_frames_are_whole(tmp_path / "runs/episode_000000.h5", done)
    with h5py.File(tmp_path / "runs/episode_000000.h5") as file:
        assert file[schema.FRAMES_INDEX][:].tolist() == list(range(done))
        assert file[schema.ACTION_TO_IMAGE].shape[0] == done


def test_recovery_that_stopped_before_the_rename_goes_on(
    killed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial = copy_killed(killed, tmp_path / "runs")
    done = count_frames(partial)
    with monkeypatch.context() as patch:
        patch.setattr(PartialFile, "publish", lambda _: os.kill(os.getpid(), signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            recover_file(partial)
    assert partial.is_file()
    assert recover_file(partial).frames == done
    assert_frames_are_whole(tmp_path / "runs/episode_000000.h5", done)


def test_recording_that_failed_ends_for_the_reason_that_was_noted(killed: Path, tmp_path: Path) -> None:
    partial = copy_killed(killed, tmp_path / "runs")
    path = tmp_path / "runs/episode_000000.h5"
    run_index.write_failure(path, "no space left on device")
    recover_file(partial)
    with h5py.File(path) as file:
        assert json.loads(file.attrs[schema.ROLLOUT_ATTRIBUTE])["ended"] == "no space left on device"
    assert run_index.read_failure(path) is None


def test_files_that_cannot_be_completed_are_left_as_they_are(
    killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    partial = copy_killed(killed, folder)
    content = partial.read_bytes()
    (folder / "episode_000000.h5").write_bytes(b"a file of the user's")
    torn = folder / "torn.h5.partial"
    torn.write_bytes(content[: len(content) // 3])
    (folder / "early.h5.partial").write_bytes(b"")
    with RolloutWriter(folder, describe_toy_run()) as writer:
        writer.open_stream("loop").start_call("go").store(record_toy_call(0, "go"))
        writer.settle()
        assert main(["recover", str(folder)]) == 1  # the one that is written is none of them
        with pytest.raises(UserError, match="is being written by another run"):
            recover_file(folder / "episode_000001.h5.partial")
    errors = capsys.readouterr().err
    assert "episode_000000.h5 exists and is left as it is" in errors
    assert "torn.h5.partial is damaged and is left as it is" in errors
    assert "early.h5.partial holds no finished frame and is left as it is; delete it" in errors
    assert errors.count("\n") == 3
    assert partial.read_bytes() == content
    assert torn.read_bytes() == content[: len(content) // 3]
    assert (folder / "episode_000000.h5").read_bytes() == b"a file of the user's"
    assert (folder / "early.h5.partial").exists()


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("results.h5", "is not called NAME.partial"), ("none.h5.partial", "none.h5.partial does not exist")],
)
def test_recover_says_what_to_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, sentence: str
) -> None:
    assert main(["recover", str(tmp_path / name)]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_file_of_a_killed_process_is_described_without_the_frame_that_it_began(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        stream = writer.open_stream("loop")
        for number in range(3):
            stream.start_call("go").store(record_toy_call(number, "go"))
        writer.settle()
        path = tmp_path / "copy.h5.partial"
        content = bytearray((tmp_path / "episode_000000.h5.partial").read_bytes())
        content[11] = 0  # the flags of a writer, which HDF5 refuses to open
        end = superblock.LENGTH - 4
        content[end : end + 4] = superblock.checksum(bytes(content[:end])).to_bytes(4, "little")
        path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        for name in (schema.FRAMES_INDEX, schema.FRAMES_SEED):  # as a process leaves them that is killed meanwhile
            file[name].resize(4, axis=0)
    lines = describe(path).splitlines()
    assert lines[0].endswith(", not complete, 3 frames")
    assert (
        lines[-3] == "open      its recording ended early; its frames are whole, and pi0-capture recover completes it:"
    )
    results = Results(path)
    assert results.done == 3
    results.close()


def test_file_of_a_process_killed_before_its_first_frame_says_so(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        writer.open_stream("loop").start_call("go").store(record_toy_call(0, "go"))
        writer.settle()
        content = (tmp_path / "episode_000000.h5.partial").read_bytes()
    path = tmp_path / "early.h5.partial"
    path.write_bytes(content[:2048])
    with pytest.raises(UserError, match=r"early\.h5\.partial (holds no frame|is damaged, or its run ended before)"):
        describe(path)
