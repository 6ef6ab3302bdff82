"""Settings read from a checkpoint's configuration files, in this project's terms."""

from __future__ import annotations

from dataclasses import dataclass

from capture.policies.pi05.preprocessing import Preprocessing
from capture.provenance import Decision


@dataclass(frozen=True)
class Settings:
    """Settings of a checkpoint other than its weights and their sizes."""

    preprocessing: Preprocessing
    horizon: int
    denoise_steps: int
    decisions: tuple[Decision, ...]
    """Where each setting that changes the model's input or the meaning of its actions comes from."""


def assume(subject: str, choice: str, reason: str) -> Decision:
    """Return a decision that neither a file nor an option makes."""
    return Decision(subject, choice, reason, is_certain=False)


def conclude(subject: str, choice: str, reason: str) -> Decision:
    """Return a decision that a file or an option makes."""
    return Decision(subject, choice, reason, is_certain=True)
