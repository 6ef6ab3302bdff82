"""The request for measurements on a frame, and the calls of the policy on one frame that they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from capture.effects.engine import EffectEngine, InterveningPolicy, Intervention
from capture.effects.results_frames import ResultsFrames, StoredFrame
from capture.effects.targets import Mask, Target
from capture.policies.base import Prepared


@dataclass(frozen=True)
class EffectsRequest:
    """What to measure on each frame."""

    intervention: Intervention
    regions: tuple[Target, ...] = ()
    words: tuple[str, ...] = ()
    replacements: tuple[tuple[str, str], ...] = ()
    """Words of the prompt, and the words that replace them."""
    heads: tuple[str, ...] = ()
    """Stacks whose heads are silenced, one at a time: `actions` (the action expert), `words` (the language model)."""
    map_block: int | None = None
    """Side of the blocks of patches of an effect map; None for no map."""
    masks: int | None = None
    """Number of random masks from which the map is regressed; None removes one block at a time."""
    other_frame: int | None = None
    """Frame with whose pixels patches are covered."""
    curves: int | None = None
    """Points of the deletion and insertion curves, without the first; None for no curves."""
    gradient: tuple[int, ...] = ()
    """Robot dimensions whose gradient weights the attention."""
    controls: int = 20
    seeds: int = 16
    batch: int = 16


class PreparingPolicy(InterveningPolicy, Protocol):
    """A policy that also prepares observations and returns robot actions."""

    def prepare(self, observation: Any) -> Prepared:
        """Make an observation ready for the model."""

    def to_robot(
        self, actions: npt.NDArray[np.float32], state: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float32]:
        """Return robot actions (H, robot dims) of a result (H, A)."""


@dataclass
class Progress:
    """Number of finished interventions, and a function that is called with it."""

    report: Callable[[int], None] = lambda _: None
    count: int = field(default=0)

    def add(self, count: int) -> None:
        """Count finished interventions."""
        self.count += count
        self.report(self.count)


@dataclass(frozen=True, eq=False)
class FrameCalls:
    """One frame of a results file, its untouched call, and calls under interventions."""

    policy: PreparingPolicy
    engine: EffectEngine
    frames: ResultsFrames
    stored: StoredFrame
    number: int
    request: EffectsRequest
    baseline: npt.NDArray[np.float32]
    """(H, A) in the model's units."""
    floor: float
    """The noise floor of the whole chunk."""
    pictured: Mask
    """(cameras, rows, cols): patches that show some of a picture."""

    @property
    def dims(self) -> int:
        """Dimensions of the model's actions on which effects are measured: those that move the robot."""
        return self.policy.sizes.robot_dim

    def changes(self, targets: Sequence[Target], intervention: Intervention | None = None) -> npt.NDArray[np.float32]:
        """Return the change of the actions (n, H, dims) without each of the targets."""
        actions = self.actions(targets, intervention)
        change: npt.NDArray[np.float32] = actions[..., : self.dims] - self.baseline[:, : self.dims]
        return change

    def actions(self, targets: Sequence[Target], intervention: Intervention | None = None) -> npt.NDArray[np.float32]:
        """Return the actions (n, H, A) without each of the targets, in the model's units."""
        removed = [target for target in targets if target.prompt is None]
        actions = np.empty((len(targets), *self.baseline.shape), np.float32)
        is_replaced = np.array([target.prompt is not None for target in targets])
        if removed:
            actions[~is_replaced] = self.engine.run_without(removed, intervention or self.request.intervention)
        if is_replaced.any():
            observation, pictures = self.stored.observation, self.engine.prepared.pictures
            prompts = [target.prompt for target in targets if target.prompt is not None]
            prepared = [self.policy.prepare(replace(observation, prompt=prompt)) for prompt in prompts]
            actions[is_replaced] = self.engine.run_others([replace(item, pictures=pictures) for item in prepared])
        return actions
