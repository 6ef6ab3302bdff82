"""Calls of the policy for a server: prepared in any thread, run in one, with or without a recording."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.pipeline.cuda_graphs import GraphReplayer
from capture.pipeline.performance import current_device, explain_out_of_memory
from capture.policies.base import Prepared
from capture.results import schema
from capture.rollouts.transfer import ComputedCall, StorableCall
from capture.serve.aloha_units import actions_to_robot, state_to_policy, uses_own_units

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.observation import Observation
    from capture.pipeline.cuda_graphs import Graph
    from capture.pipeline.planning.setup import Setup
    from capture.policies.base import Policy, RecordedCall
    from capture.rollouts.stream import CallSlot


@dataclass(frozen=True)
class CallResult:
    """The actions of one call."""

    actions: npt.NDArray[np.float32]
    """(H, robot dims) in robot units."""
    seconds: float
    """How long the model took, until its actions were on the host."""
    recorded: StorableCall | None
    """What was recorded; None for a call that was not to be."""


class PolicyRunner:
    """A loaded policy that answers one observation at a time. `run` and `store` are for one thread, `prepare` for any.

    On a GPU, calls are replayed as CUDA graphs, of which `graph` makes an empty one; None: launched from Python.
    `log`: called with the reason where graphs cannot be used.
    """

    def __init__(
        self,
        setup: Setup,
        policy: Policy,
        *,
        graph: Callable[[], Graph] | None = None,
        log: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._setup, self._spec, self._policy = setup, setup.policy, policy
        self._is_aloha = uses_own_units(setup.policy.decisions)
        self._is_relative = self._is_aloha and not self._adds_state
        self._recorder: Any = policy.recorder(layers=setup.layers, steps=setup.steps)
        options = setup.options
        self._replayer: GraphReplayer | None = None
        # With maps in any case: regions are scored from them after the answer, as masks would change a graph's shapes.
        if graph is not None:
            self._replayer = GraphReplayer(
                policy, self._recorder, full=options.full, keep=replace(options.kept, maps=True), graph=graph, log=log
            )

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
        robot_actions = self._policy.to_robot(actions, state_to_policy(state))
        return actions_to_robot(robot_actions, state, is_relative=self._is_relative)

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
        for is_recorded in (False, True, True):  # a graph is made of the second call of a shape and used from the third
            self.run(prepared, 0, is_recorded=is_recorded)

    def run(self, prepared: Prepared, seed: int, *, is_recorded: bool) -> CallResult:
        """Run one call. Raises UserError where the device has no memory for it, or its actions are not finite."""
        start = time.perf_counter()
        recorded: StorableCall | None = None
        with current_device(self._policy.device), explain_out_of_memory(1):
            if self._replayer is not None:
                actions, recorded = self._replay(self._replayer, prepared, seed)
            elif is_recorded:
                actions, recorded = self._record(prepared, seed)
            else:
                chunk = self._policy.plain([prepared], seeds=[seed]).actions[0].cpu().numpy()
                actions = self._to_robot(chunk, prepared.observation.state)
        seconds = time.perf_counter() - start
        if not np.isfinite(actions).all():
            raise UserError("the policy's actions are not finite numbers, which no robot should carry out")
        return CallResult(actions, seconds, recorded if is_recorded else None)

    def _record(self, prepared: Prepared, seed: int) -> tuple[npt.NDArray[np.float32], RecordedCall]:
        with self._recorder:
            call = self._policy.run([prepared], self._recorder, seeds=[seed], full=self._setup.options.full)
        call = replace(call, to_robot=self._to_robot)
        return call.actions[0], call

    def _replay(
        self, replayer: GraphReplayer, prepared: Prepared, seed: int
    ) -> tuple[npt.NDArray[np.float32], ComputedCall]:
        """Run a call that is recorded in any case: as a graph, that costs less than to launch it from Python."""
        request, datasets = replayer.run([prepared], seeds=[seed])
        chunk = datasets[schema.ACTION_X][0, -1].cpu().numpy()  # (H, A)
        axes = self._setup.layers, self._setup.steps
        call = ComputedCall(request.prepared, request.seeds, self._to_robot, *axes, datasets)
        return self._to_robot(chunk, prepared.observation.state), call

    def store(self, slot: CallSlot, call: StorableCall, seconds: float) -> None:
        """Hand over a recording; for the thread that runs the policy, whose stream of the GPU it is."""
        with current_device(self._policy.device):
            slot.store(call, seconds=seconds)
