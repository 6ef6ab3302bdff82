"""A policy and the options of a run, the same for all its results files."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from capture.datasets.regions.source import RegionSource
from capture.errors import UserError
from capture.pipeline.frame_builder import Kept
from capture.pipeline.planning.frame_selection import ALL_FRAMES, FrameSelection
from capture.pipeline.planning.input_decisions import decide_prompts
from capture.pipeline.planning.prompts import OWN_PROMPT, Prompts
from capture.policies.base import PolicySpec
from capture.provenance import Decision, merge_decisions
from capture.results import scores_schema
from capture.results.scores_schema import format_keep


@dataclass(frozen=True)
class RunOptions:
    """The user's options of a run."""

    device: torch.device
    dtype: torch.dtype
    seed: int = 0
    layers: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None
    full: bool = False
    check: bool = False
    store: Literal["bfloat16", "float32"] = "bfloat16"
    compress: bool = False
    overwrite: bool = False
    batch: int = 1
    workers: int | None = None
    """Pairs of reader and writer processes, one per open file; 0: this process does both; None: chosen by the run."""
    graphs: bool = True
    """Whether calls on a GPU may be replayed as CUDA graphs."""
    frames: FrameSelection = ALL_FRAMES
    prompts: Prompts = OWN_PROMPT
    maps_every: int = scores_schema.ALL_MAPS
    """`maps_every` of the files' `schema.Sizes`."""
    regions: RegionSource | None = None
    """Where the regions come from whose scores are stored, if any."""

    @property
    def replayed(self) -> bool:
        """Whether calls are replayed as CUDA graphs; not with --check, which compares the times of calls."""
        return self.device.type == "cuda" and self.graphs and not self.check

    @property
    def kept(self) -> Kept:
        """What is kept of recorded calls."""
        has_scores = self.maps_every != scores_schema.ALL_MAPS or self.regions is not None
        return Kept.choose(self.stored_as, self.maps_every, has_scores=has_scores)

    @property
    def stored_as(self) -> torch.dtype | None:
        """Number type to which attention is rounded; None keeps the policy's own."""
        return torch.bfloat16 if self.store == "bfloat16" else None


@dataclass(frozen=True)
class Setup:
    """A policy and the options of a run, the same for all its results files."""

    policy: PolicySpec
    options: RunOptions
    weights: str
    """Fingerprint of the checkpoint's weights."""
    source_decisions: tuple[Decision, ...] = ()
    """`decisions` of the source of the episodes; empty where these are in memory."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers to record. Raises UserError for one that the policy does not have."""
        return _check_numbers(self.options.layers, self.policy.sizes.layers, "layer")

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of the denoise steps to record. Raises UserError for one that the policy does not take."""
        return _check_numbers(self.options.steps, self.policy.sizes.denoise_steps, "denoise step")

    @property
    def model(self) -> dict[str, object]:
        """The file's attribute `model`."""
        policy, sizes, options = self.policy, self.policy.sizes, self.options
        return {
            "layers": sizes.layers,
            "heads": sizes.heads,
            "horizon": sizes.horizon,
            "steps": sizes.denoise_steps,
            "action_dim": sizes.action_dim,
            "dtype": str(options.dtype).removeprefix("torch."),
            "device": options.device.type,
            "kind": policy.kind,
            "name": policy.name,
            "config_hash": policy.config_hash,
            "tokenizer": policy.tokenizer_name,
            "time_grid": policy.time_grid,
        }

    @property
    def run(self) -> dict[str, object]:
        """The part of the file's attribute `run` that all files of a run share."""
        options, policy, sizes = self.options, self.policy, self.policy.sizes
        return {
            "device": options.device.type,
            "dtype": str(options.dtype).removeprefix("torch."),
            "seed": options.seed,
            "layers": list(self.layers),
            "steps": list(self.steps),
            "denoise_steps": sizes.denoise_steps,
            "horizon": sizes.horizon,
            "time_grid": policy.time_grid,
            "full": options.full,
            "store": options.store,
            "compress": options.compress,
            "check": options.check,
            "config": policy.config_hash,
            "weights": self.weights,
            "tokenizer": policy.tokenizer_name,
            "input": {decision.subject: decision.choice for decision in self.source_decisions},
            **({} if options.maps_every == scores_schema.ALL_MAPS else {"keep": format_keep(options.maps_every)}),
            **({} if options.regions is None else {"regions": options.regions.origin}),
        }

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Decisions that all files of the run share."""
        prompts = decide_prompts(self.options.prompts)
        return merge_decisions(self.policy.decisions, self.source_decisions, [prompts])


def _check_numbers(chosen: tuple[int, ...] | None, count: int, noun: str) -> tuple[int, ...]:
    if chosen is None:
        return tuple(range(count))
    for number in chosen:
        if not 0 <= number < count:
            raise UserError(f"there is no {noun} {number}: this policy has {count}, numbered 0 to {count - 1}")
    return chosen
