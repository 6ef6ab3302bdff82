"""Effects of words on the chips of the prompt: values, colours, legend, tooltips."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import make_effects
import numpy as np
import pytest
from window_driver import close, show, spin, until, wait_until_idle

from viewer.model.view_state import Query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow


@pytest.fixture
def window(app: QApplication, small: Path, tmp_path: Path) -> Iterator[MainWindow]:
    """Show a file with effects of frame 0, those on action 1."""
    path = tmp_path / "small.h5"
    shutil.copy(small, path)
    make_effects.write(tmp_path / "small.effects.h5", path)
    shown = show(path, tmp_path, query=Query("action", (1,)), measure="effect")
    until(lambda: bool(shown.session.results and shown.session.results.effects), 20)
    wait_until_idle(shown)
    yield shown
    close(shown)


def test_chips_have_the_effect_of_leaving_each_word_out(window: MainWindow) -> None:
    strips, session = window.panels.strips, window.session
    values, chips = strips.values(), strips.chips()
    assert values is not None
    expected = [
        np.nan if chip.role in {"bos", "newline"} else chip.tokens[0] / 10 / make_effects.FLOOR for chip in chips
    ]
    np.testing.assert_allclose(values.words, expected, rtol=1e-6)
    assert np.isnan(values.actions).all(), "an action is not taken away"
    assert strips.legend == f"colour: effect of hiding the word, 0 to {np.nanmax(values.words):.1f} × noise"
    levels = strips._color_levels[: len(chips)]
    assert np.argmax(levels) == np.nanargmax(values.words)
    session.update(measure="weight")
    spin()
    assert strips.legend.startswith("colour: weight on the pictures")


def test_chips_follow_the_actions_of_the_query(window: MainWindow) -> None:
    strips, session = window.panels.strips, window.session
    before = strips.values()
    assert before is not None
    assert before.effects is not None
    assert before.effects.floor == 2 * make_effects.FLOOR, "that of action 1"
    session.update(query=Query("text", (0,)))
    spin()
    after = strips.values()
    assert after is not None
    assert after.effects is not None
    assert after.effects.floor == make_effects.FLOOR, "for words it is the effect on the whole chunk"
    np.testing.assert_allclose(after.words, before.words, rtol=1e-6)


def test_tooltip_has_value_noise_floor_and_the_other_words(window: MainWindow) -> None:
    strips = window.panels.strips
    values = strips.values()
    assert values is not None
    prompt = [index for index, chip in enumerate(strips.chips()) if chip.role == "prompt"]
    place = strips.places[prompt[-1]]
    others = values.words[prompt[:-1]]
    text = strips.explain(place)
    assert f"action 1 moves {values.words[prompt[-1]]:.1f} × the noise when it is hidden from the actions" in text
    assert "; noise floor 1 (normalised units); when another word of the prompt is: " in text
    assert text.endswith(f" × the noise (median), {len(others)} of {len(others)} smaller")
    assert f"{np.median(others):.1f} ×" in text


def test_chips_have_relevances_where_gradients_are_shown(window: MainWindow) -> None:
    strips, session = window.panels.strips, window.session
    session.update(measure="gradient", dim=2)
    spin()
    values, chips = strips.values(), strips.chips()
    assert values is not None
    prompt = [place for place, chip in enumerate(chips) if chip.role == "prompt"]
    wanted = [np.mean(chips[place].tokens) / 10 * 2 * 0.003 for place in prompt]
    np.testing.assert_allclose(values.words[prompt], wanted, rtol=1e-5)
    assert strips.legend.startswith("colour: relevance of the word by the gradient, 0 to 0.0")
    assert strips.explain(strips.places[prompt[0]]).endswith("by the gradient")
    session.update(dim=1)
    spin()
    assert strips.legend == "no gradients of words in the file"


def test_frame_without_effects_explains_how_to_measure_them(window: MainWindow) -> None:
    strips = window.panels.strips
    window.session.update(frame=1)
    spin()
    assert strips.legend == "effects of words were not measured"
    assert set(strips._color_levels) == {0}
    assert "pi0-capture effects small.h5 --frames 1 --map 2" in strips.explain(strips.places[0])
