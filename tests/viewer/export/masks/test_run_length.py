"""Run lengths as pycocotools 2.0.10 writes them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from viewer.export.masks.run_length import decode, encode


def small():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    return mask


def with_hole():
    mask = np.zeros((20, 12), bool)
    mask[3:17, 2:10] = True
    mask[8:12, 4:7] = False
    return mask


KNOWN = [
    (small(), "9220003"),
    (with_hole(), "[1>600GN020N020N0290000U1"),
    (np.ones((3, 3), bool), "09"),
    (np.zeros((3, 3), bool), "9"),
]


@pytest.mark.parametrize(("mask", "counts"), KNOWN)
def test_counts_are_those_of_pycocotools(mask, counts):
    assert encode(mask) == {"size": list(mask.shape), "counts": counts}
    assert (decode({"size": list(mask.shape), "counts": counts}) == mask).all()


@given(arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40))))
def test_masks_come_back(mask):
    assert (decode(encode(mask)) == mask).all()


def test_plain_counts_are_read():
    assert (decode({"size": [4, 6], "counts": [9, 2, 2, 2, 2, 2, 5]}) == small()).all()


@pytest.mark.parametrize(
    "encoded",
    [
        {},
        {"size": [4], "counts": "9"},
        {"size": [4, 6], "counts": "9"},
        {"size": [4, 6], "counts": "922000"},
        {"size": [4, 6], "counts": "~~"},
        {"size": [4, 6], "counts": [24, -1, 1]},
        {"size": [70000, 70000], "counts": [1]},
        {"size": [60000, 60000], "counts": [3_600_000_000]},
        {"size": [4, 6], "counts": "é"},
        {"size": [4, 6], "counts": "o" * 100},
    ],
)
def test_damaged_counts_are_refused(encoded):
    with pytest.raises(ValueError, match=r"its (size|counts|run lengths)"):
        decode(encoded)
