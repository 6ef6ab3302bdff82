"""A results file of the full-size policy over many frames, of which only the first ones are written.

Its datasets, chunks and chunk indices are those of a file of many gigabytes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import synthetic

from capture.results import schema
from capture.results.dataset_layout import list_datasets
from capture.results.writer import ResultsWriter

if TYPE_CHECKING:
    from pathlib import Path

SIZES = schema.Sizes(
    frames=250,
    cameras=("exterior", "left", "wrist"),
    layers=tuple(range(18)),
    steps=tuple(range(10)),
    heads=8,
    tokens=200,
    horizon=10,
    denoise_steps=10,
    state_dim=8,
    robot_dim=8,
    model_dim=32,
    pictures=((720, 1280),) * 3,
)


def write_large(path: Path, written: int = 1, sizes: schema.Sizes = SIZES) -> Path:
    """Write the first frames of a file, each layer, head, step and action alike, and return its partial path."""
    smallest = replace(sizes, layers=(0,), steps=(0,), heads=1, horizon=1)
    small = synthetic.make_frame(smallest, 0)
    shapes = {dataset.name: dataset.shape[1:] for dataset in list_datasets(sizes)}
    frame = {
        name: np.broadcast_to(value, shapes[name]) if isinstance(value, np.ndarray) else value
        for name, value in small.items()
    }
    writer = ResultsWriter(path, sizes, model=synthetic.MODEL, generator="test")
    try:
        with writer:
            for _ in range(written):
                writer.write(frame)
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        return writer.partial_path
