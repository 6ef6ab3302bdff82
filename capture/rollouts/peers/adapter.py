"""What `RolloutRecorder` needs of a kind of policy, and what a kind of policy needs of it."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import torch
from torch import nn

from capture import __version__
from capture.provenance import Decision
from capture.results import scores_schema
from capture.rollouts.run_description import RolloutRun

if TYPE_CHECKING:
    from capture.policies.base import RecordedCall
    from capture.results.hdf5_storage import Weights
    from capture.rollouts.peers.attribute_overrides import AttributeOverrides
    from capture.rollouts.stream import CallSlot

GENERATOR: Final = f"RolloutRecorder {__version__}"
NOISE_DECISION: Final = Decision(
    "noise", "the policy's own draw", "frames/noise holds it; it comes from no seed that is known", is_certain=True
)
SAMPLES: Final = 16
"""Values of each parameter that go into the fingerprint of a model in memory."""
_log: Final = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordingOptions:
    """The user's options."""

    every: int
    layers: tuple[int, ...] | None
    steps: tuple[int, ...] | None
    full: bool
    store: Weights
    compress: bool
    title: str
    maps_every: int = scores_schema.ALL_MAPS
    """`maps_every` of the files' `schema.Sizes`."""


class CallHost(Protocol):
    """The recorder, as an adapter sees it."""

    @property
    def lock(self) -> AbstractContextManager[Any]:
        """Held during a call of the policy, since its hooks cannot tell the calls of two threads apart."""

    def begin(self, prompts: Sequence[str]) -> list[CallSlot]:
        """Count a call of the policy, with one prompt for each environment of its batch."""

    def end(self, reason: str) -> None:
        """End the episodes of the calling thread."""


class ModelFacts(Protocol):
    """What the files say of a model."""

    @property
    def model(self) -> nn.Module:
        """Its module tree."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers that are recorded."""

    @property
    def layer_count(self) -> int:
        """Number of layers."""

    @property
    def heads(self) -> int:
        """Number of attention heads of a layer."""

    @property
    def dtype(self) -> str:
        """Number type of its weights."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    @property
    def attention(self) -> str:
        """Implementation of attention outside recorded calls."""

    @property
    def has_value_norms(self) -> bool:
        """Whether value norms are recorded."""


class Adapter(Protocol):
    """A kind of policy."""

    def describe(self, options: RecordingOptions) -> RolloutRun:
        """Return what the files have in common. Raises UserError for layers or steps that the policy does not have."""

    def install(self, overrides: AttributeOverrides, host: CallHost) -> Callable[[], None]:
        """Begin to pass the policy's calls to the host; return what ends it, beside `overrides.restore`."""


def end_before_reset(host: CallHost, original: Callable[..., Any]) -> Callable[..., Any]:
    """Return a policy's `reset` that ends the episodes of its thread first."""

    def reset(*arguments: Any, **options: Any) -> Any:
        host.end("the policy was reset")
        return original(*arguments, **options)

    return reset


def store(slot: CallSlot, build: Callable[[], RecordedCall], device: torch.device, seconds: float) -> None:
    """Hand over a recorded call, which `build` makes: on a GPU now, on a CPU in the writer's thread.

    An error of `build` costs the recording and is logged; the user's loop goes on.
    """
    try:
        slot.store(build if device.type != "cuda" else build(), seconds=seconds)
    except Exception:  # noqa: BLE001 - an error of the recording is none of the policy's
        slot.drop()
        _log.exception("a call was not recorded")


def describe_model(
    model: ModelFacts,
    options: RecordingOptions,
    about: Mapping[str, object],
    decisions: Sequence[Decision],
    *,
    is_compiled: bool,
) -> RolloutRun:
    """Return the description of a run of another code base's model.

    `about`: the keys kind, name, horizon, steps, action_dim, tokenizer and time_grid of the attribute `model`, and
    `config`, JSON of what else sets the policy up. `is_compiled`: whether torch.compile is used outside recorded calls.
    """
    steps = tuple(range(int(str(about["steps"])))) if options.steps is None else options.steps
    sizes: dict[str, object] = {"layers": model.layer_count, "heads": model.heads}
    sizes |= {key: about[key] for key in ("horizon", "steps", "action_dim")}
    serialised = json.dumps([sizes, about["config"]], sort_keys=True, default=str)
    config_hash = hashlib.sha256(serialised.encode()).hexdigest()
    device = model.device.type
    described = {**sizes, "dtype": model.dtype, "device": device, "config_hash": config_hash}
    described |= {key: about[key] for key in ("kind", "name", "tokenizer", "time_grid")}
    settings = {
        "device": device,
        "dtype": model.dtype,
        "layers": list(model.layers),
        "steps": list(steps),
        "denoise_steps": about["steps"],
        "horizon": about["horizon"],
        "time_grid": about["time_grid"],
        "full": options.full,
        "store": options.store,
        "compress": options.compress,
        "config": config_hash,
        "weights": fingerprint(model.model),
        "tokenizer": about["tokenizer"],
        "input": {decision.subject: decision.choice for decision in decisions},
    }
    if options.maps_every != scores_schema.ALL_MAPS:
        settings["keep"] = scores_schema.format_keep(options.maps_every)
    every = (*decisions, *decide_recording(model, options, is_compiled=is_compiled))
    return RolloutRun(
        described, settings, every, options.title, options.every, options.store, options.compress, options.maps_every,
        generator=GENERATOR,
    )  # fmt: skip


def decide_recording(model: ModelFacts, options: RecordingOptions, *, is_compiled: bool) -> list[Decision]:
    """Return the decisions about how calls are recorded."""
    decisions = [decide_interval(options.every), NOISE_DECISION]
    if model.attention != "eager":
        reason = f"the policy's own, {model.attention}, gives no weights; the two differ by rounding"
        decisions.append(Decision("attention of recorded calls", "eager", reason, is_certain=True))
    if is_compiled:
        reason = "a compiled graph calls no hooks; actions may differ from those of compiled calls by rounding"
        decisions.append(Decision("torch.compile", "bypassed in recorded calls", reason, is_certain=True))
    if not model.has_value_norms:
        reason = "the output projections are no plain linear layers"
        decisions.append(Decision("value norms", "left out", reason, is_certain=True))
    return decisions


def decide_interval(every: int) -> Decision:
    """Return which calls are recorded."""
    choice = "each" if every == 1 else f"each whose number is a multiple of {every}"
    return Decision("recorded calls", choice, f"by every={every}", is_certain=True)


def fingerprint(model: nn.Module) -> str:
    """Return the SHA-256 (hex) of names, shapes and samples of a model's parameters, which training changes."""
    digest = hashlib.sha256()
    samples = []
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            digest.update(f"{name}\0{tuple(parameter.shape)}\0".encode())
            flat = parameter.detach().reshape(-1)
            samples.append(flat[:: max(1, flat.numel() // SAMPLES)][:SAMPLES].float())
        digest.update(torch.cat([sample.cpu() for sample in samples]).numpy().tobytes() if samples else b"")
    return digest.hexdigest()
