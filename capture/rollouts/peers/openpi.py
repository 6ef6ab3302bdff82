"""openpi's `Policy` with a PyTorch model: what its transforms make of an observation, and its calls of the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from torch import nn

from capture.errors import UserError
from capture.observation import Observation
from capture.policies.base import Prepared, RecordedCall
from capture.provenance import Decision
from capture.rollouts.peers.adapter import CallHost, RecordingOptions, describe_model, end_before_reset, store
from capture.rollouts.peers.attribute_overrides import AttributeOverrides
from capture.rollouts.peers.model_call import FedCall, ModelRecorder
from capture.rollouts.peers.pictures import Pixels8, describe_picture, name_cameras, read_source
from capture.rollouts.peers.token_tables import describe_tokens, wrap_tokenizer
from capture.rollouts.run_description import RolloutRun
from capture.rollouts.stream import CallSlot

SLOTS: Final = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
"""Keys of the pictures in openpi's model input, in the model's order."""
DENOISE_STEPS: Final = 10
"""openpi's default."""


@dataclass
class _ObservedCall:
    """What the transforms of one call were observed to hold."""

    prompt: str = ""
    state: npt.NDArray[np.float64] | None = None
    """In robot units, before normalisation."""
    prompt_state: npt.NDArray[np.float64] | None = None
    """In [-1, 1], as the prompt spells it; None where it does not."""
    pictures: dict[str, Any] = field(default_factory=dict)
    """Slot -> the camera's picture before it is resized."""
    slot: CallSlot | None = None
    fed: FedCall | None = None
    sources: dict[str, Pixels8] = field(default_factory=dict)
    """Copies of `pictures`, for a call that is recorded."""


class OpenpiAdapter:
    """An openpi `Policy`. Raises UserError for one that runs in JAX, or whose model is of another kind."""

    def __init__(self, policy: Any, layers: Any, steps: Any, *, full: bool) -> None:
        if not isinstance(policy._model, nn.Module):
            raise UserError(
                "this openpi policy runs in JAX, where attention cannot be recorded; convert its checkpoint with "
                "openpi's convert_jax_model_to_pytorch.py, or record it with pi0-capture"
            )
        self._policy = policy
        self._model = ModelRecorder(policy._model, layers, steps, full=full)
        self._transforms = tuple(getattr(policy._input_transform, "transforms", (policy._input_transform,)))
        tokenizer = next(
            (transform.tokenizer for transform in self._transforms if hasattr(transform, "tokenizer")), None
        )
        self._tokenizer = wrap_tokenizer(tokenizer)
        self._names = dict(zip(SLOTS, name_cameras(SLOTS), strict=True))
        self._calls = threading.local()

    def describe(self, options: RecordingOptions) -> RolloutRun:
        """Return what the files have in common."""
        model, policy = self._model.model, self._policy
        config: Any = model.config
        about = {
            "kind": "openpi",
            "name": str(policy._metadata.get("name") or "openpi policy"),
            "horizon": int(config.action_horizon),
            "steps": int(policy._sample_kwargs.get("num_steps", DENOISE_STEPS)),
            "action_dim": int(config.action_dim),
            "tokenizer": "the policy's tokenizer",
            "time_grid": "openpi",
            "config": [repr(transform)[:1000] for transform in (*self._transforms, policy._output_transform)],
        }
        decisions = [
            Decision(f"{name} camera", slot, "the slot of openpi's model input", is_certain=True)
            for slot, name in self._names.items()
        ]
        decisions.append(
            Decision("state", "as the policy's transforms give it", "before they normalise it", is_certain=True)
        )
        if self._tokenizer is None:
            decisions.append(
                Decision("tokenizer", "unknown", "the tokens are stored by their numbers", is_certain=False)
            )
        is_compiled = "sample_actions" in vars(model)
        return describe_model(self._model, options, about, decisions, is_compiled=is_compiled)

    def install(self, overrides: AttributeOverrides, host: CallHost) -> Callable[[], None]:
        """Begin to pass the policy's calls to the host."""

        def infer(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(obs: Any, *arguments: Any, **options: Any) -> Any:
                with host.lock:
                    observed = self._calls.observed = _ObservedCall()
                    started = time.perf_counter()
                    try:
                        result = original(obs, *arguments, **options)
                    except BaseException:
                        if observed.slot is not None and observed.slot.is_recorded:
                            observed.slot.drop()
                        raise
                    finally:
                        self._calls.observed = None
                    if observed.fed is not None and observed.slot is not None:
                        actions = np.array(result["actions"], np.float32)  # (H, robot dims), copied
                        build = partial(self._build, observed, observed.fed, actions)
                        store(observed.slot, build, observed.fed.device, time.perf_counter() - started)
                    return result

            return call

        def sample_actions(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                observed: _ObservedCall | None = getattr(self._calls, "observed", None)
                if observed is None:
                    return original(*arguments, **options)
                [observed.slot] = host.begin([observed.prompt])
                if not observed.slot.is_recorded:
                    return original(*arguments, **options)
                observed.sources = {slot: read_source(picture) for slot, picture in observed.pictures.items()}
                with self._model.record() as fed:
                    actions = original(*arguments, **options)
                    fed.actions = actions.detach().clone()
                observed.fed = fed
                return actions

            return call

        overrides.set(self._policy, "infer", infer)
        overrides.set(self._policy, "_input_transform", lambda original: partial(self._transform, original))
        overrides.set(self._policy, "_sample_actions", sample_actions)
        if hasattr(self._policy, "reset"):
            overrides.set(self._policy, "reset", partial(end_before_reset, host))
        return lambda: None

    def _transform(self, original: Callable[..., Any], data: Any) -> Any:
        """Apply the transforms as openpi does, one after the other, and look at the data between them."""
        observed: _ObservedCall | None = getattr(self._calls, "observed", None)
        if observed is None:
            return original(data)
        self._look(observed, data)
        for transform in self._transforms:
            if hasattr(transform, "tokenizer"):
                self._look_at_prompt(observed, data, has_state=bool(getattr(transform, "discrete_state_input", False)))
            data = transform(data)
            self._look(observed, data)
        return data

    def _look(self, observed: _ObservedCall, data: Any) -> None:
        """Keep the pictures and the state of the first stage that has the model's slots, and the first prompt."""
        if not isinstance(data, Mapping):
            return
        pictures = data.get("image")
        if not observed.pictures and isinstance(pictures, Mapping) and any(slot in pictures for slot in SLOTS):
            observed.pictures = {slot: pictures[slot] for slot in SLOTS if slot in pictures}
            if data.get("state") is not None:
                observed.state = np.array(data["state"], np.float64)
        if not observed.prompt and data.get("prompt") is not None:
            observed.prompt = _read_text(data["prompt"])

    def _look_at_prompt(self, observed: _ObservedCall, data: Any, *, has_state: bool) -> None:
        if isinstance(data, Mapping) and data.get("prompt") is not None:
            observed.prompt = _read_text(data["prompt"])
            observed.prompt_state = np.array(data["state"], np.float64) if has_state else None

    def _build(self, observed: _ObservedCall, fed: FedCall, actions: npt.NDArray[np.float32]) -> RecordedCall:
        shown = fed.shown(0)
        grid = self._model.count_grid(fed)
        pictures, sources = {}, {}
        for slot in shown:
            name = self._names[SLOTS[slot]]
            pixels = fed.images[slot][0]
            sources[name] = observed.sources.get(SLOTS[slot], read_source((pixels + 1) / 2))
            pictures[name] = describe_picture(pixels, sources[name], grid)
        ids = fed.tokens[0][fed.token_masks[0].bool()].cpu().numpy()
        tokens = describe_tokens(ids, observed.prompt, observed.prompt_state, self._tokenizer)
        observation = Observation(sources, observed.prompt, observed.state)
        return self._model.build_call(fed, 0, Prepared(observation, pictures, tokens), actions)


def _read_text(value: Any) -> str:
    return value if isinstance(value, str) else str(np.asarray(value).item())
