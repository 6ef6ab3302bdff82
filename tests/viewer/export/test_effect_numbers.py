"""Effects and gradients in tables and arrays, against numbers computed with numpy from the effects file alone."""

from __future__ import annotations

import csv
import json
import shutil
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import pytest
from export_driver import refuse

from viewer.analysis.effects.effect_rows import COLUMNS
from viewer.export.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

ACTION = 2


def read_effects(results: Path) -> dict[str, Any]:
    """Return all datasets of frame 0 in the effects file, float64."""
    datasets: dict[str, Any] = {}
    with h5py.File(results.with_name("small.effects.h5")) as file:
        for group in file.values():
            for dataset in group.values():
                if dataset.dtype.kind in "fiub":
                    datasets[dataset.name[1:]] = dataset[0].astype(np.float64)
    noise = datasets["noise/actions"]  # (seeds, actions, dims): two calls differ in their noise alone
    datasets["floor_of_dim"] = np.sqrt(2 * noise.var(0, ddof=1).mean(0))
    return datasets


def write_table(path: Path, folder: Path, *words: str) -> list[dict[str, str]]:
    """Return the lines of a table that pi0-export writes as CSV."""
    assert main(["table", str(path), "-o", str(folder), *words]) == 0
    with (folder / path.stem / "table.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    """Return a column of numbers."""
    return np.array([float(row[name]) for row in rows])


def test_table_of_effects_has_each_patch_and_dimension(measured: Path, tmp_path: Path) -> None:
    rows = write_table(measured, tmp_path, "--of", "effects", "--actions", str(ACTION))
    known = read_effects(measured)
    assert {row["frame"] for row in rows} == {"0"}, "the frames that have effects"
    patches = [row for row in rows if row["what"] == "patch"]
    dims = len(known["map/effect_of_dim"])
    assert [row["dim"] for row in patches[:: known["map/effect_of_chunk"].size]] == ["all", *map(str, range(dims))]
    for dim in range(dims):
        own = [row for row in patches if row["dim"] == str(dim)]
        expected = known["map/effect_of_dim"][dim] / known["floor_of_dim"][dim]
        np.testing.assert_allclose(column(own, "effect"), expected.ravel(), rtol=1e-5)
        np.testing.assert_allclose(column(own, "noise"), known["floor_of_dim"][dim], rtol=1e-5)
        place = {0: 0, 2: 1}.get(dim)
        gradient = np.nan if place is None else known["gradient/relevance"][place, ACTION].ravel()
        np.testing.assert_allclose(column(own, "gradient"), gradient, rtol=1e-5)
    whole = [row for row in patches if row["dim"] == "all"]
    expected = known["map/effect"][ACTION] / known["noise/floor_of_action"][ACTION]
    np.testing.assert_allclose(column(whole, "effect"), expected.ravel(), rtol=1e-5)
    mean = known["gradient/relevance"][:, ACTION].mean(0)
    np.testing.assert_allclose(column(whole, "gradient"), mean.ravel(), rtol=1e-5)
    assert {row["method"] for row in whole} == {"hidden from the actions"}
    assert set(rows[0]) - {"frame", "query", "camera", "row", "col", "bar"} == set(COLUMNS)
    last = np.argwhere(np.ones(known["map/effect_of_chunk"].shape))[-1]
    assert (whole[-1]["row"], whole[-1]["col"]) == (str(last[1]), str(last[2]))


def test_table_of_effects_has_words_and_targets_beside_their_controls(measured: Path, tmp_path: Path) -> None:
    rows = write_table(measured, tmp_path, "--of", "effects", "--actions", str(ACTION))
    known = read_effects(measured)
    [duck] = [row for row in rows if (row["what"], row["name"], row["dim"]) == ("word", "duck", "all")]
    with h5py.File(measured) as file:
        [token] = [place for place, piece in enumerate(file["text/piece"].asstr()[0]) if piece.strip("▁ ") == "duck"]
    expected = known["map/text_effect"][ACTION, token] / known["noise/floor_of_action"][ACTION]
    assert float(duck["effect"]) == pytest.approx(expected, rel=1e-5)
    assert float(duck["gradient"]) == pytest.approx(known["gradient/text_relevance"][:, ACTION, token].mean(), rel=1e-5)
    [whole, *by_dim] = [row for row in rows if row["what"] == "target region"]
    floor, controls = known["noise/floor_of_action"][ACTION], known["controls/effect_of_action"][0, :, ACTION]
    own = known["targets/effect_of_action"][0, ACTION]
    assert (whole["name"], whole["dim"]) == ("exterior:6,6-7", "all")
    assert float(whole["effect"]) == pytest.approx(own / floor, rel=1e-5)
    assert float(whole["control median"]) == pytest.approx(np.median(controls) / floor, rel=1e-5)
    assert (whole["controls"], whole["controls smaller"]) == (str(len(controls)), str((controls < own).sum()))
    dims = known["targets/robot_change"].shape[-1]
    change = np.sqrt((known["targets/change"][0, :, :dims] ** 2).mean(0)) / known["floor_of_dim"][:dims]
    assert [row["dim"] for row in by_dim] == [str(dim) for dim in range(dims)]
    np.testing.assert_allclose(column(by_dim, "effect"), change, rtol=1e-5)


def test_table_of_maps_has_effect_and_gradient_of_a_dimension_beside_the_weight(measured: Path, tmp_path: Path) -> None:
    words = ["--of", "maps", "--frames", "0,1", "--actions", str(ACTION), "--layers", "1", "--steps", "1"]
    known = read_effects(measured)
    for dim, effect, gradient in (
        (
            "all",
            known["map/effect"][ACTION] / known["noise/floor_of_action"][ACTION],
            known["gradient/relevance"][:, ACTION].mean(0),
        ),
        ("2", known["map/effect_of_dim"][2] / known["floor_of_dim"][2], known["gradient/relevance"][1, ACTION]),
    ):
        rows = write_table(measured, tmp_path / dim, *words, "--dim", dim)
        first = [row for row in rows if (row["frame"], row["head"]) == ("0", "1")]
        np.testing.assert_allclose(column(first, "effect"), effect.ravel(), rtol=1e-5)
        np.testing.assert_allclose(column(first, "gradient"), gradient.ravel(), rtol=1e-5)
        assert {row["effect"] for row in rows if row["frame"] == "1"} == {"nan"}, "nothing was measured there"


def test_table_of_one_dimension_has_its_lines_alone(measured: Path, tmp_path: Path) -> None:
    rows = write_table(measured, tmp_path, "--of", "effects", "--dim", "2", "--region", "exterior:6,6-7")
    assert {row["dim"] for row in rows} == {"2"}
    assert {row["query"] for row in rows} == {"action 0-4"}, "all actions, whose effect on a dimension was measured"
    inside = {(row["camera"], row["row"], row["col"]) for row in rows if row["in region"] == "True"}
    assert inside == {("exterior", "6", "6"), ("exterior", "6", "7")}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("--dim 2", "--dim 2 is a dimension of effects or gradients, and no head’s row has one; add --of effects or"),
        ("--of effects --dim 99", "no effects or gradients of action dimension 99, but those of dimensions 0–"),
        ("--of effects --layers 1", "Effects are of no layer; leave out --layers, or take --of rows or maps."),
        ("--of effects --words duck", "Effects are of actions; leave out --words, or take --of rows or maps."),
        ("--of effects --phase prefix", "Effects are of actions; leave out --phase prefix, or take --of rows or maps."),
        (
            "--of effects --frames 1",
            "no effects of frame 1, but of frame 0; “pi0-capture effects small.h5 --frames 1 --map 2” measures them",
        ),
    ],
)
def test_tables_without_such_effects_are_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    assert sentence in refuse(capsys, "table", str(measured), "-o", str(tmp_path), *words.split())


def test_table_of_effects_in_parquet_describes_its_columns(measured: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    words = ["--of", "effects", "--format", "parquet"]
    assert main(["table", str(measured), "-o", str(tmp_path), *words]) == 0
    table = parquet.read_table(tmp_path / "small" / "table.parquet")
    assert b"multiple of what other noise" in table.schema.field("effect").metadata[b"description"]
    assert not [field.name for field in table.schema if not field.metadata], "each column has its description"
    assert table["effect"].null_count, "NaN is null"


def test_tables_of_a_run_have_the_effects_beside_each_file(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name in ("a.h5", "b.h5"):
        shutil.copy(measured, run / name)
    shutil.copy(measured.with_name("small.effects.h5"), run / "a.effects.h5")
    words = ["table", str(run), "--processes", "1", "-o"]
    assert main([*words, str(tmp_path / "long"), "--of", "effects"]) == 0
    assert "1 episode without anything that is asked for (b): There are no effects of" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "long" / "run").glob("episode=*")] == ["episode=a"]
    assert main([*words, str(tmp_path / "maps"), "--of", "maps", "--frames", "0", "--layers", "1", "--heads", "0",
                 "--steps", "1", "--actions", "2"]) == 0  # fmt: skip
    tables = []
    for path in sorted((tmp_path / "maps" / "run").glob("*/table.csv")):
        with path.open(encoding="utf-8", newline="") as stream:
            tables.append(list(csv.DictReader(stream)))
    assert [list(rows[0])[-3:] for rows in tables] == [["weight", "effect", "gradient"]] * 2, "one schema"
    effects, none = (column(rows, "effect") for rows in tables)
    assert np.isfinite(effects).any()
    assert np.isnan(none).all()
    assert "lie beside each of its files" in refuse(
        capsys, *words, str(tmp_path), "--effects", str(run / "a.effects.h5")
    )


def test_arrays_have_dimensions_words_and_changes_of_the_effects_file(measured: Path, tmp_path: Path) -> None:
    words = ["--frames", "0,1", "--actions", str(ACTION), "0-4", "--layers", "1"]
    assert main(["arrays", str(measured), "-o", str(tmp_path), *words]) == 0
    with np.load(tmp_path / "small" / "arrays.npz") as archive:
        arrays = {name: archive[name] for name in archive.files}
    known, axes = read_effects(measured), json.loads(str(arrays["axes"]))
    dims = len(known["map/effect_of_dim"])
    assert arrays["effect_dim"].tolist() == list(range(dims))
    scale = known["floor_of_dim"][:dims, None, None, None]
    gradient, text = known["gradient/relevance"], known["gradient/text_relevance"]
    change = known["targets/change"][0]
    expected = {
        "effect_of_dim": known["map/effect_of_dim"] / scale,
        "noise_floor_of_dim": known["floor_of_dim"],
        "relevance_of_chunk": gradient.mean(1),
        "text_relevance_of_chunk": text.mean(1),
        "suffix_relevance": np.stack([gradient[:, ACTION], gradient.mean(1)]),
        "suffix_text_relevance": np.stack([text[:, ACTION], text.mean(1)]),
        "text_effect_of_chunk": known["map/text_effect_of_chunk"] / known["noise/floor"],
        "gradient_agreement": known["agreement/gradient"],
        "relevance_agreement": known["agreement/relevance"],
        "target_effect_of_dim": np.sqrt((change**2).mean(0))[None] / known["floor_of_dim"],
        "robot_actions": known["baseline/robot_actions"],
        "target_change": known["targets/robot_change"],
        "control_change": known["controls/robot_change"],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(arrays[name][0], values, rtol=1e-5, err_msg=name)
        assert np.isnan(arrays[name][1]).all(), f"{name}: nothing was measured in frame 1"
        assert len(axes[name]) == arrays[name].ndim, name
    assert axes["effect_of_dim"] == ["frame", "effect_dim", "camera", "row", "col"]
    assert axes["suffix_text_relevance"] == ["frame", "query", "gradient_dim", "token"]
