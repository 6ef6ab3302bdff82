"""A run over a data set, by command: its folder of files, several processes, kills and resumes, and its messages."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import episode_files
import h5py
import numpy as np
import pytest
from paths import ROOT
from preloaded import PreloadedProcess

from capture.__main__ import main
from capture.pipeline import writer_worker
from capture.results import schema

pytestmark = pytest.mark.usefixtures("one_thread")
LENGTHS = (12, 9, 20, 7)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("data") / "kitchen"
    episode_files.write_lerobot(folder, LENGTHS, state=("observation.state", 4), action=("action", 4))
    return folder


@pytest.fixture(scope="module")
def policy_options(checkpoint: Path) -> list[str]:
    named = ["--checkpoint", str(checkpoint), "--sizes", str(checkpoint / "sizes.json")]
    return [*named, "--denoise-steps", "2", "--dtype", "float32", "--device", "cpu"]


@pytest.fixture
def command(policy_options: list[str], dataset: Path) -> list[str]:
    return [*policy_options, "--dataset", str(dataset)]


def read_index_file(folder: Path) -> dict:
    return json.loads((folder / schema.INDEX_NAME).read_text())


def assert_same_frames(first: Path, second: Path) -> None:
    """Assert that both files hold the same frames, bit for bit."""
    with h5py.File(first) as first_file, h5py.File(second) as second_file:
        names: list[str] = []
        first_file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
        assert len(names) > 40
        for name in names:
            np.testing.assert_array_equal(first_file[name][...], second_file[name][...], err_msg=name)
        assert first_file.attrs["run"] == second_file.attrs["run"]
        assert first_file.attrs["complete"]
        assert second_file.attrs["complete"]


def start_ranks(options: list[str]) -> subprocess.Popen[str]:
    """Start two ranks of a capture with torchrun."""
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", "capture")
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*torchrun, *options], cwd=ROOT, env=environment, **pipes)


def test_dataset_run_writes_a_file_per_episode_and_an_index(command: list[str], tmp_path: Path, capsys) -> None:
    folder = tmp_path / "runs"
    assert main([*command, "--episodes", "1,3", "--frames", "::4", "-o", str(folder)]) == 0
    printed = capsys.readouterr()
    assert printed.err.count("assumed openpi configuration: ") == 1  # of both files
    assert "exterior camera" not in printed.err
    assert "2 done, 0 finished before, 0 failed; 5 frames" in printed.out
    assert "the device was busy" in printed.out
    content = read_index_file(folder)
    assert (content["format"], content["source"]) == (
        schema.INDEX_FORMAT,
        {"kind": "LeRobot data set v3.0", "name": "kitchen"},
    )
    assert [(episode["file"], episode["number"], episode["frames"]) for episode in content["episodes"]] == [
        ("episode_000001.h5", 1, 3),
        ("episode_000003.h5", 3, 2),
    ]
    assert content["episodes"][0]["prompts"] == ["put it in the bowl"]
    assert content["episodes"][0]["rate"] == 10
    with h5py.File(folder / "episode_000001.h5") as file:
        assert file[schema.FRAMES_INDEX][...].tolist() == [0, 4, 8]
        np.testing.assert_allclose(file[schema.FRAMES_STATE][1], 104 + 0.1 * np.arange(4), rtol=1e-6)
        np.testing.assert_allclose(file[schema.ACTION_TRUTH][1, :, 0], [-104, -105, -106, -107, -108, np.nan])
    # more of the same run joins it; the rest is left alone
    assert main([*command, "--frames", "::4", "-o", str(folder)]) == 0
    printed = capsys.readouterr()
    assert "2 done, 2 finished before, 0 failed" in printed.out
    assert f"{folder / 'episode_000001.h5'} is finished already; it is left as it is" in printed.err
    assert printed.err.count("finished already") == 2  # one after the other: another episode lies between them
    content_again = read_index_file(folder)
    assert [episode["number"] for episode in content_again["episodes"]] == [0, 1, 2, 3]
    assert content_again["uuid"] == content["uuid"]


def test_worker_processes_make_the_same_files(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    class Known(writer_worker.WriterProcess):
        def __init__(self) -> None:
            super().__init__()
            started.append(0)

        def write(self, arrays, rows, slots):
            started[-1] += len(rows)
            return super().write(arrays, rows, slots)

    monkeypatch.setattr("capture.pipeline.runner.WriterProcess", Known)
    for workers in ("0", "2"):
        assert main([*command, "--frames", "::4", "--workers", workers, "-o", str(tmp_path / workers)]) == 0
        assert len(started) == int(workers)
    assert sum(started) == 13
    for number in range(len(LENGTHS)):
        name = f"episode_{number:06d}.h5"
        assert_same_frames(tmp_path / "0" / name, tmp_path / "2" / name)
    # how it is run is no part of what is run: any other number goes on with it
    assert main([*command, "--frames", "::4", "--workers", "1", "-o", str(tmp_path / "2")]) == 0
    assert len(started) == 3
    assert started[-1] == 0


def test_folder_of_another_run_is_refused(command: list[str], tmp_path: Path, capsys) -> None:
    folder = tmp_path / "runs"
    assert main([*command, "--episodes", "3", "--frames", "0", "-o", str(folder)]) == 0
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    capsys.readouterr()
    assert main([*command, "--episodes", "3", "--frames", "1", "-o", str(folder)]) == 2
    assert "holds another run, and is left as it is: --frames was 0 and is now 1" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert main([*command, "--episodes", "3", "--frames", "1", "-o", str(folder), "--overwrite"]) == 0
    with h5py.File(folder / "episode_000003.h5") as file:
        assert file[schema.FRAMES_INDEX][...].tolist() == [1]


def test_counterfactual_prompts_from_a_file(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text('pick up the duck: ["{task}", pick up the mug]\n"*": [wave]\n')
    folder = tmp_path / "runs"
    options = ["--prompts", str(tmp_path / "p.yaml"), "--episodes", "0-1", "--frames", "keyframes"]
    assert main([*command, *options, "-o", str(folder), "--batch", "3"]) == 0
    content = read_index_file(folder)
    assert [(episode["prompts"], episode["frames"]) for episode in content["episodes"]] == [
        (["pick up the duck", "pick up the mug"], 4),
        (["wave"], 2),
    ]
    with h5py.File(folder / "episode_000000.h5") as file:
        assert file[schema.FRAMES_INDEX][...].tolist() == [0, 0, 6, 6]  # the policy's chunk has 6 actions


def test_run_killed_repeatedly_ends_with_the_same_files(command: list[str], tmp_path: Path) -> None:
    options = [*command, "--episodes", "0,2", "--prompt", "{task}", "--prompt", "wave"]
    assert main([*options, "-o", str(tmp_path / "whole")]) == 0
    folder = tmp_path / "runs"
    killed, frames_done = 0, []
    for expected in (3, 24, 45):
        running = PreloadedProcess(["-m", "capture", *options, "-o", str(folder)], ROOT)
        deadline = time.monotonic() + 90
        while running.poll() is None and time.monotonic() < deadline:
            if sum(count_frames_done(folder)) >= expected:
                running.send_signal(signal.SIGKILL)
                killed += 1
                break
            time.sleep(0.01)
        running.communicate()
        frames_done.append(sum(count_frames_done(folder)))
    assert killed >= 2
    assert frames_done == sorted(frames_done)  # nothing that was finished was lost
    assert main([*options, "-o", str(folder)]) == 0
    for name in ("episode_000000.h5", "episode_000002.h5"):
        assert_same_frames(tmp_path / "whole" / name, folder / name)
    assert sorted(path.name for path in folder.iterdir()) == ["episode_000000.h5", "episode_000002.h5", "index.json"]


def count_frames_done(folder: Path) -> list[int]:
    counts = []
    for path in folder.glob("*.h5*"):
        for swmr in (True, False):
            try:
                with h5py.File(path, "r", swmr=swmr) as file:
                    counts.append(int(file[schema.FRAMES_DONE][()]))
                    break
            except (OSError, KeyError, RuntimeError):
                continue
    return counts


def test_two_ranks_shard_the_episodes(command: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    options = [*command, "--frames", "::4", "-o", str(folder)]
    running = start_ranks(options)
    out, err = running.communicate(timeout=240)
    assert running.returncode == 0, err
    assert "4 done, 0 finished before, 0 failed; 13 frames" in out
    assert "on 2 processes" in out
    assert out.count("4 done") == 1  # one of them speaks for both
    assert "part 1 of 2 (torchrun): 2 of 4 episodes" in err
    assert "part 2 of 2 (torchrun): 2 of 4 episodes" in err
    assert main([*command, "--frames", "::4", "-o", str(tmp_path / "alone")]) == 0
    for episode in read_index_file(folder)["episodes"]:
        assert_same_frames(folder / episode["file"], tmp_path / "alone" / episode["file"])
    assert read_index_file(folder)["episodes"] == read_index_file(tmp_path / "alone")["episodes"]


def test_failure_in_one_rank_does_not_end_the_other(command: list[str], tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    episode_files.write_lerobot(broken, LENGTHS, state=("observation.state", 4), action=("action", 4), per_file=1)
    episode_files.truncate(next(iter(sorted(broken.glob("videos/*/*/file-001.mp4")))), 0.3)
    folder = tmp_path / "runs"
    options = [*command[:-1], str(broken), "--frames", "::4", "-o", str(folder)]
    running = start_ranks(options)
    out, err = running.communicate(timeout=240)
    assert running.returncode == 1
    assert "3 done, 0 finished before, 1 failed" in out, err
    assert "failed: episode_000001.h5: the video" in out
    failed = [episode for episode in read_index_file(folder)["episodes"] if "failed" in episode]
    assert [episode["number"] for episode in failed] == [1]
    assert (folder / "episode_000001.h5.failed").read_text().strip() == failed[0]["failed"]
    # mended, the same command does the rest
    episode_files.write_lerobot(
        tmp_path / "mended", LENGTHS, state=("observation.state", 4), action=("action", 4), per_file=1
    )
    (tmp_path / "mended").rename(tmp_path / "broken.new")
    broken.rename(tmp_path / "broken.old")
    (tmp_path / "broken.new").rename(broken)
    assert main(options) == 0
    assert not any("failed" in episode for episode in read_index_file(folder)["episodes"])
    assert sorted(path.suffix for path in folder.iterdir()) == [".h5"] * 4 + [".json"]


def test_unusable_episodes_keep_their_numbers(policy_options: list[str], tmp_path: Path, capsys) -> None:
    data, folder = tmp_path / "data", tmp_path / "runs"
    data.mkdir()
    for name in ("Fri_7_Jul_2023", "Sat_8_Jul_2023", "last"):
        arrays = episode_files.npz_arrays(2)
        np.savez(data / f"{name}.npz", **{**arrays, "state": arrays["state"][:, :4]})
    (data / "Sat_8_Jul_2023.npz").write_bytes(b"torn")
    options = [*policy_options, "--dataset", str(data), "--action-keys", "none", "--frames", "0", "-o", str(folder)]
    assert main([*options, "--episodes", "0,2"]) == 0, "what was not asked for is no failure"
    assert [(episode["number"], episode["name"]) for episode in read_index_file(folder)["episodes"]] == [
        (0, "Fri_7_Jul_2023"),
        (2, "last"),
    ]
    assert main([*options, "--episodes", "0-2"]) == 1
    assert "failed: Sat_8_Jul_2023.h5: " in capsys.readouterr().out
    assert [episode["number"] for episode in read_index_file(folder)["episodes"]] == [0, 1, 2]
    assert main([*options, "--episodes", "3"]) == 2
    assert "there is no episode 3 in" in (stderr := capsys.readouterr().err)
    assert "it has 3, numbered 0 to 2" in stderr


def test_slurm_array_and_share_option_shard_the_episodes(
    command: list[str], tmp_path: Path, monkeypatch, capsys
) -> None:
    folder = tmp_path / "runs"
    with monkeypatch.context() as srun:
        for name, value in {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "4"}.items():
            srun.setenv(name, value)
        assert main([*command, "--frames", "0", "-o", str(tmp_path / "step")]) == 0
    assert "part 4 of 4 (srun): 1 of 4 episodes" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "step").glob("*.h5")] == ["episode_000003.h5"]
    for name, value in {"COUNT": "2", "ID": "1", "MIN": "0", "MAX": "1", "STEP": "1"}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", value)
    assert main([*command, "--frames", "0", "-o", str(folder)]) == 0
    assert "part 2 of 2 (the SLURM array): 2 of 4 episodes" in capsys.readouterr().err
    assert sorted(path.name for path in folder.glob("*.h5")) == ["episode_000001.h5", "episode_000003.h5"]
    assert main([*command, "--frames", "0", "-o", str(folder), "--share", "1/2"]) == 0
    assert len(list(folder.glob("*.h5"))) == 4


def test_dry_run_prints_counts_and_the_source_of_its_estimate(
    command: list[str], tmp_path: Path, capsys, monkeypatch
) -> None:
    from capture.checkpoints import Checkpoint

    folder = tmp_path / "runs"
    with monkeypatch.context() as patched:
        patched.setattr(Checkpoint, "load", lambda *given: pytest.fail("weights were read"))
        patched.setattr("capture.checkpoints.load.fingerprint", lambda folder: pytest.fail("weights were read"))
        assert main([*command, "--frames", "::4", "-o", str(folder), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "LeRobot data set v3.0: 4 episodes, 13 frames, " in printed
    assert "how long it will take is not known: no file there was made by this policy" in printed
    assert "episode_000000: 3 frames of " in printed
    assert not folder.exists()
    assert main([*command, "--frames", "::4", "--episodes", "0", "-o", str(folder)]) == 0
    capsys.readouterr()
    assert main([*command, "--frames", "::4", "-o", str(folder), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "1 file is finished and 0 begun" in printed
    assert "10 frames are left" in printed
    assert "as in 1 file that the same policy made there" in printed


def test_single_episode_makes_one_file(policy_options: list[str], tmp_path: Path, capsys) -> None:
    pytest.importorskip("pyarrow")
    folder = tmp_path / "one"
    episode_files.write_lerobot(folder, (9,), state=("observation.state", 4), action=("action", 4))
    output = tmp_path / "duck.h5"
    options = [*policy_options, "--episode", str(folder), "--frames", "::8", "-o", str(output)]
    assert main(options) == 0
    assert capsys.readouterr().out.startswith(f"{output}: 2 frames of pi05_small in ")
    assert main(options) == 0
    assert "is finished already" in capsys.readouterr().err
    assert not (tmp_path / schema.INDEX_NAME).exists()


BAD = {
    "several episodes": (["--episode", "{data}", "-o", "{tmp}/a.h5"], "holds 4 episodes; give --dataset"),
    "no folder named": (["--dataset", "{data}"], "-o FOLDER"),
    "no such episode": (["--dataset", "{data}", "--episodes", "2-4", "-o", "{tmp}/runs"], "there is no episode 4"),
    "a file for a folder": (["--dataset", "{data}", "-o", "{tmp}/file"], "is a file; name a folder"),
    "folder in a file": (["--dataset", "{data}", "-o", "{tmp}/file/runs"], "cannot be made"),
    "no such data set": (["--dataset", "{tmp}/none", "-o", "{tmp}/runs"], "none"),
    "pictures as well": (["--dataset", "{data}", "--wrist", "x.png", "-o", "{tmp}/runs"], "leave --wrist out"),
    "a state as well": (["--dataset", "{data}", "--state", "1,2", "-o", "{tmp}/runs"], "leave --state out"),
    "both kinds of prompts": (
        ["--dataset", "{data}", "--prompt", "a", "--prompts", "x", "-o", "{tmp}/runs"],
        "one of them",
    ),
    "no file of prompts": (["--dataset", "{data}", "--prompts", "{tmp}/x.yaml", "-o", "{tmp}/runs"], "does not exist"),
    "no choice of frames": (["--dataset", "{data}", "--frames", "some", "-o", "{tmp}/runs"], "chooses no frames"),
    "frames without an episode": (["--prompt", "go", "--frames", "::2", "-o", "{tmp}/a.h5"], "name one with --episode"),
    "episodes without a data set": (["--episode", "{data}", "--episodes", "1", "-o", "{tmp}/a.h5"], "--dataset"),
    "a share of one file": (["--episode", "{data}", "--share", "1/2", "-o", "{tmp}/a.h5"], "written by one process"),
    "a share that is none": (["--dataset", "{data}", "--share", "3", "-o", "{tmp}/runs"], "is no share"),
    "no such camera": (["--dataset", "{data}", "--camera", "exterior=front", "-o", "{tmp}/runs"], "front"),
    "frames beyond every episode": (["--dataset", "{data}", "--frames", "99", "-o", "{tmp}/runs"], None),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_a_sentence_and_code_2(
    case: str, policy_options: list[str], dataset: Path, tmp_path: Path, capsys
) -> None:
    options, words = BAD[case]
    (tmp_path / "file").touch()
    filled = [option.format(tmp=tmp_path, data=dataset) for option in options]
    assert main([*policy_options, *filled]) == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    if words is None:  # nothing could be done, and the summary says why
        assert "0 done, 0 finished before, 4 failed" in printed.out
        assert printed.out.count("there is no frame 99: the episode has") == 4
    else:
        assert words in printed.err.splitlines()[-1]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
