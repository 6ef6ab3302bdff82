"""Checkpoints of Pi0.5 in the forms that openpi and lerobot write: what they are, and the way into a model.

`open_checkpoint` is the door; nothing outside this package knows a foreign file, name or layout.
"""

from capture.checkpoint.kinds import Kind
from capture.checkpoint.opening import Checkpoint, open_checkpoint
from capture.checkpoint.options import CheckpointOptions

__all__ = ["Checkpoint", "CheckpointOptions", "Kind", "open_checkpoint"]
