"""Scores of maps for a region: known answers, slow definitions beside fast ones, and the demo's trained head."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import make_results
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from window_driver import close, show, spin, until

from capture.results.bfloat16 import from_bfloat16, to_bfloat16
from capture.results.scores_schema import count_heaviest
from resources.demo.build.dataset import coverage
from resources.demo.build.things import NAMES
from viewer.analysis import scores
from viewer.analysis.atlas import rank_heads, score_heads
from viewer.analysis.regions.picture_patches import ComparedPatches, PicturePatches, take_places
from viewer.io.demo_files import find_demo_path
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState
from viewer.widgets.main_window import MainWindow

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

EFFECT_SCORES = {name for name, score in scores.SCORES.items() if score.needs_effects}
REGION_SCORES = {name for name, score in scores.SCORES.items() if score.needs_region}
BOX = ((0, 5, 5), (0, 5, 6), (0, 6, 5), (0, 6, 6))


def make_bars(rows: int = 3) -> np.ndarray:
    """Return the letterbox bars (2, 16, 16) of two cameras, the first with `rows` of bars above and below."""
    is_bar = np.zeros((2, 16, 16), bool)
    is_bar[0, :rows] = is_bar[0, 16 - rows :] = True
    return is_bar


def make_peak_map(*places: tuple[int, int, int, float]) -> np.ndarray:
    """Return a map (2, 16, 16) with weight on these patches alone."""
    heat = np.zeros((2, 16, 16), np.float32)
    for camera, row, col, weight in places:
        heat[camera, row, col] = weight
    return heat


def score_map(maps: np.ndarray, score: str, region=BOX, bars_of=None) -> np.ndarray:
    compute = {"lift": scores.lift, "hit": scores.hit, "iou": scores.iou90}[score]
    return compute(maps, region, make_bars() if bars_of is None else bars_of)


def test_lift_of_even_weight_is_one() -> None:
    even = np.full((4, 8, 2, 16, 16), 1 / 600, np.float32)
    assert score_map(even, "lift") == pytest.approx(1)
    assert scores.region_mass(even, BOX) == pytest.approx(4 / 600)


def test_lift_is_greatest_with_all_weight_in_the_region() -> None:
    row = make_peak_map((0, 5, 5, 0.1), (0, 6, 6, 0.1))
    patches = 10 * 16
    assert score_map(row, "lift") == pytest.approx(patches / 4)
    assert score_map(row, "hit") == 1
    assert scores.region_mass(row, BOX) == pytest.approx(0.2)


def test_region_scores_leave_out_bars_and_other_cameras() -> None:
    row = make_peak_map((0, 5, 5, 0.01), (0, 9, 9, 0.03), (0, 0, 0, 0.5), (1, 2, 2, 0.4))
    assert score_map(row, "lift") == pytest.approx(0.25 / (4 / 160))
    assert score_map(row, "hit") == 0
    assert score_map(make_peak_map((0, 5, 5, 0.01), (0, 0, 0, 0.5), (1, 2, 2, 0.4)), "hit") == 1
    both_cameras = (*BOX, (1, 2, 2))  # with a region in both, both count
    assert score_map(row, "lift", both_cameras) == pytest.approx((0.41 / 0.44) / (5 / 416))
    assert score_map(row, "hit", both_cameras) == 1


@pytest.mark.parametrize(("patch", "hit"), [((5, 5), 1), ((6, 6), 1), ((5, 7), 0), ((4, 5), 0), ((12, 12), 0)])
def test_hit_needs_the_heaviest_patch_in_the_region(patch: tuple[int, int], hit: int) -> None:
    assert score_map(make_peak_map((0, *patch, 1.0)), "hit") == hit


def test_iou90_compares_the_region_with_the_heaviest_tenth() -> None:
    row = np.full((2, 16, 16), 1e-4, np.float32)
    row[0, 5:9, 5:9] = 0.01  # 16 patches, the tenth of the camera's 160; the box is four of them
    assert score_map(row, "iou") == pytest.approx(4 / 16)
    square = tuple((0, r, c) for r in range(5, 9) for c in range(5, 9))
    assert score_map(row, "iou", square) == 1
    assert score_map(row, "iou", ((0, 12, 12),)) == 0


@pytest.mark.parametrize("score", ["lift", "hit", "iou"])
def test_region_scores_are_nan_without_weight_or_picture_patches(score: str) -> None:
    assert np.isnan(score_map(make_peak_map((1, 2, 2, 0.5), (0, 0, 0, 0.5)), score))  # all weight elsewhere
    assert np.isnan(score_map(make_peak_map((0, 5, 5, 1.0)), score, ((0, 1, 1),)))  # a region in the bars
    assert np.isnan(score_map(make_peak_map((0, 5, 5, 1.0)), score, ()))
    assert np.isnan(score_map(np.full((3, 2, 16, 16), np.nan, np.float32), score)).all()


@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(1, 40))
def test_region_scores_equal_their_slow_definitions(seed: int, rows: int, size: int) -> None:
    draw = np.random.default_rng(seed)
    maps = draw.permutation(2 * 2 * 256).reshape(2, 2, 16, 16).astype(np.float32) + 1
    cells = {tuple(int(n) for n in draw.integers((0, 0, 0), (2, 16, 16))) for _ in range(size)}
    out = make_bars(rows)
    cameras = {camera for camera, _, _ in cells}
    counted = [patch for patch in np.ndindex(2, 16, 16) if patch[0] in cameras and not out[patch]]
    within = [patch for patch in counted if patch in cells]
    for maps_of_one in maps:
        by_score = {score: score_map(maps_of_one, score, tuple(cells), out) for score in ("lift", "hit", "iou")}
        if not within:
            assert all(np.isnan(value) for value in by_score.values())
            continue
        by_weight = sorted(counted, key=lambda patch: -maps_of_one[patch])
        tenth = set(by_weight[: max(1, round(len(counted) / 10))])
        weight = sum(float(maps_of_one[patch]) for patch in counted)
        share = sum(float(maps_of_one[patch]) for patch in within) / weight
        assert by_score["hit"] == (by_weight[0] in cells)
        assert by_score["iou"] == pytest.approx(len(tenth & set(within)) / len(tenth | set(within)))
        assert by_score["lift"] == pytest.approx(share / (len(within) / len(counted)), rel=1e-5)


def test_region_scores_treat_equal_weights_alike() -> None:
    """Where several patches are the heaviest, or weigh as much as the lightest of the tenth."""
    equal_peaks = make_peak_map((0, 5, 5, 0.1), (0, 9, 9, 0.1))
    assert score_map(equal_peaks, "hit") == 0, "one outside is as heavy"
    assert score_map(make_peak_map((0, 5, 5, 0.1), (0, 6, 6, 0.1), (0, 9, 9, 0.09)), "hit") == 1, "both are inside"
    assert score_map(equal_peaks, "iou") == pytest.approx(1 / 5), "two patches have weight, not sixteen"
    even = np.full((2, 16, 16), 1 / 512, np.float32)
    assert score_map(even, "hit") == 0
    assert score_map(even, "iou") == pytest.approx(4 / 160), "all are as heavy as the tenth's lightest"
    step = np.full((2, 16, 16), 1e-3, np.float32)
    step[0, 5, :15] = 0.5  # the tenth is sixteen patches: these and one of many equal ones
    for mirrored in (step, step[:, ::-1, ::-1]):
        region = tuple((0, int(r), int(c)) for _, r, c in np.argwhere(mirrored[:1] == 0.5))
        assert score_map(mirrored, "iou", region) == pytest.approx(15 / 160)


@given(st.integers(0, 2**32 - 1), st.integers(0, 7), st.integers(1, 90), st.integers(1, 30))
def test_region_scores_of_bfloat16_bits_equal_those_of_floats(seed: int, rows: int, size: int, levels: int) -> None:
    """With many equal weights, with zeros, and with regions larger than the heaviest tenth."""
    draw = np.random.default_rng(seed)
    bits = to_bfloat16(draw.integers(0, levels, (5, 2, 16, 16)).astype(np.float32) / 31)
    maps, out = from_bfloat16(bits), make_bars(rows)
    cells = tuple({tuple(int(n) for n in draw.integers((0, 0, 0), (2, 16, 16))) for _ in range(size)})
    compared = ComparedPatches.of(cells, out)
    patches = PicturePatches(take_places(bits.reshape(5, -1), compared.places), compared)
    inside = np.zeros((2, 16, 16), bool)
    inside[tuple(np.array(cells).T)] = True
    used = ~out & inside.any((1, 2), keepdims=True)
    region = inside & used
    assert (patches.count, patches.region_size) == (used.sum(), region.sum())
    if not region.any():
        return
    for number, heat in enumerate(maps):
        least = np.sort(heat[used])[-count_heaviest(int(used.sum()))]
        heaviest = used & (heat >= least) & (heat > 0)
        outside = heat[used & ~region].max(initial=0)
        assert patches.region_overlap[number] == (heaviest & region).sum() / (heaviest | region).sum()
        if heat[used].any():
            assert patches.region_is_heaviest[number] == (heat[region].max() > outside)
        assert patches.region_total[number] == pytest.approx(heat[region].sum(), rel=1e-6)
        assert patches.total[number] == pytest.approx(heat[used].sum(), rel=1e-6)


@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_region_scores_of_equal_weights_equal_their_definitions(seed: int, kinds: int) -> None:
    draw = np.random.default_rng(seed)
    maps = draw.integers(0, kinds + 1, (2, 16, 16)).astype(np.float32)
    cells = {(0, int(row), int(col)) for row, col in draw.integers(0, 16, (20, 2))}
    counted = [patch for patch in np.ndindex(2, 16, 16) if patch[0] == 0 and not make_bars()[patch]]
    within = {patch for patch in counted if patch in cells}
    least = sorted((maps[patch] for patch in counted), reverse=True)[15]
    tenth = {patch for patch in counted if maps[patch] >= max(least, 1)}
    heaviest = {patch for patch in counted if maps[patch] == max(maps[other_patch] for other_patch in counted)}
    overlap_and_hit = score_map(maps, "iou", tuple(cells)), score_map(maps, "hit", tuple(cells))
    assert overlap_and_hit[0] == pytest.approx(len(tenth & within) / len(tenth | within))
    assert overlap_and_hit[1] == (heaviest <= within)


def test_unavailable_scores_have_a_reason() -> None:
    def lacking(score: str, kind: str = "text", region=BOX) -> str:
        return scores.find_unavailable_reason(score, kind, region, make_bars())

    assert {score for score in scores.SCORES if lacking(score)} == {"change"}
    assert {score for score in scores.SCORES if lacking(score, "action")} == set()
    for score in REGION_SCORES:
        assert lacking(score, region=()) == "drag a box on a picture first"
    within_bars = ((0, 0, 3), (0, 15, 4))
    assert lacking("region", region=within_bars) == "", "bars have weight"
    assert lacking("lift", region=within_bars) == "the region lies in the letterbox bars"
    assert lacking("lift", region=(*within_bars, (0, 5, 5))) == ""


def test_scores_are_formatted_with_their_units() -> None:
    lift, hit, iou, entropy = (scores.SCORES[name] for name in ("lift", "hit", "iou", "entropy"))
    assert [lift.format_cell(value) for value in (0.04, 3.14, 41.6, np.nan)] == ["0.0", "3.1", "42", "–"]
    assert [hit.format_cell(value) for value in (0.0, 1.0, np.nan)] == ["", "hit", "–"]
    assert [iou.format_cell(value) for value in (0.05, 0.25)] == ["5.0", "25"]
    assert entropy.format_cell(5.31) == "5.3"
    assert lift.format_value(41.6) == "41.6 × chance"
    assert (hit.format_value(1.0), hit.format_value(0.0)) == ("yes", "no")
    assert iou.format_value(0.25) == "25.0 %"
    assert entropy.format_value(5.314) == "5.31 nats"
    assert lift.format_value(np.nan) == "none, no weight on the picture"


def test_trained_head_of_the_demo_has_the_greatest_lift() -> None:
    """Of the word “duck” in the bundled file, on the patches that show the duck by its mask.

    Not the greatest mass: it shares its weight among the cameras, and another head has all of it in this one.
    """
    mask = np.asarray(Image.open(find_demo_path().parent / "episodes" / "duck" / "exterior_00_mask.png"))
    patches = np.argwhere(coverage(mask, NAMES.index("duck")).reshape(16, 16) > 0)
    region = tuple((0, int(row), int(col)) for row, col in patches)
    results = Results(find_demo_path())
    try:
        word = next(index for index, chip in enumerate(results.chips(0)) if chip.label == "duck")
        taught = (1, 0)
        for score in ("lift", "hit", "iou"):
            head_scores = score_heads(results, ViewState(query=Query("text", (word,)), score=score, region=region))
            assert head_scores[taught] == np.nanmax(head_scores[:, :-1]), score
            if score == "lift":
                assert rank_heads(head_scores, lowest=False)[0] == taught
                assert head_scores[taught] > 50
    finally:
        results.close()


def test_atlas_and_status_bar_show_the_same_lift(window: MainWindow) -> None:
    atlas, session = window.panels.atlas, window.session
    assert set(atlas.score._reasons) >= REGION_SCORES  # nothing to choose without a region
    session.update(query=Query("action", (1,)), layer=2, heads=(1,), region=((0, 6, 6), (0, 6, 7)), score="lift")
    spin()
    assert not REGION_SCORES & set(atlas.score._reasons)
    values = atlas.scores()
    assert values is not None
    text = f"{values[2, 1]:.1f} × chance"
    assert window.status.left().endswith(f" of this row · lift {text}")
    assert atlas.explain(2, 1).startswith(f"Layer 2, head 1: lift of region {text}, rank ")
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


def test_atlas_explains_unavailable_scores(window: MainWindow) -> None:
    atlas, session = window.panels.atlas, window.session
    region = tuple((0, row, col) for row in (6, 7) for col in (6, 7))
    session.update(query=Query("action", (1,)), layer=2, heads=(1,), score="lift", region=region)
    spin()
    point = atlas.cell(atlas.scores(), 2, 1).center()
    grid = atlas.grab().toImage()
    assert atlas.cell_at(point) == (2, 1)
    session.update(region=())
    spin()
    assert atlas.grab().toImage() != grid
    assert atlas.cell_at(point) is None, "no cell is there to be clicked or explained"
    assert atlas.explain(2, 1) == "Layer 2, head 1: lift of region none, drag a box on a picture first"
    window.perform_id("ranked")
    spin()
    assert window.notice.text == "Heads cannot be ranked by lift of region: drag a box on a picture first."
    assert (session.state.layer, session.state.heads) == (2, (1,)), "stays where it is"
    session.update(thumbnails=True)
    spin()
    assert atlas.cell_at(point) == (2, 1), "small maps need no score"
    session.update(thumbnails=False, region=((0, 0, 0),))
    spin()
    assert window.status.left().endswith(" · the region lies in the letterbox bars")
    assert atlas.explain(2, 1).endswith("lift of region none, the region lies in the letterbox bars")
    assert set(atlas.score._reasons) == (REGION_SCORES - {"region"}) | EFFECT_SCORES
    session.update(query=Query("text", (1,)), score="change")
    spin()
    assert atlas.cell_at(point) is None
    session.update(region=region, score="region")
    spin()
    assert atlas.cell_at(point) == (2, 1)


def test_next_score_skips_unavailable_scores(window: MainWindow) -> None:
    session, messages = window.session, []
    session.update(query=Query("text", (1,)), score="picture")
    for _ in range(3):
        window.perform_id("score")
        spin(0.01)
        messages.append(session.state.score)
    assert messages == ["entropy", "picture", "entropy"], "no region is drawn, and words have one pass"
    session.update(query=Query("action", (1,)), region=((0, 6, 6),), score="picture")
    spin(0.01)
    messages = []
    offered = [name for name in scores.SCORES if name not in EFFECT_SCORES]  # the file has no effects
    for _ in offered:
        window.perform_id("score")
        spin(0.01)
        messages.append(session.state.score)
    assert messages == [*offered[1:], "picture"]


def test_atlas_explains_a_score_with_its_rank(window: MainWindow) -> None:
    atlas, session = window.panels.atlas, window.session
    box = tuple((0, row, col) for row in range(5, 9) for col in range(16))
    session.update(query=Query("action", (1,)), score="hit", region=box, layer=1, heads=(2,))
    spin()
    values = atlas.scores()[:, :-1]
    hits = int(values.sum())
    assert 1 < hits < values.size, "else the test says nothing"
    layer, head = np.argwhere(values == 1)[0]
    alike = "1 other" if hits == 2 else f"{hits - 1} others"
    assert atlas.explain(layer, head).endswith(f"hit in region yes, rank 1, shared with {alike}")
    layer, head = np.argwhere(values == 0)[0]
    assert f"hit in region no, rank {hits + 1}" in atlas.explain(layer, head)
    until(lambda: atlas.accessibleDescription() == atlas.explain(1, 2))
    session.update(heads=(0, 2))
    until(lambda: atlas.accessibleDescription() == f"{atlas.explain(1, 0)}; {atlas.explain(1, 2)}")
    session.update(heads=())
    until(lambda: atlas.accessibleDescription().startswith("Layer 1, mean of heads: hit in region "))
    menu = atlas.score.menu()
    tips = [action.toolTip().replace("\n", " ") for action in menu.actions()]
    assert tips == [score.description for score in scores.SCORES.values()]
    assert atlas.score.toolTip().replace("\n", " ") == scores.SCORES["hit"].description
    menu.close()


def test_status_bar_describes_the_pinned_view_while_blinking(app: QApplication, tmp_path: Path, small: Path) -> None:
    """Its file, its bars and its unit: here a second file with square pictures and a third camera."""
    other_path = make_results.write(
        tmp_path / "other.h5", make_results.Recipe(cameras=("exterior", "wrist", "third"), size=(96, 96))
    )
    window = show(small, tmp_path, query=Query("action", (1,)), layer=2, heads=(1,), region=((0, 0, 0), (0, 6, 6)))
    try:
        window.session.open_other(Results(other_path))
        spin()
        before = window.status.left()
        window.session.blink(True)
        results, view = window.session.pin
        values = score_heads(results, replace(view, score="lift"))
        assert window.status.left() != before
        assert window.status.left().endswith(f" · lift {scores.find_score('lift').format_value(float(values[2, 1]))}")
        window.session.point((2, 0, 0))
        assert window.status.left().startswith("third, patch (0, 0) · weight "), "no bar in a square picture"
        until(lambda: "third, patch (0, 0)" in window.status.accessibleDescription())
    finally:
        close(window)
