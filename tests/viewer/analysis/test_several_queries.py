"""Scores of several queries at once are those of each query by itself, to the last bit."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
import numpy as np
import pytest
from captured_regions import capture, draw_regions

from capture.datasets.regions.region_files import RegionFiles
from viewer.analysis.query_attention import QueryAttention
from viewer.analysis.regions import row_blocks
from viewer.analysis.regions.picture_patches import count_flags
from viewer.analysis.scores import SCORES
from viewer.analysis.several_queries import TOGETHER, SeveralQueries
from viewer.errors import NoMapsError
from viewer.io.results import Results
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from viewer.model.view_state import Cell

REGIONS: dict[str, tuple[Cell, ...]] = {
    "in one camera": ((0, 7, 8), (0, 7, 9), (0, 9, 3)),
    "in both": ((1, 12, 3), (0, 6, 6), (1, 0, 0)),
    "in the bars": ((1, 0, 3), (1, 1, 3)),
    "nowhere": (),
}
ACTIONS = tuple(Query("action", (number,)) for number in (0, 3, 1))
WORDS = tuple(Query("text", (number,)) for number in (1, 2, 4))
ALL_ACTIONS = tuple(Query("action", (number,)) for number in range(5))


def check_equal(results: Results, queries: Sequence[Query], region: tuple[Cell, ...], *places: list[int] | None) -> int:
    """Check every score and the masses; return how many scores there are."""
    layers, steps, heads = places or (None, None, None)
    together = SeveralQueries(results, 1, queries, region, layers=layers, steps=steps, heads=heads)
    each = [QueryAttention(results, 1, query, region, layers=layers, steps=steps, heads=heads) for query in queries]
    np.testing.assert_array_equal(together.mass, np.stack([one.mass for one in each]), strict=True)
    count = 0
    for name in TOGETHER:
        try:
            expected = np.stack([one.compute_or_nan(SCORES[name].compute) for one in each])
        except NoMapsError:
            with pytest.raises(NoMapsError):
                together.compute_score(SCORES[name])
            continue
        np.testing.assert_array_equal(together.compute_score(SCORES[name]), expected, strict=True)
        count += 1
    return count


@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("weights", ["bfloat16", "f4"])
def test_scores_of_several_queries_equal_those_of_each(
    weights: str, region: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_blocks, "BLOCK_BYTES", 20_000)  # several blocks a query, the last of which is shorter
    recipe = make_results.Recipe(frames=2, tasks=("wave the extraordinary duck",), weights=weights)
    results = Results(make_results.write(tmp_path / "maps.h5", recipe))
    assert max(len(results.chips(1)[word.first].tokens) for word in WORDS) > 1
    cells = REGIONS[region]
    some = [1, 3], [0, 2], [2]
    for queries in (ACTIONS, ALL_ACTIONS, ACTIONS[:1]):
        assert check_equal(results, queries, cells) == len(TOGETHER)
        assert check_equal(results, queries, cells, *some) == len(TOGETHER)
    for words in (WORDS, WORDS[:1], (Query("text", (1, 2)), WORDS[2])):
        assert check_equal(results, words, cells, some[0], [0], some[2]) == len(TOGETHER)
    assert check_equal(results, (Query("action", (0, 2)), ACTIONS[1]), cells) == len(TOGETHER)
    results.close()


@pytest.fixture(scope="module")
def scored_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture with scores of regions, with its maps and without."""
    folder = tmp_path_factory.mktemp("scored")
    capture(folder / "maps.h5")
    regions = RegionFiles(draw_regions(folder / "maps.regions.h5", folder / "maps.h5"))
    capture(folder / "summaries.h5", maps_every=0, regions=regions)
    capture(folder / "both.h5", regions=regions)
    return folder


@pytest.mark.parametrize("name", ["summaries.h5", "both.h5"])
def test_stored_scores_of_several_queries_equal_those_of_each(scored_folder: Path, name: str) -> None:
    results = Results(scored_folder / name)
    actions = tuple(Query("action", (number,)) for number in range(results.horizon))
    words = tuple(Query("text", (number,)) for number in range(len(results.chips(1))))
    assert results.regions
    for place in range(len(results.regions)):
        cells = results.region_cells(1, place) or ()
        assert check_equal(results, actions, cells) == len(TOGETHER)
        assert check_equal(results, words, cells) == len(TOGETHER)
        assert check_equal(results, (Query("action", (0, 1)), *actions), cells) == len(TOGETHER)
    unscored = ((0, 7, 7),)
    assert check_equal(results, actions, unscored) == (len(TOGETHER) if name == "both.h5" else 2)
    results.close()


@pytest.mark.parametrize("length", [1, 2, 6, 36, 160, 255, 256, 2040, 2048, 4096])
def test_flags_are_counted_by_machine_words(length: int) -> None:
    flags = np.random.default_rng(length).random((3, 5, length)) < 0.9
    flags[0, 0], flags[0, 1] = True, False
    np.testing.assert_array_equal(count_flags(flags), flags.sum(-1), strict=True)
    np.testing.assert_array_equal(count_flags(flags[:, ::2]), flags[:, ::2].sum(-1), strict=True)
