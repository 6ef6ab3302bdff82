"""The Pi0.5 model: inference from pictures and a prompt to a chunk of actions.

`Pi05.sample_actions` is the entry point. A picture becomes 256 tokens (SigLIP), a prompt becomes text tokens, and both
run once through the language model (the prefix phase), whose keys and values are cached. The action expert then turns
noise into a chunk of actions in a few denoise steps (the suffix phase). In each step the action tokens attend to the
cached prefix and to one another.

SigLIP and the prefix's Gemma are modules of transformers; the expert, whose norms are conditioned on time (adaRMS), is
in `expert.py`. Formulas follow openpi (`models/pi0.py`, `models/gemma.py`, `models/siglip.py`) and the papers named
beside them. Shapes in comments: B batch, C cameras, T text tokens, P prefix tokens (all of them), K prefix tokens that
are kept (see `Prefix.kept`), H horizon, A action dimensions (32), D width of the language model, E width of the expert,
N heads, M kv heads, d head width.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
import transformers
from torch import Tensor, nn
from transformers import DynamicCache, GemmaConfig, GemmaModel, SiglipVisionConfig, SiglipVisionModel

from capture.errors import UserError
from capture.policies.pi05.config import Pi05Config, StackConfig, VisionConfig
from capture.policies.pi05.expert import NORM_EPS, ROPE_BASE, Expert
from capture.policies.process_settings import exact_float32

MASKED = -2.3819763e38
"""Value that openpi adds to the logits of masked keys: near the lowest bfloat16, and finite when rounded to it."""

TimeGrid = Literal["openpi", "lerobot"]


@dataclass(frozen=True)
class Prefix:
    """Result of the prefix phase, which the denoise steps read.

    Tokens that are masked in the whole batch may be dropped before the language model; `kept` lists the remaining ones
    as indices into the full layout [camera 0, camera 1, ..., text].
    """

    keys: tuple[Tensor, ...]
    """One per layer, after RoPE: (B, M, K, d)."""
    values: tuple[Tensor, ...]
    """One per layer: (B, M, K, d)."""
    hidden: Tensor
    """Hidden states after the final norm: (B, K, D). Not used at inference."""
    embeddings: Tensor
    """Input of the first layer: (B, K, D)."""
    positions: Tensor
    """Position ids given to the language model: (B, K) int64."""
    valid: Tensor
    """False where a token is masked in this row of the batch: (B, K), bool."""
    kept: Tensor
    """Indices of the kept tokens in the full layout: (K,) int64."""


@dataclass(frozen=True)
class Chunk:
    """Result of one policy call: the actions and the denoise steps that led to them."""

    actions: Tensor
    """Actions in the model's normalised units: (B, H, A) float32."""
    path: Tensor
    """x before each step, then the result: (steps + 1, B, H, A) float32."""
    velocity: Tensor
    """v of each step: (steps, B, H, A) float32."""
    time: Tensor
    """t of each step, 1 is noise and 0 the action: (steps,) float32."""
    prefix: Prefix


class Pi05(nn.Module):
    """Pi0.5: pictures and a prompt in, a chunk of actions out.

    `capture.checkpoints.key_names` maps the names of its parameters to those of openpi's and lerobot's checkpoints.
    """

    def __init__(self, config: Pi05Config) -> None:
        super().__init__()
        self.config = config
        width = config.expert.width
        self.vision_tower: Any = _vision_tower(config.vision)
        self.projector = nn.Linear(config.vision.width, config.vlm.width)
        self.language_model: Any = _language_model(config.vlm, config.vocabulary)
        self._cache_argument = cache_argument(self.language_model.forward)
        self.expert = Expert(config.expert)
        self.action_in_proj = nn.Linear(config.action_dim, width)
        self.action_out_proj = nn.Linear(width, config.action_dim)
        self.time_mlp_in = nn.Linear(width, width)
        self.time_mlp_out = nn.Linear(width, width)
        self.eval()

    @torch.no_grad()
    def sample_actions(
        self,
        pictures: Sequence[Tensor | None],
        tokens: Tensor,
        token_mask: Tensor,
        noise: Tensor,
        *,
        camera_mask: Tensor | None = None,
        moment: Tensor | None = None,
        steps: int | None = None,
        grid: TimeGrid = "openpi",
        drop_masked: bool = True,
        after_step: Callable[[int], None] | None = None,
    ) -> Chunk:
        """Run the policy once: return a chunk of actions for model inputs (see `embed_prefix`) and `noise`.

        `noise`: (B, H, A) float32. `steps`, `grid`, `after_step`: see `denoise`. `drop_masked`: see `run_prefix`.
        """
        with exact_float32():
            embeddings, valid = self.embed_prefix(
                pictures, tokens, token_mask, camera_mask, moment
            )  # (B, P, D), (B, P)
            prefix = self.run_prefix(embeddings, valid, drop_masked=drop_masked)
            return self.denoise(noise, prefix, steps=steps, grid=grid, after_step=after_step)

    def embed_prefix(
        self,
        pictures: Sequence[Tensor | None],
        tokens: Tensor,
        token_mask: Tensor,
        camera_mask: Tensor | None = None,
        moment: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Return the embeddings of the whole prefix (B, P, D) and which of its tokens are valid (B, P) bool.

        P = 256 C + T. `pictures`: one (B, 3, 224, 224) float32 per camera slot; None for a slot that is masked in the
        whole batch, whose tokens are then zeros. `tokens` (B, T) int64, `token_mask` (B, T) bool. `camera_mask`: (B, C)
        bool; None means all True. `moment`: (B,) int64, the index of each row into `pictures`, where rows share them
        and each is encoded once. Rows with different prompts can share only this step: in the language model, patches
        attend to the text too.
        """
        batch = len(tokens)
        patches = (self.config.vision.image_size // self.config.vision.patch_size) ** 2
        text = self.language_model.embed_tokens(tokens)  # (B, T, D), scaled by sqrt(D) since transformers 5.4
        blocks, masks = [], []
        for slot, picture in enumerate(pictures):
            if picture is None:
                blocks.append(text.new_zeros(batch, patches, text.shape[-1]))  # (B, 256, D)
                masks.append(token_mask.new_zeros(batch, patches))  # (B, 256)
                continue
            embedded = self.embed_pictures(picture).to(text.dtype)  # (B or moments, 256, D)
            blocks.append(embedded if moment is None else embedded[moment])  # (B, 256, D)
            shown = token_mask.new_ones(batch) if camera_mask is None else camera_mask[:, slot]  # (B,)
            masks.append(shown[:, None].expand(batch, patches))  # (B, 256)
        return torch.cat([*blocks, text], dim=1), torch.cat([*masks, token_mask], dim=1)  # (B, P, D), (B, P)

    def embed_pictures(self, pictures: Tensor) -> Tensor:
        """Return the tokens (n, 256, D), row-major over 16 x 16, of `pictures` (n, 3, 224, 224) float32 in [-1, 1]."""
        tower = self.vision_tower
        patches = tower.embeddings(pictures)  # (n, 256, width), float32 also in a bfloat16 policy
        patches = patches.to(tower.post_layernorm.weight.dtype)  # (n, 256, width)
        features = tower.encoder(inputs_embeds=patches).last_hidden_state  # (n, 256, width)
        return cast(Tensor, self.projector(tower.post_layernorm(features)))  # (n, 256, D)

    def run_prefix(self, embeddings: Tensor, valid: Tensor, *, drop_masked: bool = True) -> Prefix:
        """Run the prefix phase on `embeddings` (B, P, D) and `valid` (B, P) bool.

        Positions count valid tokens only, so dropping tokens that are masked in the whole batch before the language
        model changes nothing else; `drop_masked=False` keeps them, as the reference does.
        """
        positions = valid.long().cumsum(dim=1) - 1  # (B, P)
        kept = torch.arange(valid.shape[1], device=valid.device)  # (P,)
        if drop_masked:
            kept = kept[valid.any(dim=0)]  # (K,)
        embeddings, valid, positions = embeddings[:, kept], valid[:, kept], positions[:, kept]  # (B, K, ...)
        visible = valid[:, None, :, None] & valid[:, None, None, :]  # (B, 1, K, K)
        # Always passed: without a mask Gemma's attention is causal. float32, so that the softmax gets unrounded logits.
        mask = torch.zeros(visible.shape, device=visible.device).masked_fill(~visible, MASKED)  # (B, 1, K, K) float32
        return self.run_language_model(embeddings, mask, positions, valid, kept)

    def run_language_model(
        self, embeddings: Tensor, mask: Tensor, positions: Tensor, valid: Tensor, kept: Tensor
    ) -> Prefix:
        """Run Gemma on `embeddings` (B, K, D) with an additive `mask` (B, 1, K, K) float32. The rest: see `Prefix`."""
        cache = DynamicCache()
        output = self.language_model(
            inputs_embeds=embeddings,
            attention_mask=mask,
            position_ids=positions,
            use_cache=True,
            **{self._cache_argument: cache},
        )
        return Prefix(
            keys=tuple(layer.keys for layer in cache.layers),
            values=tuple(layer.values for layer in cache.layers),
            hidden=output.last_hidden_state,
            embeddings=embeddings,
            positions=positions,
            valid=valid,
            kept=kept,
        )

    def denoise(
        self,
        noise: Tensor,
        prefix: Prefix,
        *,
        steps: int | None = None,
        grid: TimeGrid = "openpi",
        after_step: Callable[[int], None] | None = None,
        differentiable: bool = False,
    ) -> Chunk:
        """Run the suffix phase: Euler steps from `noise` (B, H, A) float32 at t = 1 to the actions at t = 0.

        A `prefix` of one row is shared by all rows of `noise`.

        `steps`: number of steps, the configuration's if None. `grid`: how the times are rounded, see `step_times`.
        `after_step` is called with the number of each finished step, from 0. `differentiable` keeps autograd's graph.
        """
        steps = steps or self.config.denoise_steps
        times = times_on(noise.device, steps, grid)  # (steps,)
        x, path, velocities = noise, [noise], []
        with torch.set_grad_enabled(differentiable):
            for step, time in enumerate(times):
                v = self.velocity(x, time.expand(len(x)), prefix)  # (B, H, A)
                x = x + torch.tensor(-1.0 / steps, dtype=torch.float32) * v  # (B, H, A)
                velocities.append(v)
                path.append(x)
                if after_step:
                    after_step(step)
            return Chunk(x, torch.stack(path), torch.stack(velocities), times.clone(), prefix)

    def velocity(self, x: Tensor, time: Tensor, prefix: Prefix) -> Tensor:
        """Return the velocity v (B, H, A) float32 at `x` (B, H, A) float32 and `time` (B,) (openpi `denoise_step`)."""
        batch, horizon, _ = x.shape
        valid = prefix.valid.expand(batch, -1)  # (B, K)
        positions = valid.sum(dim=1)[:, None] + torch.arange(horizon, device=x.device)  # (B, H)
        visible = torch.cat([valid, valid.new_ones(batch, horizon)], dim=1)  # (B, K + H)
        mask = torch.zeros(visible.shape, device=x.device).masked_fill(~visible, MASKED)  # (B, K + H)
        mask = mask[:, None, None].expand(-1, -1, horizon, -1)  # (B, 1, H, K + H)
        tokens = self.action_in_proj(x)  # (B, H, E)
        tokens = tokens.to(prefix.keys[0].dtype)  # (B, H, E)
        hidden = self.expert(tokens, self.condition(time), positions, prefix.keys, prefix.values, mask)  # (B, H, E)
        return cast(Tensor, self.action_out_proj(hidden.to(self.action_out_proj.weight.dtype)))  # (B, H, A)

    def condition(self, time: Tensor) -> Tensor:
        """Return the condition of the expert's norms, (B, E) float32, for `time` (B,) float32."""
        embedding = time_embedding(time, self.config.expert.width)  # (B, E)
        hidden = nn.functional.silu(self.time_mlp_in(embedding))  # (B, E)
        return nn.functional.silu(self.time_mlp_out(hidden))  # (B, E)

    @property
    def device(self) -> torch.device:
        """Device of the parameters."""
        return self.action_in_proj.weight.device

    def refill_buffers(self, device: torch.device | str) -> None:
        """Compute every buffer on `device`; construction on the meta device leaves them empty.

        The RoPE frequencies are float32 whatever the policy's dtype. Raises RuntimeError for a buffer not known here.
        """
        positions = self.config.vision.image_size // self.config.vision.patch_size
        self.vision_tower.embeddings.position_ids = torch.arange(positions**2, device=device)[None]  # (1, 256)
        rotary, head_dim = self.language_model.rotary_emb, self.config.vlm.head_dim
        exponent = torch.arange(0, head_dim, 2, dtype=torch.float32, device=device) / head_dim  # (d/2,)
        rotary.inv_freq = 1.0 / ROPE_BASE**exponent  # (d/2,)
        rotary.original_inv_freq = rotary.inv_freq.clone()
        scale = torch.tensor(self.config.vlm.width**0.5, device=device)  # ()
        self.language_model.embed_tokens.embed_scale = scale
        hollow = [name for name, buffer in self.named_buffers() if buffer.is_meta]
        if hollow:
            raise RuntimeError(
                f"This version of transformers has buffers that are not filled here: {', '.join(hollow)}."
            )


def step_times(steps: int, grid: TimeGrid = "openpi") -> Tensor:
    """Return the times t of the denoise steps, from 1 down: (steps,) float32.

    openpi accumulates `dt = -1/steps` in float32 (`pi0_pytorch.py: sample_actions`); lerobot rounds `1 + step * dt`
    once.
    """
    if grid == "lerobot":
        return torch.tensor([1.0 + step * (-1.0 / steps) for step in range(steps)], dtype=torch.float32)
    dt = torch.tensor(-1.0 / steps, dtype=torch.float32)
    times = [torch.tensor(1.0, dtype=torch.float32)]
    for _ in range(steps - 1):
        times.append(times[-1] + dt)
    return torch.stack(times)


@functools.cache
def times_on(device: torch.device, steps: int, grid: TimeGrid) -> Tensor:
    """Return `step_times` on a device, cached: copying it in each call would wait for all queued GPU work.

    All calls share the tensor; do not modify it.
    """
    return step_times(steps, grid).to(device)  # (steps,)


def time_embedding(time: Tensor, width: int, shortest: float = 4e-3, longest: float = 4.0) -> Tensor:
    """Return sines, then cosines, of t at `width / 2` periods spaced geometrically (openpi `posemb_sincos`).

    `time`: (B,). Returns (B, width) float32, computed in float64.
    """
    exponent = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64, device=time.device)  # (width/2,)
    period = shortest * (longest / shortest) ** exponent  # (width/2,)
    angle = 2 * math.pi * time.double()[:, None] / period  # (B, width/2)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).float()  # (B, width)


def _vision_tower(config: VisionConfig) -> nn.Module:
    tower = SiglipVisionModel(
        SiglipVisionConfig(
            hidden_size=config.width,
            intermediate_size=config.mlp,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            image_size=config.image_size,
            patch_size=config.patch_size,
            hidden_act="gelu_pytorch_tanh",
            layer_norm_eps=1e-6,
            vision_use_head=False,
            attn_implementation="sdpa",
        )
    )
    # Up to transformers 5.5 the tower sits one module deeper.
    return cast(nn.Module, getattr(tower, "vision_model", tower))


def _language_model(config: StackConfig, vocabulary: int) -> nn.Module:
    model: nn.Module = GemmaModel(
        GemmaConfig(
            vocab_size=vocabulary,
            hidden_size=config.width,
            intermediate_size=config.mlp,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            num_key_value_heads=config.kv_heads,
            head_dim=config.head_dim,
            hidden_act="gelu_pytorch_tanh",
            rms_norm_eps=NORM_EPS,
            rope_parameters={"rope_type": "default", "rope_theta": ROPE_BASE},
            pad_token_id=0,
            attn_implementation="eager",  # the only implementation that returns its weights
        )
    )
    return model


def cache_argument(forward: Callable[..., Any]) -> str:
    """Return the name of the cache argument of `forward` (Gemma): `cache` since 5.24, else `past_key_values`.

    5.24 deprecates the old name, to be removed in 5.40. The signature is read through decorators that preserve it
    (`functools.wraps`). A name that only `**kwargs` would accept does not count: Gemma would fill its own cache.

    Raises:
        UserError: neither name is in the signature.
    """
    parameters = inspect.signature(forward).parameters
    for name in ("cache", "past_key_values"):
        if name in parameters:
            return name
    raise UserError(
        f"transformers {transformers.__version__} gives Gemma's cache a name that is not known here (its arguments are "
        f"{', '.join(parameters)}); install an older release of transformers"
    )
