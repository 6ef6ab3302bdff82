"""A policy served to clients, with the recording of its calls: what `pi0-capture serve` runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from capture import __version__
from capture.datasets.base import SourceOptions
from capture.pipeline.cuda_graphs import cuda_graph_factory
from capture.rollouts.run_description import RolloutRun
from capture.serve.aloha_units import RESET_POSE, explain_units, uses_own_units
from capture.serve.client_session import ClientSession, EpisodeNumbers
from capture.serve.observations import ObservationMapper
from capture.serve.policy_runner import PolicyRunner
from capture.serve.requests import KEY
from capture.serve.server import PolicyServer

if TYPE_CHECKING:
    from pathlib import Path

    from capture.pipeline.planning.setup import Setup
    from capture.policies.base import Policy
    from capture.provenance import Decision
    from capture.rollouts.writer import RolloutCounts, RolloutWriter


@dataclass(frozen=True)
class ServeOptions:
    """How clients are served."""

    source: SourceOptions
    """What the policy needs of an observation, with the user's choice of cameras and state."""
    host: str = "127.0.0.1"
    port: int = 8000
    """0 takes a free one."""
    key: str | None = None
    """API key that clients have to send; None lets in every client that reaches the address."""
    prompt: str | None = None
    """Task of observations that bring none."""
    seed: int = 0
    episode_seconds: float = 10.0
    """Silence of a client that ends its episode."""
    on_request: bool = False
    """Record only the calls that a client asks for."""


class Reports(Protocol):
    """Where lines for the user go."""

    def log(self, sentence: str) -> None:
        """Print a line."""

    def decided(self, decision: Decision) -> None:
        """Print a decision about the input, once."""


def describe_run(setup: Setup, every: int) -> RolloutRun:
    """Return what the results files of a served policy share. Raises UserError as `RolloutRun.from_setup`."""
    run = RolloutRun.from_setup(setup, title=setup.policy.name, every=every)
    return replace(run, decisions=explain_units(run.decisions))


class PolicyService:
    """Serves a loaded policy and records its calls with `writer`; None records nothing. Runs the policy once."""

    def __init__(
        self, setup: Setup, policy: Policy, writer: RolloutWriter | None, options: ServeOptions, reports: Reports
    ) -> None:
        self._setup, self._writer, self._options, self._reports = setup, writer, options, reports
        graph = cuda_graph_factory(setup.options.device) if setup.options.replayed else None
        self._runner = PolicyRunner(setup, policy, graph=graph, log=reports.log)
        self._runner.warm_up()
        self._needs_state = self._runner.needs_state
        self._numbers = EpisodeNumbers()
        self._server = PolicyServer(
            self._open_session,
            self.metadata,
            key=options.key,
            episode_seconds=options.episode_seconds,
            log=reports.log,
        )

    @property
    def name(self) -> str:
        """Name of the policy."""
        return self._setup.policy.name

    @property
    def folder(self) -> Path | None:
        """Where its calls are recorded."""
        return None if self._writer is None else self._writer.folder

    @property
    def metadata(self) -> dict[str, Any]:
        """Metadata that a client gets when it connects."""
        sizes = self._setup.policy.sizes
        about = {
            "version": __version__,
            "policy": self.name,
            "cameras": list(sizes.cameras),
            "horizon": sizes.horizon,
            "robot_dim": sizes.robot_dim,
            "denoise_steps": sizes.denoise_steps,
        }
        # openpi's program for the robot asks the server for the pose in which its episodes begin.
        pose = {"reset_pose": list(RESET_POSE)} if uses_own_units(self._setup.policy.decisions) else {}
        return {**pose, KEY: about}

    @property
    def calls(self) -> int:
        """Number of calls that were answered."""
        return self._server.counts.calls

    @property
    def recorded(self) -> RolloutCounts | None:
        """What was recorded so far; None where nothing is to be."""
        return None if self._writer is None else self._writer.counts

    @property
    def progress(self) -> str:
        """One line about the state of the server."""
        counts, recorded = self._server.counts, self.recorded
        rate, mean = counts.rate()
        parts = [f"{counts.clients} client{'s' * (counts.clients != 1)}", f"{counts.calls} calls"]
        if rate:
            parts.append(f"{rate:.1f} a second, {mean * 1000:.0f} ms each")
        if recorded is not None:
            parts.append(f"{recorded.recorded} recorded in {recorded.episodes} episodes, {recorded.dropped} dropped")
        return "; ".join(parts)

    async def serve(self, started: Callable[[str], None]) -> None:
        """Serve until `stop`; `started` is called with the address. Raises UserError where it cannot listen."""
        shown = f"[{self._options.host}]" if ":" in self._options.host else self._options.host
        await self._server.serve(self._options.host, self._options.port, lambda port: started(f"ws://{shown}:{port}"))

    def stop(self) -> None:
        """End `serve` once the calls that run are answered; for the thread that runs it."""
        self._server.stop()

    def _open_session(self, name: str) -> ClientSession:
        options = self._options
        mapper = ObservationMapper(options.source, needs_state=self._needs_state, prompt=options.prompt)
        return ClientSession(
            name,
            self._runner,
            mapper,
            self._writer,
            seed=options.seed,
            on_request=options.on_request,
            numbers=self._numbers,
            decided=self._report_decisions,
        )

    def _report_decisions(self, decisions: tuple[Decision, ...]) -> None:
        for decision in decisions:
            self._reports.decided(decision)
