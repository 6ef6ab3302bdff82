"""Tables and arrays against the file itself, read with h5py alone."""

from __future__ import annotations

import builtins
import csv
import io
import itertools
import json
from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest
from export_driver import plan_export

from viewer.analysis import scores
from viewer.analysis.effects.effect_rows import COLUMNS as EFFECT_COLUMNS
from viewer.errors import UserError
from viewer.export import tables
from viewer.export.__main__ import main
from viewer.export.formats import csv_lines
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.io.results import Results


def export_table(folder: Path, path: Path, words: str) -> Path:
    kind, _, rest = words.partition(" ")
    assert main([kind, str(path), *rest.split(), "-o", str(folder)]) == 0
    files = [file for file in (folder / path.stem).iterdir() if file.name.startswith(kind)]
    assert len(files) == 1
    return files[0]


def read_rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_table_has_a_line_for_every_head_of_every_query(small: Path, tmp_path: Path) -> None:
    rows = read_rows(export_table(tmp_path, small, "table"))
    with h5py.File(small) as file:
        mass, groups = file["action/mass"][0], list(file["action/mass"].attrs["groups"])
        entropy, text = file["action/entropy"][0], file["text/mass"][0]
        duck = [piece.decode() for piece in file["text/piece"][0]].index("▁duck")
        bars = make_results.bars(72, 128)
        image = file["action/to_image"][0]
    acting = [row for row in rows if row["phase"] == "suffix"]
    assert len(acting) == 5 * 4 * 3 * 3  # actions, layers, steps, heads
    row = next(r for r in acting if (r["query"], r["layer"], r["step"], r["head"]) == ("action 2", "2", "1", "0"))
    for index, group in enumerate(groups):
        assert float(row[f"mass {group}"]) == pytest.approx(float(mass[2, 2, 1, 0, index]), abs=2e-3)
    assert float(row["picture mass"]) == pytest.approx(float(mass[2, 2, 1, 0, :4:2].sum()), abs=2e-3)
    picture_weights = image[2, 2, 1, 0][:, ~bars].astype(np.float64).ravel()
    share = picture_weights / picture_weights.sum()
    assert float(row["entropy"]) == pytest.approx(float(-(share * np.log(share)).sum()), abs=1e-3)
    assert float(row["entropy"]) == pytest.approx(float(entropy[2, 2, 1, 0]), rel=1e-6), "as the file has it"
    word = next(r for r in rows if (r["query"], r["layer"], r["head"]) == ("duck", "3", "1"))
    assert float(word["mass bos"]) == pytest.approx(float(text[3, duck, 1, groups.index("bos")]), abs=2e-3)


def test_view_and_options_choose_the_lines(small: Path, tmp_path: Path) -> None:
    rows = read_rows(export_table(tmp_path, small, "table --words duck bowl --frames 0,2 --layers 2 --heads 0,2"))
    assert [(r["frame"], r["query"], r["layer"], r["head"]) for r in rows] == [
        (frame, word, "2", head) for frame in ("0", "2") for word in ("duck", "bowl") for head in ("0", "2")
    ]
    view = ViewState(region=((0, 6, 6), (1, 2, 3)))
    path = export_table(tmp_path / "b", small, f"table --view {view.to_json()} --words duck --layers 2 --heads 0")
    assert 0 < float(read_rows(path)[0]["mass region"]) < 1


def test_query_has_one_name_from_options_and_views(results: Results, tmp_path: Path) -> None:
    def queries(words: str, view: ViewState | None = None) -> set[str]:
        options = ["--view", view.to_json()] if view is not None else []
        assert main(["table", str(results.path), *words.split(), *options, "-o", str(tmp_path), "--overwrite"]) == 0
        return {row["query"] for row in read_rows(tmp_path / "small" / "table.csv")}

    labels = [chip.label for chip in results.chips(0)]
    duck, bowl = labels.index("duck"), labels.index("bowl")
    everything = queries("--layers 1")
    assert (
        queries("--layers 1 --words duck") == queries("--layers 1", ViewState(query=Query("text", (duck,)))) == {"duck"}
    )
    assert (
        queries("--layers 1 --actions 2")
        == queries("--layers 1", ViewState(query=Query("action", (2,))))
        == {"action 2"}
    )
    assert {"duck", "action 2"} <= everything
    assert queries("--layers 1", ViewState(query=Query("text", (duck, bowl)))) == {"duck bowl"}
    assert queries("--layers 1 --actions 0-2,4") == {"action 0-2+4"}


def test_region_option_adds_score_columns(small: Path, tmp_path: Path) -> None:
    command = "table --actions 2 --layers 2 --steps 1 --heads 0 --region wrist:2-3,4 exterior:6,6-7"
    [row] = read_rows(export_table(tmp_path, small, command))
    cells = ((0, 6, 6), (0, 6, 7), (1, 2, 4), (1, 3, 4))
    with h5py.File(small) as file:
        maps = file["action/to_image"][0, 2, 2, 1, 0].astype("f4")
    bars = np.stack([make_results.bars(72, 128)] * 2)
    assert float(row["mass region"]) == pytest.approx(sum(float(maps[cell]) for cell in cells), rel=1e-4)
    for column, compute in (("lift region", scores.lift), ("hit region", scores.hit), ("IoU90 region", scores.iou90)):
        assert float(row[column]) == pytest.approx(float(compute(maps, cells, bars)), rel=1e-4)
    assert row["region"] == "exterior:6,6-7 wrist:2-3,4"
    without_region = read_rows(export_table(tmp_path / "b", small, "table --actions 2 --layers 2"))[0]
    assert not {"region", *(value.column for value in scores.SCORES.values() if value.needs_region)} & set(
        without_region
    )


def test_region_in_the_bars_has_mass_but_nan_scores(small: Path, tmp_path: Path) -> None:
    [row] = read_rows(
        export_table(tmp_path, small, "table --actions 2 --layers 2 --steps 1 --heads 0 --region wrist:0,3")
    )
    with h5py.File(small) as file:
        weight = float(file["action/to_image"][0, 2, 2, 1, 0, 1, 0, 3])
    assert float(row["mass region"]) == pytest.approx(weight, rel=1e-4)
    assert [row[name] for name in ("lift region", "hit region", "IoU90 region")] == ["nan"] * 3


def test_table_of_maps_marks_the_region(small: Path, tmp_path: Path) -> None:
    rows = read_rows(export_table(tmp_path, small, "table --of maps --actions 1 --layers 1 --steps 2 --heads 1 "
                          "--region wrist:2-3,4"))  # fmt: skip
    inside = {(row["camera"], row["row"], row["col"]) for row in rows if row["in region"] == "True"}
    assert inside == {("wrist", "2", "4"), ("wrist", "3", "4")}


def test_every_column_is_described_in_the_help(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = set(read_rows(export_table(tmp_path / "a", small, "table --layers 1 --region wrist:2-3,4"))[0])
    columns |= set(
        read_rows(export_table(tmp_path / "b", small, "table --of maps --layers 1 --actions 1 --region wrist:2-3,4"))[0]
    )
    groups = {name for name in columns if name.startswith("mass ") and name != "mass region"}
    of_some = {score.column for score in scores.SCORES.values() if score.needs_effects}  # of files with effects
    of_some |= {"region name", "outcome", "prompt", *EFFECT_COLUMNS}  # of named regions, of runs, and of effects
    assert columns - groups == set(tables.describe_columns()) - {"mass …"} - of_some
    with pytest.raises(SystemExit):
        main(["table", "-h"])
    text = " ".join(capsys.readouterr().out.split())
    for name, description in tables.describe_columns().items():
        assert f"{name} {description}" in text
    with pytest.raises(SystemExit):
        main(["atlas", "-h"])
    assert "columns:" not in capsys.readouterr().out


def test_table_progress_counts_rows(results: Results, tmp_path: Path) -> None:
    """Rows and not queries: an action has a row per denoise step, so that its query takes longer."""
    reports: list[tuple[int, int]] = []
    plan = plan_export(results, "table --frames 0-1 --layers 1-2 --heads 0", "-o", str(tmp_path))
    tables.write_table(plan, results, lambda done, total: reports.append((done, total)))
    lines = len(read_rows(tmp_path / "small" / "table.csv"))
    assert reports[-1] == (lines, lines)
    words = len(results.chips(0))
    assert reports[0] == (2 * words, lines), "two layers of each word of a frame"
    steps = [after[0] - before[0] for before, after in itertools.pairwise(reports)]
    assert steps == [2 * words, 5 * 2 * 3, 5 * 2 * 3], "each action has three denoise steps"


def test_table_of_maps_has_a_line_for_every_patch(small: Path, tmp_path: Path) -> None:
    rows = read_rows(export_table(tmp_path, small, "table --of maps --actions 1 --layers 1 --steps 2 --heads 1"))
    assert len(rows) == 2 * 16 * 16
    with h5py.File(small) as file:
        image = file["action/to_image"][0, 1, 1, 2, 1]  # camera, row, col
    bars = make_results.bars(72, 128)
    for row in rows[::37]:
        patch = ("exterior", "wrist").index(row["camera"]), int(row["row"]), int(row["col"])
        assert float(row["weight"]) == pytest.approx(float(image[patch]), rel=1e-6)
        assert row["bar"] == str(bool(bars[patch[1:]]))


def test_parquet_holds_the_same_as_csv(small: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: no Parquet is written")
    table = parquet.read_table(export_table(tmp_path, small, "table --format parquet --layers 2")).to_pydict()
    csv_rows = read_rows(export_table(tmp_path / "b", small, "table --layers 2"))
    assert table["query"] == [row["query"] for row in csv_rows]
    assert table["layer"] == [int(row["layer"]) for row in csv_rows]
    assert table["phase"] == [row["phase"] for row in csv_rows]
    scored = parquet.read_table(export_table(tmp_path / "c", small, "table --format parquet --region wrist:2,3"))
    assert scored.schema.field("lift region").metadata[b"description"].decode() == scores.SCORES["lift"].description
    assert scored.column("region")[0].as_py() == "wrist:2,3"
    texts = [field.name for field in scored.schema if field.type == "string"]
    assert texts == ["phase", "query", "region"], "as plain texts, which are written as dictionaries"
    assert scored.schema.field("frame").type == scored.schema.field("layer").type == "int64"
    assert scored.schema.field("mass region").type == "float"
    assert np.allclose(table["entropy"], [float(row["entropy"]) for row in csv_rows], atol=1e-6)


def test_arrays_have_named_axes_and_the_weights_of_the_file(small: Path, tmp_path: Path) -> None:
    arrays = np.load(export_table(tmp_path, small, "arrays --frames all --layers 1,3"))
    axes = json.loads(str(arrays["axes"]))
    lengths = {
        "frame": arrays["frame"], "layer": arrays["layer"], "step": arrays["step"], "head": arrays["head"],
        "camera": arrays["camera"], "group": arrays["group"],
    }  # fmt: skip
    for name, names in axes.items():
        assert arrays[name].ndim == len(names)
        for axis, length in zip(names, arrays[name].shape, strict=True):
            if axis in lengths and not (name.startswith("prefix") and axis == "step"):
                assert length == len(lengths[axis])
    with h5py.File(small) as file:
        action, text = file["action/to_image"][:], file["text/to_image"][:]
        pieces = [[piece.decode() for piece in row] for row in file["text/piece"]]
    expected = action[:, [1, 3]].transpose(0, 2, 1, 3, 4, 5, 6, 7)  # frame, action, layer, step, head, camera, row, col
    assert np.array_equal(arrays["suffix_maps"], expected)
    assert arrays["suffix_query"][0].tolist() == [f"action {number}" for number in range(5)]
    for frame in range(3):
        index = arrays["prefix_query"][frame].tolist().index("duck")
        token = pieces[frame].index("▁duck")
        assert np.array_equal(arrays["prefix_maps"][frame, index, :, 0], text[frame, [1, 3], token])
    assert np.allclose(np.nansum(arrays["suffix_mass"], -1), 1, atol=5e-3)


def test_arrays_are_nan_where_a_frame_has_fewer_words(tmp_path: Path) -> None:
    tasks = ("put the duck in the bowl", "wave")
    path = make_results.write(tmp_path / "two.h5", make_results.Recipe(frames=2, tasks=tasks, layers=2, steps=2))
    arrays = np.load(export_table(tmp_path / "out", path, "arrays --frames all --phase prefix"))
    names = arrays["prefix_query"]
    empty = names == ""
    assert not empty[0].any()
    assert empty[1].sum() == 5
    assert np.isnan(arrays["prefix_maps"][empty]).all()
    assert np.isfinite(arrays["prefix_maps"][~empty]).all()
    assert np.isnan(arrays["prefix_entropy"][empty]).all()


def test_parquet_without_pyarrow_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name == "pyarrow":
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match="Parquet needs pyarrow: pip install pyarrow"):
        tables.check_installed("parquet")
    tables.check_installed("csv")


def test_words_that_spreadsheets_take_for_formulas_are_quoted_in_csv(tmp_path: Path) -> None:
    recipe = make_results.Recipe(frames=1, tasks=("=cmd() the duck",))
    path = make_results.write(tmp_path / "a.h5", recipe)
    assert main(["table", str(path), "-o", str(tmp_path), "--words", "=cmd()"]) == 0
    [written] = tmp_path.rglob("*.csv")
    with written.open(newline="") as stream:
        cells = {cell for row in csv.reader(stream) for cell in row}
    assert "'=cmd()" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "@", "\t"))]


def test_csv_lines_are_those_that_the_csv_module_writes() -> None:
    numbers = np.array([0.1, 1 / 3, np.nan, 1e-9, 0], np.float32)
    columns = {
        "prompt": np.broadcast_to(np.array('100 % of "it", please\n', dtype=object), 5),
        "frame": np.broadcast_to(7, 5),
        "head": np.arange(5),
        "camera": np.array(["left", "a,b", "", "=1", "right"], dtype=object),
        "bar": np.array([True, False, True, True, False]),
        "mass": numbers,
        "outcome": np.broadcast_to(np.array("", dtype=object), 5),
    }
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(
        zip(*map(csv_lines.format_csv_values, columns.values()), strict=True)
    )
    assert "".join(csv_lines.format_csv_lines(list(columns.values()))) == stream.getvalue()


def test_messages_of_export_cannot_steer_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", f"{tmp_path}/no\x1b[2J\u202e.h5", "-o", str(tmp_path)]) == 2
    stderr = capsys.readouterr().err
    assert "no\ufffd[2J\ufffd.h5" in stderr
