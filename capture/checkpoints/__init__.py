"""Reading of Pi0.5 checkpoints in the formats of openpi (PyTorch and JAX) and lerobot.

`open_checkpoint` is the entry point. Only this package depends on the files, names and layouts of those formats.
"""

from capture.checkpoints.detect import Kind
from capture.checkpoints.load import Checkpoint, open_checkpoint
from capture.checkpoints.options import CheckpointOptions
from capture.checkpoints.policy_spec import Pi05Spec

__all__ = ["Checkpoint", "CheckpointOptions", "Kind", "Pi05Spec", "open_checkpoint"]
