"""Calls of a policy on one frame under interventions, with the same pictures, prompt and noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from capture.effects.occlusion import cover
from capture.effects.targets import Fill, Mask, Target
from capture.policies.base import Layout, PolicySizes, Prepared
from capture.policies.interventions import HeadSilencing, Interventions, Knockout

Queries = Literal["actions", "words", "patches", "all"]
Mode = Literal["knockout", "occlude"]
Actions = npt.NDArray[np.float32]


class InterveningPolicy(Protocol):
    """What the engine needs of a policy."""

    @property
    def module(self) -> nn.Module:
        """The module tree that runs."""

    @property
    def sizes(self) -> PolicySizes:
        """Lengths of its axes."""

    @property
    def device(self) -> torch.device:
        """Where it runs."""

    def run_prefix(self, prepared: Sequence[Prepared], *, copies: int = 1) -> Any:
        """Run the prefix phase on observations with the same cameras, or `copies` times on one of them."""

    def layout(self, prepared: Prepared, prefix: Any) -> Layout:
        """Return where the blocks of a prefix of this observation alone lie."""

    def denoise(self, prefix: Any, noise: Tensor) -> Tensor:
        """Return the actions (B, H, A) float32 of `noise` (B, H, A); a prefix of one row is shared by all."""

    def differentiate(self, prepared: Prepared, noise: Tensor) -> Tensor:
        """Return the actions (1, H, A) of one call with autograd's graph."""


@dataclass(frozen=True)
class Intervention:
    """How targets are removed: cut off, covered, or, of heads, silenced."""

    mode: Mode = "knockout"
    queries: Queries = "actions"
    """Whose edges to the target are cut; `all` are those of the whole prefix and of the actions."""
    layers: tuple[int, ...] | None = None
    """Layers in which edges are cut; None means all."""
    heads: tuple[int, ...] | None = None
    """Heads in which edges are cut; None means all."""
    fill: Fill = "mean"
    """What covers occluded patches."""
    head_phase: Literal["prefix", "suffix"] = "suffix"
    """Which stack's heads are silenced: the language model's or the action expert's."""


class EffectEngine:
    """Runs one frame under interventions, several targets a call. All results are (n, H, A) in the model's units."""

    def __init__(
        self,
        policy: InterveningPolicy,
        prepared: Prepared,
        noise: npt.NDArray[np.float32],
        *,
        batch: int = 16,
        after_call: Callable[[int], None] | None = None,
        other_pictures: Mapping[str, Tensor] | None = None,
    ) -> None:
        """`noise`: (H, A). `after_call` is called with the number of finished targets after each call.

        `other_pictures`: camera -> picture (3, height, width) of another frame, to cover with.
        """
        self._policy = policy
        self.prepared = prepared
        self._noise = torch.from_numpy(np.ascontiguousarray(noise, np.float32))[None].to(policy.device)  # (1, H, A)
        self._batch = batch
        self._after_call = after_call
        self._other_pictures = other_pictures or {}
        self._prefix = policy.run_prefix([prepared])
        self.layout = policy.layout(prepared, self._prefix)

    def baseline(self) -> Actions:
        """Return the actions (H, A) of the untouched call."""
        [actions] = self._actions(self._policy.denoise(self._prefix, self._noise))
        return cast(Actions, actions)

    def differentiate(self) -> Tensor:
        """Return the actions (1, H, A) of the untouched call with autograd's graph, on the policy's device."""
        return self._policy.differentiate(self.prepared, self._noise)

    def resample(self, noises: npt.NDArray[np.float32]) -> Actions:
        """Return the actions (S, H, A) of untouched calls with other noise (S, H, A)."""
        actions = []
        for start in range(0, len(noises), self._batch):
            rows = torch.from_numpy(np.ascontiguousarray(noises[start : start + self._batch]))
            actions.append(self._actions(self._policy.denoise(self._prefix, rows.to(self._policy.device))))
            self._report(len(rows))
        return np.concatenate(actions)

    def run_without(self, targets: Sequence[Target], intervention: Intervention) -> Actions:
        """Return the actions (n, H, A) without each of the targets.

        Raises ValueError where a call cannot be: a word cannot be covered in a picture, and a query must keep a key.
        """
        actions = []
        for start in range(0, len(targets), self._batch):
            batch = targets[start : start + self._batch]
            if intervention.mode == "occlude" and batch[0].kind != "head":
                actions.append(self._occlude(batch, intervention.fill))
            else:
                actions.append(self._run(batch, intervention))
            self._report(len(batch))
        return np.concatenate(actions)

    def run_others(self, others: Sequence[Prepared]) -> Actions:
        """Return the actions (n, H, A) of other observations with this frame's noise, such as other prompts."""
        actions = []
        for start in range(0, len(others), self._batch):
            batch = others[start : start + self._batch]
            prefix = self._policy.run_prefix(batch)
            actions.append(self._actions(self._policy.denoise(prefix, self._noise.expand(len(batch), -1, -1))))
            self._report(len(batch))
        return np.concatenate(actions)

    def _run(self, targets: Sequence[Target], intervention: Intervention) -> Actions:
        interventions: list[Knockout | HeadSilencing] = []
        silenced_heads = [(row, target.head) for row, target in enumerate(targets) if target.head is not None]
        if silenced_heads:
            sizes = self._policy.sizes
            heads = torch.zeros(len(targets), sizes.layers, sizes.heads, dtype=torch.bool)
            for row, (layer, head) in silenced_heads:
                heads[row, layer, head] = True
            interventions.append(HeadSilencing(intervention.head_phase, heads))
        changes_prefix = bool(silenced_heads) and intervention.head_phase == "prefix"
        if len(silenced_heads) < len(targets):
            keys = torch.stack([self._keys(target) for target in targets])  # (n, K)
            interventions += self._knockouts(keys, intervention)
            changes_prefix = changes_prefix or intervention.queries != "actions"
        noise = self._noise.expand(len(targets), -1, -1)  # (n, H, A)
        with Interventions(self._policy.module, interventions):
            prefix = self._prefix
            if changes_prefix:
                prefix = self._policy.run_prefix([self.prepared], copies=len(targets))
            return self._actions(self._policy.denoise(prefix, noise))

    def _knockouts(self, keys: Tensor, intervention: Intervention) -> list[Knockout | HeadSilencing]:
        """Return the knockouts of prefix keys (n, K) bool: True is cut off."""
        heads = torch.ones(1, self._policy.sizes.heads if intervention.heads else 1, 1, 1, dtype=torch.bool)
        if intervention.heads:
            heads[:] = False
            heads[:, list(intervention.heads)] = True
        knockouts: list[Knockout | HeadSilencing] = []
        if intervention.queries != "actions":
            count = keys.shape[1]
            rows = torch.zeros(count, dtype=torch.bool)  # (K,) queries
            if intervention.queries in ("words", "all"):
                rows[self.layout.text] = True
            if intervention.queries in ("patches", "all"):
                for patches in self.layout.patches:
                    rows[patches] = True
            edges = keys[:, None, None, :] & rows[None, None, :, None]  # (n, 1, K, K)
            knockouts.append(Knockout("prefix", edges & heads, intervention.layers))
        if intervention.queries in ("actions", "all"):
            action_keys = torch.zeros(len(keys), self._policy.sizes.horizon, dtype=torch.bool)
            edges = torch.cat([keys, action_keys], dim=1)[:, None, None, :]  # (n, 1, 1, K + H)
            knockouts.append(Knockout("suffix", edges & heads, intervention.layers))
        return knockouts

    def _keys(self, target: Target) -> Tensor:
        """Return a mask (K,) of the prefix keys of a region or word."""
        keys = torch.zeros(self.layout.text.stop, dtype=torch.bool)
        if target.patches is not None:
            for mask, positions in zip(target.patches, self.layout.patches, strict=True):
                keys[positions] = torch.from_numpy(mask.reshape(-1).copy())
        keys[[self.layout.text.start + token for token in target.tokens]] = True
        return keys

    def _occlude(self, targets: Sequence[Target], fill: Fill) -> Actions:
        rows = []
        for target in targets:
            if target.patches is None:
                raise ValueError("a word cannot be covered in a picture: use --mode knockout")
            rows.append(self.covered(target.patches, fill))
        prefix = self._policy.run_prefix(rows)
        return self._actions(self._policy.denoise(prefix, self._noise.expand(len(rows), -1, -1)))

    def covered(self, patches: Mask, fill: Fill) -> Prepared:
        """Return the observation with patches (cameras, rows, cols) of the model's pictures covered."""
        pictures = {}
        for mask, (camera, picture) in zip(patches, self.prepared.pictures.items(), strict=True):
            other = self._other_pictures.get(camera)
            pixels = cover(picture.pixels, mask, fill, other) if mask.any() else picture.pixels
            pictures[camera] = replace(picture, pixels=pixels)
        return replace(self.prepared, pictures=pictures)

    def _report(self, count: int) -> None:
        if self._after_call is not None:
            self._after_call(count)

    @staticmethod
    def _actions(actions: Tensor) -> Actions:
        return actions.float().cpu().numpy()
