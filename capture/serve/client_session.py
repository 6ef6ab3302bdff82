"""What one client of the policy server asks, and the episodes of its calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from capture.errors import UserError
from capture.provenance import Decision
from capture.serve.observations import ObservationMapper
from capture.serve.requests import KEY, RequestOptions, parse_request_options
from capture.serve.wire_format import unpack

if TYPE_CHECKING:
    from capture.policies.base import Prepared
    from capture.rollouts.call_masks import CallMasks
    from capture.rollouts.stream import CallSlot, EpisodeStream
    from capture.rollouts.transfer import StorableCall
    from capture.rollouts.writer import RolloutWriter
    from capture.serve.policy_runner import PolicyRunner

SEEDS_OF_AN_EPISODE: Final = 1_000_000
"""Distance between the seeds of two episodes, so that their calls have different noise."""
NEW_EPISODE: Final = "the client began another episode"


@dataclass(frozen=True)
class Request:
    """One message of a client, checked and made ready for the model."""

    request_options: RequestOptions
    prepared: Prepared | None
    """None for a message that only ends an episode."""
    masks: CallMasks | None = None
    """Of objects in its pictures."""


@dataclass
class CallRecord:
    """A recorded call whose answer is to be sent first."""

    runner: PolicyRunner
    slot: CallSlot
    recorded: StorableCall
    seconds: float

    def store(self) -> None:
        """Hand the recording over to be written, in the policy's thread. Does not wait for the disk."""
        self.runner.store(self.slot, self.recorded, self.seconds)


class EpisodeNumbers:
    """Numbers the episodes of all clients in the order of their first calls. Thread-safe."""

    def __init__(self) -> None:
        self._count = 0
        self._lock = threading.Lock()

    def take(self) -> int:
        """Return the next number, from 0."""
        with self._lock:
            number, self._count = self._count, self._count + 1
            return number


class ClientSession:
    """The calls of one client. `read` may run in any thread, `call` in the policy's; one message at a time.

    `mapper`: of this client's observations. `writer`: of the recordings; None records nothing. `on_request`: record
    only the calls that the client asks for. `numbers`: of the episodes of all clients. `decided`: called with the
    decisions about the client's observations.
    """

    def __init__(
        self,
        name: str,
        runner: PolicyRunner,
        mapper: ObservationMapper,
        writer: RolloutWriter | None,
        *,
        seed: int,
        on_request: bool,
        numbers: EpisodeNumbers,
        decided: Callable[[tuple[Decision, ...]], None],
    ) -> None:
        self.name = name
        self._runner, self._mapper = runner, mapper
        self._writer = writer
        self._stream: EpisodeStream | None = None if writer is None else writer.open_stream(name)
        self._seed, self._on_request, self._numbers, self._decided = seed, on_request, numbers, decided
        self._decisions: tuple[Decision, ...] = ()
        self._prompt: str | None = None
        """Of the episode that runs; None between two."""
        self._number = 0
        self._calls = 0

    @property
    def is_in_episode(self) -> bool:
        """Whether an episode runs."""
        return self._prompt is not None

    def read(self, message: bytes) -> Request:
        """Return the request of a message. Raises UserError for one that cannot be carried out."""
        value = unpack(message)
        if not isinstance(value, Mapping):
            raise UserError("the message is no map of an observation")
        request_options, observation = parse_request_options(value)
        if request_options.ends_episode:
            return Request(request_options, None)
        mapped, decisions = self._mapper.map(observation)
        prepared = self._runner.prepare(mapped)
        if warning := prepared.tokens.warning:
            decisions = (*decisions, Decision("length of the prompt", "cut", warning, is_certain=False))
        if decisions != self._decisions:
            self._decisions = decisions
            self._decided(decisions)
            if self._stream is not None:
                self._stream.decisions = decisions
        masks = None if request_options.masks is None else self._mapper.find_masks(request_options.masks, mapped)
        return Request(request_options, prepared, masks)

    def call(self, request: Request) -> tuple[dict[str, Any], CallRecord | None]:
        """Run the policy; return what is to be answered and, where the call was recorded, what is to be stored then.

        Raises UserError where the policy cannot be run.
        """
        if request.prepared is None:
            ended = self._calls
            self.end_episode("ended by the client", success=request.request_options.success)
            return {KEY: {"calls": ended}}, None
        request_options, prompt = request.request_options, request.prepared.observation.prompt
        if request_options.new_episode:
            self.end_episode(NEW_EPISODE)
        elif prompt != self._prompt:
            self.end_episode("the prompt changed")
        if self._prompt is None:
            self._prompt, self._calls, self._number = prompt, 0, self._numbers.take()
        index, self._calls = self._calls, self._calls + 1
        seed = request_options.seed
        if seed is None:
            seed = self._seed + self._number * SEEDS_OF_AN_EPISODE + index
        slot = None
        if self._stream is not None:
            record = bool(request_options.record) if self._on_request else request_options.record
            slot = self._stream.start_call(prompt, record=record)
            slot.masks = request.masks
        is_recorded = slot is not None and slot.is_recorded
        start = time.perf_counter()
        try:
            result = self._runner.run(request.prepared, seed, is_recorded=is_recorded)
        except BaseException:
            if slot is not None and is_recorded:
                slot.drop()
            raise
        answer = {
            "actions": result.actions,
            "policy_timing": {"infer_ms": result.seconds * 1000},
            KEY: {"call": index, "recorded": is_recorded, "seed": seed},
        }
        if slot is None or result.recorded is None:
            return answer, None
        return answer, CallRecord(self._runner, slot, result.recorded, time.perf_counter() - start)

    def end_episode(self, reason: str, *, success: bool | None = None) -> None:
        """End the episode that runs, if any."""
        if self._prompt is None:
            return
        self._prompt = None
        if self._stream is not None:
            self._stream.end_episode(success=success, reason=reason)

    def close(self, reason: str) -> None:
        """End the episode that runs, and record no more of this client."""
        self.end_episode(reason)
        if self._stream is not None:
            self._stream.close(reason)
