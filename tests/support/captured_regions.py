"""Captures of the toy policy with regions: the same frames with maps, and with what `--keep` asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from synthetic_episodes import ProgressLog, SyntheticEpisode
from toy_policy import ToySpec

from capture.pipeline.planning.prompts import Prompts
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.pipeline.runner import run_jobs
from capture.pipeline.types import Job, RunOutcome
from capture.policies.base import TokenTable
from viewer.io.results import Results
from viewer.regions.region import CameraMasks, RegionSet
from viewer.regions.regions_file import write_regions

PROMPTS = ("stack the blue cups", "go")
FRAMES = 4
SIZES = {"top": (48, 96), "front": (60, 60)}


@dataclass
class ToyEpisode(SyntheticEpisode):
    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        return SIZES


@dataclass(frozen=True)
class JoiningSpec(ToySpec):
    """The toy policy whose third and fourth tokens of a longer prompt are one word."""

    def tokenise(self, prompt: str, state: npt.NDArray[np.float64] | None) -> TokenTable:
        table = super().tokenise(prompt, state)
        return table if len(table) < 5 else replace(table, word=np.array([-1, 0, 1, 1, 2], np.int32))


def make_setup(**choices: Any) -> Setup:
    options = {"store": "float32", "batch": 2, "prompts": Prompts(PROMPTS)} | choices
    return Setup(JoiningSpec(), RunOptions(torch.device("cpu"), torch.float32, **options), "none")


def capture(path: Path, **choices: Any) -> RunOutcome:
    """Capture four moments with two prompts each, and return the outcome; the file must be whole."""
    outcome = run_jobs(make_setup(**choices), [Job(path, ToyEpisode(length=FRAMES))], ProgressLog())
    assert outcome.files[0].failure is None
    return outcome


def draw_regions(path: Path, file: Path) -> Path:
    """Write regions of a results file: of both cameras, of one, and one that is known in the first moment alone."""
    with_masks = Results(file)
    regions = RegionSet(with_masks.uuid)
    for name, cameras, frames in (
        ("cup", ("top", "front"), range(2 * FRAMES)),
        ("lid", ("front",), range(2 * FRAMES)),
        ("hand", ("top",), range(2)),
    ):
        for camera in cameras:
            height, width = SIZES[camera]
            masks = CameraMasks(height, width)
            for frame in frames:
                mask = np.zeros((height, width), np.bool_)
                start = 4 * (frame // 2) + 8 * (name == "lid")
                mask[start : start + 20, start : start + 24] = True
                masks.set(frame, mask, "drawn")
            regions.add(name).cameras[camera] = masks
    write_regions(path, regions, with_masks)
    with_masks.close()
    return path
