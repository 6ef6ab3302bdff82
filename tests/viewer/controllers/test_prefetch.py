"""Neighbouring frames and tokens are prefetched while the window is idle, and nothing else."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import make_results
import pytest
from window_driver import close, show, spin, until

from viewer.controllers import prefetch
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.io.results import Results
    from viewer.widgets.main_window import MainWindow


def is_in_memory(results: Results, *key: object) -> bool:
    return key in results._cache


def test_next_frame_is_prefetched_after_a_frame_step(window: MainWindow) -> None:
    results = window.session.results
    assert results is not None
    window.session.update(query=Query("action", (2,)), frame=1)
    until(lambda: is_in_memory(results, "picture", 2, 1, "source"))
    assert is_in_memory(results, "action", 2, 2)
    assert is_in_memory(results, "mass", "text", 2)
    assert is_in_memory(results, "chips", 2, True)


def test_neighbouring_tokens_are_prefetched_after_a_selection(window: MainWindow) -> None:
    results = window.session.results
    assert results is not None
    window.session.update(query=Query("action", (0,)))
    until(lambda: is_in_memory(results, "action", 0, 1) and is_in_memory(results, "action", 0, results.horizon - 1))


def test_several_selected_tokens_have_no_neighbours(results: Results) -> None:
    assert prefetch.find_next_tokens(results, ViewState(query=Query("action", (0, 1)))) == []


def test_frames_on_both_sides_are_prefetched_after_a_selection(window: MainWindow) -> None:
    results = window.session.results
    assert results is not None
    until(lambda: len(window.panels.frame_series.timeline.moment_of) == results.done)
    window.session.update(frame=1)
    until(lambda: all(is_in_memory(results, "picture", frame, 1, "source") for frame in (0, 2)))
    window.session.update(query=Query("action", (3,)))
    until(lambda: all(is_in_memory(results, "action", frame, 3) for frame in (0, 2)))


@pytest.mark.parametrize(("start", "end"), [(0, 1), (2, 1)])
def test_step_to_a_prefetched_frame_computes_nothing_in_the_thread_of_the_window(
    window: MainWindow, monkeypatch: pytest.MonkeyPatch, start: int, end: int
) -> None:
    results, absent = window.session.results, []
    assert results is not None
    until(lambda: len(window.panels.frame_series.timeline.moment_of) == results.done)
    window.session.update(query=Query("text", (1,)), frame=1)
    window.session.update(frame=start)
    spin()
    window.session.update(query=Query("action", (2,)))
    until(lambda: is_in_memory(results, "picture", end, 1, "source") and is_in_memory(results, "action", end, 2))
    window.worker.ask("last", 0, lambda _: True, absent.append)  # it waits until prefetching has ended
    until(lambda: bool(absent))
    absent.clear()
    get = results._cache.get

    def note(key: object, make: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        if key not in results._cache and threading.current_thread() is threading.main_thread():
            absent.append(key)
        return get(key, make, size)

    monkeypatch.setattr(results._cache, "get", note)
    window.session.update(frame=end)
    spin()
    window.grab()
    assert absent == []


def test_only_the_likeliest_is_prefetched_from_a_slow_file(window: MainWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    results = window.session.results
    assert results is not None
    until(lambda: len(window.panels.frame_series.timeline.moment_of) == results.done)
    spin()
    monkeypatch.setattr(type(results.access), "is_slow", True)
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(window.worker, "ask", lambda purpose, key, *_: asked.append(key[3]))
    prefetcher = window.panels.prefetch
    prefetcher._frames = True
    window.session._shown = window.session._current = replace(window.session.shown, frame=1)
    prefetcher._request_next()
    prefetcher._frames = False
    prefetcher._request_next()
    assert asked == [(2,), ()]


def test_next_frames_are_those_beside_and_first_that_in_the_direction(window: MainWindow) -> None:
    results = window.session.results
    assert results is not None
    until(lambda: len(window.panels.frame_series.timeline.moment_of) == results.done)
    window.session.update(frame=2)
    spin()
    assert window.panels.prefetch._list_neighbours(2) == (1,)
    assert window.panels.prefetch._list_neighbours(1) == (2, 0)
    window.session.update(frame=1)
    spin()
    assert window.panels.prefetch._list_neighbours(1) == (0, 2)
    assert window.panels.prefetch._list_neighbours(3) == (), "frames that the timeline does not have yet"


def test_prefetched_frame_has_the_same_prompt(app: QApplication, tmp_path: Path) -> None:
    tasks = ("put the duck in the bowl", "now lift the bowl and wait")
    window = show(
        make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=8, tasks=tasks, counterfactual=True)), tmp_path
    )
    results = window.session.results
    assert results is not None
    until(lambda: len(window.panels.frame_series.timeline.moments) == 4)
    window.session.update(frame=2)
    until(lambda: is_in_memory(results, "picture", 4, 1, "source"))
    assert not is_in_memory(results, "picture", 3, 1, "source")
    close(window)


def test_stale_request_reads_nothing(results: Results) -> None:
    before, visited = len(results._cache), set[tuple[object, ...]]()
    prefetch.read(results, ViewState(frame=2), lambda: True)
    prefetch.read_frames(results, ViewState(), (1, 2), lambda: True, visited)
    assert len(results._cache) == before
    assert visited == set()


def test_frame_bytes_are_read_once(results: Results, monkeypatch: pytest.MonkeyPatch) -> None:
    requests: list[int] = []
    original = prefetch.read_bytes

    def counted(results: Results, view: ViewState, stale: Callable[[], bool]) -> int:
        requests.append(view.frame)
        return original(results, view, stale)

    monkeypatch.setattr(prefetch, "read_bytes", counted)
    visited = set[tuple[object, ...]]()
    prefetch.read_frames(results, ViewState(query=Query("action", (1,))), (1, 2), lambda: False, visited)
    prefetch.read_frames(results, ViewState(query=Query("action", (1,))), (2, 0), lambda: False, visited)
    assert requests == [1, 2, 0]
    assert is_in_memory(results, "action", 1, 1)
    assert is_in_memory(results, "action", 2, 1)
    assert not is_in_memory(results, "action", 0, 1), "only the very next frame is read into the cache"
    prefetch.read_frames(results, ViewState(query=Query("action", (1,))), (0,), lambda: False, None)
    assert requests == [1, 2, 0], "without playing no bytes are read past HDF5"
