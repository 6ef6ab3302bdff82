"""What scores computed while capturing cost, and what a frame takes, at the shapes of a full-size policy.

    python tests/bench/summaries.py                      # two and three cameras, three regions, 60 words
    python tests/bench/summaries.py --call 22            # beside a call of so many processor seconds, on two cores

Weights are random and sharp, which packs worse than real ones.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import h5py
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from full_size_call import make_full_size_call, make_full_size_sizes

from capture.pipeline.frame_builder import Kept, compute_datasets, split_frames
from capture.results.dataset_layout import list_datasets
from capture.results.writer import ResultsWriter

ROUNDS, FRAMES = 3, 10
PICTURES = "images/"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--call", type=float, default=22.0, help="processor seconds of a call, to compare with (22)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # so that processor time is that of the work, however busy the machine is
    for cameras in (2, 3):
        for name, keep, regions, every in (
            ("maps", Kept(torch.bfloat16), 0, 1),
            ("summaries", Kept.choose(torch.bfloat16, 0, has_scores=True), 0, 0),
            ("summaries, 3 regions", Kept.choose(torch.bfloat16, 0, has_scores=True), 3, 0),
            ("summaries as float32, 3 regions", Kept.choose(None, 0, has_scores=True), 3, 0),
        ):
            call = make_full_size_call(cameras, regions=regions)
            taken = []
            for _ in range(ROUNDS):
                start = time.process_time()
                datasets = compute_datasets(call, keep)
                taken.append(time.process_time() - start)
            [(frame, _)] = split_frames(call, datasets)
            sizes = make_full_size_sizes(call, FRAMES, maps_every=every)
            stored = "bfloat16" if keep.weights is not None else "float32"
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "a.h5"
                start = time.process_time()
                with ResultsWriter(path, sizes, model={}, generator="bench", weights=stored) as writer:
                    for _ in range(FRAMES):
                        writer.write(frame)
                    writer.finish({})
                writing = (time.process_time() - start) / FRAMES
                size = path.stat().st_size / FRAMES
                with h5py.File(path) as file:
                    pictures = sum(
                        file[dataset.name].id.get_storage_size() / FRAMES
                        for dataset in list_datasets(sizes)
                        if dataset.name.startswith(PICTURES)
                    )
            print(
                f"{cameras} cameras, {name:<32} {1e3 * min(taken):6.0f} ms ({min(taken) / options.call:.1%} of a "
                f"call), written in {1e3 * writing:4.0f} ms, {(size - pictures) / 1e3:7.0f} kB a frame and "
                f"{pictures / 1e3:.0f} kB of pictures"
            )


if __name__ == "__main__":
    main()
