"""A Pi0.5 checkpoint with its tokenizer, as the pipeline requires it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
import torch

from capture.checkpoints.load import Checkpoint
from capture.datasets.base import SourceOptions
from capture.datasets.key_mapping import NONE
from capture.errors import UserError
from capture.observation import Observation
from capture.policies.base import PolicySizes, TokenTable
from capture.policies.letterbox import Letterbox, Picture, letterbox
from capture.policies.pi05.policy import Pi05Policy, policy_sizes, prepare_pictures
from capture.policies.tokenizer import Tokenizer, check_vocabulary
from capture.provenance import Decision

_ARM_DIM: Final = 8
"""Action dimensions of an arm of seven joints and its gripper, as DROID's."""


@dataclass(frozen=True)
class Pi05Spec:
    """A Pi0.5 policy before its weights are read; see `capture.policies.base.PolicySpec`."""

    checkpoint: Checkpoint
    tokenizer: Tokenizer

    @property
    def name(self) -> str:
        """Short name of the checkpoint."""
        return self.checkpoint.name

    @property
    def kind(self) -> str:
        """Kind of checkpoint."""
        return self.checkpoint.kind

    @property
    def config_hash(self) -> str:
        """SHA-256 of sizes, preprocessing and statistics."""
        return self.checkpoint.config_hash

    @property
    def tokenizer_name(self) -> str:
        """Folder and file of the tokenizer."""
        return self.tokenizer.name

    @property
    def time_grid(self) -> str:
        """Which code base's rounding of the flow times is used."""
        return self.checkpoint.preprocessing.time_grid

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Where each setting that changes the model's input or the meaning of its actions comes from."""
        return self.checkpoint.decisions

    @property
    def sizes(self) -> PolicySizes:
        """Lengths of the policy's axes."""
        return policy_sizes(self.checkpoint.config, self.checkpoint.preprocessing)

    @property
    def source_options(self) -> SourceOptions:
        """What this policy requires of a data set."""
        preprocessing, sizes = self.checkpoint.preprocessing, self.sizes
        lengths = preprocessing.state_lengths
        # Actions relative to the state are positions, and so are the demo's; others may be velocities.
        positions = preprocessing.relative_dims > 0 or self.kind == "demo"
        return SourceOptions(
            cameras=sizes.cameras,
            horizon=sizes.horizon,
            state_dim=lengths[0] if lengths else None,
            padded_state_dim=lengths[-1] if len(lengths) > 1 else None,
            robot_dim=sizes.robot_dim if preprocessing.has_robot_units else None,
            renamed_cameras=self.checkpoint.cameras.renamed,
            camera_features=self.checkpoint.cameras.features,
            # True actions are in robot units, and say nothing beside actions that are not.
            action_keys=() if preprocessing.has_robot_units else (NONE,),
            has_joint_actions=sizes.robot_dim == _ARM_DIM and positions,
        )

    def parameter_bytes(self, dtype: torch.dtype) -> int:
        """Return the size of the weights in `dtype`, in bytes."""
        return self.checkpoint.parameter_bytes(dtype)

    def fingerprint(self) -> str:
        """Return a hash that changes with the weights. Raises UserError where their files cannot be read."""
        try:
            return self.checkpoint.fingerprint()
        except OSError as error:
            reason = error.strerror or error
            raise UserError(f"the weights in {self.checkpoint.path} cannot be read ({reason})") from None

    def check_tokenizer(self) -> str | None:
        """Return a warning if the tokenizer probably does not fit the model. Raises UserError if it cannot fit."""
        return check_vocabulary(self.tokenizer, self.checkpoint.config.vocabulary)

    def tokenise(self, prompt: str, state: npt.NDArray[np.float64] | None) -> TokenTable:
        """Return the tokens of a task and a state in robot units. Raises UserError for what the policy cannot take."""
        table = self.checkpoint.preprocessing.prompt(prompt, state, self.tokenizer)
        check_vocabulary(table.ids, self.checkpoint.config.vocabulary)
        return table

    def robot_state(self, state: npt.NDArray[np.float64] | None) -> npt.NDArray[np.float64] | None:
        """Return a state without zeros that pad it to the length of the statistics."""
        return None if state is None else self.checkpoint.preprocessing.robot_state(state)

    def letterbox(self, height: int, width: int) -> Letterbox:
        """Return where a camera picture of this size lies in the model's. Raises UserError for unusable sizes."""
        return letterbox(height, width)

    def prepare_pictures(self, observation: Observation) -> dict[str, Picture]:
        """Return the pictures as the model sees them, in the order of its slots. Raises UserError."""
        return prepare_pictures(observation, self.checkpoint.preprocessing)

    def load(
        self, device: torch.device, dtype: torch.dtype, progress: Callable[[int, int], None] | None = None
    ) -> Pi05Policy:
        """Read the weights and return the policy; see `Checkpoint.load`."""
        model = self.checkpoint.load(device, dtype, progress)
        return Pi05Policy(model, self.checkpoint.preprocessing, self.tokenizer)

    def without_weights(self) -> Pi05Spec:
        """Return a copy that can be pickled: the weights may hold open files."""
        return replace(self, checkpoint=replace(self.checkpoint, weights=cast(Any, None)))
