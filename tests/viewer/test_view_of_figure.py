"""`pi0-viewer FILE --view FIGURE` opens what a figure shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from viewer import __main__ as program
from viewer.errors import UserError
from viewer.export.__main__ import main
from viewer.state import Query, from_json

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.mark.parametrize("suffix", ["jpg", "png", "pdf", "svg"])
def test_a_figure_stands_for_its_view(app: QApplication, small: Path, tmp_path: Path, suffix: str) -> None:
    words = ["--frame", "2", "--actions", "3", "--step", "1", "--layers", "3", "--colours", "magma", "--format", suffix]
    assert main(["summary", str(small), *words, "-o", str(tmp_path)]) == 0
    figure = tmp_path / "small" / f"suffix_L3_attn_vis_mean.{suffix}"
    view = from_json(program._view_text(str(figure)))
    assert (view.frame, view.query, view.step, view.layer, view.colours) == (1, Query("action", (2,)), 1, 3, "magma")
    given = program.parser().parse_args([str(small), "--view", str(figure)])
    assert from_json(program._view_text(given.view)) == view


def test_json_is_taken_as_it_is_and_another_file_is_one_sentence(tmp_path: Path) -> None:
    assert program._view_text(' {"layer": 3}') == ' {"layer": 3}'
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a.png carries no view"):
        program._view_text(str(tmp_path / "a.png"))
