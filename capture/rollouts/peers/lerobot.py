"""lerobot's `PI05Policy` with its processors: what they make of an observation, and its calls of the model."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.errors import UserError
from capture.observation import Observation
from capture.policies.base import Prepared, RecordedCall
from capture.provenance import Decision
from capture.rollouts.peers.adapter import CallHost, RecordingOptions, describe_model, end_before_reset, store
from capture.rollouts.peers.attribute_overrides import AttributeOverrides
from capture.rollouts.peers.model_call import FedCall, ModelRecorder
from capture.rollouts.peers.pictures import Pixels8, describe_picture, name_cameras, read_source
from capture.rollouts.peers.token_tables import describe_tokens, read_written_prompt, wrap_tokenizer
from capture.rollouts.run_description import RolloutRun

TOKENS: Final = "observation.language.tokens"
STATE: Final = "observation.state"
NORMALISER: Final = "NormalizerProcessorStep"
"""The step before which the state is in robot units; `norm_map` marks it in subclasses."""


@dataclass
class _ObservedCall:
    """What the preprocessor made of the last observation of a thread."""

    state: Any = None
    """(B, state dims) in robot units."""
    tasks: Any = None
    tokens: Any = None
    """The tensor of token ids that it made, to recognise the batch."""


@dataclass
class _Inputs:
    """What one call was given, copied."""

    prompts: list[str]
    """The tasks, one an environment."""
    prompt_states: list[npt.NDArray[np.float64] | None]
    """In [-1, 1], as the prompts spell them."""
    states: npt.NDArray[np.float64] | None
    """(B, state dims) in robot units."""
    sources: dict[str, list[Pixels8]] = field(default_factory=dict)
    """Feature -> the camera's pictures."""


class LerobotAdapter:
    """A lerobot `PI05Policy`. Raises UserError for a policy whose model is of another kind."""

    def __init__(
        self, policy: Any, layers: Any, steps: Any, preprocessor: Any, postprocessor: Any, *, full: bool
    ) -> None:
        self._policy, self._preprocessor, self._postprocessor = policy, preprocessor, postprocessor
        for name, processor in (("preprocessor", preprocessor), ("postprocessor", postprocessor)):
            if processor is not None and not (hasattr(processor, "steps") and callable(processor)):
                raise UserError(
                    f"{name}={type(processor).__name__}: give the pipeline that lerobot's make_pre_post_processors made"
                )
        self._model = ModelRecorder(policy.model, layers, steps, full=full)
        self._features = tuple(policy.config.image_features)
        self._names = dict(zip(self._features, name_cameras(self._features), strict=True))
        self._tokenizer = wrap_tokenizer(self._find_step("input_tokenizer"))
        self._calls = threading.local()

    def _find_step(self, attribute: str) -> Any:
        steps = () if self._preprocessor is None else self._preprocessor.steps
        return next((getattr(step, attribute) for step in steps if hasattr(step, attribute)), None)

    def describe(self, options: RecordingOptions) -> RolloutRun:
        """Return what the files have in common."""
        config = self._policy.config
        about = {
            "kind": "lerobot",
            "name": str(getattr(config, "pretrained_path", None) or getattr(config, "type", "pi05")),
            "horizon": int(config.chunk_size),
            "steps": int(config.num_inference_steps),
            "action_dim": int(config.max_action_dim),
            "tokenizer": "unknown" if self._tokenizer is None else self._tokenizer.name,
            "time_grid": "lerobot",
            "config": [repr(config)[:10_000]],
        }
        decisions = [
            Decision(f"{name} camera", feature, "an input of the policy", is_certain=True)
            for feature, name in self._names.items()
        ]
        if self._preprocessor is None:
            reason = "preprocessor=… gives it in robot units"
            decisions.append(Decision("state", "left out", reason, is_certain=False))
        if self._tokenizer is None:
            reason = "the tokens are stored by their numbers; preprocessor=… gives the tokenizer"
            decisions.append(Decision("tokenizer", "unknown", reason, is_certain=False))
        if self._postprocessor is None:
            reason = "postprocessor=… gives robot units"
            decisions.append(Decision("actions", "in the model's units", reason, is_certain=False))
        return describe_model(
            self._model, options, about, decisions, is_compiled="sample_actions" in vars(self._policy.model)
        )

    def install(self, overrides: AttributeOverrides, host: CallHost) -> Callable[[], None]:
        """Begin to pass the policy's calls to the host."""

        def predict(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(batch: Mapping[str, Any], *arguments: Any, **options: Any) -> Any:
                with host.lock:
                    return self._predict(partial(original, batch, *arguments, **options), batch, host)

            return call

        overrides.set(self._policy, "predict_action_chunk", predict)
        overrides.set(self._policy, "reset", partial(end_before_reset, host))
        if self._preprocessor is None:
            return lambda: None
        before_hook, after_hook = self._look_before, self._look_after  # one object each, so that they can be removed
        self._preprocessor.before_step_hooks.append(before_hook)
        self._preprocessor.after_step_hooks.append(after_hook)

        def remove() -> None:
            self._preprocessor.before_step_hooks.remove(before_hook)
            self._preprocessor.after_step_hooks.remove(after_hook)

        return remove

    def _look_before(self, number: int, transition: Mapping[Any, Any]) -> None:
        """Keep the state and the task before they are normalised and written into the prompt."""
        step = self._preprocessor.steps[number]
        if number == 0:
            self._calls.observed = _ObservedCall()
        observed: _ObservedCall = self._calls.observed
        if type(step).__name__ == NORMALISER or hasattr(step, "norm_map"):
            observed.state = (transition.get("observation") or {}).get(STATE)
            observed.tasks = (transition.get("complementary_data") or {}).get("task")

    def _look_after(self, number: int, transition: Mapping[Any, Any]) -> None:
        if number == len(self._preprocessor.steps) - 1:
            self._calls.observed.tokens = (transition.get("observation") or {}).get(TOKENS)

    def _predict(self, run: Callable[[], Any], batch: Mapping[str, Any], host: CallHost) -> Any:
        started = time.perf_counter()
        inputs = self._read_inputs(batch)
        slots = host.begin(inputs.prompts)
        if not any(slot.is_recorded for slot in slots):
            return run()
        for feature in self._features:
            if feature in batch:
                inputs.sources[feature] = [
                    read_source(batch[feature][row]) if slot.is_recorded else np.zeros((0, 0, 3), np.uint8)
                    for row, slot in enumerate(slots)
                ]
        try:
            with self._model.record() as fed:
                chunk = run()  # (B, H, robot dims)
        except BaseException:
            for slot in slots:
                if slot.is_recorded:
                    slot.drop()
            raise
        actions = self._find_robot_actions(chunk)
        seconds = time.perf_counter() - started
        for row, slot in enumerate(slots):
            if slot.is_recorded:
                store(slot, partial(self._build, inputs, fed, row, actions[row]), fed.device, seconds)
        return chunk

    def _read_inputs(self, batch: Mapping[str, Any]) -> _Inputs:
        count = int(batch[TOKENS].shape[0])
        observed: _ObservedCall = getattr(self._calls, "observed", None) or _ObservedCall()
        if observed.tokens is not batch[TOKENS]:  # another batch than the preprocessor made last in this thread
            observed = _ObservedCall()
        written = _list_texts(batch.get("task"), count)
        read = [read_written_prompt(text) for text in written]
        tasks = _list_texts(observed.tasks, count) if observed.tasks is not None else [task for task, _ in read]
        states = None
        if isinstance(observed.state, Tensor) and observed.state.ndim == 2 and len(observed.state) == count:
            states = observed.state.detach().to("cpu", torch.float64).numpy().copy()
        return _Inputs(tasks, [state for _, state in read], states)

    def _find_robot_actions(self, chunk: Tensor) -> npt.NDArray[np.float32]:
        """Return the chunk (B, H, robot dims) in robot units where there is a postprocessor."""
        actions = chunk.detach().clone()
        if self._postprocessor is not None:
            silent = copy.copy(self._postprocessor)  # without the user's hooks
            silent.before_step_hooks, silent.after_step_hooks = [], []
            actions = silent(actions)
        return np.array(actions.to("cpu", torch.float32).numpy())

    def _build(self, inputs: _Inputs, fed: FedCall, row: int, actions: npt.NDArray[np.float32]) -> RecordedCall:
        present = tuple(inputs.sources)
        grid = self._model.count_grid(fed)
        pictures, sources = {}, {}
        for slot in fed.shown(row):
            name = self._names[present[slot]]
            sources[name] = inputs.sources[present[slot]][row]
            pictures[name] = describe_picture(fed.images[slot][row], sources[name], grid)
        prompt = inputs.prompts[row]
        ids = fed.tokens[row][fed.token_masks[row].bool()].cpu().numpy()
        tokens = describe_tokens(ids, prompt, inputs.prompt_states[row], self._tokenizer)
        state = None if inputs.states is None else inputs.states[row]
        return self._model.build_call(
            fed, row, Prepared(Observation(sources, prompt, state), pictures, tokens), actions
        )


def _list_texts(value: Any, count: int) -> list[str]:
    """Return one text for each environment; empty ones where there are none."""
    if isinstance(value, str):
        return [value] * count
    if isinstance(value, Sequence) and len(value) == count and all(isinstance(item, str) for item in value):
        return list(value)
    return [""] * count
