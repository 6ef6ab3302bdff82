"""What training minimises: Pi0.5's flow matching, and beside it losses that exist in training alone.

The extra losses are declared in the demo's card: what a patch shows, where the named thing lies, and the attention of
one head.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from resources.demo.build.forward import PrefixPass
from resources.demo.build.things import THINGS

EPSILON = 1e-6


@dataclass(frozen=True)
class Batch:
    """One training batch on the device. B batch, T tokens, S things a scene at most, H horizon, A action dimensions."""

    pictures: Tensor
    """(B, 2, 3, 224, 224) float32 in [-1, 1]."""
    cover: Tensor
    """(B, 2, S, 256) float32: share of each patch that each thing covers."""
    kinds: Tensor
    """(B, S) int64 numbers of the things, -1 where there is none."""
    places: Tensor
    """(B, S, 2) float32 metres."""
    tokens: Tensor
    """(B, T) int64."""
    names: Tensor
    """(B, T) int64: slot + 1 of the thing that a token names, 0 for none."""
    goal: Tensor
    """(B,) int64 slot of the thing to be reached."""
    actions: Tensor
    """(B, H, A) float32, normalised, zeros beyond the robot's dimensions."""


class ReadOuts(nn.Module):
    """Linear read-outs that exist in training alone: the kind of thing a patch shows, the place of a named thing."""

    def __init__(self, vision_width: int, width: int) -> None:
        super().__init__()
        self.kind = nn.Linear(vision_width, len(THINGS) + 1)
        self.place = nn.Linear(width, 2)
        self.middle: Tensor
        self.register_buffer("middle", torch.tensor([5.0, 0.0]))


def draw_flow(actions: Tensor, repeats: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Draw points on straight paths from noise to actions, as Pi0 and Pi0.5 train (arXiv 2410.24164, openpi `pi0.py`).

    t ~ 0.999 Beta(1.5, 1) + 0.001, x = t noise + (1 - t) actions, v = noise - actions.

    Returns:
        x and v, (B, R, H, A), and t, (B, R).
    """
    batch = len(actions)
    device = actions.device
    uniform = torch.rand(batch, repeats, generator=generator, device=device)
    time = 0.999 * uniform ** (1 / 1.5) + 0.001  # the inverse of Beta(1.5, 1)'s distribution function, u = t^1.5
    noise = torch.randn(batch, repeats, *actions.shape[1:], generator=generator, device=device)  # (B, R, H, A)
    part = time[..., None, None]
    return part * noise + (1 - part) * actions[:, None], noise - actions[:, None], time


def pointing_loss(weights: Tensor, target: Tensor, shown: Tensor) -> Tensor:
    """Return how far rows of attention are from the named thing's patches, in every camera that shows it.

    Minus the logarithm of the weight on the thing's patches, camera by camera, out of the whole row: least where a
    row's weight is split evenly between the cameras and lies nowhere else. (A share of each camera's own weight will
    not do: a head can then win by leaving a camera without weight.)

    Args:
        weights: (N, 2 n) attention on the kept patches, both cameras one after the other.
        target: (N, 2, n) share of each patch that the thing covers.
        shown: (N, 2) bool, whether the thing shows in a camera.

    Returns:
        Scalar.
    """
    rows = weights.unflatten(1, target.shape[1:])  # (N, 2, n)
    target = target / target.amax(dim=-1, keepdim=True).clamp_min(EPSILON)  # (N, 2, n)
    hit = (rows * target).sum(-1).clamp_min(1e-20)  # (N, 2)
    return -(hit.log() * shown).sum() / shown.sum().clamp_min(1)  # type: ignore[no-any-return]


def read_out_losses(heads: ReadOuts, passed: PrefixPass, batch: Batch, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Return cross-entropy of what each kept patch shows, and squared error of where the named things lie (in dm²)."""
    object_count = batch.cover.shape[2]
    index = kept[:, :, None].expand(-1, -1, object_count, -1)  # (B, 2, S, n)
    cover = batch.cover.gather(3, index).transpose(2, 3).flatten(1, 2)  # (B, 2 n, S)
    most, slot = cover.max(dim=-1)  # (B, 2 n)
    kind = batch.kinds.gather(1, slot.flatten(1)).view_as(slot)  # (B, 2 n)
    label = torch.where(most > 0.35, kind + 1, torch.where(most < 0.03, 0, -100))  # (B, 2 n)
    logits = heads.kind(passed.patches)  # (B, 2 n, kinds + 1)
    scale = torch.ones(logits.shape[-1], device=logits.device)
    scale[0] = 0.15
    shows = nn.functional.cross_entropy(logits.flatten(0, 1), label.flatten(), weight=scale, ignore_index=-100)

    named = batch.names > 0  # (B, T)
    place = heads.place(passed.hidden[:, -batch.names.shape[1] :])  # (B, T, 2) decimetres from the table's middle
    slots = (batch.names - 1).clamp_min(0)[..., None].expand(-1, -1, 2)  # (B, T, 2)
    wish = batch.places.gather(1, slots) * 10 - heads.middle  # (B, T, 2)
    error = (place - wish).square().mean(-1) * named  # (B, T)
    return shows, error.sum() / named.sum()


def noun_loss(passed: PrefixPass, batch: Batch, kept: Tensor) -> Tensor:
    """Return `pointing_loss` of the rows of all tokens that name a thing."""
    target, shown = _targets(batch, kept, (batch.names - 1).clamp_min(0))
    shown = shown & (batch.names > 0)[..., None]  # (B, T, 2)
    rows = passed.weights[..., : 2 * kept.shape[-1]]  # (B, T, 2 n)
    return pointing_loss(rows.flatten(0, 1), target.flatten(0, 1), shown.flatten(0, 1))


def action_loss(weights: Tensor, batch: Batch, kept: Tensor) -> Tensor:
    """Return `pointing_loss` of the rows of all action tokens: `weights` (B, R, H, K + H)."""
    each = weights.shape[1] * weights.shape[2]
    target, shown = _targets(batch, kept, batch.goal[:, None])
    rows = weights[..., : 2 * kept.shape[-1]].flatten(0, 2)  # (B R H, 2 n)
    return pointing_loss(rows, target[:, 0].repeat_interleave(each, 0), shown[:, 0].repeat_interleave(each, 0))


def _targets(batch: Batch, kept: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
    """Share of kept patches that things cover, and where these show: slots (B, m) to (B, m, 2, n) and (B, m, 2)."""
    index = kept[:, :, None].expand(-1, -1, batch.cover.shape[2], -1)  # (B, 2, S, n)
    cover = batch.cover.gather(3, index).transpose(1, 2)  # (B, S, 2, n)
    target = cover.gather(1, slots[..., None, None].expand(-1, -1, *cover.shape[2:]))  # (B, m, 2, n)
    return target, target.amax(-1) > 0.15
