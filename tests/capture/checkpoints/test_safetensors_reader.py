"""Safetensors files: read exactly, in place, in blocks, and only when they are whole."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from capture.checkpoints.safetensors_reader import BLOCK, read_folder, read_header, read_into
from capture.errors import UserError
from capture.json_fields import is_safe_relative_path

TENSORS = {
    "a": torch.randn(3, 5),
    "b": torch.randn(7).bfloat16(),
    "c": torch.randn(2, 2, 2).half(),
    "d": torch.randn(4).double(),
    "empty": torch.empty(0, 3),
    "scalar": torch.tensor(2.5),
}


@pytest.fixture
def file(tmp_path):
    save_file(TENSORS, tmp_path / "model.safetensors", metadata={"format": "pt"})
    return tmp_path / "model.safetensors"


def write(path, header, data=b""):
    content = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(content)) + content + data)
    return path


def test_header_gives_names_shapes_and_types(file):
    stored = read_header(file)
    assert stored.keys() == TENSORS.keys()
    for name, tensor in TENSORS.items():
        assert stored[name].shape == tuple(tensor.shape)
    assert [stored[name].dtype for name in "abcd"] == ["F32", "BF16", "F16", "F64"]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", TENSORS)
def test_tensors_are_read_as_any_number_type(file, name, dtype):
    out = torch.full(TENSORS[name].shape, 9.0, dtype=dtype)
    read_into(read_header(file)[name], out)
    assert torch.equal(out, TENSORS[name].to(dtype))


def test_tensor_larger_than_a_block_is_converted_in_full(tmp_path):
    large = torch.arange(BLOCK // 4 * 2 + 17, dtype=torch.float32)
    save_file({"x": large}, tmp_path / "model.safetensors")
    out = torch.empty(large.shape, dtype=torch.float64)
    read_into(read_header(tmp_path / "model.safetensors")["x"], out)
    assert torch.equal(out, large.double())


def test_file_that_shrinks_after_its_header_was_read_is_refused(file):
    stored = read_header(file)
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(UserError, match="became shorter while it was read"):
        for entry in stored.values():
            read_into(entry, torch.empty(entry.shape))


@pytest.mark.parametrize("keep", [0, 4, 8, 60, -1, -90])
def test_truncated_files_are_refused(file, keep):
    content = file.read_bytes()
    file.write_bytes(content[:keep])
    with pytest.raises(
        UserError, match=r"(is cut off: it has \d+ of \d+ bytes|end before its header does).*fetch it again"
    ):
        read_header(file)


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"{not json", "is not valid JSON"),
        (b"[1, 2]", "holds list where a JSON object is needed"),
        (b'{"a": ' * 100_000, "is not valid JSON"),
        (b'{"a": {"shape": [' + b"9" * 5000 + b"]}}", "is not valid JSON"),
        ({"a": 3}, "should be an object"),
        ({"a": None}, "says nothing about 'a'"),
        ({"a": {**ENTRY, "shape": [-2]}}, "no shape and place"),
        ({"a": {**ENTRY, "shape": [True, 2]}}, "no shape and place"),
        ({"a": {**ENTRY, "shape": [3]}}, "does not fit its bytes"),
        ({"a": {**ENTRY, "shape": [2**62, 4]}}, "does not fit its bytes"),
        ({"a": {**ENTRY, "data_offsets": [8, 0]}}, "does not fit its bytes"),
        ({"a": {**ENTRY, "data_offsets": [0]}}, "no shape and place"),
        ({"a": {**ENTRY, "data_offsets": [4, 12]}}, "at a wrong place"),
        ({"a": ENTRY, "b": ENTRY}, "at a wrong place"),
        ({"a": {**ENTRY, "dtype": 7}}, "should be a string"),
        ({}, "8 bytes where its header speaks of 0|it has"),
    ],
)
def test_impossible_headers_are_refused(tmp_path, header, message):
    with pytest.raises(UserError, match=message):
        read_header(write(tmp_path / "model.safetensors", header, bytes(8)))


def test_git_lfs_pointer_error_names_git_lfs(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 7\n")
    with pytest.raises(UserError, match="only a Git LFS pointer; run `git lfs pull`"):
        read_header(path)


def shards(folder, weight_map):
    save_file({"a": TENSORS["a"]}, folder / "model-00001-of-00002.safetensors")
    save_file({"b": TENSORS["b"]}, folder / "model-00002-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def test_shards_are_read_as_one_set_of_tensors(tmp_path):
    shards(tmp_path, {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"})
    stored = read_folder(tmp_path)
    out = torch.empty(7, dtype=torch.bfloat16)
    read_into(stored["b"], out)
    assert stored.keys() == {"a", "b"}
    assert torch.equal(out, TENSORS["b"])


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../model.safetensors"}, "outside its folder; it is not read"),
        ({"a": "/etc/passwd"}, "outside its folder; it is not read"),
        ({"a": "C:\\weights"}, "outside its folder; it is not read"),
        ({"a": ""}, "outside its folder; it is not read"),
        ({"a": 3}, "should be a string"),
        ({"a": "model-00003-of-00002.safetensors"}, "there is no such file in the folder"),
        ({"a": "model-00002-of-00002.safetensors"}, "does not hold 'a', though"),
        ({}, "has no 'weight_map'"),
        (None, "has no 'weight_map'"),
        ([1], "should be an object"),
    ],
)
def test_index_with_unusable_paths_is_refused(tmp_path, weight_map, message):
    shards(tmp_path, weight_map)
    with pytest.raises(UserError, match=message):
        read_folder(tmp_path)


@given(st.text(max_size=12))
def test_shard_paths_within_the_folder_are_accepted(tmp_path_factory, name):
    folder = tmp_path_factory.getbasetemp()
    if is_safe_relative_path(name):
        assert (folder / name).resolve().is_relative_to(folder.resolve())
