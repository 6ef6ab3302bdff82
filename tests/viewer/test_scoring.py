"""How maps agree with a region: answers known beforehand, slow definitions beside fast ones, and the demo's taught head."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import spin
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from resources.demo.build.dataset import coverage
from resources.demo.build.things import NAMES
from viewer import overview, scoring
from viewer.opening import demo_path
from viewer.results import Results
from viewer.state import Query, ViewState
from viewer.window import Window

BOX = ((0, 5, 5), (0, 5, 6), (0, 6, 5), (0, 6, 6))


def bars(rows: int = 3) -> np.ndarray:
    """Two cameras, the first with bars above and below."""
    made = np.zeros((2, 16, 16), bool)
    made[0, :rows] = made[0, 16 - rows :] = True
    return made


def peak(*places: tuple[int, int, int, float]) -> np.ndarray:
    """A map with weight on these places alone."""
    made = np.zeros((2, 16, 16), np.float32)
    for camera, row, col, weight in places:
        made[camera, row, col] = weight
    return made


def agreement(maps: np.ndarray, score: str, region=BOX) -> np.ndarray:
    return scoring.agreement(maps, region, bars(), score)


def test_even_weight_is_chance() -> None:
    even = np.full((4, 8, 2, 16, 16), 1 / 600, np.float32)
    assert agreement(even, "lift") == pytest.approx(1)
    assert scoring.mass(even, BOX) == pytest.approx(4 / 600)


def test_all_weight_in_the_region_is_the_greatest_lift() -> None:
    row = peak((0, 5, 5, 0.1), (0, 6, 6, 0.1))
    patches = 10 * 16
    assert agreement(row, "lift") == pytest.approx(patches / 4)
    assert agreement(row, "hit") == 1
    assert scoring.mass(row, BOX) == pytest.approx(0.2)


def test_bars_and_the_other_camera_are_left_out() -> None:
    row = peak((0, 5, 5, 0.01), (0, 9, 9, 0.03), (0, 0, 0, 0.5), (1, 2, 2, 0.4))
    assert agreement(row, "lift") == pytest.approx(0.25 / (4 / 160))
    assert agreement(row, "hit") == 0
    assert agreement(peak((0, 5, 5, 0.01), (0, 0, 0, 0.5), (1, 2, 2, 0.4)), "hit") == 1
    both = (*BOX, (1, 2, 2))  # with a region in both, both count
    assert agreement(row, "lift", both) == pytest.approx((0.41 / 0.44) / (5 / 416))
    assert agreement(row, "hit", both) == 1


@pytest.mark.parametrize(("place", "hit"), [((5, 5), 1), ((6, 6), 1), ((5, 7), 0), ((4, 5), 0), ((12, 12), 0)])
def test_a_hit_is_inside_and_not_beside(place: tuple[int, int], hit: int) -> None:
    assert agreement(peak((0, *place, 1.0)), "hit") == hit


def test_the_heaviest_tenth_over_the_region() -> None:
    row = np.full((2, 16, 16), 1e-4, np.float32)
    row[0, 5:9, 5:9] = 0.01  # 16 patches, the tenth of the camera's 160; the box is four of them
    assert agreement(row, "iou") == pytest.approx(4 / 16)
    square = tuple((0, r, c) for r in range(5, 9) for c in range(5, 9))
    assert agreement(row, "iou", square) == 1
    assert agreement(row, "iou", ((0, 12, 12),)) == 0


@pytest.mark.parametrize("score", ["lift", "hit", "iou"])
def test_where_there_is_nothing_to_tell_there_is_no_number(score: str) -> None:
    assert np.isnan(agreement(peak((1, 2, 2, 0.5), (0, 0, 0, 0.5)), score))  # all weight elsewhere
    assert np.isnan(agreement(peak((0, 5, 5, 1.0)), score, ((0, 1, 1),)))  # a region in the bars
    assert np.isnan(agreement(peak((0, 5, 5, 1.0)), score, ()))
    assert np.isnan(agreement(np.full((3, 2, 16, 16), np.nan, np.float32), score)).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(1, 40))
def test_they_are_what_their_definitions_say(seed: int, rows: int, size: int) -> None:
    draw = np.random.default_rng(seed)
    maps = draw.permutation(2 * 2 * 256).reshape(2, 2, 16, 16).astype(np.float32) + 1
    cells = {tuple(int(n) for n in draw.integers((0, 0, 0), (2, 16, 16))) for _ in range(size)}
    out = bars(rows)
    cameras = {camera for camera, _, _ in cells}
    looked = [place for place in np.ndindex(2, 16, 16) if place[0] in cameras and not out[place]]
    within = [place for place in looked if place in cells]
    for maps_of_one in maps:
        found = {score: scoring.agreement(maps_of_one, tuple(cells), out, score) for score in ("lift", "hit", "iou")}
        if not within:
            assert all(np.isnan(value) for value in found.values())
            continue
        by_weight = sorted(looked, key=lambda place: -maps_of_one[place])
        tenth = set(by_weight[: max(1, round(len(looked) / 10))])
        weight = sum(float(maps_of_one[place]) for place in looked)
        share = sum(float(maps_of_one[place]) for place in within) / weight
        assert found["hit"] == (by_weight[0] in cells)
        assert found["iou"] == pytest.approx(len(tenth & set(within)) / len(tenth | set(within)))
        assert found["lift"] == pytest.approx(share / (len(within) / len(looked)), rel=1e-5)


def test_scores_in_words() -> None:
    assert [scoring.short(value, "lift") for value in (0.04, 3.14, 41.6, np.nan)] == ["0.0", "3.1", "42", "–"]
    assert [scoring.short(value, "hit") for value in (0.0, 1.0, np.nan)] == ["", "hit", "–"]
    assert [scoring.short(value, "iou") for value in (0.05, 0.25)] == ["5.0", "25"]
    assert scoring.short(5.31, "entropy") == "5.3"
    assert scoring.spoken(41.6, "lift") == "41.6 × chance"
    assert (scoring.spoken(1.0, "hit"), scoring.spoken(0.0, "hit")) == ("yes", "no")
    assert scoring.spoken(0.25, "iou") == "25.0 %"
    assert scoring.spoken(5.314, "entropy") == "5.31 nats"
    assert scoring.spoken(np.nan, "lift") == "none, for want of weight on the picture"


def test_the_demos_taught_head_has_the_greatest_lift() -> None:
    """Of the word “duck” in the bundled file, on the patches that show the duck by its mask.

    Not the greatest mass: it shares its weight among the cameras, and another head has all of it in this one.
    """
    mask = np.asarray(Image.open(demo_path().parent / "episodes" / "duck" / "exterior_00_mask.png"))
    patches = np.argwhere(coverage(mask, NAMES.index("duck")).reshape(16, 16) > 0)
    region = tuple((0, int(row), int(col)) for row, col in patches)
    results = Results(demo_path())
    try:
        word = next(place for place, chip in enumerate(results.chips(0)) if chip.label == "duck")
        taught = (1, 0)
        for score in ("lift", "hit", "iou"):
            found = overview.atlas(results, ViewState(query=Query("text", (word,)), score=score, region=region))
            assert found[taught] == np.nanmax(found[:, :-1]), score
            if score == "lift":
                assert overview.ranking(found, lowest=False)[0] == taught
                assert found[taught] > 50
    finally:
        results.close()


def test_the_atlas_and_the_status_line_tell_the_same_of_a_region(window: Window) -> None:
    atlas, session = window.room.atlas, window.session
    assert set(atlas.score._reasons) >= scoring.OF_REGION  # nothing to choose without a region
    session.update(query=Query("action", (1,)), layer=2, heads=(1,), region=((0, 6, 6), (0, 6, 7)), score="lift")
    spin()
    assert not scoring.OF_REGION & set(atlas.score._reasons)
    values = atlas.scores()
    assert values is not None
    told = f"{values[2, 1]:.1f} × chance"
    assert window.status.left().endswith(f" of this row · lift {told}")
    assert atlas.explain(2, 1).startswith(f"Layer 2, head 1: lift of region {told}, rank ")
    session.update(score="hit")
    spin()
    assert atlas.explain(2, 1).startswith("Layer 2, head 1: hit in region ")
    session.update(score="iou", region=((1, 4, 4),))
    spin()
    moved = atlas.scores()
    assert moved is not None
    assert not np.array_equal(moved, values)
    session.update(region=())
    spin()
    assert window.status.left() == "drag a box on a picture: who looks there?"
    assert np.isnan(atlas.scores()).all()
    assert not window.grab().isNull()
