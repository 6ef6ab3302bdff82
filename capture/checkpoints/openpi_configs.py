"""openpi's Pi0.5 training configurations: the settings that its checkpoints do not store.

Taken from openpi's `training/config.py`, `training/misc/polaris_config.py` and the policies that they name. No file of
a checkpoint states the name of its configuration, so it is inferred from the folder's name or the asset id, or given
with `--config`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from capture.errors import UserError
from capture.observation import EXTERIOR, RIGHT_WRIST, WRIST


@dataclass(frozen=True)
class OpenpiConfig:
    """One of openpi's Pi0.5 configurations, as far as inference depends on it."""

    name: str
    horizon: int
    """Actions in a chunk."""
    asset_id: str | None
    """Folder of its normalisation statistics below `assets/`."""
    robot_dim: int | None
    """Action dimensions that go to the robot; None for as many as the statistics have."""
    state_dim: int | None
    state_in_prompt: bool = True
    relative: tuple[bool, ...] = ()
    """Which leading action dimensions are predicted relative to the state; () for none."""
    cameras: tuple[str, ...] = (EXTERIOR, WRIST)
    """Cameras in slot order, without slots that are always masked."""
    units: str = "the robot's"
    """Units in which states are taken and actions are given."""
    note: str | None = None
    """Robot-specific conversions that are not done here, for the user."""
    origin: str = ""
    """What states these values; empty for the training configuration of this name in openpi's code."""

    @property
    def reason(self) -> str:
        """What decided a value that is taken from here, such as "as in openpi's pi05_droid"."""
        return self.origin or f"as in openpi's {self.name}"


_ALOHA_NOTE = (
    "openpi's flips of joints, gripper conversion and the sum of joint actions with the state are not applied here: "
    "they are left to the caller"
)


def _aloha(name: str) -> OpenpiConfig:
    return OpenpiConfig(
        name,
        50,
        "trossen",
        14,
        14,
        cameras=(EXTERIOR, WRIST, RIGHT_WRIST),
        units="pi's own ALOHA units",
        note=_ALOHA_NOTE,
    )


CONFIGS: Final = {
    config.name: config
    for config in (
        OpenpiConfig("pi05_droid", 15, "droid", 8, 8),
        OpenpiConfig("pi05_droid_finetune", 16, "droid", 8, 8),
        OpenpiConfig("pi05_full_droid_finetune", 16, "droid", 8, 8, relative=(True,) * 7),
        OpenpiConfig("pi05_droid_jointpos_polaris", 15, "droid", 8, 8, relative=(True,) * 7),
        OpenpiConfig("pi05_libero", 10, "physical-intelligence/libero", 7, 8, state_in_prompt=False),
        _aloha("pi05_aloha"),
        _aloha("pi05_aloha_pen_uncap"),
        # openpi has no inference configuration for its base model; this is Pi0Config's own default.
        OpenpiConfig("pi05_base", 50, None, None, None, cameras=(EXTERIOR, WRIST, RIGHT_WRIST)),
    )
}
"""By name. `pi05_base` is a checkpoint rather than a configuration."""

_BY_ASSET: Final = {"droid": "pi05_droid", "physical-intelligence/libero": "pi05_libero", "trossen": "pi05_aloha"}
"""Asset id -> released checkpoint; fine-tuned ones keep the id and change the horizon."""

_CONVERTED: Final = ("_pytorch", "-pytorch", "_torch", "-torch", "_safetensors", "-safetensors")
"""Common suffixes of converted folders; openpi's own examples write `pi05_droid_pytorch`."""


def find_config(name: str) -> OpenpiConfig:
    """Return the configuration of this name. Raises UserError for any other name."""
    if name in CONFIGS:
        return CONFIGS[name]
    if name.startswith(("pi0_", "pi0-", "paligemma_")):
        raise UserError(f"--config {name} is not a Pi0.5 configuration; this program runs Pi0.5: {', '.join(CONFIGS)}")
    raise UserError(
        f"--config {name} is not known here; choose one of {', '.join(CONFIGS)}, or leave it out and say what differs "
        "with --horizon and --norm-stats"
    )


def config_of_folder(parts: Sequence[str]) -> OpenpiConfig | None:
    """Return the configuration named by a path's last four parts, or None (openpi: `<config>/<run>/<step>`)."""
    for part in parts[:-5:-1]:
        name = part
        for ending in _CONVERTED:
            name = name.removesuffix(ending)
        if name in CONFIGS:
            return CONFIGS[name]
    return None


def config_of_asset(asset_id: str) -> OpenpiConfig | None:
    """Return the configuration whose released checkpoint has this asset id, or None."""
    name = _BY_ASSET.get(asset_id)
    return CONFIGS[name] if name else None
