"""Words of a view in other prompts and files: found by their text, and never silently replaced by another word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from window_driver import close, show, spin

from viewer.analysis.initial_view import CarriedView
from viewer.controllers.session import Session
from viewer.errors import UserError
from viewer.export.scenes import ExportSource
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState, Word, from_json

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow

TASKS = ("lift the duck", "put the red ball in it", "now lift a duck", "lift the duck")
DUCK = Word("prompt", "duck", 2)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four frames; frame 1 has another prompt, and frame 2 has the duck at another place."""
    recipe = make_results.Recipe(frames=4, tasks=TASKS, layers=2, heads=2, steps=2, horizon=3, size=(36, 64))
    return make_results.write(tmp_path_factory.mktemp("carried") / "tasks.h5", recipe)


@pytest.fixture(scope="module")
def ball(tmp_path_factory: pytest.TempPathFactory) -> Path:
    recipe = make_results.Recipe(frames=4, tasks=(TASKS[1],), layers=2, heads=2, steps=2, horizon=3, size=(36, 64))
    return make_results.write(tmp_path_factory.mktemp("other") / "ball.h5", recipe)


@pytest.fixture
def open_session(app: QApplication, path: Path) -> Iterator[Session]:
    session = Session()
    session.open(Results(path))
    select_words(session, "duck")
    yield session
    session.open(None)


def select_words(session: Session, *words: str) -> None:
    results = session.results
    assert results is not None
    places = [index for index, chip in enumerate(results.chips(session.state.frame)) if chip.text in words]
    session.update(query=Query("text", tuple(places)))
    session.flush()


def selected_words(session: Session) -> list[str]:
    results = session.results
    assert results is not None
    return [results.chips(session.state.frame)[item].text for item in session.state.query.items]


def test_frame_without_the_word_selects_all_words_and_the_word_comes_back(open_session: Session) -> None:
    open_session.update(frame=1)
    assert selected_words(open_session) == TASKS[1].split()
    assert open_session.state.sought == (DUCK,)
    open_session.update(frame=2)
    assert (selected_words(open_session), open_session.state.sought) == (["duck"], ())


def test_frame_with_one_of_two_words_selects_that_one(open_session: Session) -> None:
    select_words(open_session, "the", "duck")
    open_session.update(frame=1)
    assert selected_words(open_session) == ["the"]
    open_session.update(frame=3)
    assert selected_words(open_session) == ["the", "duck"]


def test_choosing_another_word_forgets_the_missing_one(open_session: Session) -> None:
    open_session.update(frame=1)
    select_words(open_session, "ball")
    assert open_session.state.sought == ()
    open_session.update(frame=0)
    assert [word.text for word in open_session.state.sought] == ["ball"]


def test_undo_and_redo_keep_the_missing_word(open_session: Session) -> None:
    open_session.update(frame=1)
    open_session.flush()
    open_session.undo()
    assert selected_words(open_session) == ["duck"]
    open_session.redo()
    open_session.update(frame=3)
    assert selected_words(open_session) == ["duck"]


def test_sought_words_survive_json() -> None:
    view = ViewState(frame=1, sought=(DUCK, Word("state", "7", 3, 3)))
    assert from_json(view.to_json()) == view
    with pytest.raises(UserError, match="sought: a list of"):
        from_json('{"sought": [["prompt", "duck", "2", -1]]}')


def test_episode_without_the_word_keeps_it_for_the_next(open_session: Session, path: Path, ball: Path) -> None:
    results = open_session.results
    assert results is not None
    with_ball, with_duck = Results(ball), Results(path)
    carried_query = CarriedView.of(results, open_session.state).onto(with_ball)
    assert carried_query.sought == (DUCK,)
    back = CarriedView.of(with_ball, carried_query).onto(with_duck)
    assert (back.query, back.sought) == (open_session.state.query, ())
    with_ball.close()
    with_duck.close()


def test_second_file_without_the_word_is_not_compared(open_session: Session, ball: Path) -> None:
    open_session.open_other(Results(ball))
    open_session.update(compare="difference")
    open_session.flush()
    assert open_session.pin is None
    assert open_session.not_compared == "Not compared: frame 0 of ball.h5 has no “duck” in its prompt"
    scene = open_session.scene()
    assert scene is not None
    assert not scene.difference
    select_words(open_session, "the")
    assert (open_session.pin is not None, open_session.not_compared) == (True, "")


def test_export_of_a_difference_without_the_word_is_refused(path: Path, ball: Path, open_session: Session) -> None:
    with ExportSource.open(path, ball) as source, pytest.raises(UserError, match="no “duck” in its prompt; name a"):
        source.subtracted(open_session.state)


@pytest.fixture
def show_results(app: QApplication, path: Path, tmp_path: Path) -> Iterator[MainWindow]:
    window = show(path, tmp_path)
    yield window
    close(window)


def test_window_names_the_word_missing_from_the_prompt(show_results: MainWindow) -> None:
    select_words(show_results.session, "duck")
    show_results.session.update(frame=1)
    spin(0.01)
    description = show_results.panels.sentence.accessibleDescription()
    assert description.startswith("This prompt has no “duck”; shown instead: all 6 words of the prompt (mean, prefix)")
    show_results.session.update(frame=2)
    spin(0.01)
    assert show_results.panels.sentence.accessibleDescription().startswith("“duck”")
