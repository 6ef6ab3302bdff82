"""Several files at once take turns, each with a writer of its own, and equal those written one after the other."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path

import h5py
import pytest
from paths import ROOT, SUPPORT
from preloaded import run_preloaded
from synthetic_episodes import (
    LENGTHS,
    ActAfterFrames,
    ProgressLog,
    SyntheticEpisode,
    assert_same_results,
    make_jobs,
    small_setup,
    wait_until,
    with_options,
)
from test_writer_worker import is_running

from capture.errors import UserError
from capture.pipeline.collector import EndOfFile, OpenFile
from capture.pipeline.planning.frame_selection import parse_frames
from capture.pipeline.planning.prompts import Prompts
from capture.pipeline.planning.setup import Setup
from capture.pipeline.reader import InlineReader
from capture.pipeline.runner import run_jobs
from capture.pipeline.scheduler import FileWorkers, Scheduler, choose_file_count
from capture.pipeline.types import Job, RunOutcome
from capture.pipeline.worker_process import can_start_workers
from capture.pipeline.writer_worker import WriterProcess, WriterThread
from capture.results import schema

pytestmark = pytest.mark.usefixtures("one_thread")
linux = pytest.mark.skipif(not can_start_workers(), reason="a process of its own needs Linux")


@pytest.fixture(scope="module")
def setup(checkpoint: Path) -> Setup:
    return small_setup(checkpoint)


@pytest.fixture
def start_writers(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[WriterProcess]]:
    """Let the next run write with so many processes, as on a GPU; gives those processes once they are there."""
    started: list[WriterProcess] = []

    class Known(WriterProcess):
        def __init__(self) -> None:
            super().__init__()
            started.append(self)

    def ask(files: int) -> list[WriterProcess]:
        started.clear()
        monkeypatch.setattr("capture.pipeline.runner.uses_workers", lambda options: True)
        monkeypatch.setattr("capture.pipeline.runner.choose_file_count", lambda batch, cores: files)
        monkeypatch.setattr("capture.pipeline.runner.WriterProcess", Known)
        return started

    return ask


def assert_run_resumes(setup: Setup, folder: Path, expected: Path) -> None:
    """Assert that the same run again succeeds, with the files of an uninterrupted run."""
    outcome = run_jobs(setup, make_jobs(folder), ProgressLog())
    assert [written.failure for written in outcome.files] == [None] * 3
    for name in LENGTHS:
        assert_same_results(expected / f"{name}.h5", folder / f"{name}.h5")


def test_file_count_grows_with_batch_and_cores() -> None:
    assert [choose_file_count(batch, 64) for batch in (1, 2, 3, 4, 7, 8, 16, 64)] == [1, 2, 2, 3, 3, 4, 4, 4]
    assert [choose_file_count(16, cores) for cores in (1, 4, 7, 8, 15, 16)] == [1, 1, 1, 2, 3, 4]


class OneCameraEpisode(SyntheticEpisode):
    """An episode with one camera."""

    @property
    def shapes(self):
        return {"wrist": (96, 128)}


def list_order(setup: Setup, folder: Path, episodes: list[SyntheticEpisode], files: int) -> str:
    """Names and frame numbers in the order in which they would be run; the end of a file is its name with a dot;
    then each file with the number of its sink."""
    sinks = [WriterThread() for _ in range(files)]
    opened: list[OpenFile] = []
    feed = Scheduler(
        setup,
        [FileWorkers(InlineReader(setup), sink) for sink in sinks],
        RunOutcome(),
        ProgressLog(),
        opened.append,
        lambda written: None,
    )
    messages = []
    for item in feed.items([Job(folder / f"{episode.name}.h5", episode) for episode in episodes]):
        name = item.file.outcome.path.stem
        messages.append(f"{name}." if isinstance(item, EndOfFile) else f"{name}{item.prepared.observation.index}")
    owners = [f"{file.outcome.path.stem}:{sinks.index(file.writer)}" for file in opened]
    for sink in sinks:
        sink.__exit__(None, None, None)
    return " ".join([*messages, *owners])


def test_files_take_turns_and_the_next_file_gets_the_free_writer(setup: Setup, tmp_path: Path) -> None:
    episodes = [SyntheticEpisode(name, length=length) for name, length in LENGTHS.items()]
    assert list_order(setup, tmp_path, episodes, 2) == "a0 b0 a1 b1 a2 b. a3 c0 a4 c1 a. c2 c3 c. a:0 b:1 c:1"
    assert list_order(setup, tmp_path, episodes, 1) == "a0 a1 a2 a3 a4 a. b0 b1 b. c0 c1 c2 c3 c. a:0 b:0 c:0"
    twice = with_options(setup, prompts=Prompts(("go", "stop")), frames=parse_frames(":2"))
    assert list_order(twice, tmp_path, episodes[:2], 2) == "a0 a0 b0 b0 a1 a1 b1 b1 a. b. a:0 b:1"


def test_files_with_different_cameras_share_no_batch(setup: Setup, tmp_path: Path) -> None:
    episodes = [
        SyntheticEpisode("a", length=2),
        OneCameraEpisode("n", length=2),
        SyntheticEpisode("c", length=1),
        OneCameraEpisode("o", length=1),
    ]
    assert list_order(setup, tmp_path, episodes, 3) == "a0 a1 a. n0 n1 n. c0 c. o0 o. a:0 n:1 c:2 o:0"


@linux
def test_files_do_not_depend_on_the_number_of_writers(
    setup: Setup, tmp_path: Path, start_writers: Callable[[int], list[WriterProcess]]
) -> None:
    assert run_jobs(setup, make_jobs(tmp_path / "thread"), ProgressLog()).frames == 11
    for files in (1, 2, 3):
        started = start_writers(files)
        outcome = run_jobs(setup, make_jobs(tmp_path / str(files)), ProgressLog())
        assert [written.failure for written in outcome.files] == [None] * 3
        assert outcome.frames == sum(written.frames for written in outcome.files) == 11
        assert len(started) == files
        assert not any(is_running(writer.pid) for writer in started)
        for name in LENGTHS:
            assert_same_results(tmp_path / "thread" / f"{name}.h5", tmp_path / str(files) / f"{name}.h5")
    start_writers(2)
    run_jobs(with_options(setup, batch=3), make_jobs(tmp_path / "batches"), ProgressLog())
    for name in LENGTHS:
        assert_same_results(tmp_path / "thread" / f"{name}.h5", tmp_path / "batches" / f"{name}.h5", exactly=False)


@linux
def test_run_starts_no_more_processes_than_files(
    setup: Setup, tmp_path: Path, start_writers: Callable[[int], list[WriterProcess]]
) -> None:
    started = start_writers(4)
    run_jobs(setup, [Job(tmp_path / "a.h5", SyntheticEpisode(length=1))], ProgressLog())
    assert len(started) == 1


@linux
def test_failing_episode_does_not_end_other_open_files(
    setup: Setup, tmp_path: Path, start_writers: Callable[[int], list[WriterProcess]]
) -> None:
    start_writers(2)
    broken = [
        Job(tmp_path / "a.h5", SyntheticEpisode("a", breaks_at=2)),
        Job(tmp_path / "b.h5", SyntheticEpisode("b", length=4)),
        Job(tmp_path / "c.h5", SyntheticEpisode("c", breaks_at=0)),
        Job(tmp_path / "d.h5", SyntheticEpisode("d", length=3)),
    ]
    outcome = run_jobs(with_options(setup, batch=3), broken, ProgressLog())
    assert [written.failure for written in outcome.files] == [
        f"the video of frame 2 is cut off; finished frames (2) stay in {tmp_path / 'a.h5.partial'}",
        None,
        "the video of frame 0 is cut off",
        None,
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.h5.partial", "b.h5", "d.h5"]
    assert outcome.frames == 9


def count_frames_done(path: Path) -> int:
    with h5py.File(path, "r", swmr=True) as file:
        return int(file[schema.FRAMES_DONE][()])


@linux
def test_run_resumes_after_its_writer_was_killed(
    setup: Setup, tmp_path: Path, start_writers: Callable[[int], list[WriterProcess]]
) -> None:
    run_jobs(setup, make_jobs(tmp_path / "whole"), ProgressLog())
    started = start_writers(2)
    folder = tmp_path / "runs"
    kill = ActAfterFrames(3, lambda: os.kill(started[0].pid, signal.SIGKILL))
    with pytest.raises(UserError, match="the process that writes the results has ended"):
        run_jobs(setup, make_jobs(folder), kill)
    left = sorted(path.name for path in folder.iterdir())
    assert left[0] == "a.h5.partial"
    start_writers(2)
    assert_run_resumes(setup, folder, tmp_path / "whole")


@linux
def test_disk_full_for_one_writer(
    setup: Setup, tmp_path: Path, start_writers: Callable[[int], list[WriterProcess]]
) -> None:
    run_jobs(setup, make_jobs(tmp_path / "whole"), ProgressLog())
    started = start_writers(2)
    folder = tmp_path / "runs"

    def fill() -> None:
        wait_until(lambda: count_frames_done(folder / "a.h5.partial") >= 1)
        size = (folder / "a.h5.partial").stat().st_size
        resource.prlimit(started[0].pid, resource.RLIMIT_FSIZE, (size + 4096, size + 4096))

    with pytest.raises(UserError, match=r"frame \d could not be written: file too large; finished frames \(\d\) stay"):
        run_jobs(setup, make_jobs(folder), ActAfterFrames(3, fill))
    assert count_frames_done(folder / "a.h5.partial") >= 1
    start_writers(2)
    assert_run_resumes(setup, folder, tmp_path / "whole")


@linux
def test_stopped_run_reports_the_kept_frames_of_every_file(
    setup: Setup, tmp_path: Path, start_writers: Callable[[int], list[WriterProcess]]
) -> None:
    start_writers(2)

    def stop() -> None:
        raise KeyboardInterrupt

    selection = with_options(setup, frames=parse_frames("0:2"))
    with pytest.raises(KeyboardInterrupt) as stopped:
        run_jobs(selection, make_jobs(tmp_path), ActAfterFrames(4, stop))
    assert stopped.value.__notes__ == [
        f"2 of 2 frames are kept in {tmp_path / 'a.h5.partial'}",
        f"1 of 2 frames are kept in {tmp_path / 'b.h5.partial'}",
    ]
    assert (count_frames_done(tmp_path / "a.h5.partial"), count_frames_done(tmp_path / "b.h5.partial")) == (2, 1)
    start_writers(2)
    assert run_jobs(selection, make_jobs(tmp_path), ProgressLog()).frames == 3


KILLED = """
import os, signal, sys
from pathlib import Path
import capture.pipeline.runner
import synthetic_episodes as here

capture.pipeline.runner.uses_workers = lambda options: True
capture.pipeline.runner.choose_file_count = lambda batch, cores: 2
end = here.ActAfterFrames(int(sys.argv[3]), lambda: os.kill(os.getpid(), signal.SIGKILL))
capture.pipeline.runner.run_jobs(here.small_setup(Path(sys.argv[1])), here.make_jobs(Path(sys.argv[2])), end)
"""


@linux
def test_killed_run_with_several_writers_is_resumed(
    setup: Setup, checkpoint: Path, tmp_path: Path, start_writers: Callable[[int], list[WriterProcess]]
) -> None:
    run_jobs(setup, make_jobs(tmp_path / "whole"), ProgressLog())
    folder = tmp_path / "runs"
    path = os.pathsep.join([str(Path(__file__).parent), str(SUPPORT), str(ROOT)])
    for after in (4, 3):
        arguments = ["-c", KILLED, str(checkpoint), str(folder), str(after)]
        ended = run_preloaded(arguments, ROOT, os.environ | {"PYTHONPATH": path})
        assert ended.returncode == -signal.SIGKILL, ended.stderr
    start_writers(2)
    progress = ProgressLog()
    outcome = run_jobs(setup, make_jobs(folder), progress)
    assert [written.failure for written in outcome.files] == [None] * 3
    assert any("it is gone on with" in sentence for sentence in progress.sentences)
    for name in LENGTHS:
        assert_same_results(tmp_path / "whole" / f"{name}.h5", folder / f"{name}.h5")


def test_warnings_repeated_over_files_are_merged(setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("capture.checkpoints.policy_spec.check_vocabulary", lambda *_: "the tokenizer is an odd one")
    first, second = ProgressLog(), ProgressLog()
    run_jobs(setup, make_jobs(tmp_path), first)
    assert first.sentences == ["warning: the tokenizer is an odd one"]
    run_jobs(setup, make_jobs(tmp_path), second)
    assert second.sentences == [
        "warning: the tokenizer is an odd one",
        f"{tmp_path / 'a.h5'} and 2 more files are finished already; they are left as they are",
    ]
