"""Differences of effects: of dimensions, of files, and what cannot be subtracted."""

from __future__ import annotations

import html
import re
import shutil
from typing import TYPE_CHECKING

import h5py
import make_effects
import numpy as np
import pytest
from export_driver import refuse

from viewer.analysis import scene
from viewer.export.__main__ import main
from viewer.export.scenes import ExportSource
from viewer.io.effects_names import find_effects_files
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

EFFECT = ("--measure", "effect", "--actions", "4")


def read_text(figure: Path) -> str:
    """Return the texts of an SVG figure, in one line."""
    return " ".join(html.unescape(one) for one in re.findall(r"<text[^>]*>([^<]*)</text>", figure.read_text()))


def test_difference_of_two_dimensions_names_both(measured: Path, tmp_path: Path) -> None:
    words = [*EFFECT, "--dim", "1", "--against", "dim=2", "--format", "svg"]
    assert main(["difference", str(measured), "-o", str(tmp_path), *words]) == 0
    text = read_text(tmp_path / "small" / "effect_difference_dim1_action4_minus_dim2.svg")
    # Dimension d has d + 1 times the effect on the chunk, up to 10.15, and the noise of every dimension is the floor.
    assert "A · dimension 1" in text
    assert "B · dimension 2" in text
    assert "Exterior −20.3 × noise at most" in text
    assert "minus dimension 2, frame 0" in text


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--measure effect --against dim=99", "There is nothing to subtract from small.h5: frame 0 has no effect map of "
         "action dimension 99, but those of dimensions 0–"),
        ("--measure effect --against frame=1", "There is nothing to subtract from small.h5: frame 1 has no effect map, "
         "frame 0 has one; “pi0-capture effects small.h5 --frames 1 --map 2” makes one"),
        ("--measure gradient --against dim=1", "frame 0 has no gradient of action dimension 1, but those of dimensions"),
        ("--measure effect --against layer=1", "--against layer=1 is of attention, and effects and gradients have no "
         "layer; write frame=, action= or dim="),
        ("--measure effect --against word=duck", "effects and gradients are on the actions; write frame=, action= or"),
        ("--measure weight --against dim=2", "--against dim=2 is of effects or gradients; add --measure effect or"),
        ("--measure effect --against dim=x", "--against dim=x cannot be read; write frame=, word=, action=, step=, "),
        ("--measure effect", "A difference needs two views; name the other with --against action=0, or give --other"),
    ],
)  # fmt: skip
def test_what_cannot_be_subtracted_is_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    assert sentence in refuse(capsys, "difference", str(measured), "-o", str(tmp_path), *words.split())


def test_effects_of_the_other_file_are_found_beside_it(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.h5"
    shutil.copy(measured, other)
    words = ["difference", str(measured), "-o", str(tmp_path), *EFFECT, "--other", str(other), "--format", "svg"]
    assert "There is nothing to subtract from other.h5: there is no effect map of this file" in refuse(capsys, *words)
    with h5py.File(make_effects.write(tmp_path / "other.effects.h5", other), "a") as file:
        file["map/effect"][:] *= 0.5
    assert main(words) == 0
    text = read_text(tmp_path / "small" / "effect_difference_action4_minus_other.svg")
    assert "Exterior +10.2 × noise at most" in text
    make_effects.write(measured.with_name("small.effects.h5"), measured, (0, 1))
    capsys.readouterr()
    assert main([*words, "--frames", "0,1", "--overwrite"]) == 0
    assert "other.h5 has no frame of that number and with effects for 1 of 2 frames" in capsys.readouterr().err


def test_difference_to_what_was_not_measured_is_not_measured(measured: Path) -> None:
    view = ViewState(query=Query("action", (4,)), measure="effect")
    with ExportSource.open(measured, beside=find_effects_files(measured)) as source:
        one, none = source.compose(view), scene.compose(source.results, ViewState(frame=1, measure="effect"))
    both = scene.compare(one, none, view)
    assert not both.maps.any(), "not the effects of the one side"
    assert both.effect is not None
    assert np.isnan(both.effect.values).all()


def test_difference_to_a_pinned_view_is_of_the_shown_measure(measured: Path) -> None:
    pinned = ViewState(query=Query("action", (1,)), measure="weight", range="shared")
    view = ViewState(query=Query("action", (4,)), measure="effect", dim=2, compare="difference", pinned=pinned)
    with ExportSource.open(measured, beside=find_effects_files(measured)) as source:
        subtracted = source.subtracted(view)
    assert subtracted is not None
    assert (subtracted[1].measure, subtracted[1].dim, subtracted[1].query) == ("effect", 2, Query("action", (1,)))
