"""Rollouts: one growing results file an episode, written beside calls that never wait for it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from rollouts import HeldDisk, describe_toy_run, record_toy_call

from capture.errors import UserError
from capture.pipeline.frame_builder import build_frames
from capture.results import schema
from capture.results.read_access import open_for_reading
from capture.rollouts.writer import NICENESS, RolloutWriter


def rollout(file: h5py.File) -> dict[str, object]:
    return json.loads(file.attrs[schema.ROLLOUT_ATTRIBUTE])


def entries(folder: Path) -> list[dict[str, object]]:
    return json.loads((folder / schema.INDEX_NAME).read_text())["episodes"]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have priorities of their own on Linux alone")
def test_writing_thread_gives_way_to_the_policy(tmp_path: Path) -> None:
    def read_niceness(thread: int) -> int:
        return os.getpriority(os.PRIO_PROCESS, thread)

    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        stream = writer.open_stream("client 1")
        assert stream.start_call("stack the cups").store(record_toy_call(0))
        writer.settle()
        [thread] = [thread.native_id for thread in threading.enumerate() if thread.name == "rollout-writer"]
        assert thread is not None
        own = read_niceness(threading.get_native_id())
        assert read_niceness(thread) == min(own + NICENESS, 19)


def test_rollout_writer_stores_each_call_as_a_capture_would(tmp_path: Path) -> None:
    calls = [record_toy_call(seed) for seed in range(3)]
    before = time.time()
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        stream = writer.open_stream("client 1")
        for call in calls:
            slot = stream.start_call("stack the cups")
            assert slot.is_recorded
            assert slot.store(call, seconds=0.5)
        stream.end_episode(success=True, reason="reset by the client")
    assert writer.counts.files == (tmp_path / "episode_000000.h5",)
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file.attrs["complete"]
        assert list(file.attrs["format_version"]) == [1, 3]
        assert file["frames/done"][()] == 3
        for number, call in enumerate(calls):
            [(frame, _)] = build_frames(call)
            for name, value in frame.items():
                if name in (schema.FRAMES_INDEX, schema.FRAMES_TIME, schema.FRAMES_EPISODE):
                    continue
                stored = file[name][number]
                if isinstance(value, np.ndarray) and value.dtype != object:
                    np.testing.assert_array_equal(stored, value, err_msg=name)
        assert file["frames/index"][:].tolist() == [0, 1, 2]
        assert file["frames/call_seconds"][:].tolist() == [0.5] * 3
        assert file["frames/dropped"][:].tolist() == [0, 0, 0]
        assert set(file["frames/episode"].asstr()) == {"episode_000000"}
        clock, times = file["frames/clock"][:], file["frames/time"][:]
        assert before <= clock[0] <= clock[1] <= clock[2] <= time.time()
        np.testing.assert_allclose(clock - clock[0], times, atol=0.05)
        description = rollout(file)
        assert description.pop("started").startswith("20")
        assert description == {
            "stream": "client 1", "every": 1, "first_call": 0, "ended": "reset by the client",
            "calls": 3, "dropped": 0, "success": True,
        }  # fmt: skip
        assert json.loads(file.attrs["checks"])["masked_weight"] == 0
    [entry] = entries(tmp_path)
    assert entry == {
        "file": "episode_000000.h5", "name": "episode_000000", "number": 0, "prompts": ["stack the cups"],
        "frames": 3, "rate": None, "success": True,
    }  # fmt: skip


def test_rollout_writer_records_each_nth_call_and_those_asked_for(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, describe_toy_run(every=3)) as writer:
        stream = writer.open_stream("loop")
        for number in range(8):
            slot = stream.start_call("go", record=True if number == 4 else False if number == 6 else None)
            if slot.is_recorded:
                slot.store(record_toy_call(number, "go"))
            writer.settle()
    counts = writer.counts
    assert (counts.calls, counts.recorded, counts.dropped, counts.episodes) == (8, 3, 0, 1)
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file["frames/index"][:].tolist() == [0, 3, 4]
        assert rollout(file)["calls"] == 8


def test_changed_prompt_ends_the_episode(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        stream = writer.open_stream("loop")
        for prompt in ("open it", "open it", "close the long drawer"):
            stream.start_call(prompt).store(record_toy_call(0, prompt))
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert (file["frames/done"][()], rollout(file)["ended"]) == (2, "the prompt changed")
    with h5py.File(tmp_path / "episode_000001.h5") as file:
        assert (file["frames/done"][()], rollout(file)["ended"]) == (1, "the recording was closed")
        assert file["frames/index"][:].tolist() == [0]
    assert [entry["prompts"] for entry in entries(tmp_path)] == [["open it"], ["close the long drawer"]]


@pytest.mark.parametrize(
    ("change", "why"),
    [({"height": 50}, "the cameras or the sizes"), ({"state": (1.0,)}, "the length of the state")],
    ids=["picture", "state"],
)
def test_call_that_does_not_fit_begins_another_file(tmp_path: Path, change: dict[str, object], why: str) -> None:
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        stream = writer.open_stream("loop")
        for number, changes in enumerate(({}, change, change)):
            stream.start_call("stack the cups").store(record_toy_call(number, **changes))
            writer.settle()
    assert (writer.counts.recorded, writer.counts.failures) == (3, ())
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert rollout(file)["ended"].startswith(why)
    with h5py.File(tmp_path / "episode_000001.h5") as file:
        assert file["frames/index"][:].tolist() == [1, 2]
        assert rollout(file)["first_call"] == 1


def test_store_drops_recordings_while_the_disk_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = HeldDisk(monkeypatch)
    messages: list[str] = []
    with RolloutWriter(tmp_path, describe_toy_run(), max_pending=2, log=messages.append) as writer:
        stream = writer.open_stream("robot")
        accepted = [stream.start_call("go") for _ in range(3)]
        stored = [slot.store(record_toy_call(number, "go")) for number, slot in enumerate(accepted)]
        assert stored == [True, True, False]  # the third finds the queue full
        assert not stream.start_call("go").is_recorded  # not even computed
        disk.release()
        writer.settle()
        last = stream.start_call("go")
        assert last.store(record_toy_call(4, "go"))
    assert (writer.counts.recorded, writer.counts.dropped) == (3, 2)
    assert writer.counts.sentence == "3 of 5 calls recorded in 1 episodes; 2 recordings dropped"
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file["frames/index"][:].tolist() == [0, 1, 4]
        assert file["frames/dropped"][:].tolist() == [0, 0, 2]
        assert rollout(file)["dropped"] == 2
    assert len(messages) == 1
    assert "robot are dropped" in messages[0]


def test_full_disk_keeps_the_frames_and_the_next_episode_is_recorded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HeldDisk(monkeypatch)
    disk.release()
    messages: list[str] = []
    with RolloutWriter(tmp_path, describe_toy_run(), log=messages.append) as writer:
        stream = writer.open_stream("robot")
        assert stream.start_call("go").store(record_toy_call(0, "go"))
        writer.settle()
        disk.failure = lambda: UserError("no space left on device")
        assert stream.start_call("go").store(record_toy_call(1, "go"))
        writer.settle()
        assert not stream.start_call("go").is_recorded
        stream.end_episode(success=False)
        assert stream.start_call("go").store(record_toy_call(3, "go"))
    assert writer.counts.failures == ("no space left on device",)
    assert messages == ["this episode of robot is not recorded further: no space left on device"]
    assert (writer.counts.recorded, writer.counts.dropped) == (2, 2)
    with open_for_reading(tmp_path / "episode_000000.h5.partial") as file:
        assert file["frames/done"][()] == 1
        assert not file.attrs["complete"]
    assert [entry.get("failed") for entry in entries(tmp_path)] == ["no space left on device", None]
    assert (tmp_path / "episode_000001.h5").is_file()


def test_frames_of_a_removed_folder_are_counted_as_dropped_and_a_new_folder_is_recorded_to(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "runs"
    messages: list[str] = []
    with RolloutWriter(folder, describe_toy_run(), log=messages.append) as writer:
        stream = writer.open_stream("robot")
        assert stream.start_call("go").store(record_toy_call(0, "go"))
        writer.settle()
        shutil.rmtree(folder)
        stream.end_episode()
        writer.settle()
        assert (writer.counts.recorded, writer.counts.dropped) == (0, 1)
        folder.mkdir()
        assert stream.start_call("go").store(record_toy_call(1, "go"))
    assert (writer.counts.calls, writer.counts.recorded, writer.counts.dropped) == (2, 1, 1)
    assert [path.name for path in writer.counts.files] == ["episode_000001.h5"]
    assert len(messages) == 1
    assert "episode_000000.h5.partial was removed while this run was writing it" in messages[0]
    assert not caplog.records
    assert [entry["file"] for entry in entries(folder)] == ["episode_000001.h5"]


def test_queued_recordings_of_a_failed_episode_begin_no_other_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = HeldDisk(monkeypatch)
    disk.failure = lambda: UserError("no space left on device")
    with RolloutWriter(tmp_path, describe_toy_run(), log=lambda _: None) as writer:
        stream = writer.open_stream("robot")
        for number in range(3):
            assert stream.start_call("go").store(record_toy_call(number, "go"))
        stream.end_episode()
        disk.release()
    assert (writer.counts.recorded, writer.counts.dropped, writer.counts.files) == (0, 3, ())
    assert [entry["file"] for entry in entries(tmp_path)] == ["episode_000000.h5"]


def test_store_after_the_end_of_the_episode_is_dropped(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, describe_toy_run(), log=lambda _: None) as writer:
        stream = writer.open_stream("client that died")
        first, late = stream.start_call("go"), stream.start_call("go")
        first.store(record_toy_call(0, "go"))
        stream.close("disconnected")
        assert not late.store(record_toy_call(1, "go"))
    assert (writer.counts.recorded, writer.counts.dropped) == (1, 1)
    with pytest.raises(RuntimeError, match="closed"):
        stream.start_call("go")


def test_error_of_the_loop_is_stored_as_the_end(tmp_path: Path) -> None:
    def loop() -> None:
        with RolloutWriter(tmp_path, describe_toy_run()) as writer:
            stream = writer.open_stream("loop")
            stream.start_call("go").store(record_toy_call(0, "go"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        loop()
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert rollout(file)["ended"] == "ZeroDivisionError ended the caller's loop"
        assert rollout(file)["success"] is None


def test_folder_takes_further_episodes_of_the_same_run_only(tmp_path: Path) -> None:
    for _ in range(2):
        with RolloutWriter(tmp_path, describe_toy_run()) as writer:
            writer.open_stream("loop").start_call("go").store(record_toy_call(0, "go"))
    assert [entry["number"] for entry in entries(tmp_path)] == [0, 1]
    (tmp_path / "episode_000007.h5.partial").touch()  # of a process that was killed
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        writer.open_stream("loop").start_call("go").store(record_toy_call(0, "go"))
    assert writer.counts.files == (tmp_path / "episode_000008.h5",)
    other_run = describe_toy_run()
    other_run = type(other_run)(other_run.model, {**other_run.settings, "weights": "others"})
    with pytest.raises(UserError, match="holds another run, .* weights changed; choose another folder"):
        RolloutWriter(tmp_path, other_run)


def test_two_writers_share_a_folder(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, describe_toy_run()) as first, RolloutWriter(tmp_path, describe_toy_run()) as second:
        for writer in (first, second, first):
            stream = writer.open_stream("loop")
            stream.start_call("go").store(record_toy_call(0, "go"))
            stream.close()
            writer.settle()
    assert [entry["frames"] for entry in entries(tmp_path)] == [1, 1, 1]


def test_streams_of_several_threads_get_files_of_their_own(tmp_path: Path) -> None:
    def act(name: str, seed: int) -> None:
        stream = writer.open_stream(name)
        for number in range(4):
            slot = stream.start_call(name)
            slot.store(record_toy_call(10 * seed + number, name))
        stream.close()

    with RolloutWriter(tmp_path, describe_toy_run(), max_pending=100) as writer:
        threads = [threading.Thread(target=act, args=(f"task {seed}", seed)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (writer.counts.recorded, writer.counts.dropped, len(writer.counts.files)) == (16, 0, 4)
    for path in writer.counts.files:
        with h5py.File(path) as file:
            [prompt] = set(file["frames/prompt"].asstr())
            seed = 10 * int(prompt.split()[1])
            assert file["frames/seed"][:].tolist() == [seed, seed + 1, seed + 2, seed + 3]


def test_growing_file_can_be_followed(tmp_path: Path) -> None:
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        stream = writer.open_stream("loop")
        for number in range(3):
            stream.start_call("go").store(record_toy_call(number, "go"))
            writer.settle()
            with open_for_reading(tmp_path / "episode_000000.h5.partial", is_followed=True) as file:
                assert file["frames/done"][()] == number + 1
                assert file["action/to_image"].shape[0] == number + 1
                assert file["frames/seed"][number] == number
                assert rollout(file).keys() == {"stream", "every", "started", "first_call"}
            [entry] = entries(tmp_path)
            assert entry["frames"] is None


def test_closed_writer_can_be_closed_again_and_takes_no_calls(tmp_path: Path) -> None:
    writer = RolloutWriter(tmp_path, describe_toy_run())
    assert writer.close().files == ()
    assert writer.close().calls == 0
    assert not (tmp_path / schema.INDEX_NAME).exists()
    with pytest.raises(RuntimeError, match="closed"):
        writer.open_stream("late").start_call("go")


def test_call_of_several_observations_is_refused(tmp_path: Path) -> None:
    call = record_toy_call()
    two_observations = type(call)(**{**vars(call), "prepared": call.prepared * 2})
    with RolloutWriter(tmp_path, describe_toy_run()) as writer:
        slot = writer.open_stream("loop").start_call("go")
        with pytest.raises(ValueError, match="2 observations"):
            slot.store(two_observations)


@pytest.mark.parametrize("options", [{"every": 0}], ids=["every"])
def test_rollout_run_refuses_an_interval_below_one(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="every=0"):
        describe_toy_run(**options)
