"""`pi0-viewer FILE --view FIGURE` opens the view stored in a figure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import make_results
import pytest
from window_driver import close, show

from viewer import __main__ as program
from viewer.errors import UserError
from viewer.export import metadata
from viewer.export.__main__ import main
from viewer.io.results import Results
from viewer.model.view_state import Query, from_json

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


@pytest.mark.parametrize("suffix", ["jpg", "png", "pdf", "svg"])
def test_figure_of_every_format_carries_its_view(app: QApplication, small: Path, tmp_path: Path, suffix: str) -> None:
    words = ["--frame", "1", "--actions", "2", "--step", "1", "--layers", "3", "--colours", "magma", "--format", suffix]
    assert main(["summary", str(small), *words, "-o", str(tmp_path)]) == 0
    figure = tmp_path / "small" / f"suffix_L3_attn_vis_mean_frame1_action2_step1.{suffix}"
    view = from_json(program._view_text(str(figure)))
    assert (view.frame, view.query, view.step, view.layer, view.colours) == (1, Query("action", (2,)), 1, 3, "magma")
    arguments = program.create_parser().parse_args([str(small), "--view", str(figure)])
    assert from_json(program._view_text(arguments.view)) == view


def test_atlas_figure_names_and_restores_its_region(app: QApplication, small: Path, tmp_path: Path) -> None:
    words = ["--words", "duck", "--region", "exterior:6-7,4-8", "wrist:5,5", "--score", "hit", "--format", "svg"]
    assert main(["atlas", str(small), *words, "-o", str(tmp_path)]) == 0
    (figure,) = (tmp_path / "small").glob("prefix_atlas_hit_duck_exterior-6-7_4-8*.svg")
    view = from_json(program._view_text(str(figure)))
    assert view.score == "hit"
    assert view.region == (*((0, row, col) for row in (6, 7) for col in range(4, 9)), (1, 5, 5))
    text = " ".join(re.sub(r"<[^>]*>", " ", figure.read_text()).split())
    assert "region exterior rows 6–7, columns 4–8 and wrist row 5, column 5" in text
    assert "0.25" not in text, "a bar of colours between yes and no would have no meaning"
    window = show(small, tmp_path, score=view.score, region=view.region, query=view.query)
    assert window.panels.atlas.score.text() == "hit in region ▾"
    assert window.status.left().startswith("region of 11 patches: ")
    close(window)


def test_view_text_accepts_json_and_rejects_a_picture_without_view(tmp_path: Path) -> None:
    assert program._view_text(' {"layer": 3}') == ' {"layer": 3}'
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"a.png carries no view"):
        program._view_text(str(tmp_path / "a.png"))


def export_difference(folder: Path) -> tuple[Path, Path, Path]:
    """Return two files in two folders, and a figure of their difference in a third."""
    for name in ("a", "b", "out"):
        (folder / name).mkdir()
    first = make_results.write(folder / "a" / "one.h5")
    second = make_results.write(folder / "b" / "two.h5", make_results.Recipe(seed=4))
    words = ["difference", str(first), "--other", str(second), "--words", "duck", "--layers", "2", "--format", "jpg"]
    assert main([*words, "-o", str(folder / "out")]) == 0
    return first, second, folder / "out" / "one" / "prefix_difference_L2_duck_minus_two.jpg"


def test_difference_figure_opens_both_files(app: QApplication, tmp_path: Path) -> None:
    first, second, figure = export_difference(tmp_path)
    text = program._view_text(str(figure))
    assert metadata.read_second_file(text) == "../b/two.h5"
    arguments = program.create_parser().parse_args([str(first), "--view", str(figure)])
    program._add_second(arguments, text)
    assert [path.resolve() for path in arguments.file] == [first, second]
    window = show(first, tmp_path, **{name: getattr(from_json(text), name) for name in ("compare", "layer", "query")})
    window.show_results(Results(second), True)
    assert window.session.state.compare == "difference"
    scene = window.session.scene()
    assert scene is not None
    assert scene.difference
    close(window)


def test_missing_second_file_gives_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second, figure = export_difference(tmp_path)
    second.rename(second.with_name("away.h5"))
    assert program.main([str(first), "--view", str(figure)]) == 2
    stderr = capsys.readouterr().err.strip()
    assert stderr == (
        "This view is a difference to two.h5, which is not where it was; name it after one.h5 in the command."
    )
    arguments = ["difference", str(first), "--view", str(figure), "-o", str(tmp_path / "again")]
    assert main(arguments) == 2
    assert "add --other and where it is" in capsys.readouterr().err
    second.with_name("away.h5").rename(first.with_name("two.h5"))
    assert main(arguments) == 0, "beside the first file it is found"
    assert len(list((tmp_path / "again").rglob("*.png"))) == 1
