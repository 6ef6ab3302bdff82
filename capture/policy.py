"""A Pi0.5 policy with what stands before and behind its model: an observation in, actions and a recorded call out.

policy = Policy(model, preprocessing, tokenizer)
with policy.recorder() as recorder:
    call = policy.run(policy.prepare(observation), recorder, seed=0)
frame = assemble(call)   # capture.frames; everything that results.h5 keeps of it
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.errors import UserError
from capture.model import Chunk, Pi05
from capture.observation import Observation
from capture.pictures import Picture
from capture.preprocess import Preprocessing
from capture.recorder import AttentionRecorder, Recording
from capture.tokenizer import Tokenizer, check_vocabulary
from capture.tokens import TokenTable
from capture.values import ValueNorms


@dataclass(frozen=True)
class Prepared:
    """An observation made ready for the model, on the host."""

    observation: Observation
    pictures: dict[str, Picture]
    """Cameras that are shown, in the order of the model's slots."""
    tokens: TokenTable
    slots: tuple[str, ...]
    """All camera slots; those without a picture are masked."""


@dataclass(frozen=True)
class Norms:
    """Value norms of one call, float32 on the host; keys as in `Layout`."""

    language: Tensor
    """Of prefix keys by the language model's W_O: (layers, heads, K)."""
    expert: Tensor
    """Of prefix keys by the expert's W_O: (layers, heads, K)."""
    action: Tensor
    """Of action keys by the expert's W_O: (layers, steps, heads, H)."""


@dataclass(frozen=True)
class Layout:
    """Where each block of the prefix lies, read off the tensors as they were fed."""

    cameras: tuple[str, ...]
    """Cameras that are shown, in the order of their patches."""
    patches: tuple[slice, ...]
    """Place of each shown camera's patches among the prefix tokens."""
    text: slice
    positions: npt.NDArray[np.int64]
    """(K,) position ids as fed."""


@dataclass(frozen=True)
class Call:
    """One recorded call of the policy."""

    prepared: Prepared
    seed: int
    noise: npt.NDArray[np.float32]
    """(H, model dims)."""
    layout: Layout
    recording: Recording
    norms: Norms
    path: npt.NDArray[np.float32]
    """(steps + 1, H, model dims): noise, then x after each denoise step."""
    time: npt.NDArray[np.float32]
    """(steps,)."""
    actions: npt.NDArray[np.float32]
    """(H, robot dims) in robot units."""


class Policy:
    """A model and everything around it."""

    def __init__(self, model: Pi05, preprocessing: Preprocessing, tokenizer: Tokenizer) -> None:
        self.model = model
        self.preprocessing = preprocessing
        self.tokenizer = tokenizer
        self._norms: dict[tuple[int, ...], tuple[ValueNorms, ValueNorms]] = {}

    def recorder(self, *, layers: Sequence[int] | None = None, steps: Sequence[int] | None = None) -> AttentionRecorder:
        """A recorder for this policy's calls; `run` tells it which prefix rows to keep."""
        kept = tuple(range(self.model.config.vlm.depth) if layers is None else layers)
        if kept not in self._norms:
            config = self.model.config
            stacks = ((self.model.language_model, config.vlm.heads), (self.model.expert, config.expert.heads))
            language, expert = (
                ValueNorms([cast(Any, stack.layers[layer]).self_attn.o_proj for layer in kept], heads)
                for stack, heads in stacks
            )
            self._norms[kept] = language, expert
        return AttentionRecorder(self.model, layers=layers, steps=steps, values=True)

    def prepare(self, observation: Observation) -> Prepared:
        """Resize, normalise, tokenise. Raises UserError for what does not fit the policy."""
        return prepare(observation, self.preprocessing, self.tokenizer, self.model.config.vocabulary)

    def noise(self, seed: int) -> Tensor:
        """Standard normal noise (1, H, A) float32, the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        config = self.model.config
        return torch.randn(1, config.horizon, config.action_dim, generator=generator)  # (1, H, A)

    def plain(self, prepared: Prepared, *, seed: int, after_step: Callable[[int], None] | None = None) -> Chunk:
        """One call with nothing recorded."""
        device = self.model.device
        pictures = [
            prepared.pictures[slot].pixels[None].to(device, torch.float32) if slot in prepared.pictures else None
            for slot in prepared.slots
        ]  # (1, 3, 224, 224) each
        tokens = torch.from_numpy(prepared.tokens.ids).long()[None].to(device)  # (1, T)
        chunk = self.model.sample_actions(
            pictures,
            tokens,
            torch.ones_like(tokens, dtype=torch.bool),
            self.noise(seed).to(device),
            grid=self.preprocessing.time_grid,
            after_step=after_step,
        )
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return chunk

    def run(
        self,
        prepared: Prepared,
        recorder: AttentionRecorder,
        *,
        seed: int,
        full: bool = False,
        after_step: Callable[[int], None] | None = None,
    ) -> Call:
        """One recorded call. `full` keeps the rows of image tokens too."""
        text = len(prepared.tokens.ids)
        recorder.prefix_rows = None if full else slice(-text, None)
        chunk = self.plain(prepared, seed=seed, after_step=after_step)
        recording = recorder.take()
        model_actions = chunk.actions[0].cpu().numpy()  # (H, A)
        observation = prepared.observation
        return Call(
            prepared=prepared,
            seed=seed,
            noise=chunk.path[0, 0].cpu().numpy(),
            layout=_layout(prepared, chunk),
            recording=recording,
            norms=self._measure(recording),
            path=chunk.path[:, 0].cpu().numpy(),
            time=chunk.time.cpu().numpy(),
            actions=self.preprocessing.actions(model_actions, observation.state),
        )

    def _measure(self, recording: Recording) -> Norms:
        language, expert = self._norms[recording.layers]
        prefix = torch.stack([value[0] for value in recording.prefix_values])  # (L, K, M * d)
        own = torch.stack([value[0] for step in recording.suffix_values for value in step])  # (S * L, H, M * d)
        steps, layers, horizon = len(recording.steps), len(recording.layers), own.shape[1]
        own = own.unflatten(0, (steps, layers)).transpose(0, 1).flatten(1, 2)  # (L, S * H, M * d)
        action = expert.lengths(own).unflatten(2, (steps, horizon)).transpose(1, 2)  # (L, S, N, H)
        return Norms(language.lengths(prefix).cpu(), expert.lengths(prefix).cpu(), action.cpu())


def prepare(observation: Observation, preprocessing: Preprocessing, tokenizer: Tokenizer, vocabulary: int) -> Prepared:
    """Resize, normalise, tokenise, without a model. Raises UserError for what does not fit the policy."""
    unknown = [camera for camera in observation.pictures if camera not in preprocessing.slots]
    if unknown:
        raise UserError(f"this policy has no camera {unknown[0]!r}; its cameras are {', '.join(preprocessing.slots)}")
    if not observation.pictures:
        raise UserError(f"no camera picture was given; this policy's cameras are {', '.join(preprocessing.slots)}")
    shown = [slot for slot in preprocessing.slots if slot in observation.pictures]
    tokens = preprocessing.prompt(observation.prompt, observation.state, tokenizer)
    check_vocabulary(tokens.ids, vocabulary)
    pictures = {
        camera: preprocessing.picture(observation.pictures[camera], turned=observation.turned) for camera in shown
    }
    return Prepared(observation, pictures, tokens, preprocessing.slots)


def _layout(prepared: Prepared, chunk: Chunk) -> Layout:
    """Blocks of the prefix as kept: every slot's patches in order, masked slots left out, then the text."""
    prefix = chunk.prefix
    text = len(prepared.tokens.ids)
    keys = prefix.embeddings.shape[1]
    cameras = tuple(prepared.pictures)
    each, rest = divmod(keys - text, len(cameras))
    if rest or len(prefix.kept) != keys:
        raise RuntimeError(f"{keys} prefix tokens are not {len(cameras)} cameras' patches and {text} text tokens.")
    patches = tuple(slice(each * place, each * (place + 1)) for place in range(len(cameras)))
    return Layout(cameras, patches, slice(keys - text, keys), prefix.positions[0].cpu().numpy())
