"""What the pipeline needs of a policy: two protocols, and the values that pass through them.

`PolicySpec` is what is known of a policy before its weights are read: sizes, preprocessing, tokenizer. Plans are made
with it, and the processes that read episodes have nothing else. Its `load` gives a `Policy`, which runs batches of
prepared observations and returns what was recorded. `capture.policies.pi05` and `capture.checkpoints` implement both;
another policy is another implementation, and the pipeline stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.datasets.base import SourceOptions
from capture.observation import Observation
from capture.policies.attention_hooks import Recording
from capture.policies.letterbox import Letterbox, Picture
from capture.provenance import Decision


@dataclass(frozen=True)
class PolicySizes:
    """Lengths of a policy's axes, as far as the pipeline and the results file need them."""

    layers: int
    heads: int
    """Attention heads of a layer, of the language model and of the action expert alike."""
    horizon: int
    """Actions of a chunk."""
    denoise_steps: int
    action_dim: int
    """Action dimensions inside the model."""
    robot_dim: int
    """Action dimensions in robot units."""
    cameras: tuple[str, ...]
    """Cameras that the policy can be shown, in the order of its picture slots."""
    picture: tuple[int, int]
    """Height and width of a picture as the model sees it."""
    grid: tuple[int, int]
    """Rows and columns of patches of a picture, one prefix token each."""
    state_tokens: int = 0
    """Tokens of the robot's state between the prefix and the action tokens: 1 in Pi0, 0 where it is in the prompt."""


@dataclass(frozen=True, eq=False)
class TokenTable:
    """The text tokens of one prompt as fed, begin-of-sequence first, without padding; n of them."""

    text: str
    """The whole text that was tokenised; `start` and `stop` count its characters."""
    ids: npt.NDArray[np.int32]
    """(n,)"""
    start: npt.NDArray[np.int32]
    """(n,) first character; the begin-of-sequence token has the empty span 0 to 0."""
    stop: npt.NDArray[np.int32]
    """(n,) one past the last character."""
    role: npt.NDArray[np.int32]
    """(n,) position in `schema.ROLES`."""
    word: npt.NDArray[np.int32]
    """(n,) number of the word that the token belongs to, in reading order from 0; -1 for none."""
    state_index: npt.NDArray[np.int32]
    """(n,) which state value the token belongs to; -1 for none."""
    pieces: tuple[str, ...]
    """The tokens as the vocabulary writes them."""
    dropped: int = 0
    """Tokens that were cut off on the right, because the policy takes no more."""
    state_dropped: bool = False
    """Whether tokens of the state are among those that were cut off."""
    state_bins: npt.NDArray[np.int64] | None = None
    """(values,) the bin that the text spells for each state value; None where the text holds no state."""
    state_beyond: tuple[int, ...] = ()
    """State values beyond the range of the policy's statistics, whose bin is the one at the edge."""

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def warning(self) -> str | None:
        """A sentence about the tokens that were cut off, None where none were."""
        if not self.dropped:
            return None
        return (
            f"the prompt has {len(self) + self.dropped} tokens, but the policy takes {len(self)}: the last "
            f"{self.dropped} were cut off{', the state among them' if self.state_dropped else ''}; shorten the task"
        )


@dataclass(frozen=True)
class Prepared:
    """An observation made ready for the model, on the host."""

    observation: Observation
    pictures: dict[str, Picture]
    """The cameras that are shown, in the order of the model's slots."""
    tokens: TokenTable
    coverage: npt.NDArray[np.float32] | None = None
    """(regions, cameras, rows, cols): share of each patch that a region covers; NaN where it is not known."""


@dataclass(frozen=True)
class Norms:
    """Value norms of one call, float32 on the policy's device; keys as in `Layout`."""

    language: Tensor
    """Of prefix keys by the language model's W_O: (B, layers, heads, K)."""
    expert: Tensor
    """Of prefix keys by the expert's W_O: (B, layers, heads, K)."""
    action: Tensor
    """Of action keys by the expert's W_O: (B, layers, steps, heads, H)."""


class LateNorms:
    """`Norms` that are computed when they are first read: after the actions of the call have been answered."""

    def __init__(self, measure: Callable[[], Norms]) -> None:
        self._measure = measure

    @cached_property
    def _norms(self) -> Norms:
        with torch.no_grad():
            return self._measure()

    @property
    def language(self) -> Tensor:
        """See `Norms`."""
        return self._norms.language

    @property
    def expert(self) -> Tensor:
        """See `Norms`."""
        return self._norms.expert

    @property
    def action(self) -> Tensor:
        """See `Norms`."""
        return self._norms.action


@dataclass(frozen=True)
class Layout:
    """Where each block of the prefix lies, read off the tensors as they were fed; the same for a whole batch."""

    cameras: tuple[str, ...]
    """Cameras that are shown, in the order of their patches."""
    patches: tuple[slice, ...]
    """Place of each shown camera's patches among the prefix tokens."""
    grid: tuple[int, int]
    """Rows and columns of a camera's patches, which are in row-major order."""
    text: slice
    """Place of the text tokens, which end the prefix: as many as the longest prompt of the batch has."""
    positions: Tensor
    """(B, K) int64 position ids as fed, on the policy's device."""


@dataclass(frozen=True)
class CallRequest:
    """Observations and seeds of one batched policy call, and the map from its result to robot actions."""

    prepared: tuple[Prepared, ...]
    seeds: tuple[int, ...]
    to_robot: Callable[[npt.NDArray[np.float32], npt.NDArray[np.float64] | None], npt.NDArray[np.float32]]
    """From one observation's result (H, action dims) and its state to actions (H, robot dims) in robot units."""


@dataclass(frozen=True)
class RecordedCall(CallRequest):
    """One recorded call of a policy. Its tensors are on the policy's device.

    Shorter prompts are padded at their end to the longest one's length. Padding is masked, so that it changes nothing
    else; its own rows mean nothing.
    """

    layout: Layout
    recording: Recording
    """Its suffix has the action tokens' rows (H), over the keys [prefix, state tokens, action tokens]."""
    norms: Norms | LateNorms
    path: Tensor
    """(steps + 1, B, H, action dims) float32: noise, then x after each denoise step; the last one is the result."""
    time: Tensor
    """(steps,) float32."""

    @property
    def actions(self) -> list[npt.NDArray[np.float32]]:
        """Each observation's actions, (H, robot dims) in robot units. Waits for the device."""
        results = self.path[-1].cpu().numpy()  # (B, H, A)
        return [self.to_robot(row, item.observation.state) for row, item in zip(results, self.prepared, strict=True)]


class ModelInputs(Protocol):
    """The tensors that one call feeds the model, on the host or on the policy's device."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors; calls whose tensors have the same shapes do the same work."""

    def each(self, change: Callable[[Tensor], Tensor]) -> Self:
        """Return the same inputs with every tensor changed."""


class ActionChunk(Protocol):
    """The result of an unrecorded call."""

    @property
    def actions(self) -> Tensor:
        """(B, H, action dims) float32 in the model's units."""


class Policy(Protocol):
    """A loaded policy."""

    @property
    def sizes(self) -> PolicySizes:
        """Lengths of its axes."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    def recorder(
        self, *, layers: Sequence[int] | None = None, steps: Sequence[int] | None = None
    ) -> AbstractContextManager[Any]:
        """Return a context manager inside which `run` records these layers and denoise steps (None: all of them)."""

    def inputs(self, prepared: Sequence[Prepared], seeds: Sequence[int]) -> ModelInputs:
        """Return what a call of these observations is fed, on the host. They must show the same cameras."""

    def plain(
        self, prepared: Sequence[Prepared], *, seeds: Sequence[int], after_step: Callable[[int], None] | None = None
    ) -> ActionChunk:
        """Run one call and record nothing. Does not wait for the device."""

    def run(
        self,
        prepared: Sequence[Prepared],
        recorder: Any,
        *,
        seeds: Sequence[int],
        full: bool = False,
        after_step: Callable[[int], None] | None = None,
        inputs: Any = None,
    ) -> RecordedCall:
        """Run one call inside `recorder`, of this policy's `recorder`, and return what was recorded.

        `full` keeps the rows of image tokens too. `inputs`: of this policy's `inputs`, on its device already. Does not
        wait for the device.
        """

    def to_robot(
        self, actions: npt.NDArray[np.float32], state: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float32]:
        """Return robot actions (H, robot dims) of one observation's result (H, action dims) and its state."""


class PolicySpec(Protocol):
    """What is known of a policy without its weights, and the way to load it. It can be pickled: see `without_weights`.

    `decisions`: where its settings come from, those that no file and no option states among them. `time_grid`,
    `tokenizer_name`: stored with the results. `config_hash`: equal where two policies are set up alike, whatever their
    weights.
    """

    @property
    def name(self) -> str:
        """Short name of the checkpoint."""

    @property
    def kind(self) -> str:
        """Kind of checkpoint."""

    @property
    def config_hash(self) -> str:
        """SHA-256 of sizes, preprocessing and statistics."""

    @property
    def tokenizer_name(self) -> str:
        """Folder and file of the tokenizer."""

    @property
    def time_grid(self) -> str:
        """How the flow times of the denoise steps are computed."""

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Where each setting that changes the model's input or the meaning of its actions comes from."""

    @property
    def sizes(self) -> PolicySizes:
        """Lengths of the policy's axes."""

    @property
    def source_options(self) -> SourceOptions:
        """What a data set has to give for this policy."""

    def parameter_bytes(self, dtype: torch.dtype) -> int:
        """Return the memory that the weights take in `dtype`."""

    def fingerprint(self) -> str:
        """Return a hash that changes with the weights, read from their files. Raises UserError if it cannot."""

    def check_tokenizer(self) -> str | None:
        """Return a warning where the tokenizer hardly fits the model. Raises UserError where it cannot."""

    def tokenise(self, prompt: str, state: npt.NDArray[np.float64] | None) -> TokenTable:
        """Return the tokens of a task and a state in robot units. Raises UserError for what the policy cannot take."""

    def robot_state(self, state: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64] | None:
        """Return the numbers of a state that are the robot's and are stored: without zeros that only pad it."""

    def letterbox(self, height: int, width: int) -> Letterbox:
        """Return where a camera picture of this size lies in the model's. Raises UserError for unusable sizes."""

    def prepare_pictures(self, observation: Observation) -> dict[str, Picture]:
        """Return the pictures as the model sees them, in the order of its slots. Raises UserError."""

    def load(
        self, device: torch.device, dtype: torch.dtype, progress: Callable[[int, int], None] | None = None
    ) -> Policy:
        """Read the weights and return the policy. `progress`: called with the bytes read so far and their sum.

        Raises UserError where weights cannot be read or find no memory.
        """

    def without_weights(self) -> PolicySpec:
        """Return a copy that can be pickled, and cannot `load`."""


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device. From pinned memory, a copy to a GPU does not delay the launches that follow."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
