"""What is measured on a frame, and the calls of the policy on one frame that measurements share."""

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

    how: Intervention
    regions: tuple[Target, ...] = ()
    words: tuple[str, ...] = ()
    replacements: tuple[tuple[str, str], ...] = ()
    """Words of the prompt, and what is put in their place."""
    heads: tuple[str, ...] = ()
    """Stacks whose heads are silenced, one at a time: `actions` (the action expert), `words` (the language model)."""
    map_block: int | None = None
    """Side of the blocks of patches of an effect map; None for no map."""
    masks: int | None = None
    """Number of random masks from which the map is regressed; None takes away one block at a time."""
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
    """Number of interventions that were run, and a function that is called with it."""

    tell: Callable[[int], None] = lambda _: None
    done: int = field(default=0)

    def add(self, count: int) -> None:
        """Count finished interventions."""
        self.done += count
        self.tell(self.done)


@dataclass(frozen=True, eq=False)
class FrameCalls:
    """One frame of a results file, its untouched call, and calls with something taken away."""

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

    def changes(self, targets: Sequence[Target], how: Intervention | None = None) -> npt.NDArray[np.float32]:
        """Return the change of the actions (n, H, dims) without each of the targets."""
        changed: npt.NDArray[np.float32] = self.actions(targets, how)[..., : self.dims] - self.baseline[:, : self.dims]
        return changed

    def actions(self, targets: Sequence[Target], how: Intervention | None = None) -> npt.NDArray[np.float32]:
        """Return the actions (n, H, A) without each of the targets, in the model's units."""
        taken = [target for target in targets if target.prompt is None]
        found = np.empty((len(targets), *self.baseline.shape), np.float32)
        replaced = np.array([target.prompt is not None for target in targets])
        if taken:
            found[~replaced] = self.engine.take_away(taken, how or self.request.how)
        if replaced.any():
            observation, pictures = self.stored.observation, self.engine.prepared.pictures
            prompts = [target.prompt for target in targets if target.prompt is not None]
            prepared = [self.policy.prepare(replace(observation, prompt=prompt)) for prompt in prompts]
            found[replaced] = self.engine.run_others([replace(item, pictures=pictures) for item in prepared])
        return found
