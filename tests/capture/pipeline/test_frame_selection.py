"""Which frames `--frames` chooses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.errors import UserError
from capture.pipeline.planning.frame_selection import ALL_FRAMES, parse_frames


@pytest.mark.parametrize(
    ("text", "length", "frames"),
    [
        (":", 4, (0, 1, 2, 3)),
        ("::8", 20, (0, 8, 16)),
        ("10:50:2", 17, (10, 12, 14, 16)),
        ("-3:", 10, (7, 8, 9)),
        (":-8", 10, (0, 1)),
        ("2:5", 10, (2, 3, 4)),
        ("0,3,9", 10, (0, 3, 9)),
        ("9,3,3,0-1", 10, (0, 1, 3, 9)),
        ("5", 6, (5,)),
        ("keyframes", 20, (0, 8, 16)),
    ],
)
def test_parse_frames_chooses_frames(text: str, length: int, frames: tuple[int, ...]) -> None:
    assert parse_frames(text).choose(length, 15) == frames


def test_keyframes_are_at_most_a_chunk_apart() -> None:
    assert parse_frames("keyframes").choose(12, 5) == (0, 5, 10)
    assert parse_frames("::8").choose(12, 5) == (0, 8)
    assert ALL_FRAMES.choose(3, 15) == (0, 1, 2)


@given(
    st.integers(-40, 40) | st.none(),
    st.integers(-40, 40) | st.none(),
    st.integers(1, 9) | st.none(),
    st.integers(1, 30),
)
def test_slice_equals_python_slice(start: int | None, stop: int | None, step: int | None, length: int) -> None:
    text = ":".join("" if part is None else str(part) for part in (start, stop, step))
    expected = tuple(range(length)[start:stop:step])
    if expected:
        assert parse_frames(text).choose(length, 15) == expected
    else:
        with pytest.raises(UserError, match="chooses none of the episode's"):
            parse_frames(text).choose(length, 15)


@pytest.mark.parametrize("text", ["", "x", "1,", "::0", "1.5", "::-1", "a:b", "1:2:3:4", "5-3", "0-9999999", "key"])
def test_parse_frames_refuses_other_text(text: str) -> None:
    with pytest.raises(UserError):
        parse_frames(text)


def test_frame_list_beyond_the_episode_is_refused() -> None:
    with pytest.raises(UserError, match="there is no frame 12: the episode has 10"):
        parse_frames("3,12,40").choose(10, 15)
