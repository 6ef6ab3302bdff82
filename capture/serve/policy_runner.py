"""Calls of the policy for a server: prepared in any thread, run in one, with or without a recording."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.pipeline.performance import current_device, explain_out_of_memory
from capture.policies.base import Prepared
from capture.serve.aloha_units import actions_to_robot, state_to_policy, uses_own_units

if TYPE_CHECKING:
    from capture.observation import Observation
    from capture.pipeline.plan import Setup
    from capture.policies.base import Policy, RecordedCall


@dataclass(frozen=True)
class CallResult:
    """The actions of one call."""

    actions: npt.NDArray[np.float32]
    """(H, robot dims) in robot units."""
    seconds: float
    """How long the model took, until its actions were on the host."""
    recorded: RecordedCall | None
    """What was recorded; None for a call that was not to be."""


class PolicyRunner:
    """A loaded policy that answers one observation at a time. `run` is for one thread, `prepare` for any."""

    def __init__(self, setup: Setup, policy: Policy) -> None:
        self._setup, self._spec, self._policy = setup, setup.policy, policy
        self._is_aloha = uses_own_units(setup.policy.decisions)
        self._is_relative = self._is_aloha and not self._adds_state
        self._recorder: Any = policy.recorder(layers=setup.layers, steps=setup.steps)

    @property
    def needs_state(self) -> bool:
        """Whether the policy cannot act without the robot's state."""
        try:
            self._spec.tokenise("task", None)
        except UserError:
            return True
        return self._is_aloha or self._adds_state

    @property
    def _adds_state(self) -> bool:
        """Whether the policy itself adds the state to its actions."""
        sizes = self._policy.sizes
        try:
            self._policy.to_robot(np.zeros((sizes.horizon, sizes.action_dim), np.float32), None)
        except UserError:
            return True
        return False

    def _to_robot(
        self, actions: npt.NDArray[np.float32], state: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float32]:
        """Return actions in the robot's units; `state` in the robot's units."""
        if not self._is_aloha or state is None:
            return self._policy.to_robot(actions, state)
        own = self._policy.to_robot(actions, state_to_policy(state))
        return actions_to_robot(own, state, is_relative=self._is_relative)

    def prepare(self, observation: Observation) -> Prepared:
        """Return an observation as the model takes it. Raises UserError for one that does not fit the policy."""
        state = observation.state
        if self._is_aloha and state is not None:
            state = state_to_policy(state)
        tokens = self._spec.tokenise(observation.prompt, state)
        pictures = self._spec.prepare_pictures(observation)
        return Prepared(replace(observation, state=self._spec.robot_state(observation.state)), pictures, tokens)

    def warm_up(self) -> None:
        """Run one call on black pictures, so that the first client does not wait for what happens only once."""
        from capture.observation import Observation

        sizes = self._policy.sizes
        lengths = self._spec.source_options.state_dim
        state = None if lengths is None else np.zeros(lengths)
        black = {camera: np.zeros((*sizes.picture, 3), np.uint8) for camera in sizes.cameras}
        try:
            prepared = self.prepare(Observation(black, "task", state))
        except UserError:  # such as a state whose length nothing tells
            return
        for is_recorded in (False, True):
            self.run(prepared, 0, is_recorded=is_recorded)

    def run(self, prepared: Prepared, seed: int, *, is_recorded: bool) -> CallResult:
        """Run one call. Raises UserError where the device has no memory for it, or its actions are not finite."""
        start = time.perf_counter()
        recorded = None
        with current_device(self._policy.device), explain_out_of_memory(1):
            if is_recorded:
                with self._recorder:
                    recorded = self._policy.run([prepared], self._recorder, seeds=[seed], full=self._setup.options.full)
                recorded = replace(recorded, to_robot=self._to_robot)
                [actions] = recorded.actions
            else:
                chunk = self._policy.plain([prepared], seeds=[seed]).actions[0].cpu().numpy()
                actions = self._to_robot(chunk, prepared.observation.state)
        seconds = time.perf_counter() - start
        if not np.isfinite(actions).all():
            raise UserError("the policy's actions are not finite numbers, which no robot should carry out")
        return CallResult(actions, seconds, recorded)
