"""What is next to the shown view is read while the window rests, and only that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conftest import until

from viewer import ahead
from viewer.state import Query, ViewState

if TYPE_CHECKING:
    from viewer.results import Results
    from viewer.window import Window


def held(results: Results, *key: object) -> bool:
    return key in results._cache


def test_the_next_frame_is_read_after_a_step_along_frames(window: Window) -> None:
    results = window.session.results
    assert results is not None
    window.session.update(query=Query("action", (2,)), frame=1)
    until(lambda: held(results, "picture", 2, 1, "source"))
    assert held(results, "action", 2, 2)
    assert held(results, "mass", "text", 2)
    assert held(results, "chips", 2, True)


def test_the_tokens_to_either_side_are_read_after_a_choice(window: Window) -> None:
    results = window.session.results
    assert results is not None
    window.session.update(query=Query("action", (0,)))
    until(lambda: held(results, "action", 0, 1) and held(results, "action", 0, results.horizon - 1))


def test_travel_goes_on_in_its_direction_and_round_the_end(results: Results) -> None:
    shown = ViewState(frame=0)
    assert [view.frame for view in ahead.next_frame(results, shown, back=True)] == [results.done - 1]
    assert [view.frame for view in ahead.next_frame(results, shown, back=False)] == [1]
    several = ViewState(query=Query("action", (0, 1)))
    assert ahead.next_tokens(results, several) == []


def test_what_is_no_longer_wanted_is_not_read(results: Results) -> None:
    before = len(results._cache)
    ahead.read(results, [ViewState(frame=2)], lambda: True)
    assert len(results._cache) == before
