"""Regions of pi0-regions as targets of effects: their patches in each frame, and files that do not fit."""

import h5py
import numpy as np
import pytest

from capture.effects.named_regions import read_named_regions
from capture.errors import UserError
from capture.results.regions_schema import choose_patches

CAMERAS, GRID, FRAMES = ("exterior", "wrist"), (4, 5), 3


def write(path, **attributes):
    """A duck: in frame 0 on one patch of the wrist, not known in frame 1, known to be absent in frame 2."""
    coverage = np.full((FRAMES, *GRID), np.nan, np.float32)
    coverage[0], coverage[2] = 0, 0
    coverage[0, 1, 2], coverage[0, 1, 3] = 0.6, 0.4
    with h5py.File(path, "w") as file:
        file.attrs.update({"format": "pi0-regions", "uuid": "u", **attributes})
        file["duck/wrist/coverage"] = coverage
    return path


def read(path, uuid="u", frames=FRAMES):
    return read_named_regions(path, uuid, CAMERAS, GRID, frames)


def test_region_has_its_patches_of_each_frame(tmp_path):
    [duck] = read(write(tmp_path / "r.h5"))
    assert (duck.name, duck.kind) == ("duck", "region")
    assert np.argwhere(duck.at_frame(0).patches).tolist() == [[1, 1, 2]]


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [(1, "is not known in frame 1; it is in 0: name those with --frames"), (2, "is absent in frame 2; it is in 0")],
)
def test_frame_without_the_region_is_a_sentence(tmp_path, frame, sentence):
    [duck] = read(write(tmp_path / "r.h5"))
    with pytest.raises(UserError, match=sentence):
        duck.at_frame(frame)


def test_small_region_is_the_patch_that_it_covers_most():
    assert choose_patches(np.array([[0.1, 0.3, 0.2]], np.float32)).tolist() == [[False, True, True]]
    assert not choose_patches(np.zeros((1, 3), np.float32)).any()


@pytest.mark.parametrize(
    ("attributes", "uuid", "frames", "sentence"),
    [
        ({"format": "else"}, "u", FRAMES, "holds no regions"),
        ({}, "v", FRAMES, "belongs to another results file"),
        ({}, "u", 2, "duck/wrist/coverage does not fit the results file"),
    ],
)
def test_file_that_does_not_fit_is_a_sentence(tmp_path, attributes, uuid, frames, sentence):
    with pytest.raises(UserError, match=sentence):
        read(write(tmp_path / "r.h5", **attributes), uuid, frames)


def test_links_and_damage_are_sentences(tmp_path):
    with h5py.File(write(tmp_path / "r.h5"), "r+") as file:
        file["cup"] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(UserError, match="cup is a link to somewhere else"):
        read(tmp_path / "r.h5")
    (tmp_path / "no.h5").write_bytes(b"x" * 100)
    with pytest.raises(UserError, match="cannot be read as a file of regions"):
        read(tmp_path / "no.h5")


def test_links_within_a_region_are_not_followed(tmp_path):
    write(tmp_path / "other.h5")
    with h5py.File(write(tmp_path / "r.h5"), "r+") as file:
        file["duck/exterior/coverage"] = h5py.ExternalLink("other.h5", "/duck/wrist/coverage")
    [duck] = read(tmp_path / "r.h5")
    assert np.argwhere(duck.at_frame(0).patches).tolist() == [[1, 1, 2]]
