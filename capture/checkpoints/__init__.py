"""Reading of Pi0.5 checkpoints in the formats of openpi (PyTorch and JAX) and lerobot.

`open_checkpoint` is the entry point. Only this package depends on the files, names and layouts of those formats. What
needs PyTorch is imported when it is first used (PEP 562), so that options can be checked without it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from capture.checkpoints.detect import Kind
    from capture.checkpoints.load import Checkpoint, open_checkpoint
    from capture.checkpoints.options import CheckpointOptions
    from capture.checkpoints.policy_spec import Pi05Spec

__all__ = ["Checkpoint", "CheckpointOptions", "Kind", "Pi05Spec", "open_checkpoint"]

_MODULES: Final = {
    "Checkpoint": "load", "CheckpointOptions": "options", "Kind": "detect", "Pi05Spec": "policy_spec",
    "open_checkpoint": "load",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
