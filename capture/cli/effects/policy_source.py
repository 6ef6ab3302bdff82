"""The policy whose effects are measured: the checkpoint of the first results file, loaded at its first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from capture.cli.option_groups import DTYPES
from capture.cli.setup import choose_device, open_policy
from capture.errors import UserError

if TYPE_CHECKING:
    import argparse

    from capture.cli.progress import Console
    from capture.effects.results_frames import ResultsFrames


class PolicySource:
    """Opens the checkpoint of the first file, and holds every other file to it."""

    def __init__(self, options: argparse.Namespace, console: Console, local: int | None = None) -> None:
        """`options`: of the policy, `device` and `dtype`. `local`: number of this process on its machine."""
        self._options, self._console, self._local = options, console, local
        self.spec: Any = None
        self.device: Any = None
        self.policy: Any = None
        self._dtype: str | None = None
        self.frames_run = 0
        """Frames of all files whose effects were measured."""

    def use(self, spec: Any, device: Any, policy: Any, dtype: str) -> None:
        """Take a checkpoint that was opened, and its policy where it was loaded (None: it is loaded when needed)."""
        self.spec, self.device, self.policy, self._dtype = spec, device, policy, dtype

    def open(self, frames: ResultsFrames) -> str:
        """Return the number type with which a file's calls are repeated. Reads no weights.

        Raises UserError for a file of another policy, or where no checkpoint was named.
        """
        options = self._options
        if self.spec is None:
            options.demo = options.checkpoint is None
            if options.demo and frames.model.get("kind") != "demo":
                name = frames.model.get("name")
                raise UserError(f"the file was made with {name!r}; name that checkpoint with --checkpoint")
            self._console.stage("opening the checkpoint")
            self.spec = open_policy(options)
            self.device = choose_device(options.device, self._local)
        dtype = options.dtype or frames.model.get("dtype")
        if dtype not in DTYPES:
            raise UserError(f"{frames.path} does not say in which number type its policy ran; give --dtype")
        stored = frames.model.get("config_hash")
        if stored is not None and stored != self.spec.config_hash:
            raise UserError(
                f"{frames.path} was made with another checkpoint, or with other options for the policy, than "
                f"{self.spec.name}; give those of the capture"
            )
        return str(dtype)

    def load(self, dtype: str) -> Any:
        """Return the policy in a number type; it stays loaded for the next file."""
        if self.policy is None or dtype != self._dtype:
            self.policy = None  # one at a time fits into memory
            self._console.stage("loading transformers")
            self.policy = self.spec.load(self.device, getattr(torch, dtype), self._console.loading)
            self._dtype = dtype
        return self.policy
