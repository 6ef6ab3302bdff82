"""`--keep`: scores equal those of maps, and maps are stored for the chosen frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from captured_regions import FRAMES, ToyEpisode, capture, draw_regions, make_setup
from synthetic_episodes import ActAfterFrames, ProgressLog

from capture.cli.info.describe import describe
from capture.datasets.regions.region_files import RegionFiles
from capture.errors import UserError
from capture.pipeline.planning.plan import make_plan
from capture.pipeline.runner import run_jobs
from capture.pipeline.types import Job
from capture.results import schema, scores_schema
from capture.results.dataset_layout import list_datasets
from viewer.analysis import scores
from viewer.analysis.query_attention import QueryAttention
from viewer.io.results import Results
from viewer.model import attention
from viewer.model.view_state import Query

COUNT = 2 * FRAMES


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A capture that keeps everything, and the regions that were drawn in it."""
    path = tmp_path_factory.mktemp("maps") / "maps.h5"
    capture(path)
    draw_regions(path.with_name("maps.regions.h5"), path)
    return path


def regions_of(maps: Path) -> RegionFiles:
    return RegionFiles(maps.with_name("maps.regions.h5"))


@pytest.fixture(scope="module")
def summaries(maps: Path) -> Path:
    path = maps.with_name("summaries.h5")
    capture(path, maps_every=0, regions=regions_of(maps))
    return path


def compare(maps: Path, captured: Path, **tolerance: Any) -> set[str]:
    """Compare each stored score with that of the viewer, of every word, action and region; return what was compared."""
    compared, results, file = set(), Results(maps), h5py.File(captured, locking=False)
    names = list(file[scores_schema.COVERAGE].attrs["regions"])
    assert names == ["cup", "lid", "hand"]
    stored = Results(captured)
    for frame in range(COUNT):
        for kind in ("text", "action"):
            items = range(len(results.chips(frame)) if kind == "text" else results.horizon)
            for item in items:
                query = Query(kind, (item,))  # type: ignore[arg-type]
                for index, name in enumerate(names):
                    known = stored.region_cells(frame, index)
                    assert (known is None) == (name == "hand" and frame > 1)
                    if known is None:
                        assert np.isnan(file[f"scores/{kind}/mass"][frame, index]).all()
                        continue
                    attention_of_query = QueryAttention(results, frame, query, known)
                    for measure, score in (("mass", "region"), ("lift", "lift"), ("hit", "hit"), ("iou90", "iou")):
                        expected = scores.SCORES[score].compute(attention_of_query)
                        found = file[f"scores/{kind}/{measure}"][frame, index, :, item]
                        found = found[:, None] if kind == "text" else found
                        np.testing.assert_allclose(found, expected, err_msg=f"{kind} {measure}", **tolerance)
                        compared.add(f"{kind} {measure}")
                attention_of_query = QueryAttention(results, frame, query)
                if kind == "text":
                    expected = attention.entropy(attention_of_query.maps, ~attention_of_query.bars)[:, 0]
                    np.testing.assert_allclose(file["scores/text/entropy"][frame, :, item], expected, **tolerance)
                else:
                    found = file["scores/action/change"][frame, :, item]
                    np.testing.assert_allclose(found, attention.change(attention_of_query.maps), **tolerance)
    file.close()
    return compared


def test_scores_equal_those_of_stored_maps(maps: Path, summaries: Path) -> None:
    compared = compare(maps, summaries, rtol=1e-6, atol=1e-6)
    assert compared == {f"{kind} {measure}" for kind in ("text", "action") for measure in scores_schema.MEASURES}


def test_scores_stored_in_half_precision_are_those_of_the_rounded_weights(maps: Path, tmp_path: Path) -> None:
    """Weights are rounded to bfloat16 before they are scored, as they would be stored; scores are float16."""
    path, rounded = tmp_path / "half.h5", tmp_path / "rounded.h5"
    capture(rounded, store="bfloat16")
    capture(path, store="bfloat16", maps_every=0, regions=regions_of(maps))
    compare(rounded, path, rtol=2**-11, atol=2**-11)
    with h5py.File(path, locking=False) as half, h5py.File(rounded, locking=False) as full_precision:
        assert half["scores/text/lift"].dtype == half[schema.ACTION_MASS].dtype == np.float16
        assert full_precision[schema.ACTION_MASS].dtype == np.float32
        np.testing.assert_allclose(half[schema.ACTION_MASS], full_precision[schema.ACTION_MASS], atol=2**-12)
        np.testing.assert_allclose(half[schema.TEXT_ENTROPY], full_precision[schema.TEXT_ENTROPY], rtol=2**-11)


def test_processes_and_batches_give_the_same_scores(maps: Path, summaries: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    capture(path, maps_every=0, regions=regions_of(maps), workers=1, batch=3)
    with h5py.File(path) as first, h5py.File(summaries) as second:
        for name in (*scores_schema.AXES, scores_schema.WORD, scores_schema.COVERAGE, schema.TEXT_MASS):
            np.testing.assert_allclose(first[name], second[name], rtol=1e-6, atol=1e-7, err_msg=name)


def test_summaries_take_no_room_for_maps(maps: Path, summaries: Path) -> None:
    with h5py.File(summaries) as file, h5py.File(maps) as whole:
        for name in (*schema.MAPS, *schema.NORMS):
            assert file[name].shape == whole[name].shape
            assert file[name].id.get_storage_size() == 0
            assert np.isnan(file[name][0]).all()
        assert file[scores_schema.HAS_MAPS][:].tolist() == [0] * COUNT
        assert file[scores_schema.WORD][0].tolist() == [0, 1, 2, 2, 3]
        assert file[scores_schema.WORD][1].tolist() == [0, 1, -1, -1, -1]
        np.testing.assert_allclose(file[schema.TEXT_MASS], whole[schema.TEXT_MASS], atol=1e-7)


def test_maps_of_every_third_frame_are_those_of_a_whole_capture(maps: Path, tmp_path: Path) -> None:
    path = tmp_path / "some.h5"
    capture(path, maps_every=3)
    with h5py.File(path) as file, h5py.File(maps) as whole:
        assert file[scores_schema.HAS_MAPS][:].tolist() == [1, 0, 0, 1, 0, 0, 1, 0]
        for frame in range(COUNT):
            for name in (*schema.MAPS, *schema.NORMS):
                if frame % 3:
                    assert np.isnan(file[name][frame]).all(), name
                else:
                    np.testing.assert_allclose(file[name][frame], whole[name][frame], atol=1e-6, err_msg=name)
        assert file[schema.TEXT_TO_IMAGE].attrs["axes"].tolist() == whole[schema.TEXT_TO_IMAGE].attrs["axes"].tolist()
        assert scores_schema.COVERAGE not in file


def test_regions_are_scored_beside_whole_maps(maps: Path, tmp_path: Path) -> None:
    path = tmp_path / "both.h5"
    capture(path, regions=regions_of(maps))
    compare(path, path, rtol=1e-6, atol=1e-6)
    with h5py.File(path) as file:
        assert file[scores_schema.HAS_MAPS][:].tolist() == [1] * COUNT
        assert np.isfinite(file[schema.TEXT_TO_IMAGE][COUNT - 1]).all()


def test_capture_without_options_stores_no_scores(maps: Path) -> None:
    with h5py.File(maps) as file:
        assert "scores" not in file
        assert scores_schema.HAS_MAPS not in file
        assert not {"keep", "regions"} & json.loads(file.attrs["run"]).keys()


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ({}, {"maps_every": 0}, "--keep was maps and is now summaries"),
        ({"maps_every": 0}, {"maps_every": 2}, "--keep was summaries and is now maps::2"),
        ({"maps_every": 0}, {"maps_every": 0, "regions": True}, "--regions was none and is now files"),
    ],
)
def test_interrupted_run_is_not_resumed_with_other_options(
    maps: Path, tmp_path: Path, before: dict[str, Any], after: dict[str, Any], sentence: str
) -> None:
    path = tmp_path / "a.h5"
    interrupt(path, 3, **before)
    after = {**after, **({"regions": regions_of(maps)} if "regions" in after else {})}
    outcome = run_jobs(make_setup(batch=1, **after), [Job(path, ToyEpisode(length=FRAMES))], ProgressLog())
    assert sentence in str(outcome.files[0].failure)


def interrupt(path: Path, frames: int, **choices: Any) -> None:
    """Capture, and press Ctrl-C after so many frames."""

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_jobs(make_setup(batch=1, **choices), [Job(path, ToyEpisode(length=FRAMES))], ActAfterFrames(frames, stop))
    assert path.with_name(path.name + ".partial").exists()


@pytest.mark.parametrize("maps_every", [0, 3])
def test_resumed_run_equals_one_without_a_stop(maps: Path, tmp_path: Path, maps_every: int) -> None:
    choices: dict[str, Any] = {"maps_every": maps_every, "regions": regions_of(maps)}
    capture(tmp_path / "whole.h5", batch=1, **choices)
    interrupt(tmp_path / "a.h5", 5, **choices)
    outcome = capture(tmp_path / "a.h5", batch=1, **choices)
    assert 0 < outcome.files[0].kept < COUNT
    with h5py.File(tmp_path / "a.h5") as resumed, h5py.File(tmp_path / "whole.h5") as uninterrupted:
        for dataset in list_datasets(make_plan(make_setup(**choices), ToyEpisode(length=FRAMES)).sizes):
            np.testing.assert_array_equal(
                resumed[dataset.name][...], uninterrupted[dataset.name][...], err_msg=dataset.name
            )
        assert (
            json.loads(resumed.attrs["checks"])["row_sum_error"]
            == json.loads(uninterrupted.attrs["checks"])["row_sum_error"]
        )


def test_planned_size_leaves_out_maps_that_are_not_kept(maps: Path) -> None:
    def planned(**choices: Any) -> int:
        return make_plan(make_setup(**choices), ToyEpisode(length=FRAMES)).frame_bytes

    with_maps, without_maps, every_fourth = planned(), planned(maps_every=0), planned(maps_every=4)
    assert without_maps < every_fourth < with_maps
    with h5py.File(maps) as file:
        of_maps = sum(file[name][0].nbytes for name in (*schema.MAPS, *schema.NORMS, schema.ACTION_VALUE_NORM_ACTION))
    assert with_maps - without_maps + scores_bytes() == of_maps
    assert every_fourth - without_maps == round(of_maps / 4)


def scores_bytes() -> int:
    """Bytes of what a frame has in a file without maps alone."""
    sizes = make_plan(make_setup(maps_every=0), ToyEpisode(length=FRAMES)).sizes
    extra = [dataset for dataset in list_datasets(sizes) if dataset.name.startswith("scores/")]
    return sum(stored.frame_bytes(4) for stored in extra) + 1 + 4


def test_info_says_what_is_kept(maps: Path, summaries: Path, tmp_path: Path) -> None:
    capture(tmp_path / "some.h5", maps_every=3)
    assert "kept      summaries of every frame, no attention maps" in describe(summaries)
    assert "regions   scores of cup, lid, hand" in describe(summaries)
    assert "kept      summaries of every frame, attention maps of 3 (0, 3, 6)" in describe(tmp_path / "some.h5")
    assert "kept " not in describe(maps)


def test_info_refuses_scores_that_do_not_fit(summaries: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes(summaries.read_bytes())
    with h5py.File(path, "r+") as file:
        del file["scores/action/lift"]
        file["scores/action/lift"] = np.zeros((COUNT, 3, 2, 5, 2, 3), np.float32)
    with pytest.raises(UserError, match=r"bad.h5 is damaged \(scores/action/lift has shape .* does not fit\)"):
        describe(path)


def test_regions_of_other_frames_are_refused(maps: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="belongs to other frames .of episode_000003. than another"):
        make_plan(make_setup(regions=regions_of(maps)), ToyEpisode("another", length=FRAMES))
    path = tmp_path / "episode_000003.regions.h5"
    path.write_bytes(regions_of(maps).path.read_bytes())
    plan = make_plan(make_setup(regions=RegionFiles(tmp_path)), ToyEpisode(length=FRAMES))
    assert plan.sizes.regions == ("cup", "lid", "hand")
    with pytest.raises(UserError, match=r"there is no file .*another.regions.h5; pi0-regions"):
        make_plan(make_setup(regions=RegionFiles(tmp_path)), ToyEpisode("another", length=FRAMES))


def test_regions_follow_the_frames_of_the_source(maps: Path) -> None:
    """The chosen frames are others than those of the file in which the regions were drawn."""
    plan = make_plan(make_setup(regions=regions_of(maps)), ToyEpisode(length=FRAMES))
    coverages = [frames[0][0].coverage for frames in plan.moments_from(0)]
    later = [frames[0][0].coverage for frames in plan.moments_from(2 * 2)]
    assert len(coverages) == FRAMES
    for first, second in zip(coverages[2:], later, strict=True):
        assert first is not None
        np.testing.assert_array_equal(first, second)
    assert coverages[1] is not None
    assert np.isnan(coverages[1][2]).all()  # the hand is known in the first moment alone
    assert np.isnan(coverages[1][1, 1]).all()  # the lid in the front camera alone
    assert coverages[1][0, 0].sum() > 0


def test_file_without_moments_is_matched_by_number(maps: Path, tmp_path: Path) -> None:
    """A file of an older pi0-regions does not say of which moments its frames are."""
    path = tmp_path / "old.regions.h5"
    path.write_bytes(regions_of(maps).path.read_bytes())
    with h5py.File(path, "r+") as file:
        del file.attrs["source_index"]
    with pytest.raises(UserError, match="does not say of which moments its 8 frames are, and episode_000003 has 4"):
        make_plan(make_setup(regions=RegionFiles(path)), ToyEpisode(length=FRAMES))
    plan = make_plan(make_setup(regions=RegionFiles(path)), ToyEpisode(length=COUNT))
    assert [decision.is_certain for decision in plan.decisions if decision.subject == "regions"] == [False]
    later = list(plan.moments_from(0))[3][0][0].coverage
    assert later is not None
    assert later[0, 0].sum() > 0


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda file: file.attrs.__setitem__("format", "other"), "holds no regions"),
        (lambda file: file.attrs.__setitem__("format_version", np.array([9, 0])), "newer format"),
        (lambda file: file.__delitem__("cup/front/mask") or resize(file, "cup/front/mask", (8, 7, 60)), "does not fit"),
        (lambda file: file.__setitem__("bad", h5py.SoftLink("/cup")), "is damaged: bad is no region"),
    ],
)
def test_unusable_regions_are_refused_with_a_sentence(maps: Path, tmp_path: Path, change: Any, sentence: str) -> None:
    path = tmp_path / "bad.regions.h5"
    path.write_bytes(regions_of(maps).path.read_bytes())
    with h5py.File(path, "r+") as file:
        change(file)
    with pytest.raises(UserError, match=sentence):
        make_plan(make_setup(regions=RegionFiles(path)), ToyEpisode(length=FRAMES))


def resize(file: h5py.File, name: str, shape: tuple[int, ...]) -> None:
    file[name] = np.zeros(shape, np.uint8)
