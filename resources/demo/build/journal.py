"""What a rebuild did, step by step: machine, amounts, seconds and losses, kept beside its work and shipped with it."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import torch

NAME: Final = "run.json"


def read(folder: Path) -> dict[str, Any]:
    """Return what is noted in `folder` so far."""
    path = folder / NAME
    stages: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return stages


def note(folder: Path, stage: str, details: dict[str, Any], seconds: float, *, finished: bool = True) -> None:
    """Note `details` under a stage; seconds of earlier calls that did not finish it are added.

    Nothing changes where the stage was finished before with the same told.
    """
    whole = read(folder)
    before = whole.get(stage, {})
    spent = before.pop("seconds", 0.0)
    if before.pop("finished", False):
        if before == details:
            return
        spent = 0.0
    whole[stage] = {**details, "seconds": round(spent + seconds, 1), "finished": finished}
    half = folder / f"{NAME}.half"
    half.write_text(json.dumps(whole, indent=1) + "\n")
    half.replace(folder / NAME)


def machine(device: torch.device) -> dict[str, Any]:
    """Return on which machine a stage ran and with which versions."""
    accelerator = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "device": accelerator or device.type,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("torch", "transformers", "numpy", "mujoco")},
    }
