"""Masks that are written as the regions of a results file have the size of its pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from captured_regions import capture

from capture.errors import UserError
from capture.results.regions_file import write_frame_masks


def test_mask_of_another_size_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    capture(path)
    sentence = "the mask of top in frame 0 has 5 x 3 pixels, but its picture 96 x 48"
    with pytest.raises(UserError, match=sentence):
        write_frame_masks(path, {"duck": ["top"]}, lambda _: {("duck", "top"): np.ones((3, 5), np.bool_)})
    assert [left.name for left in tmp_path.iterdir()] == ["a.h5"]
