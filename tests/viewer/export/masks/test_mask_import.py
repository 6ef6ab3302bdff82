"""Masks of other programs, with the values that they hold."""

import json

import h5py
import numpy as np
import pytest
from PIL import Image

from viewer.errors import UserError
from viewer.export.masks.mask_import import MaskSource, fill_polygon, read_masks, split_source

CAMERAS = ("exterior", "wrist")


def square_mask(top=2, left=3, height=10, width=12):
    mask = np.zeros((height, width), bool)
    mask[top : top + 4, left : left + 5] = True
    return mask


def read(path, **more):
    return {
        (mask.name, mask.camera, mask.frame): mask.mask
        for mask in read_masks(MaskSource(path, cameras=CAMERAS, **more))
    }


def write_coco(path, segmentation, name="wrist/frame_000007.png"):
    content = {
        "images": [{"id": 1, "file_name": name, "height": 10, "width": 12}],
        "categories": [{"id": 5, "name": "duck"}, {"id": 6, "name": "mug"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 5, "segmentation": segmentation}],
    }
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "segmentation",
    [
        [[3.0, 2.0, 8.0, 2.0, 8.0, 6.0, 3.0, 6.0]],
        [[3, 2, 8, 2, 8, 4, 3, 4], [3, 4, 8, 4, 8, 6, 3, 6]],
        {"size": [10, 12], "counts": [32, 4, 6, 4, 6, 4, 6, 4, 6, 4, 44]},
    ],
)
def test_coco_masks_are_read(tmp_path, segmentation):
    masks = read(write_coco(tmp_path / "a.json", segmentation))
    assert (masks["duck", "wrist", 7] == square_mask()).all()
    assert not masks["mug", "wrist", 7].any()  # known to be absent


@pytest.mark.parametrize(
    ("segmentation", "sentence"),
    [
        ([[1, 2, 3]], "a polygon is no list of x and y"),
        ({"size": [9, 12], "counts": [108]}, "of another size than its picture"),
        ("abc", "a polygon is no list"),
        ([[float("nan")] * 6], "a polygon is no list"),
    ],
)
def test_damaged_coco_is_a_sentence(tmp_path, segmentation, sentence):
    with pytest.raises(UserError, match=sentence):
        read(write_coco(tmp_path / "a.json", segmentation))


def test_coco_picture_without_a_number_is_a_sentence(tmp_path):
    with pytest.raises(UserError, match="has no number in its name"):
        read(write_coco(tmp_path / "a.json", [[1, 1, 5, 1, 5, 5]], name="wrist/first.png"))


def test_polygon_fills_the_pixels_whose_centres_it_holds():
    triangle = fill_polygon(np.array([[0.0, 0.0], [6.0, 0.0], [0.0, 6.0]]), 6, 6)
    y, x = np.mgrid[:6, :6] + 0.5
    assert (triangle == (x + y < 6)).all()
    assert not fill_polygon(np.array([[-9.0, -9.0], [-2.0, -9.0], [-2.0, -2.0]]), 6, 6).any()


def save_labels(path, labels, mode="P"):
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(labels.astype(np.uint8))
    if mode == "P":
        picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0])
    picture.save(path)


def test_label_pictures_of_cameras_are_read(tmp_path):
    labels = square_mask() * 1 + square_mask(top=7, left=0) * 2
    save_labels(tmp_path / "exterior" / "000012.png", labels)
    save_labels(tmp_path / "wrist" / "000003.png", square_mask() * 2, mode="L")
    masks = read(tmp_path, names={1: "duck", 2: "mug"})
    assert (masks["duck", "exterior", 12] == square_mask()).all()
    assert (masks["mug", "exterior", 12] == (labels == 2)).all()
    assert (masks["mug", "wrist", 3] == square_mask()).all()
    assert not masks["duck", "wrist", 3].any()
    assert ("label 1", None, 3) not in masks


def test_label_pictures_without_a_camera_or_names(tmp_path):
    save_labels(tmp_path / "00003.png", square_mask())
    assert list(read(tmp_path)) == [("label 1", None, 3)]


def test_folder_for_each_object_names_the_region(tmp_path):
    save_labels(tmp_path / "wrist" / "duck" / "00003.png", square_mask() * 255, mode="L")
    save_labels(tmp_path / "wrist" / "002" / "00003.png", square_mask() * 255, mode="L")
    assert set(read(tmp_path, names={2: "mug"})) == {("duck", "wrist", 3), ("mug", "wrist", 3)}


def test_color_pictures_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "0.png")
    with pytest.raises(UserError, match="0.png is a colour picture; labels are palette numbers"):
        read(tmp_path)


def test_npz_masks_and_labels_are_read(tmp_path):
    path = tmp_path / "m.npz"
    np.savez(
        path, **{"wrist/duck": np.stack([square_mask(), square_mask(1)]), "exterior": np.stack([square_mask() * 3])}
    )
    masks = read(path)
    assert set(masks) == {("duck", "wrist", 0), ("duck", "wrist", 1), ("label 3", "exterior", 0)}
    assert (masks["duck", "wrist", 1] == square_mask(1)).all()


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((3, 4)), "masks are \\(frames, height, width\\)"),
        (np.zeros((1, 3, 4)), "masks are bool, labels whole numbers"),
        (np.array([[[object()]]], dtype=object), "cannot be read as npz"),
    ],
)
def test_npz_of_something_else_is_a_sentence(tmp_path, array, sentence):
    np.savez(tmp_path / "m.npz", a=array, allow_pickle=True)
    with pytest.raises(UserError, match=sentence):
        read(tmp_path / "m.npz")


def test_segmentation_of_an_hdf5_file_is_read(tmp_path):
    name = "data/demo_0/obs/wrist_segmentation_instance"
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file[name] = np.stack([square_mask() * 7, square_mask(0) * 7])[..., None].astype(np.int32)
    assert split_source(f"{tmp_path}/d.hdf5:{name}") == (tmp_path / "d.hdf5", name)
    masks = read(tmp_path / "d.hdf5", dataset=name, names={7: "duck"})
    assert set(masks) == {("duck", "wrist", 0), ("duck", "wrist", 1)}
    assert (masks["duck", "wrist", 1] == square_mask(0)).all()
    with pytest.raises(UserError, match="Say which data set of d.hdf5 holds the labels"):
        read(tmp_path / "d.hdf5")
    with pytest.raises(UserError, match="has no data set data/x of labels"):
        read(tmp_path / "d.hdf5", dataset="data/x")


def test_links_of_an_hdf5_file_are_not_followed(tmp_path):
    with h5py.File(tmp_path / "other.hdf5", "w") as file:
        file["x"] = np.stack([square_mask()]).astype(np.int32)
    with h5py.File(tmp_path / "d.hdf5", "w") as file:
        file["x"] = h5py.ExternalLink("other.hdf5", "/x")
    with pytest.raises(UserError, match="x is a link to somewhere else, which is not followed"):
        read(tmp_path / "d.hdf5", dataset="x")


def test_npz_with_a_damaged_stream_is_a_sentence(tmp_path):
    np.savez_compressed(tmp_path / "m.npz", duck=np.random.default_rng(0).random((2, 9, 16)) > 0.5)
    content = bytearray((tmp_path / "m.npz").read_bytes())
    begin = 30 + int.from_bytes(content[26:28], "little") + int.from_bytes(content[28:30], "little")
    content[begin] |= 0b110  # a block of a type that deflate does not have
    (tmp_path / "m.npz").write_bytes(content)
    with pytest.raises(UserError, match="m.npz cannot be read as npz .*invalid block type"):
        read(tmp_path / "m.npz")


@pytest.mark.parametrize("height", ["1e999", '"x"', "[]", "null"])
def test_coco_of_impossible_sizes_is_a_sentence(tmp_path, height):
    image = f'{{"id": 1, "file_name": "000000.png", "height": {height}, "width": 4}}'
    (tmp_path / "c.json").write_text(
        f'{{"images": [{image}], "categories": [{{"id": 1, "name": "a"}}], "annotations": []}}'
    )
    with pytest.raises(UserError, match="cannot be read as COCO"):
        read(tmp_path / "c.json")


def test_unknown_form_and_missing_file_are_sentences(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match="of no form that is known"):
        read(tmp_path / "a.txt")
    with pytest.raises(UserError, match="There is no file"):
        read(tmp_path / "b.json")
