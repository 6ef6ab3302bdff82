"""Whether a Pi0.5 policy reads the robot's state, as far as names and a configuration file tell without PyTorch."""

from __future__ import annotations

from pathlib import Path

from capture.checkpoints.openpi_configs import CONFIGS, config_of_folder
from capture.errors import UserError
from capture.json_fields import read_json


def is_state_required(checkpoint: Path, config: str | None, asset: str | None) -> bool:
    """Return whether the policy in a local folder certainly has the state in its prompt.

    False where a file or a name may say otherwise, and where nothing can be told before the checkpoint is opened.

    Args:
        checkpoint: Folder or file of the checkpoint.
        config: Name of openpi's training configuration that the user gave; None for none.
        asset: Asset id of the statistics that the user gave; None for none.
    """
    if config is not None:
        return config in CONFIGS and CONFIGS[config].state_in_prompt
    try:
        folder = checkpoint.expanduser().resolve()
        folder = folder if folder.is_dir() else folder.parent
        has_file = (folder / "config.json").is_file()
        if not has_file and not (folder / "params").is_dir() and not (folder / "_METADATA").is_file():
            return False  # not a checkpoint; opening it tells what it is
        if has_file and read_json(folder / "config.json").flag("state_in_prompt") is False:
            return False
        known_config = config_of_folder(folder.parts)
        if known_config is not None:
            return known_config.state_in_prompt
        folders = (folder, folder.parent, folder.parent.parent)
        stateless_assets = {
            config.asset_id for config in CONFIGS.values() if not config.state_in_prompt and config.asset_id
        }
        return asset not in stateless_assets and not any(
            (parent / name).is_dir()
            for parent in folders
            for name in (*stateless_assets, *(f"assets/{asset_id}" for asset_id in stateless_assets))
        )
    except (OSError, UserError):
        return False
