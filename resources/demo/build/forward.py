"""The training pass of the demo model: the modules of `capture.policies.pi05.model` on a subset of patches.

Reduced passes keep some patches only, at their true positions, which is what makes training on a small machine
possible. With every patch kept the pass computes exactly what `Pi05.sample_actions` computes; a test holds the two
together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from capture.policies.pi05.config import Pi05Config
from capture.policies.pi05.model import MASKED, Pi05, Prefix
from resources.demo.build.bundle import POINTING_ACTION, POINTING_NOUN

PATCHES = 256


@dataclass(frozen=True)
class PrefixPass:
    """The prefix phase of a batch. B batch, n patches kept a camera, T text tokens, K = 2 n + T."""

    prefix: Prefix
    patches: Tensor
    """SigLIP's output: (B, 2 n, width)."""
    hidden: Tensor
    """Output of the language model's pointing layer: (B, K, D)."""
    weights: Tensor
    """Attention of the pointing head, text rows: (B, T, K) float32."""


def fresh_model(config: Pi05Config, seed: int) -> Pi05:
    """Return an untrained policy. The expert's norms begin as plain RMS norms with open gates."""
    torch.manual_seed(seed)
    model = Pi05(config)
    for name, parameter in model.named_parameters():
        if name.startswith("expert.") and "norm" in name:
            nn.init.zeros_(parameter)
            if name.endswith("bias"):
                with torch.no_grad():
                    parameter[2 * len(parameter) // 3 :] = 1.0  # scale, shift, gate: the last third
    return model


def run_prefix(model: Pi05, pictures: Tensor, kept: Tensor, tokens: Tensor) -> PrefixPass:
    """Run the prefix phase on a subset of patches.

    Args:
        model: the policy.
        pictures: (B, 2, 3, 224, 224) float32 in [-1, 1].
        kept: (B, 2, n) int64 patch numbers of each camera, ascending.
        tokens: (B, T) int64, 0 where padding.
    """
    return read_prefix(model, see(model, pictures, kept), kept, tokens)


def see(model: Pi05, pictures: Tensor, kept: Tensor) -> Tensor:
    """Return SigLIP's output on a subset of patches: (B, 2 n, width); arguments as in `run_prefix`."""
    tower = model.vision_tower
    patches = tower.embeddings(pictures.flatten(0, 1))  # (2 B, 256, width)
    index = kept.flatten(0, 1)[..., None].expand(-1, -1, patches.shape[-1])  # (2 B, n, width)
    patches = tower.encoder(inputs_embeds=patches.gather(1, index)).last_hidden_state  # (2 B, n, width)
    return cast(Tensor, tower.post_layernorm(patches).unflatten(0, kept.shape[:2]).flatten(1, 2))


def read_prefix(model: Pi05, patches: Tensor, kept: Tensor, tokens: Tensor) -> PrefixPass:
    """Run the language model on `patches` (B, 2 n, width) and words; other arguments as in `run_prefix`."""
    batch, cameras, number = kept.shape
    text = model.language_model.embed_tokens(tokens)  # (B, T, D)
    embeddings = torch.cat([model.projector(patches).to(text.dtype), text], dim=1)  # (B, K, D)

    valid = torch.cat([tokens.new_ones(batch, cameras * number), tokens], dim=1) > 0  # (B, K)
    offset = torch.arange(cameras, device=kept.device)[:, None] * PATCHES  # (2, 1)
    words = cameras * PATCHES - 1 + (tokens > 0).long().cumsum(1)  # (B, T)
    positions = torch.cat([(kept + offset).flatten(1), words], dim=1)  # (B, K)
    mask = torch.zeros(batch, 1, 1, valid.shape[1], device=valid.device).masked_fill(~valid[:, None, None], MASKED)
    mask = mask.expand(-1, -1, valid.shape[1], -1)  # (B, 1, K, K)

    captured: dict[str, Tensor] = {}
    layer = model.language_model.layers[POINTING_NOUN[0]]

    def keep_weights(_: nn.Module, __: Any, output: Any) -> None:
        captured["weights"] = output[1][:, POINTING_NOUN[1], cameras * number :].float()  # (B, T, K)

    def keep_hidden(_: nn.Module, __: Any, output: Any) -> None:
        captured["hidden"] = output[0] if isinstance(output, tuple) else output  # (B, K, D)

    hooks = [layer.self_attn.register_forward_hook(keep_weights), layer.register_forward_hook(keep_hidden)]
    everything = torch.arange(valid.shape[1], device=valid.device)  # (K,)
    prefix = model.run_language_model(embeddings, mask, positions, valid, everything)
    for hook in hooks:
        hook.remove()
    return PrefixPass(prefix, patches, captured["hidden"], captured["weights"])


def velocity(model: Pi05, x: Tensor, time: Tensor, prefix: Prefix) -> tuple[Tensor, Tensor]:
    """Return one denoise step's v, for R noises a prefix, and the pointing head's attention.

    Args:
        model: the policy.
        x: (B, R, H, A) float32.
        time: (B, R) float32.
        prefix: of B rows; its positions may have gaps, so the actions' are counted from its last one.

    Returns:
        (B, R, H, A) and attention (B, R, H, K + H) float32.
    """
    batch, repeats, horizon, _ = x.shape
    first = prefix.positions.amax(dim=1) + 1  # (B,) padding has the position of the last word
    positions = first[:, None] + torch.arange(horizon, device=x.device)  # (B, H)
    visible = torch.cat([prefix.valid, prefix.valid.new_ones(batch, horizon)], dim=1)  # (B, K + H)
    mask = torch.zeros(visible.shape, device=x.device).masked_fill(~visible, MASKED)[:, None, None]  # (B, 1, 1, K + H)
    keys, values = (
        [each.repeat_interleave(repeats, dim=0) for each in layers] for layers in (prefix.keys, prefix.values)
    )  # (B R, M, K, d) a layer
    captured: dict[str, Tensor] = {}

    def keep_weights(_: nn.Module, __: Any, output: Any) -> None:
        captured["weights"] = output[1][:, POINTING_ACTION[1]].float()  # (B R, H, K + H)

    pointing: Any = model.expert.layers[POINTING_ACTION[0]]
    hook = pointing.self_attn.register_forward_hook(keep_weights)
    tokens = model.action_in_proj(x.flatten(0, 1)).to(prefix.keys[0].dtype)  # (B R, H, E)
    hidden = model.expert(
        tokens,
        model.condition(time.flatten()),
        positions.repeat_interleave(repeats, dim=0),
        keys,
        values,
        mask.repeat_interleave(repeats, dim=0),
    )  # (B R, H, E)
    hook.remove()
    v = model.action_out_proj(hidden.to(model.action_out_proj.weight.dtype))  # (B R, H, A)
    return v.unflatten(0, (batch, repeats)), captured["weights"].unflatten(0, (batch, repeats))
