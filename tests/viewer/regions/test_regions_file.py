"""The file of regions: what is written comes back, a foreign or damaged one is refused with a sentence."""

import subprocess
import sys
from pathlib import Path

import h5py
import make_results
import numpy as np
import pytest

from viewer.errors import UserError
from viewer.io.results import Results
from viewer.regions import file_versions, regions_file
from viewer.regions.in_frames import find_cells, place_in_frames
from viewer.regions.region import RegionSet
from viewer.regions.region_name import check_name


@pytest.fixture
def results(tmp_path):
    opened = Results(make_results.write(tmp_path / "duck.h5", make_results.Recipe(frames=4)))
    yield opened
    opened.close()


def build_set(results):
    regions = RegionSet(results.uuid)
    duck = regions.add("duck")
    from viewer.regions.region import CameraMasks

    masks = duck.cameras["wrist"] = CameraMasks(72, 128)
    square = np.zeros((72, 128), bool)
    square[32:40, 64:80] = True  # 2 x 4 half patches of 8 pixels: rows 7.5 to 8.5, columns 8 to 10
    masks.set(1, square, "drawn")
    masks.set(2, np.roll(square, 8, axis=1), "tracked")
    masks.set(3, np.zeros((72, 128), bool), "imported")
    masks.stops[0] = "the region leaves the picture"
    regions.add("blue cup")
    return regions


def test_regions_come_back_as_they_were_written(results, tmp_path):
    path = file_versions.default_path(results.path)
    assert path == tmp_path / "duck.regions.h5"
    regions_file.replace_regions(path, build_set(results), results)
    read = regions_file.read_regions(path, results)
    assert list(read.regions) == ["duck", "blue cup"]
    masks = read.regions["duck"].cameras["wrist"]
    assert masks.origins == {1: "drawn", 2: "tracked", 3: "imported"}
    assert masks.stops == {0: "the region leaves the picture"}
    written = build_set(results).regions["duck"].cameras["wrist"]
    for frame in (1, 2, 3):
        assert (masks.mask(frame) == written.mask(frame)).all()
    assert read.regions["blue cup"].color == "#e05299"


def test_file_is_read_with_h5py_alone(results, tmp_path):
    path = tmp_path / "r.h5"
    regions_file.replace_regions(path, build_set(results), results)
    with h5py.File(path) as file:
        assert file.attrs["format"] == "pi0-regions"
        assert file.attrs["uuid"] == results.uuid
        coverage = file["duck/wrist/coverage"][...]
        assert file["duck/wrist/origin"][...].tolist() == [0, 1, 3, 2]
        assert file["duck/wrist/origin"].attrs["meaning"].tolist() == ["not known", "drawn", "imported", "tracked"]
        assert file["duck/wrist/mask"][1].sum() == 8 * 16
    assert np.isnan(coverage[0]).all()
    assert coverage[1].sum() == pytest.approx(2.0)  # 8 x 16 pixels are two patches of 8 x 8
    assert coverage[3].sum() == 0


def test_cells_of_a_region_follow_its_frames(results):
    duck = build_set(results).regions["duck"]
    assert find_cells(duck, results, 0) is None
    assert find_cells(duck, results, 1) == ((1, 7, 8), (1, 7, 9), (1, 8, 8), (1, 8, 9))
    assert find_cells(duck, results, 2) == ((1, 7, 9), (1, 7, 10), (1, 8, 9), (1, 8, 10))
    assert find_cells(duck, results, 3) == ()


def test_frames_without_the_region_are_left_out_with_a_note(results):
    placed = place_in_frames(build_set(results), ["duck"], results, range(4))
    assert list(placed.cells) == [1, 2, 3]
    assert placed.describe_left_out(range(4)) == ("Frames in which the region duck is not known are left out: 0.",)
    with pytest.raises(UserError, match="There is no region mug; the file of regions has duck, blue cup"):
        place_in_frames(build_set(results), ["mug"], results, range(4))
    with pytest.raises(UserError, match="is known in none of these frames"):
        place_in_frames(build_set(results), ["duck"], results, [0])


def test_change_can_be_undone_and_redone(results, tmp_path):
    path = tmp_path / "r.h5"
    regions_file.replace_regions(path, RegionSet(results.uuid), results)
    regions_file.replace_regions(path, build_set(results), results)
    file_versions.restore_previous(path)
    assert list(regions_file.read_regions(path, results)) == []
    file_versions.restore_previous(path)
    assert len(list(regions_file.read_regions(path, results))) == 2
    assert sorted(file.name for file in tmp_path.iterdir()) == ["duck.h5", "r.h5", "r.previous.h5"]


@pytest.mark.parametrize("steps", [0, 1])
def test_undo_that_is_killed_between_two_steps_leaves_regions(results, tmp_path, monkeypatch, steps):
    path, replace = tmp_path / "r.h5", Path.replace
    regions_file.replace_regions(path, RegionSet(results.uuid), results)
    regions_file.replace_regions(path, build_set(results), results)
    done = []

    def stop(self, target):
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(target)
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        file_versions.restore_previous(path)
    assert len(list(regions_file.read_regions(path, results))) == (2, 0)[steps]
    monkeypatch.undo()
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    (tmp_path / f".r.h5.{dead.pid}.partial").write_bytes(b"half")
    regions_file.replace_regions(path, build_set(results), results)
    assert sorted(file.name for file in tmp_path.iterdir() if file.name.startswith(".")) == []


def test_nothing_to_undo_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="Nothing to undo"):
        file_versions.restore_previous(tmp_path / "r.h5")


def test_regions_of_another_file_are_refused(results, tmp_path):
    path = tmp_path / "r.h5"
    regions_file.replace_regions(path, build_set(results), results)
    other_results = Results(make_results.write(tmp_path / "other.h5", make_results.Recipe(seed=1)))
    try:
        with pytest.raises(UserError, match=r"r.h5 belongs to another results file \(duck.h5\)"):
            regions_file.read_regions(path, other_results)
    finally:
        other_results.close()


def damage_format(file):
    file.attrs["format"] = "else"


def damage_link(file):
    file["cup"] = h5py.ExternalLink("/etc/hostname", "/")


def damage_size(file):
    del file["duck/wrist/mask"]
    file["duck/wrist/mask"] = np.zeros((4, 10, 10), np.uint8)


def damage_version(file):
    file.attrs["format_version"] = np.array([2, 0])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (damage_format, "holds no regions"),
        (damage_link, "is a link to somewhere else"),
        (damage_size, "its masks of duck/wrist are not 72 × 128 pixels"),
        (damage_version, "newer format"),
    ],
)
def test_damaged_file_is_a_sentence(results, tmp_path, damage, sentence):
    path = tmp_path / "r.h5"
    regions_file.replace_regions(path, build_set(results), results)
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(UserError, match=sentence):
        regions_file.read_regions(path, results)


@pytest.mark.parametrize("name", ["", " ", "..", "a/b", "a=b", "a:b", "a\nb", "x" * 61])
def test_names_that_no_region_can_have(name):
    with pytest.raises(UserError, match="cannot be called"):
        check_name(name)
