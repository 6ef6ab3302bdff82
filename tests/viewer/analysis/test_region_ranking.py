from __future__ import annotations

from typing import TYPE_CHECKING

import make_results

from viewer.analysis import scene
from viewer.analysis.region_ranking import rank_by_region
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np


def never() -> bool:
    return False


def test_ranking_by_region_starts_with_the_heaviest_head(tmp_path: Path) -> None:
    def plant(kind: str, image: np.ndarray, words: np.ndarray, actions: np.ndarray) -> None:
        image[..., 0, 6, 6] = 0
        if kind == "action":
            image[2, 3, 1, 0, 0, 6, 6] = 5000
        else:
            image[1, 5, 2, 0, 6, 6] = 1000

    results = Results(make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1, plant=plant)))
    state = ViewState(region=((0, 6, 6),))
    ranking = rank_by_region(results, state, never)
    assert ranking is not None
    first, second = ranking[:2]
    assert (first.query, first.layer, first.step, first.head) == (Query("action", (3,)), 2, 1, 0)
    assert second.query.kind == "text"
    assert (second.layer, second.head) == (1, 2)
    assert 5 in scene.find_query_tokens(results, 0, second.query)
    assert [head.mass for head in ranking] == sorted((head.mass for head in ranking), reverse=True)
    assert rank_by_region(results, state, lambda: True) is None
    results.close()
