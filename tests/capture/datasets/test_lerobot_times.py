"""Frames and pictures of LeRobot data sets are matched by time, within a tolerance."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("av", reason="videos need the extra [datasets]")
pytest.importorskip("pyarrow", reason="parquet needs the extra [datasets]")
from episode_files import read_number, write_lerobot

from capture.datasets.base import SourceOptions
from capture.datasets.registry import open_source
from capture.errors import UserError

LIBERO = SourceOptions(("exterior", "wrist"), 10, 8, 7)


def jittered_times(_episode, count):
    """Rows up to 20 ms late at 10 frames a second, the first frame the most."""
    return np.arange(count) / 10 + np.linspace(0.020, 0, count)


def test_frame_gets_the_picture_nearest_to_its_time(tmp_path):
    (episode,) = open_source(write_lerobot(tmp_path / "set", (12,), stamps=jittered_times), LIBERO).episodes
    assert [read_number(observation.pictures["wrist"]) for observation in episode.read(range(12))] == list(range(12))
    assert [read_number(observation.pictures["wrist"]) for observation in episode.read([0, 4, 8])] == [0, 4, 8]
    clock = next(decision for decision in episode.frame_decisions([0, 4, 8]) if decision.subject == "clock")
    assert clock.choice == "the picture nearest to the column timestamp, at most 0.02 s away"
    assert not clock.is_certain
    assert "beyond lerobot's tolerance of 0.0001 s" in clock.reason


def test_regular_clock_is_certain(tmp_path):
    (episode,) = open_source(write_lerobot(tmp_path / "set", (12,)), LIBERO).episodes
    clock = next(decision for decision in episode.frame_decisions([3, 11]) if decision.subject == "clock")
    assert clock.is_certain
    assert clock.reason == "within lerobot's tolerance of 0.0001 s"


def late_times(_episode, count):
    """Rows 60 ms late at 10 frames a second, so that the next picture is nearer than the row's own."""
    return np.arange(count) / 10 + 0.060


def test_frame_whose_time_and_order_disagree_is_refused_unless_a_tolerance_is_given(tmp_path):
    folder = write_lerobot(tmp_path / "set", (12, 12), stamps=late_times)
    episode = open_source(folder, LIBERO).episodes[0]
    words = r"nearest to frame 4 of episode_000000, at 0\.4600 s, is 0\.0400 s away, and is not its picture by order; "
    for ask in (episode.frame_decisions, lambda frames: list(episode.read(frames))):
        with pytest.raises(UserError, match=words + r"--tolerance 0\.04 takes the nearest"):
            ask([4, 8])
    episode = open_source(folder, replace(LIBERO, tolerance=0.041)).episodes[0]
    assert [read_number(observation.pictures["wrist"]) for observation in episode.read([4, 8])] == [5, 9]
    clock = next(decision for decision in episode.frame_decisions([4, 8]) if decision.subject == "clock")
    assert (clock.reason, clock.is_certain) == ("by --tolerance 0.041", True)
    assert "at most 0.04 s away" in clock.choice


def late_last_time(_episode, count):
    """Rows 10 ms late at 10 frames a second, but the last one 60 ms."""
    return np.arange(count) / 10 + np.where(np.arange(count) < count - 1, 0.010, 0.060)


def test_advised_tolerance_suffices_for_all_requested_frames(tmp_path):
    def varied(_episode, count):
        return np.arange(count) / 10 + np.where(np.arange(count) == 6, 0.045, 0.060)

    (episode,) = open_source(write_lerobot(tmp_path / "set", (12,), stamps=varied), LIBERO).episodes
    with pytest.raises(UserError, match=r"frame 4 .* is 0\.0400 s away, .*; --tolerance 0\.045 takes"):
        episode.frame_decisions([4, 6])


def test_late_last_row_still_has_a_picture(tmp_path):
    (episode,) = open_source(write_lerobot(tmp_path / "set", (12,), stamps=late_last_time), LIBERO).episodes
    (observation,) = episode.read([11])
    assert read_number(observation.pictures["wrist"]) == 11  # nearest in time and by order
    clock = next(decision for decision in episode.frame_decisions([0, 11]) if decision.subject == "clock")
    assert (clock.choice, clock.is_certain) == (
        "the picture nearest to the column timestamp, at most 0.06 s away",
        False,
    )


def test_pictures_beyond_the_tolerance_are_refused(tmp_path):
    folder = write_lerobot(tmp_path / "set", (12,), stamps=jittered_times)
    (episode,) = open_source(folder, replace(LIBERO, tolerance=0.01)).episodes
    assert len(list(episode.read([8, 10]))) == 2
    for ask in (episode.frame_decisions, lambda frames: list(episode.read(frames))):
        with pytest.raises(UserError, match=r"nearest to frame 4 .* is 0\.0127 s away; --tolerance 0\.013"):
            ask([4])
