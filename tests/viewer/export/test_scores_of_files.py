"""Scores of regions in the atlas and in tables, beside their definitions worked out patch by patch from the file."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest

from viewer.analysis import scene
from viewer.analysis.atlas import score_heads
from viewer.analysis.region_boxes import find_boxes
from viewer.analysis.scores import SCORES
from viewer.export.__main__ import main
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viewer.model.view_state import Cell, Kind

REGION_SCORES = ("region", "lift", "hit", "iou")
RECIPES = {
    "two": make_results.Recipe(layers=2, steps=2),
    "one tall": make_results.Recipe(cameras=("top",), size=(160, 90), layers=2, steps=2),
    "three, float32": make_results.Recipe(cameras=("a", "b", "c"), size=(60, 80), layers=2, steps=2, weights="f4"),
    "long words": make_results.Recipe(tasks=("wave the extraordinary duck",), turned=("wrist",), layers=2, steps=2),
}


@pytest.fixture(params=RECIPES)
def varied(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Results]:
    """A file whose first camera has other bars in its second frame: none."""
    recipe = RECIPES[request.param]
    path, first = make_results.write(tmp_path / "varied.h5", recipe), recipe.cameras[0]
    with h5py.File(path, "a") as file:
        height, width = file[f"images/{first}/source"].shape[1:3]
        file[f"images/{first}/to_model"][1] = [[224 / width, 0, 0], [0, 224 / height, 0]]
    results = Results(path)
    yield results
    results.close()


def score_by_definition(weights: np.ndarray, region: set[Cell], bars: np.ndarray) -> list[float]:
    """Mass, lift, hit and IoU90 of one map."""
    cameras = {camera for camera, _, _ in region}
    counted = [cell for cell in np.ndindex(*weights.shape) if cell[0] in cameras and not bars[cell]]
    inside = {cell for cell in counted if cell in region}
    weight = {cell: float(weights[cell]) for cell in counted}
    mass = sum(float(weights[cell]) for cell in region)
    if not inside:
        return [mass, np.nan, np.nan, np.nan]
    lift = sum(weight[cell] for cell in inside) / sum(weight.values()) / (len(inside) / len(counted))
    heaviest = {cell for cell in counted if weight[cell] == max(weight.values())}
    least = sorted(weight.values(), reverse=True)[max(1, round(len(counted) / 10)) - 1]
    tenth = {cell for cell in counted if weight[cell] >= least}
    return [mass, lift, float(heaviest <= inside), len(tenth & inside) / len(tenth | inside)]


@pytest.mark.parametrize("kind", ["text", "action"])
def test_atlas_and_table_equal_scores_computed_by_definition(varied: Results, tmp_path: Path, kind: Kind) -> None:
    draw = np.random.default_rng(5)
    assert varied.bars(0)[0].any()
    assert not varied.bars(1)[0].any()
    for trial in range(4):
        frame, step = trial % 2, int(draw.integers(2)) if kind == "action" else 0
        region: set[Cell] = set()
        for _ in range(int(draw.integers(1, 4))):
            camera, top, left = (int(n) for n in draw.integers(0, (len(varied.cameras), 13, 13)))
            region |= {(camera, row, col) for row in range(top, top + 4) for col in range(left, left + 3)}
        items = tuple(sorted({int(item) for item in draw.integers(1, varied.horizon, 3)}))
        query = Query(kind, items)
        tokens = scene.find_query_tokens(varied, frame, query)
        with h5py.File(varied.path, locking=False) as file:
            rows = [file[f"{kind}/to_image"][frame, :, token].astype("f4") for token in tokens]
        maps = np.mean(rows if kind == "text" else [row[:, step] for row in rows], axis=0, dtype=np.float32)
        maps = np.concatenate([maps, maps.mean(1, keepdims=True)], 1)
        expected = np.array(
            [[score_by_definition(head, region, varied.bars(frame)) for head in heads] for heads in maps]
        )  # (layers, heads + 1, scores)
        cells = tuple(sorted(region))
        for index, score in enumerate(REGION_SCORES):
            view = ViewState(frame=frame, query=query, step=step, score=score, region=cells)
            assert score_heads(varied, view) == pytest.approx(expected[..., index], rel=2e-4, nan_ok=True), score
        options = ["--actions", ",".join(str(item) for item in items), "--steps", str(step)]
        if kind == "text":
            options = ["--tokens", ",".join(str(token) for token in tokens)]
        options += ["--frames", str(frame), "--region", *map(str, find_boxes(varied, cells))]
        assert main(["table", str(varied.path), *options, "-o", str(tmp_path), "--overwrite"]) == 0
        with (tmp_path / "varied" / "table.csv").open(encoding="utf-8", newline="") as stream:
            lines = list(csv.DictReader(stream))
        assert len(lines) == len(varied.layers) * varied.heads
        for line in lines:
            written = [float(line[SCORES[name].column]) for name in REGION_SCORES]
            assert written == pytest.approx(expected[int(line["layer"]), int(line["head"])], rel=2e-4, nan_ok=True)
