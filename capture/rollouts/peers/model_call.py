"""One call of a Pi0 or Pi0.5 model of openpi or lerobot: what it is fed, its denoising path and its attention.

Both code bases have a module with the methods `embed_prefix(images, image masks, tokens, token masks)` and
`denoise_step(…, x_t, timestep)`, and a `paligemma_with_expert` whose `forward` takes `position_ids`. They are replaced
for the time of a recorded call, so that what is stored is what was fed, whatever the policy around the model does.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch
from torch import Tensor, nn

from capture.errors import UserError
from capture.policies.attention_hooks import AttentionRecorder, Recording
from capture.policies.attention_modules import Phase, find_attention_modules
from capture.policies.base import Layout, Norms, Prepared, RecordedCall
from capture.policies.value_norms import ValueNorms, measure_norms
from capture.rollouts.peers.attribute_overrides import AttributeOverrides

METHODS: Final = ("embed_prefix", "denoise_step", "sample_actions", "paligemma_with_expert")


@dataclass
class FedCall:
    """Tensors of one batched call of the model, B observations, on its device."""

    images: list[Tensor] = field(default_factory=list)
    """One per slot of the model, (B, 3, height, width) in [-1, 1]."""
    image_masks: list[Tensor] = field(default_factory=list)
    """One per slot, (B,) bool: False where the slot shows nothing."""
    tokens: Tensor = field(default_factory=lambda: torch.zeros(0))
    """(B, T) int64, padded."""
    token_masks: Tensor = field(default_factory=lambda: torch.zeros(0))
    """(B, T) bool."""
    positions: Tensor | None = None
    """(B, K) position ids of the prefix."""
    points: list[Tensor] = field(default_factory=list)
    """x at the start of each denoise step, (B, H, A)."""
    times: list[Tensor] = field(default_factory=list)
    """Flow time of each denoise step, (B,) or ()."""
    actions: Tensor = field(default_factory=lambda: torch.zeros(0))
    """(B, H, A): the result, in the model's units."""
    recording: Recording | None = None

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        return self.actions.device

    def shown(self, row: int) -> tuple[int, ...]:
        """Return the slots that show a picture to an observation."""
        return tuple(slot for slot, mask in enumerate(self.image_masks) if bool(mask[row]))


class ModelRecorder:
    """Records calls of one model of openpi or lerobot.

    `layers`, `steps`: numbers to keep, None for all. `full`: keep the rows of image tokens too.

    Raises UserError for a module of another kind, or layers that it does not have.
    """

    def __init__(
        self, model: nn.Module, layers: Sequence[int] | None = None, steps: Sequence[int] | None = None, *,
        full: bool = False,
    ) -> None:  # fmt: skip
        missing = [name for name in METHODS if not hasattr(model, name)]
        try:
            modules = find_attention_modules(model)
        except (TypeError, ValueError) as error:
            raise UserError(f"the policy cannot be recorded: {error}") from None
        if missing:
            raise UserError(f"{type(model).__name__} has no {missing[0]}, so it is no Pi0.5 model of openpi or lerobot")
        self.model = model
        self.layers = tuple(sorted(modules["suffix"])) if layers is None else tuple(layers)
        for layer in self.layers:
            if layer not in modules["suffix"] or layer not in modules["prefix"]:
                raise UserError(f"there is no layer {layer}: this policy has {len(modules['suffix'])}, numbered from 0")
        self._modules = modules
        self._steps, self._full = steps, full
        self._norms = self._measure_projections()

    @property
    def layer_count(self) -> int:
        """Number of layers of the model."""
        return len(self._modules["suffix"])

    @property
    def heads(self) -> int:
        """Number of attention heads of a layer."""
        return int(self._attention.config.num_attention_heads)

    @property
    def dtype(self) -> str:
        """Number type of the attention's weights."""
        return str(self._attention.q_proj.weight.dtype).removeprefix("torch.")

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next(self.model.parameters()).device

    @property
    def has_value_norms(self) -> bool:
        """Whether value norms are recorded; they need plain output projections, not adapters or quantised ones."""
        return self._norms is not None

    @property
    def attention(self) -> str:
        """Name of the attention implementation that the model would use, such as "eager" or "sdpa"."""
        return str(getattr(self._attention.config, "_attn_implementation", "eager"))

    @property
    def _attention(self) -> Any:
        return self._modules["suffix"][self.layers[0]]

    def _measure_projections(self) -> tuple[ValueNorms, ValueNorms] | None:
        phases: tuple[Phase, Phase] = ("prefix", "suffix")
        projections: dict[Phase, list[Any]] = {
            phase: [getattr(self._modules[phase][layer], "o_proj", None) for layer in self.layers] for phase in phases
        }
        values = [getattr(self._modules[phase][layer], "v_proj", None) for phase in phases for layer in self.layers]
        if any(
            type(projection) is not nn.Linear
            for projection in (*projections["prefix"], *projections["suffix"], *values)
        ):
            return None
        return ValueNorms(projections["prefix"], self.heads), ValueNorms(projections["suffix"], self.heads)

    @contextlib.contextmanager
    def record(self) -> Iterator[FedCall]:
        """Record the one call that is made inside; what is given is filled once the block ends without an error.

        The model runs eager attention inside, without torch.compile, and is afterwards as before.
        """
        fed = FedCall()
        overrides = AttributeOverrides()
        recorder = AttentionRecorder(
            self.model, layers=self.layers, steps=self._steps, values=self.has_value_norms, to_host=False
        )
        with self._eager_attention(), recorder:
            try:
                self._replace_methods(overrides, fed, recorder)
                yield fed
                fed.recording = recorder.take()
            finally:
                overrides.restore()

    def _replace_methods(self, overrides: AttributeOverrides, fed: FedCall, recorder: AttentionRecorder) -> None:
        def embed_prefix(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(
                images: Any, image_masks: Any, tokens: Tensor, token_masks: Tensor, *rest: Any, **more: Any
            ) -> Any:
                fed.images, fed.image_masks = list(images), list(image_masks)
                fed.tokens, fed.token_masks = tokens, token_masks
                recorder.prefix_rows = None if self._full else slice(-tokens.shape[1], None)
                return original(images, image_masks, tokens, token_masks, *rest, **more)

            return call

        def forward(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                if fed.positions is None:
                    fed.positions = options.get("position_ids")
                return original(*arguments, **options)

            return call

        def denoise_step(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                x, time = (options[name] if name in options else arguments[position] for name, position in _DENOISED)
                fed.points.append(x.detach().clone())
                fed.times.append(time.detach().clone())
                return original(*arguments, **options)

            return call

        def sample_actions(original: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                actions = original(*arguments, **options)
                fed.actions = actions.detach().clone()
                return actions

            return call

        overrides.set(self.model, "sample_actions", sample_actions)
        overrides.set(self.model, "embed_prefix", embed_prefix)
        overrides.set(self.model.paligemma_with_expert, "forward", forward)
        overrides.set(self.model, "denoise_step", denoise_step)

    @contextlib.contextmanager
    def _eager_attention(self) -> Iterator[None]:
        configs: dict[int, Any] = {
            id(module.config): module.config for modules in self._modules.values() for module in modules.values()
        }
        implementations = {key: getattr(config, "_attn_implementation", None) for key, config in configs.items()}
        for config in configs.values():
            config._attn_implementation = "eager"
        try:
            yield
        finally:
            for key, config in configs.items():
                if implementations[key] is not None:
                    config._attn_implementation = implementations[key]

    def count_grid(self, fed: FedCall) -> int:
        """Return the number of patches along a side of a picture."""
        assert fed.recording is not None
        return math.isqrt((fed.recording.prefix.shape[-1] - fed.tokens.shape[1]) // len(fed.images))

    def build_call(self, fed: FedCall, row: int, prepared: Prepared, robot_actions: Any) -> RecordedCall:
        """Return one observation of a call, without padding: masked slots and text tokens are left out.

        `prepared`: what the observation shows, with the cameras of `fed.shown(row)`; `robot_actions`: (H, robot dims).
        """
        assert fed.recording is not None
        text, total = fed.tokens.shape[1], fed.recording.prefix.shape[-1]
        side = self.count_grid(fed)
        patch_count = side * side
        shown = fed.shown(row)
        device = fed.device
        patches = [torch.arange(patch_count * slot, patch_count * (slot + 1), device=device) for slot in shown]
        words = fed.token_masks[row].to(device).nonzero()[:, 0]  # (n,)
        keys = torch.cat([*patches, words + total - text])  # (k,)
        layout = Layout(
            cameras=tuple(prepared.pictures),
            patches=tuple(slice(patch_count * camera, patch_count * (camera + 1)) for camera in range(len(shown))),
            grid=(side, side),
            text=slice(patch_count * len(shown), len(keys)),
            positions=self._positions(fed, row, patch_count)[:, keys],
        )
        points = [*fed.points, fed.actions]
        recording = select_row(fed.recording, row, keys if self._full else words, keys, total, fed.actions.shape[1])
        return RecordedCall(
            prepared=(prepared,),
            seeds=(UNKNOWN_SEED,),
            to_robot=lambda _actions, _state: robot_actions,
            layout=layout,
            recording=recording,
            norms=self._find_norms(recording, len(keys)),
            path=torch.stack([point[row : row + 1].float() for point in points]),  # (steps + 1, 1, H, A)
            time=torch.stack([time.reshape(-1)[0].float() for time in fed.times]),  # (steps,)
        )

    def _positions(self, fed: FedCall, row: int, patch_count: int) -> Tensor:
        if fed.positions is not None:
            return fed.positions[row : row + 1]
        image_valid = [mask[row].expand(patch_count) for mask in fed.image_masks]
        return (torch.cat([*image_valid, fed.token_masks[row]]).cumsum(0) - 1)[None]

    def _find_norms(self, recording: Recording, keys: int) -> Norms:
        if self._norms is not None:
            return measure_norms(recording, *self._norms)
        suffix = recording.suffix_steps[0]  # (1, L, N, H, keys)
        _, layers, heads, horizon, _ = suffix.shape
        nothing = suffix.new_zeros(1, layers, heads, keys, dtype=torch.float32)
        action_norms = suffix.new_zeros(1, layers, len(recording.steps), heads, horizon, dtype=torch.float32)
        return Norms(nothing, nothing, action_norms)


_DENOISED: Final = (("x_t", -2), ("timestep", -1))
"""Arguments of `denoise_step` by name, and their place where they are given without."""
UNKNOWN_SEED: Final = -1
"""`frames/seed` of noise that was not drawn from a seed."""


def select_row(recording: Recording, row: int, rows: Tensor, keys: Tensor, total: int, horizon: int) -> Recording:
    """Return one observation's weights between the tokens that were not masked.

    `rows`: the kept query rows of the prefix; `keys`: its kept keys, of `total`; `horizon`: number of action tokens,
    the last of the suffix (Pi0 has a state token before them).
    """
    suffix_keys = recording.suffix_steps[0].shape[-1]
    every = torch.cat([keys, torch.arange(total, suffix_keys, device=keys.device)])
    return Recording(
        prefix=recording.prefix[row : row + 1, :, :, rows][..., keys],
        suffix_steps=tuple(step[row : row + 1, :, :, -horizon:][..., every] for step in recording.suffix_steps),
        layers=recording.layers,
        steps=recording.steps,
        steps_taken=recording.steps_taken,
        prefix_valid=None,
        prefix_values=tuple(values[row : row + 1, keys] for values in recording.prefix_values),
        suffix_values=tuple(
            tuple(values[row : row + 1, -horizon:] for values in step) for step in recording.suffix_values
        ),
    )
