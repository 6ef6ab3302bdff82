"""Masks that an `episode.json` names: names and numbers, label pictures, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from capture.datasets.base import SourceOptions
from capture.datasets.folder.reader import FolderReader
from capture.datasets.masks.label_pictures import parse_mask_names, read_labels
from capture.errors import UserError
from capture.results.regions_file import Masked

LABELS = np.arange(12, dtype=np.uint8).reshape(3, 4)


@pytest.fixture
def make_episode(tmp_path):
    def make(masks, values, *, index=5):
        Image.fromarray(np.zeros((3, 4, 3), np.uint8)).save(tmp_path / "a.png")
        Image.fromarray(LABELS).save(tmp_path / "m.png")
        frame = {"index": index, "pictures": {"front": "a.png", "wrist": "a.png"}}
        content = {"prompt": "go", "mask_values": values, "frames": [frame | ({"masks": masks} if masks else {})]}
        (tmp_path / "episode.json").write_text(json.dumps(content))
        options = SourceOptions(("exterior", "wrist"), 4, camera_overrides={"exterior": "front"})
        return FolderReader().open(tmp_path, options).episodes[0]

    return make


def test_masks_are_named_like_the_policys_cameras_and_found_by_index(make_episode):
    episode = make_episode({"front": "m.png"}, {"duck": 1, "mug": 3})
    assert isinstance(episode, Masked)
    assert episode.masks.names == {1: "duck", 3: "mug"}
    masks = episode.masks.read(5)
    assert list(masks) == ["exterior"]
    np.testing.assert_array_equal(masks["exterior"], LABELS)


def test_an_episode_without_masks_names_nothing(make_episode):
    assert make_episode(None, {"duck": 1}).masks.names == {}
    assert make_episode({"front": "m.png"}, None).masks.names == {}


@pytest.mark.parametrize("masks", [["m.png"], {"front": "../m.png"}, {"front": 3}, {"front": "missing.png"}])
def test_unusable_masks_are_refused(make_episode, masks):
    with pytest.raises(UserError, match=r"names its masks without|outside its folder|does not exist"):
        make_episode(masks, {"duck": 1}).masks.read(5)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (["duck"], "gives no names and numbers"),
        ({"a/b": 1}, "names an object 'a/b'"),
        ({"": 1}, "names an object ''"),
        ({"duck": 0}, "gives 'duck' the number 0"),
        ({"duck": 256}, "the number 256"),
        ({"duck": True}, "the number True"),
        ({"duck": 1, "mug": 1}, "gives 'mug' the number 1"),
    ],
)
def test_mask_names_that_are_no_region_names_are_refused(values, sentence):
    with pytest.raises(UserError, match=sentence):
        parse_mask_names(values, "episode.json")


def test_palette_pictures_give_their_numbers_and_colors_are_refused(tmp_path):
    palette = Image.new("P", (4, 3))
    palette.putdata(LABELS.ravel().tolist())
    palette.putpalette([10, 20, 30] * 256)
    palette.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "palette.png"), LABELS)
    Image.new("RGB", (4, 3)).save(tmp_path / "colour.png")
    with pytest.raises(UserError, match="pixels of mode RGB"):
        read_labels(tmp_path / "colour.png")
    (tmp_path / "broken.png").write_bytes((tmp_path / "palette.png").read_bytes()[:60])
    with pytest.raises(UserError, match="cannot be read as a PNG"):
        read_labels(tmp_path / "broken.png")
