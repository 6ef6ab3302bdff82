from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import make_results
import pytest

from viewer.analysis.token_values import strips
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path


def test_token_values_are_the_weight_on_pointer_region_or_pictures(small: Path, results: Results) -> None:
    state = ViewState(layer=1, step=2, heads=(1,), query=Query("action", (0,)))
    values = strips(results, state, (1, 7, 9))
    with h5py.File(small, locking=False) as file:
        assert values.actions == pytest.approx(file["action/to_image"][0, 1, :, 2, 1, 1, 7, 9].astype("f4"))
        text = file["text/to_image"][0, 1, :, 1, 1, 7, 9].astype("f4")
    chips = results.chips(0)
    assert values.words == pytest.approx([text[list(chip.tokens)].mean() for chip in chips], rel=1e-5)
    pictures = strips(results, state, None)
    assert pictures.subject == "pictures"
    assert pictures.top == max(pictures.words.max(), pictures.actions.max())
    assert pictures.low == min(pictures.words.min(), pictures.actions.min(), pictures.top / 2)
    region = strips(results, ViewState(layer=1, heads=(1,), region=((1, 7, 9), (0, 3, 3))), None)
    with h5py.File(small, locking=False) as file:
        block = file["text/to_image"][0, 1, :, 1].astype("f4")
    expected = block[:, 1, 7, 9] + block[:, 0, 3, 3]
    assert region.words == pytest.approx([expected[list(chip.tokens)].mean() for chip in chips], rel=1e-5)


def test_token_values_are_the_same_without_summaries(tmp_path: Path) -> None:
    with_, without = (
        Results(make_results.write(tmp_path / f"{s}.h5", make_results.Recipe(frames=1, summaries=s)))
        for s in (True, False)
    )
    state = ViewState(layer=2, query=Query("action", (0,)), step=1)
    first, second = strips(with_, state, None), strips(without, state, None)
    assert first.words == pytest.approx(second.words, abs=4e-3)
    assert first.actions == pytest.approx(second.actions, abs=4e-3)
    with_.close()
    without.close()
