"""FORMAT.md says what schema.py says, and its examples run."""

from __future__ import annotations

import re
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import synthetic
from paths import ROOT

from capture.results import schema
from capture.results.dataset_layout import list_datasets
from capture.results.effects_schema import DESCRIPTIONS
from capture.results.writer import ResultsWriter

WHOLE = (ROOT / "FORMAT.md").read_text()
EFFECTS = WHOLE.partition("## The effects file\n")[2].partition("\n## ")[0]
DOCUMENT = WHOLE.replace(EFFECTS, "")
SIZES = replace(synthetic.SMALL, full=True)
ROLLOUT = replace(SIZES, frames=0, is_rollout=True)
SCORED = replace(ROLLOUT, regions=("duck",), words=SIZES.tokens)
"""With every dataset that there is."""


def described() -> dict[str, str]:
    """Dataset name -> the second column of its row in the document's tables."""
    rows = {}
    for line in DOCUMENT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`([a-z]+/[a-z_0-9<>/]+)`", cells[0]) if line.startswith("| `") else []:
            rows[name] = cells[1]
    return rows


def test_every_dataset_is_described_and_no_other() -> None:
    names = {dataset.name.replace("/exterior/", "/<camera>/") for dataset in list_datasets(SCORED)}
    assert described().keys() == {name for name in names if "/wrist/" not in name}


def test_every_dataset_of_the_effects_file_is_described() -> None:
    rows = [line.strip("|").split(" | ") for line in EFFECTS.splitlines() if line.startswith("| `")]
    found = {name.strip(" `"): (axes.strip(), content.strip()) for name, axes, content in rows}
    assert found == DESCRIPTIONS


def test_axes_are_those_of_the_schema() -> None:
    rows = described()
    for dataset in list_datasets(SCORED):
        written = rows[dataset.name.replace("/exterior/", "/<camera>/").replace("/wrist/", "/<camera>/")].strip("()")
        words = [word.strip() for word in written.split(",") if word.strip()]
        assert len(words) == len(dataset.axes), dataset.name
        for word, axis in zip(words, dataset.axes, strict=True):
            free = {"F": "frame", "T": "token", "224": axis, "2": axis, "3": axis}
            assert free.get(word, word) == axis, dataset.name


def test_the_root_attributes_are_described(tmp_path: Path) -> None:
    with ResultsWriter(
        tmp_path / "a.h5", ROLLOUT, model=synthetic.MODEL, generator="test", run={}, provenance="[]"
    ) as writer:
        table = DOCUMENT.partition("## Root attributes")[2].partition("`model` holds")[0]
        named = {
            name
            for line in table.splitlines()
            for name in re.findall(r"`(\w+)`", line.split("|")[1:2][0] if "|" in line else "")
        }
        assert named == set(writer._storage.file.attrs)
    checks = (schema.CHECK_ROW_SUM, schema.CHECK_MASKED, schema.CHECK_ACTIONS, schema.CHECK_TIME)
    for key in (*checks, schema.CHECK_SECONDS, schema.CHECK_SINCE, *synthetic.MODEL):
        assert f"`{key}`" in DOCUMENT
    for number, role in enumerate(schema.ROLES):
        assert f"{number} `{role}`" in DOCUMENT


def test_the_examples_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with ResultsWriter(tmp_path / "results.h5", SIZES, model=synthetic.MODEL, generator="test") as writer:
        for number in range(SIZES.frames):
            writer.write(synthetic.make_frame(SIZES, number))
        writer.finish({schema.CHECK_MASKED: 0.0})
    with h5py.File(tmp_path / "demo.regions.h5", "w") as file:
        file["duck/exterior/coverage"] = np.zeros((7, 16, 16), np.float32)
    names: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL):
        if "matplotlib" in code:
            if find_spec("matplotlib") is None:  # no dependency of ours
                continue
            monkeypatch.setenv("MPLBACKEND", "agg")
        exec(compile(code, "FORMAT.md", "exec"), names)
    names["file"].close()
    stdout = capsys.readouterr().out
    assert "put the duck in bowl 2" in stdout
    assert "exterior bars" in stdout
    assert "['frame', 'layer', 'token', 'head', 'text']" in stdout
    if find_spec("matplotlib") is not None:
        assert (tmp_path / "looks_at.png").stat().st_size > 1000
