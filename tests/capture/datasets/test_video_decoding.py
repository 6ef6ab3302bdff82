"""Videos: any rising choice of frames is the same as a full decode, whatever the codec and its groups of pictures."""

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
from episode_files import number_of, picture, write_video

from capture.datasets.camera_frames import VideoFilm
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
def test_every_frame_comes_in_order(kind):
    film = VideoFilm(video(kind))
    assert film.length() == FRAMES
    assert film.size() == (32, 80)
    assert [number_of(one) for one in film.pictures(range(FRAMES))] == list(range(FRAMES))


@settings(max_examples=25)
@given(kind=st.sampled_from(sorted(KINDS)), frames=st.sets(st.integers(0, FRAMES - 1), max_size=12))
def test_any_choice_of_frames_is_the_same_as_among_all(kind, frames):
    assert [number_of(one) for one in VideoFilm(video(kind)).pictures(sorted(frames))] == sorted(frames)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shift", [-0.4, 0.0, 0.4])
def test_a_time_gets_the_nearest_frame(kind, shift):
    with Video(video(kind)) as opened:
        assert opened.rate == 15.0
        assert opened.end == pytest.approx(FRAMES / 15)
        for frame in (0, 1, 74, FRAMES - 1):
            (one,) = opened.pictures([(frame + shift) / 15], 0.49 / 15)
            assert number_of(one) == frame


def test_times_without_a_frame_are_said():
    with Video(video("h264")) as opened:
        for time in (FRAMES / 15, 99.0, 0.5 / 15):
            with pytest.raises(UserError, match="has no frame at"):
                list(opened.pictures([time], 0.3 / 15))


def test_far_frames_are_reached_without_decoding_what_lies_between(monkeypatch):
    decoded = []
    plain = Video._decode

    def counted(self):
        for one in plain(self):
            decoded.append(one[0])
            yield one

    monkeypatch.setattr(Video, "_decode", counted)
    assert [number_of(one) for one in VideoFilm(video("h264")).pictures([0, 70, 140])] == [0, 70, 140]
    assert len(decoded) < 60
    decoded.clear()
    assert [number_of(one) for one in VideoFilm(video("h264 one group")).pictures([0, 40, 80, 120])] == [0, 40, 80, 120]
    assert len(decoded) < FRAMES + 50  # one jump that gained nothing, and no other


def test_videos_in_other_containers_are_read(tmp_path):
    for ending in ("mkv", "avi"):
        path = write_video(
            tmp_path / f"a.{ending}", [picture(number) for number in range(20)], codec="mpeg4", qscale="2"
        )
        assert [number_of(one) for one in VideoFilm(path).pictures([0, 7, 19])] == [0, 7, 19]


def test_files_without_a_video_are_said(tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode())
    with pytest.raises(UserError, match="has no video in it"):
        VideoFilm(path).length()


def test_playlists_are_not_followed(tmp_path):
    secret = video("h264")
    for text in (f"#EXTM3U\n#EXTINF:1\n{secret}\n", f"ffconcat version 1.0\nfile {secret}\n"):
        path = tmp_path / "a.mp4"
        path.write_text(text)
        with pytest.raises(UserError, match="is not a video"):
            VideoFilm(path).length()


def test_a_missing_library_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"pip install 'pi0-attention\[datasets\]'"):
        VideoFilm(video("h264")).length()
