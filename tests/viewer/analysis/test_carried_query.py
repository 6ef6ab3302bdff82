"""Words of a view in other prompts and files: found by text, never replaced by another single word in silence."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from window_driver import close, show, spin

from viewer.analysis.initial_view import Carried
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
def opened(app: QApplication, path: Path) -> Iterator[Session]:
    made = Session()
    made.open(Results(path))
    select(made, "duck")
    yield made
    made.open(None)


def select(session: Session, *words: str) -> None:
    results = session.results
    assert results is not None
    places = [place for place, chip in enumerate(results.chips(session.state.frame)) if chip.text in words]
    session.update(query=Query("text", tuple(places)))
    session.flush()


def selected(session: Session) -> list[str]:
    results = session.results
    assert results is not None
    return [results.chips(session.state.frame)[item].text for item in session.state.query.items]


def test_frame_without_the_word_selects_all_words_and_the_word_comes_back(opened: Session) -> None:
    opened.update(frame=1)
    assert selected(opened) == TASKS[1].split()
    assert opened.state.sought == (DUCK,)
    opened.update(frame=2)
    assert (selected(opened), opened.state.sought) == (["duck"], ())


def test_frame_with_one_of_two_words_selects_that_one(opened: Session) -> None:
    select(opened, "the", "duck")
    opened.update(frame=1)
    assert selected(opened) == ["the"]
    opened.update(frame=3)
    assert selected(opened) == ["the", "duck"]


def test_choosing_another_word_forgets_the_lacking_one(opened: Session) -> None:
    opened.update(frame=1)
    select(opened, "ball")
    assert opened.state.sought == ()
    opened.update(frame=0)
    assert [word.text for word in opened.state.sought] == ["ball"]


def test_undo_and_redo_keep_the_lacking_word(opened: Session) -> None:
    opened.update(frame=1)
    opened.flush()
    opened.undo()
    assert selected(opened) == ["duck"]
    opened.redo()
    opened.update(frame=3)
    assert selected(opened) == ["duck"]


def test_sought_words_survive_json() -> None:
    view = ViewState(frame=1, sought=(DUCK, Word("state", "7", 3, 3)))
    assert from_json(view.to_json()) == view
    with pytest.raises(UserError, match="sought: a list of"):
        from_json('{"sought": [["prompt", "duck", "2", -1]]}')


def test_episode_without_the_word_keeps_it_for_the_next(opened: Session, path: Path, ball: Path) -> None:
    results = opened.results
    assert results is not None
    with_ball, with_duck = Results(ball), Results(path)
    there = Carried.of(results, opened.state).onto(with_ball)
    assert there.sought == (DUCK,)
    back = Carried.of(with_ball, there).onto(with_duck)
    assert (back.query, back.sought) == (opened.state.query, ())
    with_ball.close()
    with_duck.close()


def test_second_file_without_the_word_is_not_compared(opened: Session, ball: Path) -> None:
    opened.open_other(Results(ball))
    opened.update(compare="difference")
    opened.flush()
    assert opened.pin is None
    assert opened.not_compared == "Not compared: frame 0 of ball.h5 has no “duck” in its prompt"
    scene = opened.scene()
    assert scene is not None
    assert not scene.difference
    select(opened, "the")
    assert (opened.pin is not None, opened.not_compared) == (True, "")


def test_export_of_a_difference_without_the_word_is_refused(path: Path, ball: Path, opened: Session) -> None:
    with ExportSource.open(path, ball) as source, pytest.raises(UserError, match="no “duck” in its prompt; name a"):
        source.subtracted(opened.state)


@pytest.fixture
def shown(app: QApplication, path: Path, tmp_path: Path) -> Iterator[MainWindow]:
    window = show(path, tmp_path)
    yield window
    close(window)


def test_window_says_which_word_the_prompt_lacks(shown: MainWindow) -> None:
    select(shown.session, "duck")
    shown.session.update(frame=1)
    spin(0.01)
    said = shown.panels.sentence.accessibleDescription()
    assert said.startswith("This prompt has no “duck”; shown instead: all 6 words of the prompt (mean, prefix)")
    shown.session.update(frame=2)
    spin(0.01)
    assert shown.panels.sentence.accessibleDescription().startswith("“duck”")
