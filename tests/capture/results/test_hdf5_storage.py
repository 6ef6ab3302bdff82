from __future__ import annotations

import json
import logging
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import h5py
import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest
import synthetic

from capture.errors import UserError
from capture.results import hdf5_storage, schema
from capture.results.dataset_layout import list_datasets
from capture.results.descriptions import describe
from capture.results.writer import ResultsWriter

if TYPE_CHECKING:
    from pathlib import Path

SIZES = synthetic.SMALL
PIECES = ["<bos>", "▁duck", "ü" * 48]


def written(path: Path, sizes: schema.Sizes, frames: list[schema.Frame], **options: object) -> Path:
    with ResultsWriter(path, sizes, model=synthetic.MODEL, generator="pi0-capture 9.9", **options) as writer:
        for frame in frames:
            writer.write(frame)
        return writer.finish({schema.CHECK_ROW_SUM: 0.002})


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "whole.h5"
    return written(path, SIZES, [synthetic.make_frame(SIZES, number) for number in range(SIZES.frames)])


def test_file_holds_every_dataset_of_the_schema_with_the_written_values(whole: Path) -> None:
    with h5py.File(whole) as file:
        for dataset in list_datasets(SIZES):
            stored = file[dataset.name]
            assert stored.shape == dataset.shape, dataset.name
            assert stored.chunks == dataset.chunks, dataset.name
            assert list(stored.attrs["axes"]) == list(dataset.axes)
            assert stored.attrs["description"] == describe(dataset.name, SIZES)
            if dataset.name == schema.FRAMES_DONE:
                assert stored[()] == SIZES.frames
                continue
            for number in range(SIZES.frames):
                value = synthetic.make_frame(SIZES, number).get(dataset.name)
                if value is None:
                    assert np.isnan(stored[number]).all()
                elif dataset.kind == "str":
                    texts = [text.encode() for text in np.ravel(np.asarray(value, dtype=object))]
                    assert np.ravel(stored[number]).tolist() == texts
                elif dataset.kind == "weight":
                    np.testing.assert_array_equal(stored[number], schema.from_bfloat16(value))
                else:
                    np.testing.assert_array_equal(stored[number], value)


def test_datasets_have_axes_descriptions_and_groups(whole: Path) -> None:
    with h5py.File(whole) as file:
        assert file.attrs["format"] == "pi0-attention"
        assert file.attrs["format_version"].tolist() == [1, 3]
        assert file.attrs["generator"] == "pi0-capture 9.9"
        assert len(file.attrs["uuid"]) == 36
        assert file.attrs["created"].endswith("+00:00")
        assert json.loads(file.attrs["model"]) == synthetic.MODEL
        assert list(file.attrs["cameras"]) == ["exterior", "wrist"]
        assert file.attrs["layers"].tolist() == [0, 1]
        assert file.attrs["steps"].tolist() == [0, 1]
        assert bool(file.attrs["complete"]) is True
        assert json.loads(file.attrs["checks"]) == {"row_sum_error": 0.002}
        groups = ["exterior", "exterior bars", "wrist", "wrist bars", "bos", "prompt", "template", "state", "newline"]
        for name in (schema.TEXT_MASS, schema.ACTION_MASS):
            assert list(file[name].attrs["groups"]) == [*groups, "action"]
        assert h5py.check_enum_dtype(file[schema.TEXT_ROLE].dtype) == hdf5_storage.ROLE_VALUES
        assert file[schema.FRAMES_TEXT].asstr()[0].startswith(" put the duck")


def test_bfloat16_weights_are_read_as_floats(whole: Path) -> None:
    with h5py.File(whole) as file:
        dataset = file[schema.ACTION_TO_IMAGE]
        assert dataset.dtype == np.float32
        kind = dataset.id.get_type()
        assert kind.get_size() == 2
        assert kind.get_fields() == (15, 7, 8, 0, 7)
        assert kind.get_ebias() == 127
        assert kind.get_norm() == h5py.h5t.NORM_IMPLIED
        assert kind.get_order() == h5py.h5t.ORDER_LE
        bits = np.empty(dataset.shape[1:], np.uint16)
        space = dataset.id.get_space()
        space.select_hyperslab((1, *[0] * bits.ndim), (1, *bits.shape))
        dataset.id.read(h5py.h5s.create_simple((1, *bits.shape)), space, bits, kind)
        np.testing.assert_array_equal(bits, synthetic.make_frame(SIZES, 1)[schema.ACTION_TO_IMAGE])


@pytest.mark.parametrize("bits", [True, False])
@pytest.mark.parametrize("weights", ["bfloat16", "float32"])
def test_weights_are_stored_from_and_to_both_number_types(
    tmp_path: Path, weights: hdf5_storage.Weights, bits: bool
) -> None:
    sizes = replace(SIZES, frames=1)
    frame = synthetic.make_frame(sizes, 0, bits=bits)
    original = frame[schema.TEXT_TO_TEXT]
    exact = schema.from_bfloat16(original) if bits else original
    expected = exact if weights == "float32" else schema.from_bfloat16(schema.to_bfloat16(exact))
    with h5py.File(written(tmp_path / "file.h5", sizes, [frame], weights=weights)) as file:
        np.testing.assert_array_equal(file[schema.TEXT_TO_TEXT][0], expected)
        assert file[schema.TEXT_TO_TEXT].id.get_type().get_size() == (2 if weights == "bfloat16" else 4)


@hypothesis.settings(max_examples=12)
@hypothesis.given(tokens=st.lists(st.integers(1, 7), min_size=1, max_size=3))
def test_shorter_prompts_leave_fill_values_at_the_end(
    tmp_path_factory: pytest.TempPathFactory, tokens: list[int]
) -> None:
    sizes = replace(SIZES, frames=len(tokens), tokens=7)
    frames = [synthetic.make_frame(sizes, number, tokens=count) for number, count in enumerate(tokens)]
    with h5py.File(written(tmp_path_factory.mktemp("short") / "file.h5", sizes, frames)) as file:
        for number, count in enumerate(tokens):
            assert (file[schema.TEXT_ROLE][number, count:] == schema.ROLES.index("pad")).all()
            assert (file[schema.TEXT_WORD][number, count:] == -1).all()
            assert (file[schema.TEXT_STATE_INDEX][number, count:] == -1).all()
            assert (file[schema.TEXT_PIECE][number, count:] == b"").all()
            entropy = file[schema.TEXT_ENTROPY][number]  # layer, token, head
            assert np.isnan(entropy[:, count:]).all()
            assert np.isfinite(entropy[:, :count]).all()
            assert (file[schema.ACTION_TO_TEXT][number][..., count:] == 0).all()
            text = file[schema.TEXT_TO_TEXT][number]  # layer, token, head, text
            assert (text[:, count:] == 0).all()
            assert (text[..., count:] == 0).all()
            weights = schema.from_bfloat16(frames[number][schema.TEXT_TO_TEXT])
            np.testing.assert_array_equal(text[:, :count, :, :count], weights)
            picture = file[schema.TEXT_TO_IMAGE][number]
            np.testing.assert_array_equal(
                picture[:, :count], schema.from_bfloat16(frames[number][schema.TEXT_TO_IMAGE])
            )
            assert (picture[:, count:] == 0).all()


def test_rows_without_tokens_take_no_space(tmp_path: Path) -> None:
    roomy = replace(SIZES, frames=1, tokens=200)
    path = written(tmp_path / "file.h5", roomy, [synthetic.make_frame(roomy, 0, tokens=3)])
    with h5py.File(path) as file:
        dataset = file[schema.TEXT_TO_IMAGE]
        assert dataset.id.get_num_chunks() == 3
        assert dataset.id.get_storage_size() == 3 * 2 * 2 * 2 * 256 * 2  # rows, layers, heads, cameras, patches, bytes


def test_full_files_store_rows_of_image_tokens(tmp_path: Path) -> None:
    sizes = replace(SIZES, frames=1, full=True)
    frame = synthetic.make_frame(sizes, 0)
    with h5py.File(written(tmp_path / "full.h5", sizes, [frame])) as file:
        for name in (schema.IMAGE_TO_IMAGE, schema.IMAGE_TO_TEXT):
            np.testing.assert_array_equal(file[name][0], schema.from_bfloat16(frame[name]))
        row = file[schema.IMAGE_TO_IMAGE][0, 1, 0, 1, 5, 6].sum() + file[schema.IMAGE_TO_TEXT][0, 1, 0, 1, 5, 6].sum()
        assert abs(row - 1) < 0.01


def test_policy_without_state_has_an_empty_state_dataset(tmp_path: Path) -> None:
    sizes = replace(SIZES, frames=1, state_dim=0)
    with h5py.File(written(tmp_path / "file.h5", sizes, [synthetic.make_frame(sizes, 0)])) as file:
        assert file[schema.FRAMES_STATE].shape == (1, 0)
        assert file[schema.FRAMES_STATE][0].shape == (0,)


def test_strings_of_any_script_use_their_whole_size(tmp_path: Path) -> None:
    sizes = replace(SIZES, frames=1, tokens=3, text_bytes=24, piece_bytes=96)
    frame = synthetic.make_frame(sizes, 0)
    frame |= {
        schema.FRAMES_TEXT: "鸭子放进碗里去吧",  # 8 x 3 bytes
        schema.FRAMES_PROMPT: "",
        schema.FRAMES_EPISODE: "e",
        schema.TEXT_PIECE: np.array(PIECES),
    }
    with h5py.File(written(tmp_path / "file.h5", sizes, [frame])) as file:
        assert file[schema.FRAMES_TEXT].asstr()[0] == "鸭子放进碗里去吧"
        assert file[schema.FRAMES_PROMPT].asstr()[0] == ""
        assert file[schema.TEXT_PIECE].asstr()[0].tolist() == PIECES


def test_compressed_files_hold_the_same_values(tmp_path: Path, whole: Path) -> None:
    pytest.importorskip("hdf5plugin", reason="hdf5plugin is not installed")
    frames = [synthetic.make_frame(SIZES, number) for number in range(SIZES.frames)]
    path = written(tmp_path / "compressed.h5", SIZES, frames, compress=True)
    with h5py.File(path) as small, h5py.File(whole) as large:
        for dataset in list_datasets(SIZES):
            np.testing.assert_array_equal(small[dataset.name][()], large[dataset.name][()])
        assert small[schema.ACTION_TO_IMAGE].id.get_create_plist().get_nfilters() == 1
        assert small[schema.ACTION_TO_IMAGE].id.get_storage_size() < large[schema.ACTION_TO_IMAGE].id.get_storage_size()
        assert small[schema.FRAMES_TEXT].id.get_create_plist().get_nfilters() == 0  # `info` needs no plug-in


def test_compress_names_the_missing_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(UserError, match=r"pi0-attention\[compress\]"):
        written(tmp_path / "file.h5", SIZES, [], compress=True)
    assert not list(tmp_path.iterdir())


def test_file_is_written_without_swmr_where_it_is_unsupported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, whole: Path
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(h5py.File, "swmr_mode", property(lambda _: False, refuse))
    frames = [synthetic.make_frame(SIZES, number) for number in range(SIZES.frames)]
    with caplog.at_level(logging.WARNING):
        path = written(tmp_path / "plain.h5", SIZES, frames)
    assert "cannot be followed while it grows" in caplog.text
    with h5py.File(path) as plain, h5py.File(whole) as usual:
        for dataset in list_datasets(SIZES):
            np.testing.assert_array_equal(plain[dataset.name][()], usual[dataset.name][()])
        assert bool(plain.attrs["complete"])


def test_describe_error_prefers_the_systems_message() -> None:
    assert hdf5_storage.describe_error(OSError(28, "x")) == "no space left on device"
    assert hdf5_storage.describe_error(RuntimeError("Unable to flush (errno = 27, y)\nmore")) == "file too large"
    assert hdf5_storage.describe_error(RuntimeError("Something else\nmore")) == "Something else"
