"""A Pi0.5 policy with its pre- and postprocessing: takes observations, returns actions and recorded attention.

policy = Pi05Policy(model, preprocessing, tokenizer)
with policy.recorder() as recorder:
    call = policy.run([policy.prepare(observation)], recorder, seeds=[0])
[(frame, errors)] = assemble(call)   # capture.pipeline.frame_builder; a frame is what results.h5 stores
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.errors import UserError
from capture.observation import Observation
from capture.policies.attention_hooks import AttentionRecorder
from capture.policies.base import LateNorms, Layout, PolicySizes, Prepared, RecordedCall, upload
from capture.policies.letterbox import Picture
from capture.policies.pi05.config import Pi05Config
from capture.policies.pi05.preprocessing import Preprocessing
from capture.policies.process_settings import exact_float32
from capture.policies.tokenizer import Tokenizer, check_vocabulary
from capture.policies.value_norms import ValueNorms, measure_norms

if TYPE_CHECKING:
    from capture.policies.pi05.model import Chunk, Pi05, Prefix


@dataclass(frozen=True)
class Inputs:
    """Inputs of one batched model call, on the host or on the policy's device."""

    pictures: tuple[Tensor, ...]
    """One per camera of the call: (moments, 3, 224, 224) float32."""
    tokens: Tensor
    """(B, T) int64."""
    mask: Tensor
    """(B, T) bool, False where a shorter prompt is padded."""
    noise: Tensor
    """(B, H, A) float32."""
    moment: Tensor | None
    """(B,) int64, index of each row's pictures; None where every row has its own."""

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors of these inputs."""
        return (*self.pictures, self.tokens, self.mask, self.noise, *([] if self.moment is None else [self.moment]))

    def each(self, change: Callable[[Tensor], Tensor]) -> Inputs:
        """Return a copy with `change` applied to every tensor."""
        moment = None if self.moment is None else change(self.moment)
        pictures = tuple(change(picture) for picture in self.pictures)
        return Inputs(pictures, change(self.tokens), change(self.mask), change(self.noise), moment)


class Pi05Policy:
    """A Pi0.5 model with its preprocessing and tokenizer."""

    def __init__(self, model: Pi05, preprocessing: Preprocessing, tokenizer: Tokenizer) -> None:
        self.model = model
        self.preprocessing = preprocessing
        self.tokenizer = tokenizer
        self._norms: dict[tuple[int, ...], tuple[ValueNorms, ValueNorms]] = {}

    @property
    def sizes(self) -> PolicySizes:
        """Lengths of its axes."""
        return policy_sizes(self.model.config, self.preprocessing)

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return self.model.device

    def to_robot(
        self, actions: npt.NDArray[np.float32], state: npt.NDArray[np.float64] | None
    ) -> npt.NDArray[np.float32]:
        """Return robot actions (H, robot dims) of one observation's result (H, A) and its state in robot units."""
        return self.preprocessing.actions(actions, state)

    def recorder(self, *, layers: Sequence[int] | None = None, steps: Sequence[int] | None = None) -> AttentionRecorder:
        """Return a recorder for this policy's calls; `run` sets the prefix rows that it keeps.

        `layers`, `steps`: numbers to keep, counted from 0; None keeps all.
        """
        layer_numbers = tuple(range(self.model.config.vlm.depth) if layers is None else layers)
        if layer_numbers not in self._norms:
            config = self.model.config
            stacks = ((self.model.language_model, config.vlm.heads), (self.model.expert, config.expert.heads))
            language, expert = (
                ValueNorms([cast(Any, stack.layers[layer]).self_attn.o_proj for layer in layer_numbers], heads)
                for stack, heads in stacks
            )
            self._norms[layer_numbers] = language, expert
        return AttentionRecorder(self.model, layers=layers, steps=steps, values=True, to_host=False)

    def prepare(self, observation: Observation) -> Prepared:
        """Resize, normalise and tokenise one observation. Raises UserError for one that does not fit the policy."""
        return prepare(observation, self.preprocessing, self.tokenizer, self.model.config.vocabulary)

    def noise(self, seed: int) -> Tensor:
        """Return standard normal noise (1, H, A) float32, the same on every device."""
        generator = torch.Generator().manual_seed(seed)
        config = self.model.config
        return torch.randn(1, config.horizon, config.action_dim, generator=generator)  # (1, H, A)

    def inputs(self, prepared: Sequence[Prepared], seeds: Sequence[int]) -> Inputs:
        """Return the inputs of one call, on the host, with one seed per observation.

        Frames of one moment, which differ only in their prompts, share their pictures, which SigLIP encodes once.
        Raises ValueError for observations with different cameras.
        """
        if len({tuple(item.pictures) for item in prepared}) > 1:
            raise ValueError("the observations of one call must show the same cameras")
        shown = list({_moment(item): item for item in prepared}.values())
        index_of_moment = {_moment(item): number for number, item in enumerate(shown)}
        pictures = tuple(
            torch.stack([item.pictures[camera].pixels for item in shown]) for camera in prepared[0].pictures
        )  # (moments, 3, 224, 224) each
        longest = max(len(item.tokens) for item in prepared)
        tokens = torch.zeros(len(prepared), longest, dtype=torch.long)  # (B, T)
        mask = torch.zeros(len(prepared), longest, dtype=torch.bool)  # (B, T)
        for row, item in enumerate(prepared):
            tokens[row, : len(item.tokens)] = torch.from_numpy(item.tokens.ids)
            mask[row, : len(item.tokens)] = True
        moment = torch.tensor([index_of_moment[_moment(item)] for item in prepared])  # (B,)
        noise = torch.cat([self.noise(seed) for seed in seeds])  # (B, H, A)
        return Inputs(pictures, tokens, mask, noise, moment if len(shown) < len(prepared) else None)

    def plain(
        self,
        prepared: Sequence[Prepared],
        *,
        seeds: Sequence[int],
        after_step: Callable[[int], None] | None = None,
    ) -> Chunk:
        """Run one call without recording, on observations with the same cameras. Does not wait for the device."""
        return self.sample(self.inputs(prepared, seeds).each(self.upload), after_step)

    def run(
        self,
        prepared: Sequence[Prepared],
        recorder: AttentionRecorder,
        *,
        seeds: Sequence[int],
        full: bool = False,
        after_step: Callable[[int], None] | None = None,
        inputs: Inputs | None = None,
    ) -> RecordedCall:
        """Run one recorded call. Does not wait for the device.

        `full` keeps the rows of image tokens too. `inputs`: those of `prepared`, if already on the device.
        """
        text = max(len(item.tokens) for item in prepared)
        recorder.prefix_rows = None if full else slice(-text, None)
        chunk = self.sample(inputs or self.inputs(prepared, seeds).each(self.upload), after_step)
        recording = recorder.take()
        return RecordedCall(
            prepared=tuple(prepared),
            seeds=tuple(seeds),
            layout=_layout(prepared[0], text, chunk.prefix, self.sizes.grid),
            recording=recording,
            norms=LateNorms(partial(measure_norms, recording, *self._norms[recording.layers])),
            path=chunk.path,
            time=chunk.time,
            to_robot=self.to_robot,
        )

    @property
    def module(self) -> Pi05:
        """The module tree that runs."""
        return self.model

    def layout(self, prepared: Prepared, prefix: Prefix) -> Layout:
        """Return where the blocks of a prefix of this observation alone lie."""
        return _layout(prepared, len(prepared.tokens), prefix, self.sizes.grid)

    @torch.no_grad()
    def run_prefix(self, prepared: Sequence[Prepared], *, copies: int = 1) -> Prefix:
        """Run the prefix phase on observations with the same cameras: B rows, or `copies` rows of a single one.

        Copies share their pictures, which are encoded once.
        """
        inputs = self.inputs(prepared, [0] * len(prepared)).each(self.upload)
        with exact_float32():
            embeddings, valid = self.model.embed_prefix(
                inputs.pictures, inputs.tokens, inputs.mask, None, inputs.moment
            )  # (B, P, D), (B, P)
            if copies > 1:
                embeddings, valid = embeddings.expand(copies, -1, -1), valid.expand(copies, -1)  # (B, P, D), (B, P)
            return self.model.run_prefix(embeddings, valid, drop_masked=False)

    def denoise(self, prefix: Prefix, noise: Tensor) -> Tensor:
        """Return the actions (B, H, A) float32 of `noise` (B, H, A); a prefix of one row is shared by all rows."""
        with exact_float32():
            return self.model.denoise(noise, prefix, grid=self.preprocessing.time_grid).actions

    def differentiate(self, prepared: Prepared, noise: Tensor) -> Tensor:
        """Return the actions (1, H, A) of one call with autograd's graph from the prefix's embeddings on."""
        inputs = self.inputs([prepared], [0]).each(self.upload)
        with exact_float32():
            with torch.no_grad():
                embeddings, valid = self.model.embed_prefix(inputs.pictures, inputs.tokens, inputs.mask)
            with torch.enable_grad():
                leaf = embeddings.detach().requires_grad_()  # (1, P, D): weights of a loaded policy need no gradient
                prefix = self.model.run_prefix(leaf, valid, drop_masked=False)
            grid = self.preprocessing.time_grid
            return self.model.denoise(noise, prefix, grid=grid, differentiable=True).actions

    def sample(self, inputs: Inputs, after_step: Callable[[int], None] | None = None) -> Chunk:
        """Run the model on `inputs`, which lie on its device."""
        return self.model.sample_actions(
            inputs.pictures,
            inputs.tokens,
            inputs.mask,
            inputs.noise,
            moment=inputs.moment,
            grid=self.preprocessing.time_grid,
            # Masked slots are not passed, and each text column is a token of some row: there is nothing to drop.
            drop_masked=False,
            after_step=after_step,
        )

    def upload(self, tensor: Tensor) -> Tensor:
        """Return `tensor` on the policy's device."""
        return upload(tensor, self.model.device)


def policy_sizes(config: Pi05Config, preprocessing: Preprocessing) -> PolicySizes:
    """Return the lengths of a policy's axes, from its config and preprocessing."""
    vision = config.vision
    side = vision.image_size // vision.patch_size
    return PolicySizes(
        layers=config.vlm.depth,
        heads=config.vlm.heads,
        horizon=config.horizon,
        denoise_steps=config.denoise_steps,
        action_dim=config.action_dim,
        robot_dim=min(preprocessing.robot_dim, config.action_dim),
        cameras=preprocessing.slots,
        picture=(vision.image_size, vision.image_size),
        grid=(side, side),
    )


def _moment(prepared: Prepared) -> int:
    """Return an id that frames with the same picture objects share."""
    return id(next(iter(prepared.pictures.values())))


def prepare(observation: Observation, preprocessing: Preprocessing, tokenizer: Tokenizer, vocabulary: int) -> Prepared:
    """Resize, normalise and tokenise, without a model. Raises UserError for an observation that does not fit."""
    pictures = prepare_pictures(observation, preprocessing)
    tokens = preprocessing.prompt(observation.prompt, observation.state, tokenizer)
    check_vocabulary(tokens.ids, vocabulary)
    return Prepared(observation, pictures, tokens)


def prepare_pictures(observation: Observation, preprocessing: Preprocessing) -> dict[str, Picture]:
    """Return the model's pictures in the order of its slots. Raises UserError for no picture or an unknown camera."""
    unknown = [camera for camera in observation.pictures if camera not in preprocessing.slots]
    if unknown:
        raise UserError(f"this policy has no camera {unknown[0]!r}; its cameras are {', '.join(preprocessing.slots)}")
    if not observation.pictures:
        raise UserError(f"no camera picture was given; this policy's cameras are {', '.join(preprocessing.slots)}")
    shown = [slot for slot in preprocessing.slots if slot in observation.pictures]
    return {
        camera: preprocessing.picture(observation.pictures[camera], turned=observation.is_upside_down)
        for camera in shown
    }


def _layout(prepared: Prepared, text: int, prefix: Prefix, grid: tuple[int, int]) -> Layout:
    """Return the blocks of the kept prefix: the patches of each camera in the order of the slots, then the text."""
    keys = prefix.embeddings.shape[1]
    cameras = tuple(prepared.pictures)
    rows, cols = grid
    patch_count = rows * cols
    if patch_count * len(cameras) + text != keys or len(prefix.kept) != keys:
        raise RuntimeError(
            f"{keys} prefix tokens are not {len(cameras)} cameras' {rows} x {cols} patches and {text} text tokens."
        )
    patches = tuple(slice(patch_count * camera, patch_count * (camera + 1)) for camera in range(len(cameras)))
    return Layout(cameras, patches, grid, slice(keys - text, keys), prefix.positions)
