"""Video decoding: any ascending choice of frames equals a full decode, for every codec and group of pictures."""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("av", reason="videos need the extra [datasets]")

import av
import numpy as np
from episode_files import picture, read_number, write_video

from capture.datasets.camera_frames import VideoFile
from capture.datasets.video import Video
from capture.errors import UserError

FRAMES = 150
KINDS = {
    "h264": {"codec": "libx264", "g": "12", "bf": "3"},
    "h264 one group": {"codec": "libx264", "g": "999", "bf": "2"},
    "h264 open groups": {"codec": "libx264", "g": "10", "bf": "3", "x264-params": "open-gop=1"},
    "av1": {"codec": "libsvtav1", "g": "20"},
    "mpeg4": {"codec": "mpeg4", "g": "12", "qscale": "2"},
}


@functools.cache
def folder():
    return tempfile.TemporaryDirectory()


@functools.cache
def video(kind):
    path = Path(folder().name) / f"{kind}.mp4"
    return write_video(path, [picture(number) for number in range(FRAMES)], rate=15, **KINDS[kind])


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_of_all_frames_are_in_order(kind):
    file = VideoFile(video(kind))
    assert file.length() == FRAMES
    assert file.size() == (32, 80)
    assert [read_number(picture) for picture in file.pictures(range(FRAMES))] == list(range(FRAMES))


@settings(max_examples=25)
@given(kind=st.sampled_from(sorted(KINDS)), frames=st.sets(st.integers(0, FRAMES - 1), max_size=12))
def test_pictures_of_any_choice_equal_those_of_all_frames(kind, frames):
    assert [read_number(picture) for picture in VideoFile(video(kind)).pictures(sorted(frames))] == sorted(frames)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.4])
def test_pictures_at_a_time_is_the_nearest_frame(kind, shift):
    with Video(video(kind)) as opened:
        assert opened.rate == 15.0
        assert opened.end == pytest.approx(FRAMES / 15)
        for frame in (0, 1, 74, FRAMES - 1):
            (picture,) = opened.pictures([(frame + shift) / 15], 0.49 / 15)
            assert read_number(picture) == frame


def test_pictures_reports_a_time_without_a_frame():
    with Video(video("h264")) as opened:
        for time in (FRAMES / 15, 99.0, 0.5 / 15):
            with pytest.raises(UserError, match="has no frame at"):
                list(opened.pictures([time], 0.3 / 15))


def test_pictures_seeks_instead_of_decoding_far_frames(monkeypatch):
    decoded = []
    original = Video._decode

    def counted(self):
        for frame in original(self):
            decoded.append(frame[0])
            yield frame

    monkeypatch.setattr(Video, "_decode", counted)
    assert [read_number(picture) for picture in VideoFile(video("h264")).pictures([0, 70, 140])] == [0, 70, 140]
    assert len(decoded) < 60
    decoded.clear()
    assert [read_number(picture) for picture in VideoFile(video("h264 one group")).pictures([0, 40, 80, 120])] == [
        0,
        40,
        80,
        120,
    ]
    assert len(decoded) < FRAMES + 50  # one seek that gained nothing, and no other


def test_videos_in_other_containers_are_read(tmp_path):
    for ending in ("mkv", "avi"):
        path = write_video(
            tmp_path / f"a.{ending}", [picture(number) for number in range(20)], codec="mpeg4", qscale="2"
        )
        assert [read_number(picture) for picture in VideoFile(path).pictures([0, 7, 19])] == [0, 7, 19]


def test_video_reports_a_file_without_a_video(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    with pytest.raises(UserError, match="has no video in it"):
        VideoFile(path).length()


def test_video_does_not_follow_playlists(tmp_path):
    secret = video("h264")
    for text in (f"#EXTM3U\n#EXTINF:1\n{secret}\n", f"ffconcat version 1.0\nfile {secret}\n"):
        path = tmp_path / "a.mp4"
        path.write_text(text)
        with pytest.raises(UserError, match="is not a video"):
            VideoFile(path).length()


def test_video_names_the_missing_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'pi0-attention\[datasets\]'"):
        next(VideoFile(video("h264")).pictures([0]))
