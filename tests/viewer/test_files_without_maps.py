"""Files of which only summaries were kept: the same tables, the numbers that there are, and sentences for the rest."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from captured_regions import FRAMES, capture, draw_regions

from capture.datasets.regions.region_files import RegionFiles
from viewer.analysis.atlas import score_heads
from viewer.analysis.curves import read_curves
from viewer.analysis.film import read_film_over_frames
from viewer.analysis.region_ranking import rank_by_region
from viewer.analysis.regions.region_curve import read_region_curve
from viewer.analysis.scene import compare, compose
from viewer.analysis.scores import describe_value, find_score, find_unavailable_scores
from viewer.analysis.token_values import strips
from viewer.errors import NoMapsError, UserError
from viewer.export.__main__ import main
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState
from viewer.runs.answers import describe_counted
from viewer.runs.query import RunQuery

COUNT = 2 * FRAMES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same frames with maps, without, and with every third frame's; regions lie beside the first."""
    folder = tmp_path_factory.mktemp("kept")
    capture(folder / "maps.h5")
    regions = RegionFiles(draw_regions(folder / "maps.regions.h5", folder / "maps.h5"))
    capture(folder / "summaries.h5", maps_every=0, regions=regions)
    capture(folder / "some.h5", maps_every=3, regions=regions)
    return folder


def export_table(folder: Path, name: str, *options: str) -> list[dict[str, str]]:
    """Export a table of all frames and return its rows; the folder is named after the file."""
    target = folder / "tables" / "-".join(options).replace(":", "_").replace("/", "_")
    assert (
        main(
            [
                "table",
                str(folder / name),
                "-o",
                str(target),
                "--frames",
                "all",
                "--layers",
                "1",
                *options,
                "--overwrite",
            ]
        )
        == 0
    )
    with (target / name.removesuffix(".h5") / "table.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("name", ["summaries.h5", "some.h5"])
@pytest.mark.parametrize("region", ["cup", "lid", "hand"])
def test_table_has_the_same_rows_without_maps(folder: Path, name: str, region: str) -> None:
    rows, expected = export_table(folder, name, "--region", region), export_table(folder, "maps.h5", "--region", region)
    assert len(rows) == len(expected) > 100
    assert rows[0].keys() == expected[0].keys()
    for column in expected[0]:
        of_summaries, of_maps = ([row[column] for row in table] for table in (rows, expected))
        if column in {"phase", "query", "region", "region name"}:
            assert of_summaries == of_maps, column
        else:  # written with seven digits
            np.testing.assert_allclose(
                *(np.array(column_values, float) for column_values in (of_summaries, of_maps)), rtol=3e-6, atol=3e-6
            )


def test_table_of_scored_regions_reads_no_maps_where_both_are_kept(folder: Path) -> None:
    capture(folder / "both.h5", regions=RegionFiles(folder / "maps.regions.h5"))
    options = ("--region", "cup")
    expected = export_table(folder, "maps.h5", *options)
    with h5py.File(folder / "both.h5", "a") as file:
        assert file["frames/has_maps"][:].all()
        for name in ("text/to_image", "action/to_image"):
            file[name][:] = 0
    rows = export_table(folder, "both.h5", *options)
    assert len(rows) == len(expected) > 100
    for column in ("picture mass", "entropy", "mass region", "lift region", "hit region", "IoU90 region"):
        of_scores, of_maps = (np.array([row[column] for row in table], float) for table in (rows, expected))
        np.testing.assert_allclose(of_scores, of_maps, rtol=3e-6, atol=3e-6, err_msg=column)


def test_table_of_several_actions_has_what_masses_give(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = export_table(folder, "summaries.h5", "--actions", "0-2", "--region", "cup")
    stderr = capsys.readouterr().err
    expected = export_table(folder, "maps.h5", "--actions", "0-2", "--region", "cup")
    assert "Entropy, hit and IoU90 of several words or actions together need maps and are nan in frames 0–7." in stderr
    for column in ("mass top", "picture mass", "mass region", "lift region"):
        of_summaries, of_maps = (np.array([row[column] for row in table], float) for table in (rows, expected))
        np.testing.assert_allclose(of_summaries, of_maps, rtol=3e-6, err_msg=column)
    assert {row[column] for row in rows for column in ("entropy", "hit region", "IoU90 region")} == {"nan"}


def test_table_of_a_region_that_was_not_scored_is_refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["table", str(folder / "summaries.h5"), "-o", str(folder / "none"), "--region"]
    assert main([*command, "top:0-1,0-1"]) == 2
    assert "scores of the captured regions alone (cup, lid, hand)" in capsys.readouterr().err
    assert main([*command, "duck"]) == 2
    assert "There is no region duck; summaries.h5 has scores of cup, lid, hand." in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["summary", "heads", "arrays", "film"])
def test_figures_of_maps_are_refused_with_a_sentence(
    folder: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([kind, str(folder / "summaries.h5"), "-o", str(folder / "none")]) == 2
    assert "No attention maps were kept in this file" in capsys.readouterr().err


def test_atlas_and_curves_come_from_summaries(folder: Path) -> None:
    without, with_maps = Results(folder / "summaries.h5"), Results(folder / "maps.h5")
    region = without.region_cells(0, 0)
    assert region
    for query in (Query("text", (1,)), Query("text", (2,)), Query("action", (3,))):
        for score in ("picture", "entropy", "region", "lift", "hit", "iou"):
            view = ViewState(query=query, step=1, region=region, score=score)
            scores, expected = score_heads(without, view), score_heads(with_maps, view)
            if score in {"entropy", "hit", "iou"}:  # the mean of heads has a map of its own
                assert np.isnan(scores[:, -1]).all()
                scores, expected = scores[:, :-1], expected[:, :-1]
            np.testing.assert_allclose(scores, expected, rtol=3e-6, atol=3e-6, err_msg=score)
        view = ViewState(query=query, step=1)
        np.testing.assert_allclose(read_curves(without, view).values, read_curves(with_maps, view).values, atol=1e-6)
    view = ViewState(query=Query("action", (3,)), score="change")
    np.testing.assert_allclose(score_heads(without, view)[:, :-1], score_heads(with_maps, view)[:, :-1], rtol=3e-6)


def test_region_ranking_comes_from_summaries(folder: Path) -> None:
    without, with_maps = Results(folder / "summaries.h5"), Results(folder / "maps.h5")
    view = ViewState(region=without.region_cells(0, 0) or ())
    ranking, expected = (rank_by_region(results, view, lambda: False) for results in (without, with_maps))
    assert ranking
    assert expected
    assert [(row.query, row.layer, row.step, row.head) for row in ranking[:20]] == [
        (row.query, row.layer, row.step, row.head) for row in expected[:20]
    ]
    np.testing.assert_allclose([row.mass for row in ranking], [row.mass for row in expected], rtol=3e-6)
    of_summaries, of_maps = (strips(results, view, None) for results in (without, with_maps))
    np.testing.assert_allclose(of_summaries.words, of_maps.words, rtol=3e-6)
    np.testing.assert_allclose(of_summaries.actions, of_maps.actions, rtol=3e-6)


def test_curve_of_a_region_comes_from_summaries(folder: Path) -> None:
    every_third, with_maps = Results(folder / "some.h5"), Results(folder / "maps.h5")
    for query in (Query("text", (1,)), Query("action", (0, 3))):
        view = ViewState(query=query, layer=1, step=2, heads=(0, 2))
        curve, expected = (
            read_region_curve(results, view, "#000000", lambda frame: every_third.region_cells(frame, 0), lambda: False)
            for results in (every_third, with_maps)
        )
        assert curve is not None
        assert expected is not None
        assert np.isfinite(expected.values).sum() == (COUNT if query.kind == "action" else FRAMES)
        np.testing.assert_allclose(curve.values, expected.values, rtol=3e-6)
    unscored = read_region_curve(every_third, ViewState(), "#000000", lambda _: ((0, 7, 7),), lambda: False)
    assert unscored is not None
    assert [bool(np.isfinite(value)) for value in unscored.values] == [frame % 3 == 0 for frame in range(COUNT)]


def test_scores_that_need_maps_say_so(folder: Path) -> None:
    results = Results(folder / "some.h5")
    several = ViewState(frame=1, query=Query("text", (0, 1)), region=results.region_cells(1, 0) or ())
    reasons = find_unavailable_scores(results, several)
    assert reasons["entropy"] == reasons["hit"] == "of several words it needs maps"
    assert not {"picture", "region", "lift"} & reasons.keys()
    other_view = ViewState(frame=1, query=Query("text", (0,)), region=((0, 7, 7),))
    assert find_unavailable_scores(results, other_view)["lift"] == "this region was not scored"
    assert not {"lift", "entropy"} & find_unavailable_scores(results, ViewState(frame=0, region=((0, 7, 7),))).keys()


def test_scene_without_maps_has_masses_and_the_reason(folder: Path) -> None:
    results = Results(folder / "some.h5")
    without, with_maps = compose(results, ViewState(frame=1)), compose(Results(folder / "maps.h5"), ViewState(frame=1))
    assert without.missing.startswith("The attention maps of this frame were not kept, but its summaries")
    assert "frames 0, 3, 6 have maps" in without.missing
    assert without.mass == pytest.approx(dict(with_maps.mass), abs=1e-6)
    assert not without.maps.any()
    assert not compose(results, ViewState(frame=3)).missing
    difference = compare(compose(results, ViewState(frame=3)), without, ViewState(frame=3))
    assert difference.missing
    assert not difference.maps.any()


def test_film_over_frames_shows_those_with_maps(folder: Path) -> None:
    view = ViewState(query=Query("action", (0,)), film="frames")
    results = Results(folder / "some.h5")
    film = read_film_over_frames(results, view, range(COUNT), lambda: False)
    assert film is not None
    assert [bool(np.isfinite(heat).all()) for heat in film.maps[0]] == [frame % 3 == 0 for frame in range(COUNT)]


def test_maps_that_were_not_kept_are_an_error_of_their_own(folder: Path) -> None:
    results = Results(folder / "some.h5")
    assert [results.has_maps(frame) for frame in range(COUNT)] == [frame % 3 == 0 for frame in range(COUNT)]
    for read in (
        lambda: results.rows(1, "text", 0),
        lambda: results.column(1, "action", 0, 0),
        lambda: results.layer_images(1, "text", 0, 0),
    ):
        with pytest.raises(NoMapsError, match="were not kept"):
            read()
    assert results.value_norms(1, "text") is None
    assert results.value_norms(3, "text") is not None


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("scores/action/hit", (COUNT, 3, 2, 5, 2, 3)),
        ("scores/text/entropy", (COUNT, 2, 5, 4)),
        ("scores/coverage", (COUNT, 2, 2, 8, 8)),
        ("scores/action/change", (COUNT, 2, 9, 3)),
    ],
)
def test_scores_of_other_shapes_are_refused(folder: Path, tmp_path: Path, name: str, shape: tuple[int, ...]) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes((folder / "summaries.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        attributes = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, data=np.zeros(shape, np.float16)).attrs.update(attributes)
    with pytest.raises(UserError, match=r"bad.h5 is damaged .*: scores/\S+ has shape .* does not fit its other parts"):
        Results(path)


def test_regions_with_impossible_names_are_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "bad.h5"
    path.write_bytes((folder / "summaries.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        file["scores/coverage"].attrs["regions"] = ["cup", "cup", "a/b"]
    with pytest.raises(UserError, match="its regions have names that cannot be"):
        Results(path)


def test_atlas_tooltip_explains_why_the_mean_of_heads_has_no_value(folder: Path) -> None:
    without, with_maps = Results(folder / "summaries.h5"), Results(folder / "maps.h5")
    entropy, nan = find_score("entropy"), float("nan")
    reason = "none, of the mean of heads it needs maps, which were not kept"
    assert describe_value(without, 0, entropy, nan, is_mean=True) == reason
    assert describe_value(with_maps, 0, entropy, nan, is_mean=True) == "none, no weight on the picture"
    assert describe_value(without, 0, entropy, nan, is_mean=False) == "none, no weight on the picture"
    assert describe_value(without, 0, entropy, 1.5, is_mean=True) == "1.50 nats"


def test_table_of_a_run_names_the_numbers_that_need_maps(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("summaries.h5", "maps.h5"):
        shutil.copy(folder / name, tmp_path / name)  # links are not followed
    options = ["--actions", "0-2", "--layers", "1", "-o", str(tmp_path / "out"), "--processes", "1"]
    assert main(["table", str(tmp_path), *options]) == 0
    captured = capsys.readouterr()
    assert (
        "1 episode with numbers that are not there (summaries): Entropy, hit and IoU90 of several words or actions "
        "together need maps and are nan in frames 0–7." in captured.err
    )
    assert captured.out.startswith("2 episodes: ")


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        ({"actions": "all"}, "2 of them have no entropy of several actions together: "),
        ({"actions": "0"}, "2 of them have no value: no weight on the picture."),
        ({"actions": "", "words": "yellow duck"}, "2 of them have no entropy of several words together: "),
        ({"actions": "", "words": "duck"}, "2 of them have no value: no weight on the picture."),
        ({"actions": "all", "score": "picture"}, "2 of them have no value: no weight on the picture."),
    ],
)
def test_run_answer_explains_why_episodes_have_no_value(changes: dict[str, str], note: str) -> None:
    query = replace(RunQuery(score="entropy", region=""), **changes)
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [np.nan, np.nan]])
    [counted, *others] = describe_counted(query, values, 4)
    assert counted == "3 of 4 episodes are counted, each once, by its mean over frames."
    assert len(others) == 1
    assert others[0].startswith(note)
    assert not describe_counted(query, values[:1], 4)[1:]
