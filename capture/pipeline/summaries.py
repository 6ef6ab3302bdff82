"""Small numbers that tell an episode at a glance: where a row's weight goes by group of keys, and how spread it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from capture.results import schema


@dataclass(frozen=True)
class Keys:
    """Which group each key of a row belongs to, in the order [camera 0 patches, ..., text tokens, action tokens].

    Of one observation, or of a batch: its tensors then have an axis B in front, as the weights must have.
    """

    group: Tensor
    """(keys,) or (B, keys) int64, index into `schema.mass_groups`."""
    picture: Tensor
    """(keys,) or (B, keys) bool: patches that show some of a picture, so not those wholly in letterbox bars."""
    groups: int

    def first(self, count: int) -> Keys:
        """The keys of rows that have only so many."""
        return Keys(self.group[..., :count], self.picture[..., :count], self.groups)


def keys_of(bars: Sequence[npt.NDArray[np.bool_]], roles: npt.NDArray[np.int32], actions: int) -> Keys:
    """`bars`: (16, 16) bool a camera, True for patches in the padding; `roles`: (T,); `actions`: number of tokens."""
    names = schema.mass_groups([str(camera) for camera in range(len(bars))])
    place = {name: number for number, name in enumerate(names)}
    parts: list[npt.NDArray[np.int64]] = [
        np.where(bar, 2 * camera + 1, 2 * camera).ravel() for camera, bar in enumerate(bars)
    ]
    by_role = np.array([place.get(role, -1) for role in schema.ROLES])
    parts += [by_role[roles], np.full(actions, place["action"])]
    group = np.concatenate(parts)
    picture = (group < 2 * len(bars)) & (group % 2 == 0)
    return Keys(torch.from_numpy(group), torch.from_numpy(picture), len(names))


def batched(keys: Sequence[Keys]) -> Keys:
    """The keys of several observations of equally many keys as one batch, (B, keys) each."""
    group, picture = torch.stack([one.group for one in keys]), torch.stack([one.picture for one in keys])
    return Keys(group, picture, keys[0].groups)


def mass(weights: Tensor, keys: Keys) -> Tensor:
    """Weight by group: (..., keys) float32 to (..., groups) float32."""
    member = torch.nn.functional.one_hot(keys.group, keys.groups).float()  # (keys, groups) or (B, keys, groups)
    if member.ndim == 2:
        return weights @ member  # (..., groups)
    rows: Tensor = weights.flatten(1, -2) @ member  # (B, rows, groups)
    by_group: Tensor = rows.unflatten(1, weights.shape[1:-1])  # (B, ..., groups)
    return by_group


def entropy(weights: Tensor, keys: Keys) -> Tensor:
    """Entropy in nats over the picture patches, renormalised to sum to 1: (..., keys) float32 to (...).

    0 where all of the picture's weight is on one patch, log(number of patches) where it is spread evenly; 0 as well for
    a row with no weight on any picture.
    """
    shape = (*keys.picture.shape[:-1], *[1] * (weights.ndim - keys.picture.ndim), -1)
    picture = weights.masked_fill(~keys.picture.view(shape), 0)  # (..., keys)
    total = picture.sum(-1)  # (...)
    spread = torch.special.entr(picture).sum(-1)  # (...), -sum of w log w
    tiny = torch.finfo(torch.float32).tiny
    return torch.where(total > 0, spread / total.clamp_min(tiny) + total.clamp_min(tiny).log(), 0.0).clamp_min(
        0.0
    )  # (...)
