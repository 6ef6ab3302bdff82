"""pi0-regions: rename and colour, several boxes at once, stopping, and changes made by two programs at once."""

from __future__ import annotations

import contextlib
import csv
import json
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import moving_regions
import numpy as np
import pytest

from viewer.errors import UserError
from viewer.export import cancellation
from viewer.export.__main__ import main as export
from viewer.export.masks import track_command
from viewer.export.masks.__main__ import main
from viewer.export.masks.cli import DrawnBox, RegionsArguments
from viewer.export.masks.tracking import find_ways
from viewer.io.results import Results
from viewer.model.view_state import ViewState
from viewer.regions import file_versions, regions_file
from viewer.regions.in_frames import follow_region_of_view
from viewer.regions.joined_changes import join_changes
from viewer.regions.region import CameraMasks, RegionSet

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return moving_regions.write(tmp_path_factory.mktemp("moving") / "moving.h5", layers=2, heads=2, steps=2)


@pytest.fixture
def results(file: Path) -> Iterator[Results]:
    opened = Results(file)
    yield opened
    opened.close()


def read_regions_file(path: Path, results: Results) -> RegionSet:
    return regions_file.read_regions(path, results)


def test_rename_keeps_the_order_and_refuses_a_taken_name(
    file: Path, results: Results, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    regions = tmp_path / "r.h5"
    words = [str(file), "--regions", str(regions)]
    assert main(["track", *words, "--frames", "0-0", "duck=exterior:6-8,2-4@0", "cup=exterior:5,9@0"]) == 0
    assert main(["rename", *words, "duck", "yellow duck"]) == 0
    assert list(read_regions_file(regions, results).regions) == ["yellow duck", "cup"]
    assert main(["rename", *words, "cup", "yellow duck"]) == 2
    assert "There is a region yellow duck already" in capsys.readouterr().err
    assert main(["colour", *words, "cup", "#12ABef"]) == 0
    assert read_regions_file(regions, results).regions["cup"].color == "#12abef"
    assert main(["colour", *words, "cup", "blue"]) == 2
    assert main(["undo", *words]) == 0
    assert read_regions_file(regions, results).regions["cup"].color == "#e05299"


def test_boxes_of_one_region_and_frame_make_one_mask(file: Path, results: Results, tmp_path: Path) -> None:
    regions = tmp_path / "r.h5"
    boxes = ["duck=exterior:6,2-3@0", "duck=exterior:8,4@0", "duck=wrist:7,7@0"]
    assert main(["track", str(file), "--regions", str(regions), "--frames", "0-0", *boxes]) == 0
    cameras = read_regions_file(regions, results).regions["duck"].cameras
    assert [cameras[name].mask(0).sum() for name in ("exterior", "wrist")] == [3 * 20 * 20, 20 * 20]


def test_frames_outside_the_requested_ones_stay_unchanged(file: Path, results: Results, tmp_path: Path) -> None:
    regions = tmp_path / "r.h5"
    words = ["track", str(file), "--regions", str(regions)]
    assert main([*words, "--frames", "0-2", "duck=exterior:6-8,2-4@0"]) == 0
    assert main([*words, "--frames", "6-6", "duck=exterior:6-8,5-7@6"]) == 0
    assert read_regions_file(regions, results).regions["duck"].cameras["exterior"].frames() == [0, 1, 2, 6]


def test_tracks_that_reach_no_requested_frame_are_left_out() -> None:
    assert find_ways([0, 6], 6, 6) == []
    assert find_ways([0, 6], 2, 3) == [(0, range(1, 4)), (6, range(5, 1, -1))]
    assert find_ways([4], 0, 7) == [(4, range(5, 8)), (4, range(3, -1, -1))]


def test_stopped_track_keeps_tracked_and_earlier_masks(results: Results) -> None:
    regions = RegionSet(results.uuid)
    arguments = RegionsArguments("track", results.path, None, (DrawnBox("duck", "exterior:6-8,2-4", 0),))  # type: ignore[arg-type]
    for _ in track_command.track(regions, results, arguments, lambda *_: None):
        pass
    masks = regions.regions["duck"].cameras["exterior"]
    assert masks.frames() == list(range(8))
    before = {frame: masks.mask(frame) for frame in masks.frames()}
    reached = []

    def stop(done: int, _: int) -> None:
        reached.append(done)
        if done == 3:
            raise cancellation.Cancelled

    second_arguments = RegionsArguments("track", results.path, None, track=("duck",))  # type: ignore[arg-type]
    with contextlib.suppress(cancellation.Cancelled):
        list(track_command.track(regions, results, second_arguments, stop))
    assert reached == [1, 2, 3]
    assert masks.frames() == list(range(8))
    assert all((masks.mask(frame) == before[frame]).all() for frame in before)


def test_progress_is_written_as_lines_of_json(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--regions", str(tmp_path / "r.h5"), "--progress-lines", "--", "duck=exterior:6-8,2-4@0"]
    assert main(["track", str(file), *words]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert lines[-1] == {"done": 7, "total": 7}


def build_masks(frames: dict[int, tuple[int, str]]) -> CameraMasks:
    """Return masks of 4 x 4 pixels: in each frame the first `count` pixels are inside, with an origin."""
    masks = CameraMasks(4, 4)
    for frame, (count, origin) in frames.items():
        masks.set(frame, (np.arange(16) < count).reshape(4, 4), origin)  # type: ignore[arg-type]
    return masks


def build_set(**names: dict[int, tuple[int, str]]) -> RegionSet:
    regions = RegionSet("")
    for name, frames in names.items():
        regions.add(name).cameras["exterior"] = build_masks(frames)
    return regions


def test_changes_of_two_programs_are_joined() -> None:
    before = build_set(duck={0: (4, "drawn")}, cup={0: (1, "drawn")})
    own = build_set(duck={0: (4, "drawn"), 1: (5, "tracked"), 2: (6, "tracked")}, cup={0: (1, "drawn")})
    now = build_set(duck={0: (4, "drawn"), 2: (9, "drawn")}, bowl={3: (2, "imported")})  # cup was removed
    joined = join_changes(before, own, now)
    assert list(joined.regions) == ["duck", "bowl"]
    duck = joined.regions["duck"].cameras["exterior"]
    assert {frame: (int(duck.mask(frame).sum()), duck.origins[frame]) for frame in duck.frames()} == {
        0: (4, "drawn"), 1: (5, "tracked"), 2: (9, "drawn"),
    }  # fmt: skip


def test_put_file_replaces_and_removes(file: Path, tmp_path: Path) -> None:
    path, content = tmp_path / "x.regions.h5", tmp_path / "content"
    content.write_bytes(b"new")
    path.write_bytes(b"old")
    file_versions.put_file(path, content)
    assert (path.read_bytes(), file_versions.find_previous_path(path).read_bytes()) == (b"new", b"old")
    file_versions.put_file(path, None)
    assert not path.exists()
    assert file_versions.find_previous_path(path).read_bytes() == b"new"
    with file_versions.hold_folder(path), pytest.raises(UserError, match="Another program is changing"):
        file_versions.put_file(path, content)


def test_view_with_a_named_region_is_exported_with_its_patches_of_each_frame(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "duck.h5"
    shutil.copy(file, path)
    moving_regions.write_duck(path)
    view = ViewState(frame=2, region_name="duck", region=((0, 7, 5), (0, 8, 5)), score="lift").to_json()
    words = ["--view", view, "--frames", "all", "-o", str(tmp_path / "out")]
    assert export(["table", str(path), *words]) == 0
    assert "not known are left out: 0, 4–7." in capsys.readouterr().err
    with (tmp_path / "out" / "duck" / "table.csv").open() as stream:
        rows = {row["frame"]: (row["region name"], row["region"]) for row in csv.DictReader(stream)}
    assert rows == {str(frame): ("duck", f"exterior:7-8,{3 + frame}") for frame in (1, 2, 3)}


def test_figure_of_a_named_region_follows_it_and_keeps_its_name(file: Path, tmp_path: Path) -> None:
    path = tmp_path / "duck.h5"
    shutil.copy(file, path)
    moving_regions.write_duck(path)
    results = Results(path)
    view = ViewState(frame=2, region_name="duck", region=((0, 7, 5), (0, 8, 5)))
    region = follow_region_of_view(view, None, path, results, range(8))
    assert region is not None
    assert [region.put_into(replace(view, frame=frame)).region for frame in (0, 3)] == [(), ((0, 7, 6), (0, 8, 6))]
    assert region.put_into(view).region_name == "duck"
    default = file_versions.default_path(path)
    default.unlink()
    unfollowed = follow_region_of_view(view, None, path, results, range(8))
    assert unfollowed is not None  # without the file, the patches of the view are those of its frame
    assert [unfollowed.put_into(replace(view, frame=frame)).region for frame in (2, 3)] == [view.region, ()]
    results.close()
