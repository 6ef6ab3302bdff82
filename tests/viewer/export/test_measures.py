"""Measure, unit, colour scale and what is left out, asked for in the command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import pytest
from export_driver import open_export, plan_export

from viewer.analysis import scene
from viewer.errors import UserError
from viewer.io.results import Results
from viewer.model.view_state import ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

KINDS = ("summary", "heads", "difference --against layer=0", "video --over layers")


def first_view(results: Results, words: str) -> ViewState:
    file = plan_export(results, words).files[0]
    return file.sweep[0] if file.sweep else file.view


@pytest.mark.parametrize("kind", KINDS)
def test_measure_options_are_in_the_view(results: Results, kind: str) -> None:
    view = first_view(
        results, f"{kind} --measure contribution --unit uniform --colour-scale log --leave-out bos exterior,state"
    )
    assert (view.measure, view.unit, view.scale) == ("contribution", "uniform", "log")
    assert set(view.left_out) == {"bos", "exterior", "state"}
    default = first_view(results, kind)
    assert (default.measure, default.unit, default.scale, default.left_out) == ("weight", "weight", "linear", ())


def test_measure_options_change_numbers_and_color_bar(app: QApplication, small: Path) -> None:
    base = ["summary", str(small), "--words", "duck", "--layers", "2"]

    def painted(*more: str) -> tuple[float, str, str]:
        with open_export(*base, *more) as export:
            file = export.plan.files[0]
            figure = export.renderer.create_figure(file)
            top = float(export.source.compose_shown(file.view).maps.max())
            return top, figure.scales[0].label, figure.scales[0].scale

    default = painted()
    assert default[1:] == ("weight", "linear")
    heavier = painted("--measure", "contribution")
    assert heavier[1] == "weight × value norm"
    assert heavier[0] != default[0]
    uniform = painted("--unit", "uniform")
    assert uniform[1] == "weight, times uniform"
    assert uniform[0] > 100 * default[0]
    assert painted("--colour-scale", "rank")[2] == "rank"
    assert painted("--leave-out", "prompt")[0] > default[0]


def test_leave_out_accepts_sinks_and_none(results: Results) -> None:
    assert set(first_view(results, "summary --leave-out sinks").left_out) == {"bos", "newline", "bars"}
    view = ViewState(left_out=("bos",)).to_json()
    assert first_view(results, f"summary --view {view}").left_out == ("bos",)
    assert first_view(results, f"summary --view {view} --leave-out none").left_out == ()
    assert first_view(results, "summary --leave-out BOS").left_out == ("bos",)
    row = scene.compose(results, first_view(results, "summary --leave-out sinks"))
    assert row.removed > 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("summary --leave-out ducks", "There is no group “ducks” to leave out; take bars, exterior, wrist, bos"),
        ("atlas --leave-out bos", "unrecognized arguments: --leave-out"),
        ("summary --colour-scale wide", "invalid choice: 'wide'"),
    ],
)
def test_mistakes_in_measure_options_are_user_errors(results: Results, words: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        first_view(results, words)


def test_contribution_without_norms_is_refused(tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "plain.h5", make_results.Recipe(norms=False))
    results = Results(path)
    for kind in (*KINDS, "film"):
        with pytest.raises(UserError, match=r"plain\.h5 holds no value norms; take --measure weight"):
            first_view(results, f"{kind} --measure contribution")
    results.close()
