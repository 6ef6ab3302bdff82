"""A policy that shares nothing with Pi0.5 but the protocol: other pictures, patches and sizes, a few lines of torch.

Its pictures have 96 x 96 pixels in patches of 12, the state is a token of its own between prompt and actions (as in
Pi0) and is not in the prompt, and its vocabulary has one id a word. Attention follows from one number per token, see
`attention`, so that a test computes it anew from what a results file holds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.datasets.base import SourceOptions
from capture.errors import UserError
from capture.observation import Observation
from capture.policies.attention_hooks import Recording
from capture.policies.base import Layout, Norms, PolicySizes, Prepared, RecordedCall, TokenTable
from capture.policies.letterbox import Letterbox, Picture, letterbox
from capture.provenance import Decision
from capture.results.schema import ROLES

PIXELS, PATCH, GRID = 96, 12, (8, 8)
SIZES = PolicySizes(
    layers=2,
    heads=3,
    horizon=5,
    denoise_steps=3,
    action_dim=6,
    robot_dim=2,
    cameras=("front", "top", "side"),
    picture=(PIXELS, PIXELS),
    grid=GRID,
    state_tokens=1,
)


def attention(queries: Tensor, keys: Tensor, layer: int, head: int, masked: Tensor | None = None) -> Tensor:
    """Weights (..., queries, keys) of one number per query (..., queries) and key (..., keys)."""
    logits = (1 + layer) * queries[..., None] * keys[..., None, :]
    logits = logits + 0.01 * (1 + head) * torch.arange(keys.shape[-1])
    if masked is not None:
        logits = logits.masked_fill(masked[..., None, :], -torch.inf)
    return logits.softmax(-1)


@dataclass(frozen=True)
class ToyInputs:
    """Inputs of one batched call of B observations."""

    pictures: Tensor
    """(B, C, 3, 96, 96)"""
    ids: Tensor
    """(B, T)"""
    padding: Tensor
    """(B, T) bool"""
    state: Tensor
    """(B, 1): the sum of the state."""
    noise: Tensor
    """(B, H, A)"""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return self.pictures, self.ids, self.padding, self.state, self.noise

    def each(self, change: Callable[[Tensor], Tensor]) -> ToyInputs:
        return ToyInputs(*(change(tensor) for tensor in self.tensors))


@dataclass(frozen=True)
class ToyChunk:
    path: Tensor

    @property
    def actions(self) -> Tensor:
        return self.path[-1]


@dataclass
class ToyRecorder(contextlib.AbstractContextManager[Any]):
    layers: tuple[int, ...]
    steps: tuple[int, ...]
    active: bool = False

    def __enter__(self) -> Self:
        self.active = True
        return self

    def __exit__(self, *_: object) -> None:
        self.active = False


class ToyPolicy:
    """See `capture.policies.base.Policy`."""

    sizes = SIZES
    device = torch.device("cpu")

    def recorder(self, *, layers: Sequence[int] | None = None, steps: Sequence[int] | None = None) -> ToyRecorder:
        return ToyRecorder(
            tuple(range(SIZES.layers) if layers is None else layers),
            tuple(range(SIZES.denoise_steps) if steps is None else steps),
        )

    def inputs(self, prepared: Sequence[Prepared], seeds: Sequence[int]) -> ToyInputs:
        longest = max(len(call.tokens) for call in prepared)
        ids = torch.zeros(len(prepared), longest)
        padding = torch.ones(len(prepared), longest, dtype=torch.bool)
        for row, call in enumerate(prepared):
            ids[row, : len(call.tokens)] = torch.from_numpy(call.tokens.ids)
            padding[row, : len(call.tokens)] = False
        pictures = torch.stack(
            [torch.stack([picture.pixels for picture in call.pictures.values()]) for call in prepared]
        )
        state = torch.tensor([[float(np.sum(call.observation.state))] for call in prepared])
        noise = torch.stack(
            [
                torch.randn(SIZES.horizon, SIZES.action_dim, generator=torch.Generator().manual_seed(seed))
                for seed in seeds
            ]
        )
        return ToyInputs(pictures, ids, padding, state, noise)

    def plain(self, prepared: Sequence[Prepared], *, seeds: Sequence[int], after_step: Any = None) -> ToyChunk:
        return ToyChunk(self._path(self.inputs(prepared, seeds), after_step))

    def run(
        self,
        prepared: Sequence[Prepared],
        recorder: ToyRecorder,
        *,
        seeds: Sequence[int],
        full: bool = False,
        after_step: Callable[[int], None] | None = None,
        inputs: ToyInputs | None = None,
    ) -> RecordedCall:
        assert recorder.active
        fed = inputs or self.inputs(prepared, seeds)
        patches = fed.pictures.mean(2).unflatten(-1, (GRID[1], PATCH)).unflatten(-3, (GRID[0], PATCH)).mean((-1, -3))
        prefix = torch.cat([patches.flatten(1), fed.ids / 10], 1)  # (B, K)
        masked = torch.cat([torch.zeros_like(patches.flatten(1), dtype=torch.bool), fed.padding], 1)  # (B, K)
        text = fed.ids.shape[1]
        path = self._path(fed, after_step)
        heads = range(SIZES.heads)

        def stack(queries: Tensor, keys: Tensor, hidden: Tensor) -> Tensor:
            of_layers = [[attention(queries, keys, layer, head, hidden) for head in heads] for layer in recorder.layers]
            return torch.stack(
                [torch.stack(heads_of_layer, 1) for heads_of_layer in of_layers], 1
            )  # (B, L, N, queries, keys)

        steps = []
        for step in recorder.steps:
            actions = path[step].mean(-1)  # (B, H)
            keys = torch.cat([prefix, fed.state, actions], 1)  # (B, K + 1 + H)
            hidden = torch.nn.functional.pad(masked, (0, 1 + SIZES.horizon))
            steps.append(stack(actions, keys, hidden))
        batch, count = prefix.shape
        layers = len(recorder.layers)
        norm = prefix.abs()[:, None, None].expand(batch, layers, SIZES.heads, count)
        patch_count = patches[0, 0].numel()
        return RecordedCall(
            prepared=tuple(prepared),
            seeds=tuple(seeds),
            to_robot=self.to_robot,
            layout=Layout(
                cameras=tuple(prepared[0].pictures),
                patches=tuple(
                    slice(patch_count * camera, patch_count * (camera + 1)) for camera in range(patches.shape[1])
                ),
                grid=GRID,
                text=slice(count - text, count),
                positions=torch.arange(count).expand(batch, count),
            ),
            recording=Recording(
                prefix=stack(prefix if full else prefix[:, -text:], prefix, masked),
                suffix_steps=tuple(steps),
                layers=recorder.layers,
                steps=recorder.steps,
                steps_taken=SIZES.denoise_steps,
                prefix_valid=None,
            ),
            norms=Norms(norm, 2 * norm, torch.ones(batch, layers, len(steps), SIZES.heads, SIZES.horizon)),
            path=path,
            time=1 - torch.arange(SIZES.denoise_steps) / SIZES.denoise_steps,
        )

    def to_robot(
        self, actions: npt.NDArray[np.float32], state: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float32]:
        return 10 * actions[:, : SIZES.robot_dim]

    def _path(self, fed: ToyInputs, after_step: Callable[[int], None] | None) -> Tensor:
        """(steps + 1, B, H, A): each denoise step halves what is there and adds the state."""
        path = [fed.noise]
        for step in range(SIZES.denoise_steps):
            path.append(0.5 * path[-1] + 0.1 * fed.state[..., None])
            if after_step is not None:
                after_step(step)
        return torch.stack(path)


@dataclass(frozen=True)
class ToySpec:
    """See `capture.policies.base.PolicySpec`."""

    name: str = "toy"
    kind: str = "toy"
    config_hash: str = "0" * 16
    tokenizer_name: str = "words"
    time_grid: str = "even"
    decisions: tuple[Decision, ...] = ()
    sizes: PolicySizes = SIZES
    source_options: SourceOptions = field(default_factory=lambda: SourceOptions(SIZES.cameras, SIZES.horizon))

    def parameter_bytes(self, dtype: torch.dtype) -> int:
        return 0

    def fingerprint(self) -> str:
        return "toy weights"

    def check_tokenizer(self) -> str | None:
        return None

    def tokenise(self, prompt: str, state: npt.NDArray[np.float64] | None) -> TokenTable:
        if state is None:
            raise UserError("the toy policy needs a state")
        words = prompt.split()
        ends = np.cumsum([len(word) + 1 for word in words]) - 1
        starts = [0, *(ends[:-1] + 1)] if words else []
        return TokenTable(
            text=" ".join(words),
            ids=np.array([0, *(len(word) for word in words)], np.int32),
            start=np.array([0, *starts], np.int32),
            stop=np.array([0, *ends], np.int32),
            role=np.array([ROLES.index("bos"), *[ROLES.index("prompt")] * len(words)], np.int32),
            word=np.array([-1, *range(len(words))], np.int32),
            state_index=np.full(1 + len(words), -1, np.int32),
            pieces=("<s>", *words),
        )

    def robot_state(self, state: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64] | None:
        return state

    def letterbox(self, height: int, width: int) -> Letterbox:
        return letterbox(height, width, size=PIXELS, patch=PATCH)

    def prepare_pictures(self, observation: Observation) -> dict[str, Picture]:
        """By nearest neighbour."""
        found = {}
        for camera in (camera for camera in SIZES.cameras if camera in observation.pictures):
            source = observation.pictures[camera]
            box = self.letterbox(*source.shape[:2])
            rows = np.arange(box.rows) * box.height // box.rows
            cols = np.arange(box.cols) * box.width // box.cols
            square = np.zeros((PIXELS, PIXELS, 3), np.uint8)
            square[box.top : box.top + box.rows, box.left : box.left + box.cols] = source[rows[:, None], cols]
            pixels = torch.from_numpy(square).permute(2, 0, 1).float() / 127.5 - 1
            found[camera] = Picture(square, pixels, box)
        return found

    def load(self, device: torch.device, dtype: torch.dtype, progress: Any = None) -> ToyPolicy:
        return ToyPolicy()

    def without_weights(self) -> ToySpec:
        return self
