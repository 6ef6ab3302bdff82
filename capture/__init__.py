"""Run a Pi0.5 policy offline and write its attention to one HDF5 file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capture.policies.attention_hooks import AttentionRecorder
    from capture.rollouts.recorder import RolloutRecorder

__version__ = "0.1.0"
__all__ = ["AttentionRecorder", "RolloutRecorder", "__version__"]


def __getattr__(name: str) -> object:
    """Import a recorder, and with it torch, when it is first asked for (PEP 562)."""
    if name == "AttentionRecorder":
        from capture.policies.attention_hooks import AttentionRecorder

        return AttentionRecorder
    if name == "RolloutRecorder":
        from capture.rollouts.recorder import RolloutRecorder

        return RolloutRecorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
