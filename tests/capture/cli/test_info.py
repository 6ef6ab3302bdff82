from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import synthetic
from paths import ROOT, SUPPORT

import capture.cli.info.describe
from capture.cli.info.describe import describe
from capture.errors import UserError
from capture.results import progress_clock, schema, superblock
from capture.results.dataset_layout import list_datasets
from capture.results.partial_file import PartialFile
from capture.results.writer import ResultsWriter

SIZES = synthetic.SMALL
GOOD = {schema.CHECK_ROW_SUM: 0.0021, schema.CHECK_MASKED: 0.0, schema.CHECK_ACTIONS: None, schema.CHECK_TIME: None}


def write_results(path: Path, sizes: schema.Sizes = SIZES, checks: dict[str, Any] = GOOD, **changes: Any) -> Path:
    with ResultsWriter(path, sizes, model=synthetic.MODEL, generator="pi0-capture 9.9") as writer:
        for number in range(sizes.frames):
            writer.write(synthetic.make_frame(sizes, number) | changes)
        return writer.finish(checks)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("whole") / "duck.h5")


@pytest.fixture
def copy(results: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(results, tmp_path / "duck.h5"))


KILLED = """
import os, signal, sys
from pathlib import Path
import synthetic
from capture.results.writer import ResultsWriter
writer = ResultsWriter(Path(sys.argv[1]), synthetic.SMALL, model=synthetic.MODEL, generator="pi0-capture 9.9")
for number in range(2):
    writer.write(synthetic.make_frame(synthetic.SMALL, number))
while writer.frames_done < 2:
    pass
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves that was killed after two of three frames."""
    path = tmp_path_factory.mktemp("killed") / "duck.h5"
    variables = os.environ | {"PYTHONPATH": os.pathsep.join([str(SUPPORT), str(ROOT)])}
    ended = subprocess.run([sys.executable, "-c", KILLED, str(path)], env=variables, check=False)
    assert ended.returncode == -signal.SIGKILL
    return path.with_name("duck.h5.partial")


# What is said


def test_info_describes_complete_file(results: Path) -> None:
    lines = describe(results).splitlines()
    assert re.fullmatch(r"duck\.h5: 1\.\d+ MB, complete", lines[0])
    assert re.fullmatch(r"written   \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC by pi0-capture 9\.9", lines[1])
    assert lines[2:] == [
        "model     synthetic (demo), 2 layers x 2 heads, 2 denoise steps, bfloat16",
        "cameras   exterior 64 x 36, wrist 64 x 48",
        "input     decisions about it are not stored, as in files of format 1.0",
        "frames    3, from episode 7, 0.00 to 0.13 s",
        'prompts   "put the duck in bowl 0" frame 0',
        '          "put the duck in bowl 1" frame 1',
        '          "put the duck in bowl 2" frame 2',
        "words     16 tokens a frame, 2 heads, layers 0-1: prefix phase, one pass",
        "actions   3 tokens, 2 heads, layers 0-1, steps 0-1: suffix phase",
        "values    state of 2, 8 action dimensions, true actions in 2 of 3 frames",
        "weights   bfloat16, not compressed, rows of words and actions",
        "checks    rows sum to 1 within                      0.0021     ok",
        "          largest weight on a masked key            0          ok",
        "open      pi0-viewer duck.h5",
    ]


def test_info_marks_failed_checks(tmp_path: Path) -> None:
    bad = {
        schema.CHECK_ROW_SUM: 0.02,
        schema.CHECK_MASKED: 1e-9,
        schema.CHECK_ACTIONS: float("nan"),
        schema.CHECK_TIME: 1.05,
    }
    page = describe(write_results(tmp_path / "a.h5", checks=bad))
    assert re.findall(r"([\w.-]+) +(ok|LOOK HERE)$", page, re.MULTILINE) == [
        ("0.02", "LOOK HERE"),
        ("1e-09", "LOOK HERE"),
        ("nan", "LOOK HERE"),
        ("1.05", "ok"),
    ]


def test_info_describes_partial_file_of_killed_run(killed: Path) -> None:
    page = describe(killed)
    assert page.startswith("duck.h5.partial: ")
    assert "not complete, 2 of 3 frames" in page
    assert "frames    2 of 3" in page
    assert 'put the duck in bowl 1" frame 1' in page
    assert "bowl 2" not in page
    assert "true actions in 1 of 2 frames" in page
    assert "checks    they are stored when a run ends well" in page
    assert "its run ended early, and the same command resumes it; it can be opened all the same:" in page
    assert "pi0-viewer duck.h5.partial" in page
    assert "h5py.File('duck.h5.partial', \"r\", swmr=True)" in page


def test_info_describes_file_being_written(tmp_path: Path) -> None:
    with ResultsWriter(tmp_path / "a.h5", SIZES, model=synthetic.MODEL, generator="test") as writer:
        page = describe(writer.partial_path)
        assert "not complete, 0 of 3 frames" in page
        assert "a run is still writing it" in page
        for number in range(SIZES.frames):
            writer.write(synthetic.make_frame(SIZES, number))
        writer.finish({})
    assert "checks    none were made" in describe(tmp_path / "a.h5")


def test_info_of_a_missing_file_names_its_partial_file(killed: Path) -> None:
    sentence = read_refusal(killed.with_name("duck.h5"))
    assert sentence.endswith(f"its run ended early; look at {killed}, which the same command resumes")


def test_info_of_a_file_just_begun_names_the_viewable_file(tmp_path: Path) -> None:
    file = PartialFile(tmp_path / "a.h5")
    try:
        assert "a run has begun to write it" in read_refusal(file.path)
        assert read_refusal(tmp_path / "a.h5").endswith(f"a run is still writing it; look at {file.path}")
    finally:
        file.close()
    assert "no run is writing it" in read_refusal(file.path)


def test_info_fits_one_screen_for_any_file(tmp_path: Path) -> None:
    cameras = tuple(f"camera_with_a_long_name_{number}" for number in range(5))
    sizes = replace(
        SIZES, frames=9, cameras=cameras, pictures=((9, 16),) * 5, layers=tuple(range(0, 40, 2)), steps=(0,)
    )
    with ResultsWriter(tmp_path / "a.h5", sizes, model={"name": "m" * 300}, generator="g" * 300) as writer:
        for number in range(9):
            change: schema.Frame = {
                schema.FRAMES_PROMPT: f"put {number} " + "very " * 50 + "slowly",
                schema.FRAMES_EPISODE: f"episode {number} " * 20,
            }
            writer.write(synthetic.make_frame(sizes, number) | change)
        writer.finish(dict.fromkeys((*GOOD, "of our own"), 1e9))
    lines = describe(tmp_path / "a.h5").splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100
    assert "          and 5 more" in lines


def test_info_escapes_terminal_control_characters(tmp_path: Path) -> None:
    change = {schema.FRAMES_PROMPT: "put\x1b[2Jthe\nduck\u202eback", schema.FRAMES_EPISODE: "\x07\x9b31m"}
    page = describe(write_results(tmp_path / "a.h5", **change))
    assert "put·[2Jthe·duck·back" in page
    assert all(line.isprintable() for line in page.splitlines())


def test_info_names_constant_prompt_once(tmp_path: Path) -> None:
    page = describe(write_results(tmp_path / "a.h5", **{schema.FRAMES_PROMPT: "wait", schema.FRAMES_EPISODE: ""}))
    assert 'prompts   "wait" frames 0 to 2\nwords' in page
    assert "frames    3, 0.00 to 0.13 s" in page


def test_info_names_full_float32_and_compressed_storage(tmp_path: Path) -> None:
    pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed")
    sizes = replace(SIZES, frames=1, full=True)
    with ResultsWriter(
        tmp_path / "a.h5", sizes, model=synthetic.MODEL, generator="test", weights="float32", compress=True
    ) as writer:
        writer.write(synthetic.make_frame(sizes, 0))
        writer.finish({})
    page = describe(tmp_path / "a.h5")
    assert "weights   float32, compressed: readers need hdf5plugin, rows of pictures, words and actions" in page
    assert "frames    1, from episode 7\n" in page


def test_info_describes_file_written_by_other_software(results: Path, tmp_path: Path) -> None:
    """With variable-length strings and roles as words, which the format allows."""
    with h5py.File(results) as ours, h5py.File(tmp_path / "theirs.h5", "w") as theirs:
        for name, value in ours.attrs.items():
            theirs.attrs[name] = value.decode() if isinstance(value, bytes) else value
        for dataset in list_datasets(SIZES):
            if dataset.kind == "str":
                theirs.create_dataset(dataset.name, data=ours[dataset.name].asstr()[()], dtype=h5py.string_dtype())
            elif dataset.kind == "role":
                words = np.array(schema.ROLES, dtype=object)[ours[dataset.name][()]]
                theirs.create_dataset(dataset.name, data=words, dtype=h5py.string_dtype())
            elif dataset.kind == "weight":
                theirs.create_dataset(dataset.name, data=ours[dataset.name][()], dtype="f4")
            else:
                theirs[dataset.name] = ours[dataset.name][()]
    assert describe(tmp_path / "theirs.h5").splitlines()[2:-4] == [
        line.replace("bfloat16, not", "float32, not") for line in describe(results).splitlines()[2:-4]
    ]


# What is refused


def read_refusal(path: Path) -> str:
    with pytest.raises(UserError) as error:
        describe(path)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert path.name in sentence
    return sentence


def test_info_refuses_file_that_is_no_results_file(tmp_path: Path) -> None:
    assert "does not exist" in read_refusal(tmp_path / "none.h5")
    assert "is a folder" in read_refusal(tmp_path)
    (tmp_path / "empty.h5").touch()
    assert "is empty" in read_refusal(tmp_path / "empty.h5")
    (tmp_path / "text.h5").write_text("hello " * 1000)
    assert "it is not HDF5" in read_refusal(tmp_path / "text.h5")
    (tmp_path / "early.h5.partial").write_bytes(bytes(5000))
    assert "holds no frame" in read_refusal(tmp_path / "early.h5.partial")
    os.mkfifo(tmp_path / "pipe.h5")
    assert "is not a file on a disk" in read_refusal(tmp_path / "pipe.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["data"] = 1
    assert "is an HDF5 file, but not a results file" in read_refusal(tmp_path / "foreign.h5")


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.99])
def test_info_refuses_truncated_file(copy: Path, share: float) -> None:
    os.truncate(copy, int(copy.stat().st_size * share))
    assert "is cut short; copy it again" in read_refusal(copy)


def test_newer_major_version_is_refused_and_newer_minor_accepted(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        file.attrs["format_version"] = [1, 7]
    assert describe(copy)
    with h5py.File(copy, "r+") as file:
        file.attrs["format_version"] = [2, 0]
    assert "is of format 2.0, and this version reads up to 1; install a newer pi0-attention" in read_refusal(copy)


def external_link(file: h5py.File, name: str, target: Path) -> None:
    file[name] = h5py.ExternalLink(str(target), name)


def soft_link(file: h5py.File, name: str, _: Path) -> None:
    file["copy"] = np.zeros(file_shape(name))
    file[name] = h5py.SoftLink("/copy")


def virtual_dataset(file: h5py.File, name: str, target: Path) -> None:
    layout = h5py.VirtualLayout(shape=file_shape(name), dtype="f8")
    layout[:] = h5py.VirtualSource(str(target), name, shape=file_shape(name))
    file.create_virtual_dataset(name, layout)


def external_storage(file: h5py.File, name: str, target: Path) -> None:
    file.create_dataset(name, file_shape(name), "f8", external=[(str(target), 0, h5py.h5f.UNLIMITED)])


def file_shape(name: str) -> tuple[int, ...]:
    return next(dataset.shape for dataset in list_datasets(SIZES) if dataset.name == name)


@pytest.mark.parametrize("point", [external_link, soft_link, virtual_dataset, external_storage])
def test_info_does_not_follow_external_storage(copy: Path, results: Path, point: Any) -> None:
    with h5py.File(copy, "r+") as file:
        del file[schema.FRAMES_TIME]
        point(file, schema.FRAMES_TIME, results)
    assert "frames/time" in read_refusal(copy)


def test_info_refuses_absurd_sizes(copy: Path) -> None:
    with h5py.File(copy, "r+") as file:
        del file[schema.FRAMES_PROMPT]
        file.create_dataset(schema.FRAMES_PROMPT, (3,), "S1000000000", chunks=(3,))
    assert "frames/prompt is too large" in read_refusal(copy)
    with h5py.File(copy, "r+") as file:
        file[schema.FRAMES_DONE][()] = 10**12
    assert "claims 1000000000000 finished frames of 3" in read_refusal(copy)


@pytest.mark.parametrize("name", ["checks", "model", "cameras", "layers"])
def test_info_refuses_attributes_of_wrong_type(copy: Path, name: str) -> None:
    with h5py.File(copy, "r+") as file:
        file.attrs[name] = json.dumps([1, "{"])
    assert "is damaged" in read_refusal(copy)
    with h5py.File(copy, "r+") as file:
        del file.attrs[name]
    assert "is damaged" in read_refusal(copy)


@pytest.mark.parametrize("seed", range(20))
def test_info_of_damaged_file_is_page_or_error(results: Path, killed: Path, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    source = dice.choice([results, killed])
    data = bytearray(source.read_bytes())
    dense = [n for n in range(0, len(data) - 64, 64) if data[n : n + 4] in (b"OHDR", b"OCHK", b"FADB", b"FAHD")]
    for _ in range(dice.randint(1, 8)):  # most damage hits headers: pictures and weights have no structure to break
        offset = dice.choice(dense) + dice.randrange(300) if dice.random() < 0.7 else dice.randrange(len(data))
        data[min(offset, len(data) - 1)] ^= 1 << dice.randrange(8)
    path = tmp_path / source.name
    path.write_bytes(data)
    try:
        assert describe(path).startswith(path.name)
    except UserError as error:
        assert path.name in str(error)


def test_file_that_hangs_or_kills_its_reader_gives_one_sentence(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serving = "from capture import watched_process; watched_process.serve(lambda path, note_progress: {})"
    monkeypatch.setattr(progress_clock, "STALL_SECONDS", 0.3)
    monkeypatch.setattr(capture.cli.info.describe, "_CHILD", serving.replace("{}", "__import__('time').sleep(600)"))
    assert "is damaged: reading it came to no end" in read_refusal(results)
    monkeypatch.setattr(progress_clock, "STALL_SECONDS", 60.0)
    working_for_ever = serving.replace("{}", "sum(iter(int, 1))")
    monkeypatch.setattr(capture.cli.info.describe, "_CHILD", working_for_ever)
    assert "is damaged: reading it came to no end" in read_refusal(results)
    monkeypatch.setattr(capture.cli.info.describe, "_CHILD", "import os; os.abort()")
    assert "is damaged: reading it failed" in read_refusal(results)


@pytest.mark.parametrize("flags", [0, superblock.WRITER, 5])
def test_torn_file_of_a_killed_run_is_refused_without_a_wait(killed: Path, tmp_path: Path, flags: int) -> None:
    """HDF5's SWMR mode sleeps for minutes on this file."""
    content = bytearray(killed.read_bytes())
    content[4096:40_000] = bytes(40_000 - 4096)
    content[11] = flags
    content[44:48] = superblock.checksum(bytes(content[:44])).to_bytes(4, "little")
    (tmp_path / "torn.h5.partial").write_bytes(content)
    assert "torn.h5.partial" in read_refusal(tmp_path / "torn.h5.partial")


def test_info_does_not_import_torch() -> None:
    code = "import sys, capture.cli.info.describe; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_modules_in_current_folder_are_not_imported(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (copy.parent / "h5py.py").write_text("raise SystemExit('hijacked')")
    (copy.parent / "json.py").write_text("raise SystemExit('hijacked')")
    monkeypatch.chdir(copy.parent)
    assert describe(Path("duck.h5")).startswith("duck.h5: ")
