"""The left column: who gets which height, and that the pictures stay what the eye meets first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from conftest import close, settle, show, spin
from hypothesis import given
from hypothesis import strategies as st

from viewer.panels.column import FEW_LINES, FEWEST_LINES, LEAST_PICTURES, LOW_PICTURES, Wanted, shares
from viewer.state import Query

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

LINE = 31
LONG = "put the small yellow duck that lies beside the blue block into the white bowl at the edge of the table " * 3


@given(
    room=st.integers(300, 1600),
    pictures=st.integers(100, 900),
    lines=st.integers(1, 5),
    deck=st.integers(40, 170),
    more=st.integers(0, 100),
    folded=st.booleans(),
)
def test_heights_add_up_and_nothing_gets_less_than_its_least(
    room: int, pictures: int, lines: int, deck: int, more: int, folded: bool
) -> None:
    timeline = (0, 0, 0) if folded else (26, 66, 92)
    got = shares(room, Wanted(pictures, lines * LINE, LINE, (deck, deck + more), timeline))
    assert sum(got) == room
    assert got.pictures <= pictures
    assert got.chips >= min(lines, FEWEST_LINES) * LINE
    assert got.chips % LINE == 0
    assert got.deck >= min(deck, room - got.pictures - got.chips)
    if got.chips > FEW_LINES * LINE:
        assert got.pictures >= round(LEAST_PICTURES * pictures)
    elif got.chips > FEWEST_LINES * LINE:
        assert got.pictures >= LOW_PICTURES * pictures - 1


def test_what_pictures_do_not_need_goes_to_the_deck_and_then_to_the_timeline() -> None:
    low = shares(500, Wanted(290, 62, LINE, (60, 100), (26, 66, 92)))
    assert low == (290, 62, 60, 88)
    assert shares(700, Wanted(290, 62, LINE, (60, 100), (26, 66, 92))) == (290, 62, 100, 248)
    assert shares(700, Wanted(290, 62, LINE, (60, 100), (0, 0, 0))) == (290, 62, 348, 0)


def test_chips_scroll_before_pictures_shrink_and_the_timeline_keeps_its_heading_before_they_get_low() -> None:
    chips = shares(550, Wanted(290, 5 * LINE, LINE, (120, 160), (26, 66, 92)))
    assert chips.chips == 3 * LINE
    assert chips.pictures == 550 - 3 * LINE - 120 - 66
    low = shares(550, Wanted(590, 5 * LINE, LINE, (120, 160), (26, 66, 92)))
    assert low == (550 - 2 * LINE - 120 - 26, 2 * LINE, 120, 26)


@pytest.mark.parametrize("size", [(1024, 700), (1280, 800), (1440, 900)])
@pytest.mark.parametrize("film", ["layers", "steps", "layers-frames"])
def test_pictures_stay_large_with_a_long_prompt_and_a_deep_film(
    app: QApplication, tmp_path: Path, size: tuple[int, int], film: str
) -> None:
    path = make_results.write(
        tmp_path / "long.h5", make_results.Recipe(layers=18, steps=10, size=(90, 160), tasks=(LONG,))
    )
    window = show(path, tmp_path, size)
    window.session.update(query=Query("action", (3,)), step=4, film=film)
    spin()
    settle(window)
    for pane in window.room.cameras.panes:
        assert pane.area().width() >= 0.4 * window.room.cameras.width()
        assert pane.area().left() == 0
    chosen = next(p for p in window.room.strips.places if (p.kind, p.item) == ("action", 3))
    view = window.room.chips
    top = window.room.strips.mapTo(view, chosen.box.topLeft()).y()
    assert top >= 0
    assert top + chosen.box.height() <= view.height()
    close(window)
