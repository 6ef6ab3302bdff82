from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import synthetic

from capture.results import schema
from capture.results.dataset_layout import Dataset, list_datasets
from capture.results.descriptions import describe

FULL_SIZE = schema.Sizes(
    frames=300,
    cameras=("exterior", "wrist"),
    layers=tuple(range(18)),
    steps=tuple(range(10)),
    heads=8,
    tokens=60,
    horizon=15,
    denoise_steps=10,
    state_dim=8,
    robot_dim=8,
    model_dim=32,
    pictures=((180, 320), (180, 320)),
)
SHAPES = {
    "frames/done": (),
    "frames/index": (300,),
    "frames/time": (300,),
    "frames/episode": (300,),
    "frames/prompt": (300,),
    "frames/text": (300,),
    "frames/state": (300, 8),
    "frames/seed": (300,),
    "frames/noise": (300, 15, 32),
    "images/exterior/source": (300, 180, 320, 3),
    "images/exterior/model": (300, 224, 224, 3),
    "images/exterior/to_model": (300, 2, 3),
    "images/wrist/source": (300, 180, 320, 3),
    "images/wrist/model": (300, 224, 224, 3),
    "images/wrist/to_model": (300, 2, 3),
    "text/id": (300, 60),
    "text/piece": (300, 60),
    "text/start": (300, 60),
    "text/stop": (300, 60),
    "text/role": (300, 60),
    "text/word": (300, 60),
    "text/state_index": (300, 60),
    "text/position": (300, 60),
    "image/position": (300, 2, 16, 16),
    "text/to_image": (300, 18, 60, 8, 2, 16, 16),
    "text/to_text": (300, 18, 60, 8, 60),
    "action/to_image": (300, 18, 15, 10, 8, 2, 16, 16),
    "action/to_text": (300, 18, 15, 10, 8, 60),
    "action/to_action": (300, 18, 15, 10, 8, 15),
    "action/predicted": (300, 15, 8),
    "action/truth": (300, 15, 8),
    "action/x": (300, 11, 15, 32),
    "action/time": (300, 10),
    "text/mass": (300, 18, 60, 8, 10),
    "action/mass": (300, 18, 15, 10, 8, 10),
    "text/entropy": (300, 18, 60, 8),
    "action/entropy": (300, 18, 15, 10, 8),
    "text/value_norm_image": (300, 18, 8, 2, 16, 16),
    "text/value_norm_text": (300, 18, 8, 60),
    "action/value_norm_image": (300, 18, 8, 2, 16, 16),
    "action/value_norm_text": (300, 18, 8, 60),
    "action/value_norm_action": (300, 18, 10, 8, 15),
}


def by_name(sizes: schema.Sizes) -> dict[str, Dataset]:
    return {dataset.name: dataset for dataset in list_datasets(sizes)}


def test_datasets_have_the_names_and_shapes_of_the_format() -> None:
    assert {name: dataset.shape for name, dataset in by_name(FULL_SIZE).items()} == SHAPES
    full = by_name(replace(FULL_SIZE, full=True))
    assert full.keys() - SHAPES.keys() == {"image/to_image", "image/to_text"}
    assert full["image/to_image"].shape == (300, 18, 8, 2, 16, 16, 2, 16, 16)
    assert full["image/to_text"].axes == ("frame", "layer", "head", "camera", "row", "col", "text")


def test_axes_shape_and_chunks_of_each_dataset_agree() -> None:
    for dataset in list_datasets(replace(FULL_SIZE, full=True)):
        assert len(dataset.axes) == len(dataset.shape), dataset.name
        if dataset.chunks is None:
            assert dataset.shape == ()
            continue
        assert all(chunk <= size for chunk, size in zip(dataset.chunks, dataset.shape, strict=True)), dataset.name
        assert (dataset.string_bytes > 0) == (dataset.kind == "str")


def test_chunks_are_what_the_viewer_reads_at_once() -> None:
    datasets = by_name(FULL_SIZE)
    # 82 KB: a token with all its steps and heads
    assert datasets["action/to_image"].chunks == (1, 1, 1, 10, 8, 2, 16, 16)
    assert datasets["action/to_text"].chunks == (1, 1, 1, 10, 8, 60)
    assert datasets["text/to_image"].chunks == (1, 18, 1, 8, 2, 16, 16)
    assert datasets["images/wrist/source"].chunks == (1, 180, 320, 3)
    for name in ("frames/index", "frames/text"):
        assert datasets[name].chunks is not None
        assert math.prod(datasets[name].chunks) * max(8, datasets[name].string_bytes) <= 65_536


def test_full_size_frame_takes_less_than_40_megabytes() -> None:
    def frame(sizes: schema.Sizes, weight_bytes: int) -> float:
        return sum(dataset.frame_bytes(weight_bytes) for dataset in list_datasets(sizes)) / 1e6

    assert 37 < frame(FULL_SIZE, 2) < 40
    weights = 18 * 8 * (60 * 572 + 15 * 10 * 587) * 2 / 1e6
    assert frame(FULL_SIZE, 4) == pytest.approx(frame(FULL_SIZE, 2) + weights)
    hd = replace(FULL_SIZE, pictures=((720, 1280), (720, 1280)))
    assert frame(hd, 2) == pytest.approx(frame(FULL_SIZE, 2) + 2 * 3 * (720 * 1280 - 180 * 320) / 1e6)


def test_text_axes_are_those_over_text_tokens() -> None:
    datasets = by_name(replace(synthetic.SMALL, tokens=3, horizon=3, full=True))  # the lengths alone cannot tell
    assert datasets["text/id"].text_axes == (1,)
    assert datasets["text/to_text"].text_axes == (2, 4)
    assert datasets["text/to_image"].text_axes == (2,)
    assert datasets["action/to_text"].text_axes == (5,)
    assert datasets["action/to_action"].text_axes == ()
    assert datasets["action/mass"].text_axes == ()
    assert datasets["image/to_text"].text_axes == (6,)


def test_mass_groups_name_cameras_and_roles() -> None:
    groups = schema.mass_groups(("top", "left"))
    assert groups[:4] == ("top", "top bars", "left", "left bars")
    assert set(groups[4:]) == {"bos", "prompt", "template", "state", "newline", "action"}
    assert set(schema.ROLES) - {"pad"} <= set(groups)


@hypothesis.given(hnp.arrays(np.float32, st.integers(0, 40), elements=st.floats(width=32, allow_nan=True)))
def test_to_bfloat16_rounds_as_torch(values: np.ndarray) -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed")
    expected = torch.from_numpy(values).bfloat16().float().numpy()
    np.testing.assert_array_equal(schema.from_bfloat16(schema.to_bfloat16(values)), expected)


@hypothesis.given(hnp.arrays(np.uint16, 20))
def test_bfloat16_is_unchanged_by_a_round_trip_through_float32(bits: np.ndarray) -> None:
    wide = schema.from_bfloat16(bits)
    number = ~np.isnan(wide)
    np.testing.assert_array_equal(schema.to_bfloat16(wide)[number], bits[number])


def test_to_bfloat16_rounds_ties_to_even_and_keeps_nan() -> None:
    ties = np.array([0x3F808000, 0x3F818000, 0x3F808001], dtype=np.uint32).view(np.float32)
    assert schema.to_bfloat16(ties).tolist() == [0x3F80, 0x3F82, 0x3F81]
    odd = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800000], dtype=np.uint32).view(np.float32)  # CUDA's NaN, infinity
    assert np.isnan(schema.from_bfloat16(schema.to_bfloat16(odd))).tolist() == [True, True, False]
    strided = np.linspace(0, 1, 10, dtype=np.float32)[::3]
    assert schema.to_bfloat16(strided).shape == (4,)


def test_schema_imports_neither_torch_nor_h5py() -> None:
    code = "import sys, capture.results.schema; print(sorted({'torch', 'h5py', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_sizes_decide_the_grid_and_the_model_picture_of_a_file():
    sizes = replace(synthetic.SMALL, grid=(8, 6), model_picture=(80, 60), full=True)
    shapes = {dataset.name: dataset.shape for dataset in list_datasets(sizes)}
    assert shapes[schema.model_picture_name("wrist")] == (3, 80, 60, 3)
    assert shapes[schema.IMAGE_POSITION] == (3, 2, 8, 6)
    assert shapes[schema.TEXT_TO_IMAGE] == (3, 2, 16, 2, 2, 8, 6)
    assert shapes[schema.ACTION_TO_IMAGE] == (3, 2, 3, 2, 2, 2, 8, 6)
    assert shapes[schema.IMAGE_TO_IMAGE] == (3, 2, 2, 2, 8, 6, 2, 8, 6)
    assert shapes[schema.ACTION_VALUE_NORM_IMAGE] == (3, 2, 2, 2, 8, 6)
    assert describe(schema.model_picture_name("wrist"), sizes).endswith("a patch is 10 x 10 pixels")
    assert describe(schema.model_picture_name("wrist"), synthetic.SMALL).endswith("a patch is 14 x 14 pixels")
