"""Effects of a whole run: with the capture, after it, in parts, and where files are broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import episode_files
import h5py
import pytest

from capture.__main__ import main
from capture.cli.effects.command import effects_path
from capture.effects.file_lock import FileLock

pytestmark = pytest.mark.usefixtures("one_thread")
MEASURES = "--region exterior:4-7,4-7 --heads actions --controls 2 --seeds 3"

HOLD = """
import sys, time
from pathlib import Path
from capture.effects.file_lock import FileLock
with FileLock(Path(sys.argv[1])):
    print("held", flush=True)
    while not Path(sys.argv[2]).exists():
        time.sleep(0.01)
"""


@contextmanager
def another_run(writes: Path, until: Path) -> Iterator[None]:
    """Let another process hold the lock of an effects file until a file appears, or the context ends."""
    with subprocess.Popen([sys.executable, "-c", HOLD, str(writes), str(until)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def policy_options(checkpoint: Path) -> list[str]:
    named = ["--checkpoint", str(checkpoint), "--sizes", str(checkpoint / "sizes.json")]
    return [*named, "--denoise-steps", "2", "--dtype", "float32", "--device", "cpu"]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pyarrow")
    pytest.importorskip("av")
    folder = tmp_path_factory.mktemp("data") / "kitchen"
    episode_files.write_lerobot(folder, (4, 4, 4), state=("observation.state", 4), action=("action", 4))
    return folder


@pytest.fixture
def capture_run(policy_options: list[str], dataset: Path, tmp_path: Path) -> list[str]:
    return [*policy_options, "--dataset", str(dataset), "--frames", "::4", "-o", str(tmp_path / "runs")]


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_capture_with_effects_measures_every_episode_with_the_loaded_policy(capture_run, tmp_path, capsys, monkeypatch):
    assert main([*capture_run, "--episodes", "0,2", "--effects", MEASURES]) == 0
    printed = capsys.readouterr()
    assert "effects of 2 files measured" in printed.out
    assert printed.err.count("of weights") == 1
    folder = tmp_path / "runs"
    measured = [f"episode_00000{number}" for number in (0, 2)]
    assert names(folder) == sorted(
        [f"{name}{end}" for name in measured for end in (".h5", ".effects.h5")] + ["index.json"]
    )
    with h5py.File(folder / "episode_000002.effects.h5") as file:
        assert file.attrs["complete"]
        assert file["heads/effect"].shape[0] == 1
        assert file["targets/multiple"][0, 0] > 0
    # Another run measures one of them while this one waits for it.
    output = next((tmp_path / "runs").glob("*.effects.h5"))
    moved = output.rename(tmp_path / "measured.h5")
    with monkeypatch.context() as patch:
        patch.setattr(FileLock, "__enter__", lambda self: shutil.copy(moved, output))
        assert main([*capture_run, "--episodes", "0,2", "--effects", MEASURES]) == 0
    assert "effects of 0 files measured; 2 measured before" in capsys.readouterr().out
    # The same command again: captured and measured before.
    assert main([*capture_run, "--episodes", "0,2", "--effects", MEASURES]) == 0
    assert "effects of 0 files measured; 2 measured before" in capsys.readouterr().out


def test_run_folder_is_shared_between_processes_and_broken_files_are_skipped(
    capture_run, policy_options, tmp_path, capsys
):
    folder = tmp_path / "runs"
    assert main(capture_run) == 0
    command = [
        "effects",
        str(folder),
        *policy_options[:4],
        "--denoise-steps",
        "2",
        "--heads",
        "actions",
        "--seeds",
        "3",
    ]
    assert main([*command, "--dry-run"]) == 0
    assert "effects of 3 files would be measured" in capsys.readouterr().out
    assert main([*command, "--share", "1/2"]) == 0
    assert "part 1 of 2 (--share): 2 of 3 files" in capsys.readouterr().err
    assert [name for name in names(folder) if "effects" in name] == [
        "episode_000000.effects.h5", "episode_000002.effects.h5",
    ]  # fmt: skip
    with another_run(folder / "episode_000001.effects.h5", until=tmp_path / "never"):
        assert main(command) == 1
    assert (
        "effects of 0 files measured; 2 measured before; 1 left to another run that is writing them, "
        "episode_000001.h5 first; repeat the command when it has ended"
    ) in capsys.readouterr().out
    (folder / "episode_000001.h5").write_bytes(b"no HDF5")
    assert main(command) == 1
    out = capsys.readouterr().out
    assert "effects of 0 files measured; 2 measured before; 1 cannot be measured, episode_000001.h5 first: " in out
    assert not (folder / "episode_000001.effects.h5").exists()
    # Other settings do not replace what was measured.
    assert main([*command, "--heads", "words"]) == 2
    assert "exists; name another file with -o, or add --overwrite" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_file_of_another_run_that_ends_is_measured_after_the_others(capture_run, policy_options, tmp_path, capsys):
    folder = tmp_path / "runs"
    assert main([*capture_run, "--episodes", "0,1"]) == 0
    capsys.readouterr()
    measures = ["--denoise-steps", "2", "--heads", "actions", "--seeds", "3"]
    with another_run(folder / "episode_000000.effects.h5", until=folder / "episode_000001.effects.h5"):
        assert main(["effects", str(folder), *policy_options[:4], *measures]) == 0
    printed = capsys.readouterr()
    assert "effects of 2 files measured" in printed.out
    assert printed.err.index("episode_000001.effects.h5: 1 frame") < printed.err.index("episode_000000.effects.h5: 1 ")
    with h5py.File(folder / "episode_000000.effects.h5") as file:
        assert file.attrs["complete"]


def test_single_frame_is_captured_and_measured_but_not_in_a_dry_run(command, tmp_path, capsys):
    output = tmp_path / "one.h5"
    assert main([*command, "--dry-run", "--effects", MEASURES]) == 2
    assert "leave it out with --dry-run" in capsys.readouterr().err
    assert main([*command, "--prompt", "pick up", "-o", str(output), "--effects", MEASURES]) == 0
    assert "exterior:4-7,4-7 hidden from the actions: " in capsys.readouterr().out
    assert names(tmp_path) == ["one.effects.h5", "one.h5"]


@pytest.mark.parametrize(
    ("measures", "sentence"),
    [
        ("", "nothing to measure was named"),
        ("--map x", "'x' is not a whole number"),
        ("--map 4 --device cpu", "'--device' says nothing about what to measure"),
        ("--map 4 'open", "No closing quotation"),
        ("--map 4 --fill blur", "it needs --mode occlude"),
    ],
)
def test_effects_that_cannot_be_measured_are_refused_before_the_capture(
    capture_run, tmp_path, capsys, measures, sentence
):
    assert main([*capture_run, "--effects", measures]) == 2
    assert sentence in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "is no folder of a run: it has no index.json"),
        (["-o", "x.h5"], "the effects of a run lie beside its results files"),
    ],
)
def test_folder_that_is_no_run_is_refused(tmp_path, capsys, arguments, sentence):
    assert main(["effects", str(tmp_path), "--map", "4", *arguments]) == 2
    assert sentence in capsys.readouterr().err


def test_effects_of_an_unfinished_file_lie_beside_it_by_its_final_name() -> None:
    assert effects_path(Path("runs/duck.h5.partial")) == Path("runs/duck.effects.h5")
    assert effects_path(Path("runs/duck.b.h5")) == Path("runs/duck.b.effects.h5")
