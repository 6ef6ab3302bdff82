"""`pi0-capture sources`: episodes, mapping of their data, damage, and the suggested next command."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("av", reason="the files of episodes are written with the extra [datasets]")

from episode_files import (
    npz_arrays,
    picture,
    truncate,
    write_droid,
    write_lerobot,
    write_libero,
    write_video,
    write_videos,
)

from capture.__main__ import main
from capture.cli import sources
from capture.errors import UserError


def describe(path, *arguments, **options):
    return sources.describe(path, *arguments, **options).text


def read_section(page, label):
    """The lines behind a label."""
    lines = page.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{label:<9} "))
    section = [lines[first][10:]]
    for line in lines[first + 1 :]:
        if not line.startswith(" " * 10) or not line.strip():
            break
        section.append(line[10:])
    return section


def test_sources_of_one_episode_fits_one_screen(tmp_path, capsys):
    folder = write_droid(tmp_path / "one", 20)
    assert main(["sources", str(folder)]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"DROID episode: {folder}\n")
    assert read_section(page, "episodes") == [
        "1 of 20 frames, at 15 frames a second",
        "it ended well",
        "no fault was found: the last frame of each was read",
    ]
    assert read_section(page, "cameras")[0] == "exterior_image_1_left, 80 x 32"
    assert read_section(page, "prompts") == ['"Move the duck"']
    assert [line.split(" (")[0] for line in read_section(page, "mapped")[:2]] == [
        "exterior camera: exterior_image_1_left",
        "wrist camera: wrist_image_left",
    ]
    assert "joint_velocity (7)" in read_section(page, "actions")[0]
    assert read_section(page, "next")[0].startswith("pi0-capture --checkpoint FOLDER --episode ")
    assert re.search(r"^ +0  one +20 +1\.3  well +Move the duck$", page, re.M)


def test_sources_names_a_missing_picture_of_a_frame_that_is_not_read(tmp_path):
    frames = [{"pictures": {"exterior": f"e{i}.png", "wrist": f"w{i}.png"}, "state": [0.0]} for i in range(4)]
    (tmp_path / "episode.json").write_text(json.dumps({"prompt": "go", "rate": 5, "frames": frames}))
    for number in range(4):
        for name in "ew":
            Image.fromarray(picture(number)).save(tmp_path / f"{name}{number}.png")
    assert read_section(describe(tmp_path), "episodes")[-1] == "no fault was found: the last frame of each was read"
    (tmp_path / "w1.png").unlink()
    (tmp_path / "e2.png").unlink()
    page = describe(tmp_path)
    [line] = read_section(page, "broken")
    assert line.endswith(f"the picture {tmp_path / 'w1.png'} of frame 1 does not exist, and 1 more")
    assert read_section(page, "episodes")[-1] == "1 can only be used without frames whose files are missing (--frames)"
    assert sources.describe(tmp_path).is_broken


def test_next_command_names_no_broken_episode(tmp_path):
    for name in "abcd":
        np.savez(tmp_path / f"{name}.npz", **npz_arrays(1))
    (tmp_path / "c.npz").write_bytes(b"torn")
    page = describe(tmp_path)
    assert read_section(page, "episodes")[0] == "3 of 1 frame each, 3 in all, at 10 frames a second"
    assert "--episodes 0-1,3 " in read_section(page, "next")[0]


def test_sources_of_500_episodes_fits_one_screen(tmp_path):
    page = describe(write_libero(tmp_path / "a_demo.hdf5", (2, 3) * 250))
    assert len(page.splitlines()) < 40
    assert read_section(page, "episodes")[0] == "500 of 2 to 3 frames each, 1250 in all, at 25 frames a second"
    assert read_section(page, "episodes")[1] == "499 ended well, 1 did not"
    assert "… and 488 more" in page
    assert "180 degrees" in read_section(page, "mapped")[-1]
    assert "--episodes 0-9 " in read_section(page, "next")[0]


def test_sources_lists_unusable_episodes_with_reason(tmp_path):
    folder = write_lerobot(tmp_path / "set", (3, 3, 3, 3), version="2.1")
    truncate(folder / "videos/chunk-000/observation.images.image/episode_000001.mp4")
    (folder / "videos/chunk-000/observation.images.image2/episode_000002.mp4").unlink()
    page = describe(folder)
    assert read_section(page, "episodes")[0].startswith("2 of 3 frames each, 6 in all")
    assert read_section(page, "episodes")[-1] == "2 cannot be used"
    broken = read_section(page, "broken")
    assert len(broken) == 2
    assert any(line.startswith("episode_000001: the video ") and "cut off" in line for line in broken)
    assert any(line.startswith("episode_000002: the video of wrist, ") and "missing" in line for line in broken)
    assert "--episodes 0,3 " in read_section(page, "next")[0]
    truncate(folder / "videos/chunk-000/observation.images.image/episode_000003.mp4")
    page = describe(folder)
    assert read_section(page, "prompts") == ['"pick up the duck"']  # the other task's episodes are all broken
    assert "--episodes 0 " in read_section(page, "next")[0]


def test_sources_lists_unknown_cameras(tmp_path):
    cameras = ("observation.images.front", "observation.images.side")
    page = describe(write_lerobot(tmp_path / "set", (3,), codec=None, cameras=cameras))
    assert read_section(page, "cameras") == ["front, 80 x 32", "side, 80 x 32"]
    assert "choose one of front, side with --camera" in read_section(page, "mapped")[0]
    assert '--camera "exterior=NAME"' in read_section(page, "next")[0]


def test_sources_maps_two_arms(tmp_path):
    cameras = tuple(f"observation.images.{name}" for name in ("cam_high", "cam_left_wrist", "cam_right_wrist"))
    page = describe(write_lerobot(tmp_path / "set", (3,), codec=None, cameras=cameras))
    assert [line.split(" (")[0] for line in read_section(page, "mapped")[:3]] == [
        "exterior camera: cam_high",
        "wrist camera: cam_left_wrist",
        "right wrist camera: cam_right_wrist",
    ]


def test_sources_escapes_terminal_control_characters(tmp_path):
    page = describe(write_videos(tmp_path / "duck", prompt="red \x1b[31m\nlines"))
    assert "\x1b" not in page
    assert read_section(page, "prompts") == ['"red ·[31m·lines"']


def test_sources_without_prompt_suggests_prompt_option(tmp_path):
    page = describe(write_videos(tmp_path / "a folder", prompt=None))
    assert read_section(page, "prompts") == ["none; give one with --prompt"]
    assert "--episode '" in read_section(page, "next")[0]
    assert '--prompt "…"' in read_section(page, "next")[0]


@pytest.mark.parametrize("blank", ["", " \n"])
def test_blank_prompt_counts_as_missing(tmp_path, blank):
    for name, prompt in (("a", blank), ("b", "lift the duck")):
        np.savez(tmp_path / f"{name}.npz", **(npz_arrays(1) | {"prompt": np.array(prompt)}))
    page = describe(tmp_path)
    assert read_section(page, "prompts") == [
        '"lift the duck"',
        "none, or not in every frame: a; give one with --prompt",
    ]
    assert "--episodes 1 " in read_section(page, "next")[0]
    assert "--prompt" not in read_section(page, "next")[0]
    assert re.search(r"^ +0  a +1 .*none$", page, re.M)
    page = describe(tmp_path / "a.npz")
    assert read_section(page, "prompts") == ["none; give one with --prompt"]
    assert '--prompt "…"' in read_section(page, "next")[0]


def test_sources_reports_source_without_usable_episode(tmp_path, capsys):
    folder = write_lerobot(tmp_path / "set", (3,))
    shutil.rmtree(folder / "data")
    assert main(["sources", str(folder)]) == 2
    assert re.fullmatch(
        r"pi0-capture: none of the 1 episodes of .*set can be used: its data, .* is missing\n", capsys.readouterr().err
    )
    with pytest.raises(UserError, match="does not exist"):
        describe(tmp_path / "none")


def test_listing_needs_no_torch(tmp_path):
    folder = write_droid(tmp_path / "one", 3)
    code = "import sys; sys.modules['torch'] = None; from capture.__main__ import main; sys.exit(main(sys.argv[1:]))"
    completed = subprocess.run([sys.executable, "-c", code, "sources", str(folder)], capture_output=True, text=True)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert completed.stdout.startswith("DROID episode")


FRONT = ("observation.images.front", "observation.images.top")


def test_sources_reads_videos_of_unknown_cameras(tmp_path, capsys):
    folder = write_lerobot(tmp_path / "set", (3, 3), version="2.1", cameras=FRONT)
    assert main(["sources", str(folder)]) == 0
    truncate(folder / "videos/chunk-000/observation.images.top/episode_000001.mp4")
    capsys.readouterr()
    assert main(["sources", str(folder)]) == 1
    page = capsys.readouterr().out
    assert read_section(page, "episodes")[-1] == "1 cannot be used"
    (broken,) = read_section(page, "broken")
    assert re.match(r"episode_000001: the video .*top/episode_000001\.mp4 cannot be read", broken)
    assert "--episode" in read_section(page, "next")[0]


def test_sources_reads_chosen_cameras_and_names_them_in_the_next_command(tmp_path, capsys):
    folder = write_lerobot(tmp_path / "set", (3, 3), version="2.1", cameras=FRONT)
    assert main(["sources", str(folder), "--camera", "exterior=front", "--camera", "wrist=none"]) == 0
    page = capsys.readouterr().out
    assert read_section(page, "mapped")[0] == "exterior camera: front (by --camera)"
    assert "--camera exterior=front --camera wrist=none " in read_section(page, "next")[0]
    assert main(["sources", str(folder), "--camera", "exterior=side"]) == 0
    assert "there is no camera 'side'" in read_section(capsys.readouterr().out, "mapped")[0]
    assert main(["sources", str(folder), "--camera", "exterior=front", "--camera", "exterior=top"]) == 2
    assert "camera is given twice" in capsys.readouterr().err


def test_sources_reads_cameras_that_a_run_does_not_need(tmp_path):
    cameras = ("observation.images.image", "observation.images.image2", "observation.images.side")
    folder = write_lerobot(tmp_path / "set", (3, 3), version="2.1", cameras=cameras)
    truncate(folder / "videos/chunk-000/observation.images.side/episode_000000.mp4")
    report = sources.describe(folder)
    assert report.is_broken
    assert read_section(report.text, "episodes")[-2:] == [
        "2 of 3 frames each, 6 in all, at 10 frames a second",
        "1 can only be used without a camera that cannot be read",
    ]
    (broken,) = read_section(report.text, "broken")
    assert re.match(r"episode_000000: .*side/episode_000000\.mp4 ", broken)


@pytest.mark.parametrize("read_all", [False, True])
def test_sources_opens_later_episodes_and_reads_all_on_request(tmp_path, monkeypatch, read_all):
    monkeypatch.setattr(sources, "READ", 1)
    folder = write_lerobot(tmp_path / "set", (30, 30, 30), version="2.1", movflags="faststart", g="1")
    (folder / "videos/chunk-000/observation.images.image/episode_000001.mp4").write_bytes(b"")
    truncate(folder / "videos/chunk-000/observation.images.image/episode_000002.mp4", 0.9)
    report = sources.describe(folder, read_all=read_all)
    broken = read_section(report.text, "broken")
    assert broken[0].startswith("episode_000001: ")
    assert len(broken) == 1 + read_all
    assert ("headers of the others; --all reads all" in report.text) is not read_all


def test_sources_notes_what_is_left_out(tmp_path, capsys):
    folder = write_droid(tmp_path / "one", 20, metadata={"trajectory_length": 21})
    write_video(folder / "recordings/MP4/13062452.mp4", [picture(number) for number in range(19)])
    assert main(["sources", str(folder)]) == 0
    page = capsys.readouterr().out
    assert read_section(page, "episodes")[0] == "1 of 19 frames, at 15 frames a second"
    assert read_section(page, "noted") == [
        "one: frames: 0 to 18; 19 is left out (the exterior camera has 20, the wrist camera has 19, trajectory.h5 has "
        "20 frames)",
        "one: rows of the episode: 20 by trajectory.h5 (the metadata state 21)",
    ]


def test_sources_asks_about_pictures_that_may_be_upside_down(tmp_path, capsys):
    path = write_libero(tmp_path / "x.hdf5", libero=False, has_attributes=False)
    assert main(["sources", str(path)]) == 0
    assert "add --turned yes" in read_section(capsys.readouterr().out, "mapped")[0]
    assert main(["sources", str(path), "--turned", "yes"]) == 0
    page = capsys.readouterr().out
    assert read_section(page, "mapped")[-1] == "turn of the pictures: by 180 degrees (by --turned yes)"
    assert "--turned yes" in read_section(page, "next")[0]
