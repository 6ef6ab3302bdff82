"""The results file that `pi0-viewer --demo` opens: two prompts on one table, small enough to ship."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import h5py
import torch

from capture.checkpoints import Pi05Spec, open_checkpoint
from capture.checkpoints.fingerprint import fingerprint
from capture.datasets.folder.reader import read_episode
from capture.datasets.in_memory import InMemoryEpisode
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.types import Job
from capture.policies.tokenizer import find_tokenizer
from capture.provenance import Decision

EPISODES = ("duck", "mug")
"""Their first frames show the same table and ask for another thing."""
STEPS = (0, 3, 6, 9)
"""Of the ten denoise steps those that are kept: two frames with all layers and heads then take less than 6 MB."""


class _Silent:
    def loading(self, done: int, total: int) -> None:
        pass

    def expect(self, frames: int) -> None:
        pass

    def step(self, frames: float) -> None:
        pass

    def log(self, sentence: str) -> None:
        print(sentence, file=sys.stderr)

    def decided(self, decision: Decision) -> None:
        pass


def write_results(demo: Path, output: Path) -> None:
    """Capture the first frame of each episode in `demo` and write it to `output`, deflated without loss."""
    checkpoint = open_checkpoint(demo)
    frames = [read_episode(demo / "episodes" / name)[0] for name in EPISODES]
    tokenizer = find_tokenizer(None, checkpoint.tokenizer_folder)
    choices = RunOptions(torch.device("cpu"), torch.float32, steps=STEPS)
    setup = Setup(Pi05Spec(checkpoint, tokenizer), choices, fingerprint(checkpoint.path))
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "raw.h5"
        [written] = run_jobs(setup, [Job(raw, InMemoryEpisode(frames))], _Silent()).files
        if written.failure is not None:
            raise RuntimeError(written.failure)
        _deflate(raw, output)


def _deflate(source: Path, output: Path) -> None:
    """Copy every dataset and attribute; large datasets shuffled and deflated, as every HDF5 reader understands."""
    with h5py.File(source) as whole, h5py.File(output, "w", libver=("v110", "v110")) as small:
        small.attrs.update(whole.attrs)

        def copy(name: str, item: h5py.Group | h5py.Dataset) -> None:
            if isinstance(item, h5py.Group):
                small.require_group(name).attrs.update(item.attrs)
                return
            plist = item.id.get_create_plist()
            if item.chunks and item.nbytes > 4096:
                plist.set_shuffle()
                plist.set_deflate(9)
            space = h5py.h5s.create_simple(item.shape) if item.shape else h5py.h5s.create(h5py.h5s.SCALAR)
            parent = small.require_group(str(Path(name).parent)) if "/" in name else small
            copied = h5py.Dataset(
                h5py.h5d.create(parent.id, Path(name).name.encode(), item.id.get_type(), space, plist)
            )
            copied[...] = item[...]
            for key in item.attrs:
                copied.attrs[key] = item.attrs[key]

        whole.visititems(copy)


if __name__ == "__main__":
    here = Path(__file__).parents[1]
    write_results(here, Path(sys.argv[1]) if len(sys.argv) > 1 else here / "results.h5")
