"""`pi0-capture preview`: a contact sheet of every kind of source, with the policy's own pictures in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from episode_files import npz_arrays, write_droid, write_lerobot, write_libero
from paths import ROOT
from PIL import Image

from capture.__main__ import main
from capture.checkpoints.load import Checkpoint
from capture.cli.preview import preview as preview_module
from capture.cli.preview.preview import choose_moments
from capture.cli.setup import open_chosen_source
from capture.datasets.images import read_picture
from capture.observation import Observation
from capture.policies.letterbox import resize_pil

DEMO = ROOT / "resources" / "demo"


def pixels(path: Path) -> np.ndarray:
    """Return a PNG as (height, width, 3) uint8."""
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def find_pixels(sheet: np.ndarray, picture: np.ndarray) -> list[tuple[int, int]]:
    """Return every place (row, column) at which the sheet has exactly the picture's pixels."""
    height, width = picture.shape[:2]
    rows = [row.tobytes() for row in sheet]
    middle = picture[height // 2].tobytes()
    positions = []
    for y in range(len(rows) - height + 1):
        start = rows[y + height // 2].find(middle)
        while start >= 0:
            x = start // 3
            if start % 3 == 0 and np.array_equal(sheet[y : y + height, x : x + width], picture):
                positions.append((y, x))
            start = rows[y + height // 2].find(middle, start + 1)
    return positions


def preview(tmp_path: Path, *options: str) -> np.ndarray:
    """Run the command with the demo policy and return the pixels of its sheet."""
    target = tmp_path / "sheet.png"
    target.unlink(missing_ok=True)
    assert main(["preview", "--checkpoint", str(DEMO), *options, "-o", str(target)]) == 0
    assert [path.name for path in tmp_path.glob(".sheet*")] == []
    return pixels(target)


def read_observations(options: list[str], frames: list[int]) -> list[Observation]:
    """Return the observations that a capture with these options reads."""
    import torch

    from capture.checkpoints import Pi05Spec, open_checkpoint
    from capture.cli.parser import build_parser
    from capture.pipeline.planning.setup import RunOptions, Setup
    from capture.policies.tokenizer import find_tokenizer

    checkpoint = open_checkpoint(DEMO)
    spec = Pi05Spec(checkpoint, find_tokenizer(None, checkpoint.tokenizer_folder))
    setup = Setup(spec, RunOptions(torch.device("cpu"), torch.float32), "")
    arguments = build_parser("x").parse_args(["--checkpoint", str(DEMO), *options])
    return list(open_chosen_source(arguments, setup, arguments.episode or arguments.dataset).episodes[0].read(frames))


def write_source(kind: str, folder: Path) -> list[str]:
    """Write a source of a kind and return the options that show it."""
    if kind == "DROID":
        return ["--episode", str(write_droid(folder / "droid", 6))]
    if kind == "LeRobot":
        return ["--dataset", str(write_lerobot(folder / "set", (6, 4))), "--action-keys", "none"]
    if kind == "LIBERO":
        return ["--dataset", str(write_libero(folder / "LIBERO" / "put_the_bowl_demo.hdf5")), "--action-keys", "none"]
    if kind == "robomimic":
        path = write_libero(folder / "robomimic" / "lift.hdf5", libero=False, convention=None)
        return ["--dataset", str(path), "--action-keys", "none", "--prompt", "lift the cube"]
    if kind == "folder":
        return ["--episode", str(DEMO / "episodes" / "bowl")]
    np.savez(folder / "a.npz", **npz_arrays())
    return ["--episode", str(folder / "a.npz"), "--action-keys", "none"]


@pytest.mark.parametrize("kind", ["DROID", "LeRobot", "LIBERO", "robomimic", "folder", "npz"])
def test_sheet_holds_the_policys_pictures_of_the_first_middle_and_last_frame(kind: str, tmp_path: Path) -> None:
    options = write_source(kind, tmp_path)
    sheet = preview(tmp_path, *options)
    shown = read_observations(options, [0, 3, 5])
    below = 0
    for observation in shown:
        assert observation.is_upside_down == (kind == "LIBERO")
        left = 0
        for camera in ("exterior", "wrist"):
            picture = observation.pictures[camera]
            upright = picture[::-1, ::-1] if observation.is_upside_down else picture
            positions = [
                position
                for position in find_pixels(sheet, resize_pil(np.ascontiguousarray(upright)))
                if position[0] >= below
            ]
            assert positions, f"{camera} of frame {observation.index}"
            row, column = positions[0]
            assert column > left
            left = column
        below = row + 1


def test_sheet_is_deterministic_and_shows_a_swapped_camera(tmp_path: Path) -> None:
    source = str(write_droid(tmp_path / "droid", 3))
    first = preview(tmp_path, "--episode", source)
    assert np.array_equal(first, preview(tmp_path, "--episode", source))
    swapped = ["--camera", "exterior=wrist_image_left", "--camera", "wrist=exterior_image_1_left"]
    second = preview(tmp_path, "--episode", source, *swapped)
    (observation,) = read_observations(["--episode", source], [2])
    exterior, wrist = (resize_pil(observation.pictures[camera]) for camera in ("exterior", "wrist"))
    assert not np.array_equal(exterior, wrist)
    assert find_pixels(first, exterior)[-1][1] < find_pixels(first, wrist)[-1][1]
    assert find_pixels(second, exterior)[-1][1] > find_pixels(second, wrist)[-1][1]


def test_sheet_shows_turned_pictures_turned(pictures: Path, tmp_path: Path) -> None:
    arguments = ["--exterior", str(pictures / "exterior.png"), "--prompt", "go", "--state", "0,0,0,0,0,0,0,0"]
    upright = resize_pil(read_picture(pictures / "exterior.png"))
    turned = resize_pil(np.ascontiguousarray(read_picture(pictures / "exterior.png")[::-1, ::-1]))
    plain = preview(tmp_path, *arguments)
    assert len(find_pixels(plain, upright)) == 1
    assert not find_pixels(plain, turned)
    upside_down = preview(tmp_path, *arguments, "--turned", "yes")
    assert len(find_pixels(upside_down, turned)) == 1
    assert not find_pixels(upside_down, upright)


def test_masked_slot_is_hatched_and_hostile_text_changes_no_width(pictures: Path, tmp_path: Path) -> None:
    arguments = ["--exterior", str(pictures / "exterior.png"), "--state", "0,0,0,0,0,0,0,0"]
    short = preview(tmp_path, *arguments, "--prompt", "go")
    long = preview(tmp_path, *arguments, "--prompt", "<b>\u202e" + "x" * 3000 + " \u628a" * 40)
    assert short.shape[1] == long.shape[1]
    (row, column) = find_pixels(short, resize_pil(read_picture(pictures / "exterior.png")))[0]
    size = 224
    hatched = short[row : row + size, column + size + 16 : column + 2 * size + 16]
    colours = {tuple(color) for color in hatched.reshape(-1, 3).tolist()}
    assert {(0x23, 0x26, 0x2E), (0x2B, 0x2F, 0x38)} <= colours
    assert (0, 0, 0) not in colours


def test_preview_reads_no_weights_and_dry_run_draws_the_same(command, tmp_path, monkeypatch, capsys) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("weights were read")

    monkeypatch.setattr(Checkpoint, "load", refuse)
    monkeypatch.setattr(Checkpoint, "fingerprint", refuse, raising=False)
    assert main(["preview", *command, "--prompt", "go", "-o", str(tmp_path / "a.png")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'a.png'}: what pi05_small would be shown in frame 0\n"
    assert main([*command, "--prompt", "go", "--dry-run", "--preview", str(tmp_path / "b.png")]) == 0
    page = capsys.readouterr().out
    assert page.startswith("pi05_small (openpi checkpoint)\n")
    assert page.endswith(f"{tmp_path / 'b.png'}: what pi05_small would be shown in frame 0\n")
    assert np.array_equal(pixels(tmp_path / "a.png"), pixels(tmp_path / "b.png"))


def test_frames_of_several_episodes_are_named_with_their_episode(tmp_path: Path, monkeypatch, capsys) -> None:
    sheets = []
    draw = preview_module.draw_sheet
    monkeypatch.setattr(preview_module, "draw_sheet", lambda sheet: sheets.append(sheet) or draw(sheet))
    assert main(["preview", "--demo", "-o", str(tmp_path / "a.png")]) == 0
    names = "frame 0 of episode bowl, frame 1 of episode duck, frame 3 of episode mug"
    assert capsys.readouterr().out == f"{tmp_path / 'a.png'}: what demo would be shown in {names}\n"
    titles = [frame.title for frame in sheets[0].frames]
    assert titles == [f"{name}, frame {n} of the episode" for name, n in (("bowl", 0), ("duck", 1), ("mug", 3))]
    assert [frame.details.partition(" · ")[2] for frame in sheets[0].frames] == [
        "the first of the results file",
        "in the middle of the results file",
        "the last of the results file",
    ]


@pytest.mark.parametrize("damaged", ["missing", "undecodable"])
def test_preview_of_a_data_set_skips_an_unreadable_episode(damaged: str, tmp_path: Path, capsys) -> None:
    for name in ("first", "second"):
        shutil.copytree(DEMO / "episodes" / "bowl", tmp_path / "set" / name)
    picture = tmp_path / "set" / "first" / "exterior_00.jpg"
    assert picture.is_file()
    if damaged == "missing":
        picture.unlink()
    else:  # the header, and with it the size, can be read
        picture.write_bytes(picture.read_bytes()[:700])
    options = ["--dataset", str(tmp_path / "set"), "-o", str(tmp_path / "a.png")]
    assert main(["preview", "--checkpoint", str(DEMO), *options]) == 0
    captured = capsys.readouterr()
    assert captured.out.endswith("would be shown in frames 0, 3 and 5 of episode second\n")
    assert "warning: episode first cannot be shown, and second is shown instead: " in captured.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["preview", "--demo"], "no picture was named; add -o PNG, such as -o preview.png"),
        (["preview", "--demo", "-o", "there.jpg"], "there.jpg is no name for a preview, which is a PNG; call it there.png"),
        (["preview", "--demo", "-o", "none/a.png"], "the folder none does not exist; create it first"),
        (["preview", "--demo", "-o", "there.png"], "there.png exists and is left as it is"),
        (["preview", "--demo", "-o", "a.png", "--preview", "b.png"], "writes its PNG to -o; leave --preview out"),
        (["--demo", "-o", "a.h5", "--preview", "b.png"], "--preview draws what would be captured and captures nothing"),
        (["--demo", "--dry-run", "--preview", "there.png"], "there.png exists and is left as it is"),
    ],
)  # fmt: skip
def test_unsuitable_output_names_are_refused(options, message, tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.png").write_bytes(b"mine")
    assert main(options) == 2
    error = capsys.readouterr().err.splitlines()
    assert message in error[-1]
    assert Path("there.png").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.png"]


def test_preview_never_replaces_an_input(pictures: Path, tmp_path: Path, capsys) -> None:
    picture = tmp_path / "exterior.png"
    picture.write_bytes((pictures / "exterior.png").read_bytes())
    arguments = ["--exterior", str(picture), "--prompt", "go", "--state", "0,0,0,0,0,0,0,0", "--overwrite"]
    assert main(["preview", "--checkpoint", str(DEMO), *arguments, "-o", str(picture)]) == 2
    assert "is an input of this run; name another PNG" in capsys.readouterr().err
    assert picture.read_bytes() == (pictures / "exterior.png").read_bytes()


def test_overwrite_replaces_an_existing_sheet(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"old")
    assert main(["preview", "--demo", "--overwrite", "-o", str(tmp_path / "a.png")]) == 0
    assert pixels(tmp_path / "a.png").shape[2] == 3


@pytest.mark.parametrize(
    ("count", "expected"), [(1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 2, 3]), (301, [0, 150, 300])]
)
def test_first_middle_and_last_moment_are_chosen_once(count: int, expected: list[int]) -> None:
    assert choose_moments(count) == expected
