"""Pictures that are stored turned or mirrored are shown upright: EXIF, and display matrices of videos."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from decisions import choices_by_subject
from PIL import Image

pytest.importorskip("av", reason="videos need the extra [datasets]")

from episode_files import (
    DISPLAY_MATRICES,
    picture,
    set_display_matrix,
    store_turned,
    write_droid,
    write_lerobot,
    write_video,
    write_videos,
)

from capture.datasets.base import SourceOptions
from capture.datasets.images import decode_picture, picture_outline, read_picture, turn_upright
from capture.datasets.registry import open_source
from capture.datasets.video import Video, read_outline, to_orientation
from capture.errors import UserError

SHOWN = picture(77, height=96, width=128, tint=2)
SHOWN[:12, :12] = (230, 20, 20)
BOTH = SourceOptions(("exterior", "wrist"), 4)


@pytest.mark.parametrize("orientation", DISPLAY_MATRICES)
def test_turn_upright_agrees_with_pillow(orientation):
    stored = store_turned(SHOWN, orientation)
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "PNG", exif=exif)
    assert np.array_equal(turn_upright(stored, orientation), SHOWN)
    assert np.array_equal(decode_picture(file.getvalue(), "x"), SHOWN)
    assert picture_outline(file.getvalue(), "x") == (96, 128, orientation)


@pytest.mark.parametrize("codec", ["libx264", "libx265", "libsvtav1", "mpeg4"])
@pytest.mark.parametrize("orientation", DISPLAY_MATRICES)
def test_display_matrix_of_a_video_equals_exif_of_a_picture(tmp_path, codec, orientation):
    stored = store_turned(SHOWN, orientation)
    path = write_video(tmp_path / "a.mp4", [stored] * 3, codec=codec)
    set_display_matrix(path, *DISPLAY_MATRICES[orientation])
    outline = read_outline(path)
    assert (outline.height, outline.width, outline.orientation) == (96, 128, orientation)
    with Video(path) as video:
        for picture in video.pictures([0.0, 2 / 15], 0.01):
            assert picture.flags.c_contiguous
            assert picture.shape == SHOWN.shape
            assert np.abs(picture.astype(int) - SHOWN).mean() < 12


def test_orientation_of_other_containers_comes_from_the_frame(tmp_path):
    """FFmpeg's bitstream has the same matrix in H.264's own message, which lies in no header of the container."""
    import av

    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        if not hasattr(stream, "set_display_rotation"):
            pytest.skip("this PyAV writes no display matrix")
        stream.height, stream.width, stream.pix_fmt = 96, 128, "yuv420p"
        stream.set_display_rotation(-90)
        container.mux(stream.encode(av.VideoFrame.from_ndarray(SHOWN, format="rgb24")))
        container.mux(stream.encode())
    with av.open(str(path)) as container:
        expected = next(container.decode(video=0)).rotation
    assert expected == -90
    assert (read_outline(path).height, read_outline(path).orientation) == (128, 6)


@pytest.mark.parametrize(
    ("matrix", "orientation"),
    [
        ((0.9999, 0.005, -0.005, 0.9999), 1),
        ((2, 0, 0, 1), 1),  # scaled, as for pixels that are not square
        ((0.7071, 0.7071, -0.7071, 0.7071), None),
        ((0.866, 0.5, -0.5, 0.866), None),
        ((0, 0, 0, 0), None),
    ],
)
def test_to_orientation_takes_quarter_turns_only(matrix, orientation):
    a, b, c, d = (round(value * 65536) for value in matrix)
    assert to_orientation(np.array([a, b, 0, c, d, 0, 0, 0, 1 << 30], np.int32)) == orientation


def test_video_turned_by_an_odd_angle_is_refused(tmp_path):
    path = set_display_matrix(write_video(tmp_path / "a.mp4", [SHOWN] * 2), 0.866, 0.5, -0.5, 0.866)
    with pytest.raises(UserError, match="turned by an angle other than 90, 180 or 270 degrees; convert it"):
        read_outline(path)
    with Video(path) as video, pytest.raises(UserError, match="angle other than"):
        next(video.pictures([0.0], 0.01))


def test_turned_video_of_a_folder_is_shown_upright(tmp_path):
    folder = write_videos(tmp_path / "duck")
    set_display_matrix(folder / "exterior.mp4", *DISPLAY_MATRICES[6])
    (episode,) = open_source(folder, BOTH).episodes
    assert dict(episode.shapes) == {"exterior": (80, 32), "wrist": (32, 80)}
    (observation,) = episode.read([5])
    upright = next(iter(open_source(write_videos(tmp_path / "plain"), BOTH).episodes[0].read([5])))
    assert np.array_equal(observation.pictures["exterior"], np.rot90(upright.pictures["exterior"], -1))
    assert np.array_equal(observation.pictures["wrist"], upright.pictures["wrist"])
    decisions = {decision.subject: decision for decision in episode.frame_decisions([5])}
    assert decisions["orientation of the exterior pictures"].sentence == (
        "orientation of the exterior pictures: turned by 90 degrees clockwise (by the display matrix of exterior.mp4)"
    )
    assert "orientation of the wrist pictures" not in decisions


@pytest.mark.parametrize("version", ["2.1", "3.0"])
def test_lerobot_videos_are_shown_upright(tmp_path, version):
    folder = write_lerobot(tmp_path / "set", (4,), version=version)
    for path in folder.glob("videos/**/*.mp4"):
        set_display_matrix(path, *DISPLAY_MATRICES[8])
    (episode,) = open_source(folder, BOTH).episodes
    assert dict(episode.shapes) == {"exterior": (80, 32), "wrist": (80, 32)}
    (observation,) = episode.read([2])
    assert observation.pictures["wrist"].shape == (80, 32, 3)
    assert choices_by_subject(episode.frame_decisions([2]))["orientation of the wrist pictures"] == (
        "turned by 90 degrees anticlockwise"
    )


def test_droid_videos_are_shown_upright(tmp_path):
    folder = write_droid(tmp_path / "one", 4)
    set_display_matrix(folder / "recordings/MP4/13062452.mp4", *DISPLAY_MATRICES[3])
    (episode,) = open_source(folder, BOTH).episodes
    (observation,) = episode.read([1])
    (upright,) = open_source(write_droid(tmp_path / "two", 4), BOTH).episodes[0].read([1])
    assert np.array_equal(observation.pictures["wrist"], upright.pictures["wrist"][::-1, ::-1])
    assert (
        choices_by_subject(episode.frame_decisions([1]))["orientation of the wrist pictures"] == "turned by 180 degrees"
    )


def test_turned_pictures_are_decisions(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 7
    Image.fromarray(SHOWN).save(tmp_path / "a.jpg", exif=exif)
    frames = [{"pictures": {"exterior": "a.jpg", "wrist": "a.jpg"}}]
    (tmp_path / "episode.json").write_text(json.dumps({"prompt": "go", "frames": frames}))
    (episode,) = open_source(tmp_path, BOTH).episodes
    assert read_picture(tmp_path / "a.jpg").shape == (128, 96, 3)
    assert dict(episode.shapes)["wrist"] == (128, 96)
    assert choices_by_subject(episode.frame_decisions([0]))["orientation of the wrist pictures"] == (
        "mirrored left to right and turned by 90 degrees clockwise"
    )
