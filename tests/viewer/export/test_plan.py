"""Which files an export writes, and the view of each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import make_results
import pytest
from export_driver import open_export, plan_export

from viewer.errors import UserError
from viewer.export.plan import check_targets
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from viewer.export.plan import ExportPlan


def planned_names(plan: ExportPlan) -> list[str]:
    return [file.path.as_posix() for file in plan.files]


def test_file_names_equal_the_recorded_ones(results: Results) -> None:
    plan = plan_export(results, "summary --phase prefix suffix --layers 1,3 --reduce mean max")
    assert planned_names(plan) == [
        f"results/small/{phase}_L{layer}_attn_vis_{mode}.jpg"
        for phase in ("prefix", "suffix")
        for layer in (1, 3)
        for mode in ("mean", "max")
    ]
    sheets = plan_export(results, "heads --layers 3")
    assert planned_names(sheets) == [
        f"results/small/L3_{phase}_heads/head_{head:02}.jpg" for phase in ("prefix", "suffix") for head in range(3)
    ]


def test_file_names_hold_what_differs_from_the_default_figure(results: Results) -> None:
    assert planned_names(plan_export(results, "summary --frame 2 --words duck --layers 0")) == [
        "results/small/prefix_L0_attn_vis_mean_frame2_duck.jpg"
    ]
    several = plan_export(results, "summary --frames 0,2 --steps 0,2 --actions 1 0-2 --layers 0")
    assert planned_names(several)[:4] == [
        "results/small/suffix_L0_attn_vis_mean_frame0_action1_step0.jpg",
        "results/small/suffix_L0_attn_vis_mean_frame0_action1_step2.jpg",
        "results/small/suffix_L0_attn_vis_mean_frame0_action0-2_step0.jpg",
        "results/small/suffix_L0_attn_vis_mean_frame0_action0-2_step2.jpg",
    ]
    assert len(set(planned_names(several))) == len(several.files) == 8


def test_different_figures_have_different_names_whatever_export_writes_them(results: Results) -> None:
    duck = [chip.label for chip in results.chips(0)].index("duck")
    the = [item for item, chip in enumerate(results.chips(0)) if chip.label == "the"]
    views = [
        ViewState(query=Query("text", (duck,)), layer=2),
        ViewState(query=Query("text", (duck,)), layer=2, frame=1),
        ViewState(query=Query("text", (duck,)), layer=2, heads=(1,)),
        ViewState(query=Query("text", (duck,)), layer=2, heads=(0, 1)),
        ViewState(query=Query("text", (duck,)), layer=2, reduce="max"),
        ViewState(query=Query("text", (duck,)), layer=2, unit="uniform"),
        ViewState(query=Query("text", (duck,)), layer=2, left_out=("bos",)),
        ViewState(query=Query("text", (duck,)), layer=2, measure="contribution"),
        ViewState(query=Query("text", (duck,)), layer=2, scale="log"),
        ViewState(query=Query("text", (the[0],)), layer=2),
        ViewState(query=Query("text", (the[1],)), layer=2),
        ViewState(query=Query("text", tuple(the)), layer=2),
        ViewState(query=Query("action", (1,)), layer=2),
        ViewState(query=Query("action", (1,)), layer=2, step=1),
        ViewState(query=Query("action", (1, 2)), layer=2),
    ]
    plans = [plan_export(results, "summary", "--view", view.to_json()) for view in views]
    assert len({planned_names(plan)[0] for plan in plans}) == len(views)
    assert "head1" in planned_names(plans[2])[0]
    assert "mean" not in planned_names(plans[2])[0]
    subtracted = [
        plan_export(results, f"difference --words duck --layers 2 --against {field}")
        for field in ("layer=1", "layer=0", "frame=1", "word=bowl", "head=1", "reduce=max")
    ]
    assert len({planned_names(plan)[0] for plan in subtracted}) == 6
    regions = [
        plan_export(results, f"atlas --phase prefix --region {box}")
        for box in ("wrist:6,4", "wrist:6,5", "exterior:6,4")
    ]
    assert len({planned_names(plan)[0] for plan in regions}) == 3
    curves = [plan_export(results, f"curves --words duck{rest}") for rest in ("", " --heads 1", " --layers 1,2")]
    assert len({planned_names(plan)[0] for plan in curves}) == 3


@pytest.mark.parametrize(
    "words",
    [
        "summary --frames all --steps all --layers all --reduce mean max --phase prefix suffix",
        "heads --frames all --steps all --words duck bowl",
        "atlas --frames all --steps all",
        "film --over layers --frames all --steps all --reduce mean max",
        "film --over steps --frames all",
        "film --over frames --layers all --steps all",
        "film --over layers-frames --steps all --reduce mean max",
        "curves --over layers --frames all --steps all",
        "curves --over steps --frames all --layers all",
        "curves --over frames --layers all --steps all",
        "video --over layers --frames all --steps all",
        "difference --against layer=0 --frames all --steps all --layers all",
    ],
)
def test_names_and_views_of_a_plan_are_unique(results: Results, words: str) -> None:
    plan = plan_export(results, words)
    assert len(plan.files) > 1
    assert len(set(planned_names(plan))) == len(plan.files)
    assert len({file.view for file in plan.files}) == len(plan.files)
    check_targets(plan.files, overwrite=False)


def test_options_are_in_the_planned_views(results: Results) -> None:
    plan = plan_export(results, "summary --layers 2 --step 1 --actions 3 --reduce max --opacity 0.4 --picture model")
    view = plan.files[0].view
    assert (view.layer, view.step, view.query, view.reduce) == (2, 1, Query("action", (3,)), "max")
    assert (view.opacity, view.picture, view.compare) == (0.4, "model", "off")
    locked = plan_export(results, "film --range 0.001:0.02").files[0].view
    assert (locked.range, locked.low, locked.high) == ("locked", 0.001, 0.02)


def test_options_override_fields_of_the_view(results: Results) -> None:
    view = ViewState(frame=2, query=Query("action", (1, 2)), step=1, layer=3, heads=(1,), colours="magma", smooth=True)
    plan = plan_export(results, "summary", "--view", view.to_json())
    assert [file.view for file in plan.files] == [view]
    overridden = plan_export(results, "summary --layers 0 --colours jet", "--view", view.to_json())
    assert (overridden.files[0].view.layer, overridden.files[0].view.colours, overridden.files[0].view.heads) == (
        0,
        "jet",
        (1,),
    )


def test_sweep_keeps_the_words_of_its_query(tmp_path: Path) -> None:
    tasks = ("put the duck in the bowl", "in the bowl put the duck")
    path = make_results.write(tmp_path / "two.h5", make_results.Recipe(frames=4, tasks=tasks))
    results = Results(path)
    plan = plan_export(results, "video --words duck")
    labels = [[results.chips(v.frame)[item].label for item in v.query.items] for v in plan.files[0].sweep]
    assert labels == [["duck"]] * 4
    assert [view.frame for view in plan.files[0].sweep] == [0, 1, 2, 3]
    assert plan.pictures == 4
    results.close()


def test_against_option_gives_the_pinned_view(results: Results) -> None:
    view = plan_export(results, "difference --words duck --layers 3 --against layer=1 word=bowl frame=1").files[0].view
    assert view.compare == "difference"
    assert view.pinned is not None
    assert (view.pinned.layer, view.pinned.frame, view.layer, view.frame) == (1, 1, 3, 0)
    assert [results.chips(1)[item].label for item in view.pinned.query.items] == ["bowl"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("summary --layers 9", "There is no layer 9; the file has layers 0–3."),
        ("summary --frames 3", "There is no frame 3; the file has frames 0–2."),
        ("summary --range 3:1", "is empty"),
        ("summary --range wide", "cannot be read"),
        ("difference", "A difference needs two views; name the other with --against layer=0,"),
        ("difference --layers 0", "name the other with --against layer=1,"),
        ("difference --layers all", "name the other with --against head=0,"),
        ("difference --against depth=4", "such as layer=0 or head=0."),
        ("film --over steps --phase prefix", "Words have one pass"),
        ("heads --heads 3", "There is no head 3; the file has heads 0–2."),
        ("summary --view nowhere.png", "neither the JSON of a view nor a figure"),
        ('summary --view {"layer":"x"}', "cannot be read"),
    ],
)
def test_unknown_selection_is_one_sentence(results: Results, words: str, message: str) -> None:
    with pytest.raises(UserError) as error:
        plan_export(results, words)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_existing_files_are_refused_before_any_work(results: Results, tmp_path: Path) -> None:
    plan = plan_export(results, f"summary -o {tmp_path}")
    plan.files[1].path.parent.mkdir(parents=True)
    plan.files[1].path.write_bytes(b"mine")
    with pytest.raises(UserError, match="exists; add --overwrite"):
        check_targets(plan.files, overwrite=False)
    check_targets(plan.files, overwrite=True)
    assert plan.files[1].path.read_bytes() == b"mine"


def test_file_without_a_finished_frame_is_refused(tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "begun.h5", make_results.Recipe(frames=1, done=0, complete=False))
    results = Results(path)
    with pytest.raises(UserError, match="no finished frame yet"):
        plan_export(results, "summary")
    results.close()


@pytest.mark.parametrize("words", ["film --range map", "film --range set", "video --range set"])
def test_range_that_a_kind_does_not_have_is_refused(results: Results, words: str) -> None:
    with pytest.raises(UserError, match="is nothing for a"):
        plan_export(results, words)


@pytest.mark.parametrize("words", ["atlas --layers 1", "atlas --heads 1", "curves --reduce max", "table --size 3"])
def test_options_without_effect_on_a_kind_are_refused(results: Results, words: str) -> None:
    with pytest.raises(UserError, match="unrecognized arguments"):
        plan_export(results, words)


def test_atlas_with_a_region_has_a_score_of_the_region(results: Results) -> None:
    planned = plan_export(results, "atlas --phase prefix --region wrist:6,4-5").files[0]
    assert (planned.view.score, planned.view.region) == ("lift", ((1, 6, 4), (1, 6, 5)))
    assert planned.path.name == "prefix_atlas_lift_wrist-6_4-5.png"
    chosen = plan_export(results, "atlas --phase prefix --score hit --region wrist:6,4").files[0]
    assert chosen.view.score == "hit"
    view = ViewState(score="iou", region=((0, 6, 6),), thumbnails=True)
    other_region = plan_export(results, "atlas --region wrist:6,4", "--view", view.to_json()).files[0].view
    assert (other_region.score, other_region.region, other_region.thumbnails) == ("iou", ((1, 6, 4),), False)
    without_region = plan_export(results, "atlas --phase prefix").files[0].view
    assert (without_region.score, without_region.region) == ("picture", ())


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A file of six frames, and one of four whose second and fourth prompts have other words."""
    tasks = ("put the duck in the bowl", "open the drawer")
    first = make_results.write(tmp_path / "one.h5", make_results.Recipe(frames=6, layers=2, heads=2, steps=2))
    second = make_results.write(
        tmp_path / "two.h5", make_results.Recipe(frames=4, tasks=tasks, layers=2, heads=2, steps=2)
    )
    return first, second


def test_a_video_of_a_difference_leaves_out_frames_without_a_counterpart(pair: tuple[Path, Path]) -> None:
    first, second = pair
    with open_export("video", str(first), "--over", "frames", "--words", "duck", "--other", str(second)) as export:
        [file] = export.plan.files
        assert [view.frame for view in file.sweep] == [0, 2]
        assert file.series is not None
        assert file.series.unpaired == (1, 3, 4, 5)
        assert export.plan.notes == (
            "two.h5 has no frame whose prompt has “duck” for 4 of 6 frames; left out: frames 1, 3–5.",
        )
        assert file.series.describe_left_out() == "4 left out, which two.h5 lacks or whose prompt there lacks “duck”"
    with open_export("video", str(first), "--over", "frames", "--actions", "1", "--other", str(second)) as export:
        assert [view.frame for view in export.plan.files[0].sweep] == [0, 1, 2, 3]
        assert export.plan.notes == ("two.h5 has no frame of that number for 2 of 6 frames; left out: frames 4–5.",)


def test_a_video_starts_at_the_first_frame_that_has_a_counterpart(pair: tuple[Path, Path]) -> None:
    first, second = pair
    words = ["video", str(first), "--over", "frames", "--words", "duck", "--frames", "1-3", "--other", str(second)]
    with open_export(*words) as export:
        assert [view.frame for view in export.plan.files[0].sweep] == [2]
        assert export.plan.files[0].view.frame == 2


def test_differences_of_several_frames_leave_out_those_without_a_counterpart(pair: tuple[Path, Path]) -> None:
    first, second = pair
    words = ["difference", str(first), "--words", "duck", "--other", str(second), "--layers", "0"]
    with open_export(*words, "--frames", "0-3") as export:
        assert [file.view.frame for file in export.plan.files] == [0, 2]
        assert "left out: frames 1, 3." in export.plan.notes[0]
    with (
        pytest.raises(UserError, match="two.h5 has none of these frames with “duck”"),
        open_export(*words, "--frames", "3-5"),
    ):
        pass
