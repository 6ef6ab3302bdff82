"""Settings read from a checkpoint's configuration files, in this project's terms."""

from __future__ import annotations

from dataclasses import dataclass

from capture.policies.pi05.preprocessing import Preprocessing


@dataclass(frozen=True)
class Settings:
    """Settings of a checkpoint other than its weights and their sizes."""

    preprocessing: Preprocessing
    horizon: int
    denoise_steps: int
    inferred: tuple[str, ...]
    """One sentence for each setting that was inferred because no file states it."""
