"""Checkpoints of Pi0.5 in the forms that openpi and lerobot write: what they are, and the way into a model.

`open_checkpoint` is the door; nothing outside this package knows a foreign file, name or layout.
"""

from capture.checkpoints.detect import Kind
from capture.checkpoints.load import Checkpoint, open_checkpoint
from capture.checkpoints.options import CheckpointOptions
from capture.checkpoints.policy_spec import Pi05Spec

__all__ = ["Checkpoint", "CheckpointOptions", "Kind", "Pi05Spec", "open_checkpoint"]
