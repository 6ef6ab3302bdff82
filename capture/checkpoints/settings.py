"""What a checkpoint's configuration files say, in the words of this project."""

from __future__ import annotations

from dataclasses import dataclass

from capture.policies.pi05.preprocessing import Preprocessing


@dataclass(frozen=True)
class Settings:
    """Everything but the weights and their sizes."""

    preprocessing: Preprocessing
    horizon: int
    denoise_steps: int
    inferred: tuple[str, ...]
    """One sentence for each thing that no file says outright."""
