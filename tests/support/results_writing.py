"""Results files written by `ResultsWriter`, and checks of what they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import synthetic

from capture.results import schema
from capture.results.writer import ResultsWriter

SIZES = synthetic.SMALL
FRAMES = [synthetic.make_frame(SIZES, number) for number in range(SIZES.frames)]


def open_writer(path: Path, sizes: schema.Sizes = SIZES, **options: Any) -> ResultsWriter:
    return ResultsWriter(path, sizes, model=synthetic.MODEL, generator="test", **options)


def count_intact_frames(path: Path) -> int:
    """Return the number of finished frames, after comparing each with what was written."""
    with h5py.File(path) as file:
        done = int(file[schema.FRAMES_DONE][()])
        for number in range(done):
            weights = schema.from_bfloat16(FRAMES[number][schema.ACTION_TO_IMAGE])
            np.testing.assert_array_equal(file[schema.ACTION_TO_IMAGE][number], weights)
            assert file[schema.FRAMES_PROMPT].asstr()[number] == FRAMES[number][schema.FRAMES_PROMPT]
    return done


def write_and_interrupt(results: ResultsWriter, frames: int) -> None:
    """Write some frames, then press Ctrl-C."""
    with results:
        for frame in FRAMES[:frames]:
            results.write(frame)
        raise KeyboardInterrupt
