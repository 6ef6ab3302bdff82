"""What all episodes of a run of rollouts share: the policy, what is stored and how."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from capture.pipeline.frame_builder import Kept
from capture.pipeline.planning.plan import GENERATOR
from capture.provenance import Decision, merge_decisions
from capture.results import schema, scores_schema

if TYPE_CHECKING:
    from capture.pipeline.planning.setup import Setup
    from capture.results.hdf5_storage import Weights


@dataclass(frozen=True)
class RolloutRun:
    """What the results files of a run of rollouts have in common."""

    model: Mapping[str, object]
    """The files' attribute `model`; FORMAT.md lists its keys. `name` and `config_hash` go to the index as well."""
    settings: Mapping[str, object]
    """The files' attribute `run`: a folder takes further episodes of a run with the same settings only."""
    decisions: tuple[Decision, ...] = ()
    """About the input of the policy, the same for all episodes: the files' attribute `provenance`."""
    title: str = "rollouts"
    """What the run is called in the index: of a simulator, a robot or a task suite."""
    every: int = 1
    """Record each call whose number in its episode is a multiple of this."""
    store: Weights = "bfloat16"
    """Number type of the stored attention weights."""
    compress: bool = False
    maps_every: int = scores_schema.ALL_MAPS
    """`maps_every` of the files' `schema.Sizes`."""
    generator: str = field(default=GENERATOR, kw_only=True)

    def __post_init__(self) -> None:
        """Raise ValueError for an `every` below 1."""
        if self.every < 1:
            raise ValueError(f"every={self.every}: give 1 to record each call, 8 to record every eighth")

    @classmethod
    def from_setup(
        cls, setup: Setup, *, decisions: tuple[Decision, ...] = (), title: str = "rollouts", every: int = 1
    ) -> RolloutRun:
        """Return the description of a run of a checkpoint's policy with the options of `pi0-capture`.

        `decisions`: further ones, such as the names of the cameras in the observations. Raises UserError for layers or
        steps that the policy does not have.
        """
        options = setup.options
        every_one = merge_decisions(setup.policy.decisions, setup.source_decisions, decisions)
        return cls(setup.model, setup.run, every_one, title, every, options.store, options.compress, options.maps_every)

    @property
    def kept(self) -> Kept:
        """What is kept of recorded calls, their weights rounded before they are handed over."""
        weights = torch.bfloat16 if self.store == "bfloat16" else None
        return Kept.choose(weights, self.maps_every, has_scores=self.maps_every != scores_schema.ALL_MAPS)

    @property
    def index_head(self) -> dict[str, Any]:
        """The index's fields about the whole run."""
        return {
            "generator": self.generator,
            "source": {"kind": schema.ROLLOUTS, "name": self.title},
            "model": {key: self.model.get(key) for key in ("name", "config_hash")},
            "run": {**self.settings, "dataset": schema.ROLLOUTS},
        }
