"""Run a Pi0.5 policy offline and write its attention to one HDF5 file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capture.policies.attention_hooks import AttentionRecorder

__version__ = "0.1.0"
__all__ = ["AttentionRecorder", "__version__"]


def __getattr__(name: str) -> object:
    """Import `AttentionRecorder`, and with it torch, when it is first asked for (PEP 562)."""
    if name == "AttentionRecorder":
        from capture.policies.attention_hooks import AttentionRecorder

        return AttentionRecorder
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
