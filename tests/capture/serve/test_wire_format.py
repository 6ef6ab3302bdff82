"""Messages of openpi's clients: what is read, and what hostile ones cost."""

from __future__ import annotations

import tracemalloc

import msgpack
import numpy as np
import pytest

from capture.errors import UserError
from capture.serve import wire_format
from capture.serve.wire_format import MAX_VALUES, pack, unpack


def array(dtype: object = "<f4", shape: object = (2,), data: object = bytes(8)) -> dict[bytes, object]:
    return {b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": shape}


@pytest.mark.parametrize(
    "value",
    [
        np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
        np.array([0.25, -1.5]),
        np.array([1.5], np.float16),
        np.array(7, np.int64),
        np.zeros((0, 3), np.float32),
        np.array([True, False]),
        np.array([1, 2], ">i4"),
    ],
)
def test_arrays_come_back_as_they_were_packed(value: np.ndarray) -> None:
    array = unpack(pack({"a": value}))["a"]
    assert array.dtype == value.dtype
    assert array.shape == value.shape
    assert array.tobytes() == value.tobytes()


def test_numbers_and_text_come_back_as_they_were_packed() -> None:
    sent = {
        "prompt": "réchauffer",
        "flag": True,
        "none": None,
        "half": np.float32(0.5),
        "list": [1, 2.5],
        "raw": b"\x00",
    }
    content = unpack(pack(sent))
    assert content == sent
    assert type(content["half"]) is np.float32


def test_text_arrays_are_read() -> None:
    prompt = np.array("put the duck away")
    packed = msgpack.packb(array(prompt.dtype.str, [], prompt.tobytes()))
    assert unpack(packed).item() == "put the duck away"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (array("|O"), "has the type '|O'"),
        (array("O8"), "has the type 'O8'"),
        (array([["a", "<f4"]]), "has the type list"),
        (array("<f4,<f4"), "has the type '<f4,<f4'"),
        (array("|V8"), "has the type '|V8'"),
        (array("<c8"), "has the type '<c8'"),
        (array("<M8[s]"), "has the type"),
        (array("<f1"), "has the type '<f1'"),
        (array("<U99999", [1], bytes(4 * 99999)), "text of more than"),
        (array(b"<f4"), "has the type b'<f4'"),
        (array(shape=[3]), "8 bytes, which its shape [3]"),
        (array(shape=[-1]), "no usable shape"),
        (array(shape=[2.0]), "no usable shape"),
        (array(shape=[True]), "no usable shape"),
        (array(shape=[1] * 9), "no usable shape"),
        (array(shape=[0, 2**40], data=b""), "no usable shape"),
        (array(shape=[2**32, 2**32, 2**32]), "no usable shape"),
        (array(shape=None), "no usable shape"),
        (array(data="text"), "no usable data"),
        (array(data=[0] * 8), "no usable data"),
        ({b"__ndarray__": True}, "has the type None"),
        ({b"__npgeneric__": True, b"data": "1", b"dtype": "<f4"}, "which float32 cannot hold"),
        ({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}, "which uint8 cannot hold"),
        ({b"__npgeneric__": True, b"data": 1, b"dtype": "|O"}, "has the type '|O'"),
        (msgpack.ExtType(5, b"x"), "extension type 5"),
        ({"a": ["b"] * 5000}, "exceeds"),
        ({str(number): 1 for number in range(300)}, "exceeds"),
        ({"a": "b" * 70_000}, "exceeds"),
        ({1: 2}, "int is not allowed"),
    ],
)
def test_refused_values_are_named_in_a_sentence(value: object, sentence: str) -> None:
    with pytest.raises(UserError) as raised:
        unpack(msgpack.packb(value))
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "message",
    [
        b"", b"\xc1", b"\x81\xa1", b"\x80\x80", b"\xdf\xff\xff\xff\xff", b"\xdd\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xff", b"\x91" * 5_000, b"\x81\xa1\xff\x01", b"\xd6\xff\x00", b"\x82\xa1a\x01\xa1a\x02",
        b"\x81\x90\x01", b"\xc7\x0c\xff" + b"\xff" * 12, b"not msgpack at all", bytes(1000),
    ],
)  # fmt: skip
def test_malformed_messages_are_refused(message: bytes) -> None:
    with pytest.raises(UserError):
        unpack(message)


def test_message_of_very_many_values_is_refused_before_it_fills_memory() -> None:
    inner = b"\xdc\x10\x00" + b"\x90" * 4096  # a list of 4,096 empty lists
    message = b"\xdc\x10\x00" + inner * 4096  # 16.8 million of them in 16.8 MB
    tracemalloc.start()
    try:
        with pytest.raises(UserError, match=f"more than {MAX_VALUES} values"):
            unpack(message)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * len(message)


def test_pack_refuses_objects() -> None:
    with pytest.raises(TypeError, match="ndarray cannot be sent"):
        pack({"a": np.array([object()])})
    with pytest.raises(TypeError, match="set cannot be sent"):
        pack({"a": {1}})


def test_messages_are_those_of_openpi() -> None:
    packed = pack({"a": np.array([1, 2], np.int16)})
    assert msgpack.unpackb(packed) == {"a": array("<i2", [2], b"\x01\x00\x02\x00")}
    assert wire_format.MAX_MESSAGE_BYTES >= 3 * 1920 * 1080 * 3
