"""User options that add to or override what a checkpoint's files state."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from capture.errors import UserError
from capture.results.schema import mass_groups

LerobotVersion = Literal["0.4", "current"]
Normalisation = Literal["quantile", "mean-std", "none"]

NORMALISATIONS: Final[tuple[Normalisation, ...]] = ("quantile", "mean-std", "none")


@dataclass(frozen=True)
class CheckpointOptions:
    """Options for opening a checkpoint; None keeps the checkpoint's own setting."""

    horizon: int | None = None
    """Actions in a chunk."""
    denoise_steps: int | None = None
    norm_stats: Path | None = None
    """File or folder of normalisation statistics that replaces the checkpoint's own."""
    asset_id: str | None = None
    """Which of several statistics to use, such as `droid`."""
    config: str | None = None
    """Name of the openpi configuration that the checkpoint was trained with, such as `pi05_droid`."""
    sizes: Path | Mapping[str, object] | None = None
    """Sizes not determined by shapes, as JSON: `{"vision": {"num_attention_heads": 4}, "vlm": {"num_kv_heads": 1}}`."""
    cameras: tuple[str, ...] | None = None
    """Names of the cameras, in the order of the model's picture slots."""
    turned: bool | None = None
    """The given pictures are upside down, as from LIBERO's simulator; its stored data sets are not."""
    state_in_prompt: bool | None = None
    """Whether the policy reads the state in its prompt (openpi: `discrete_state_input`)."""
    normalisation: Normalisation | None = None
    """How states and actions are normalised; `none` needs no statistics, and actions stay in the model's units."""
    relative_actions: tuple[bool, ...] | None = None
    """Which action dimensions are predicted relative to the state, the first ones at the front; () for none."""
    lora_alpha: float | None = None
    """Alpha of LoRA adapters, whose scale is alpha / rank."""
    base: str | Path | None = None
    """Policy that a LoRA adapter was trained on, instead of the one that the adapter names."""
    lerobot_version: LerobotVersion | None = None
    """Version of lerobot that trained the policy: 0.4 zero-padded states and padded pictures with -3."""
    offline: bool = False
    """Read Hugging Face repositories from the local cache only."""

    def __post_init__(self) -> None:
        for flag, value in (("--horizon", self.horizon), ("--denoise-steps", self.denoise_steps)):
            if value is not None and not 1 <= value <= MOST_STEPS:
                raise UserError(f"{flag} {value} is not possible; give a whole number from 1 to {MOST_STEPS}")
        if self.cameras is not None:
            check_cameras(self.cameras, "--cameras")
        if self.normalisation is not None and self.normalisation not in NORMALISATIONS:
            raise UserError(f"--normalisation {self.normalisation} is not known; give {', '.join(NORMALISATIONS)}")
        if self.lora_alpha is not None and not 0 < self.lora_alpha < math.inf:
            raise UserError(f"--lora-alpha {self.lora_alpha:g} is not possible; give a number above 0")
        if self.lerobot_version not in (None, "0.4", "current"):
            raise UserError(f"--lerobot-version {self.lerobot_version} is not known; give 0.4 or current")


MOST_STEPS = 10_000
"""Upper limit of horizon and denoise steps; a larger value is probably a typing error and would exhaust memory."""


def check_cameras(cameras: tuple[str, ...], where: str) -> None:
    """Raise UserError for camera names that are empty, repeated, or reserved in a results file."""
    groups = mass_groups(())
    for name in cameras:
        if not name.strip() or "/" in name or name in groups or name.endswith(" bars") or name in (".", ".."):
            raise UserError(
                f"{where}: a camera cannot be called {name!r}; choose a plain name such as exterior or wrist"
            )
    if not cameras or len(set(cameras)) != len(cameras):
        raise UserError(f"{where}: give each camera its own name, at least one, not {', '.join(cameras) or 'none'}")
