"""What will be run and stored, known before a weight or a picture is read: the plan of one results file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from capture import __version__
from capture.datasets.base import Episode
from capture.datasets.in_memory import InMemoryEpisode, check_pictures
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.frame_selection import ALL_FRAMES, FrameSelection
from capture.pipeline.prompts import OWN_PROMPT, Prompts
from capture.policies.base import PolicySpec, Prepared, TokenTable
from capture.results import schema

GENERATOR: Final = f"pi0-capture {__version__}"
KEPT_TABLES: Final = 2048
"""Token tables that a plan keeps, some 16 MB, so that most frames are tokenised once."""


@dataclass(frozen=True)
class RunOptions:
    """What the user chose to run and to keep."""

    device: torch.device
    dtype: torch.dtype
    seed: int = 0
    layers: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None
    full: bool = False
    check: bool = False
    store: Literal["bfloat16", "float32"] = "bfloat16"
    compress: bool = False
    overwrite: bool = False
    batch: int = 1
    workers: int | None = None
    """Pairs of processes that read and write, a file each; 0 where this process does both; None for what fits."""
    graphs: bool = True
    """Whether a GPU's calls may be replayed as CUDA graphs."""
    frames: FrameSelection = ALL_FRAMES
    prompts: Prompts = OWN_PROMPT

    @property
    def replayed(self) -> bool:
        """Whether calls are replayed as CUDA graphs; not so where their time is compared with that of others."""
        return self.device.type == "cuda" and self.graphs and not self.check

    @property
    def stored_as(self) -> torch.dtype | None:
        """Number type to which attention is rounded; None where it is kept as the policy computed it."""
        return torch.bfloat16 if self.store == "bfloat16" else None


@dataclass(frozen=True)
class Setup:
    """A policy and what is asked of it: the same for every results file of a run."""

    policy: PolicySpec
    options: RunOptions
    weights: str
    """Fingerprint of the checkpoint's weights."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Layers to record. Raises UserError for one that the policy does not have."""
        return _within(self.options.layers, self.policy.sizes.layers, "layer")

    @property
    def steps(self) -> tuple[int, ...]:
        """Denoise steps to record. Raises UserError for one that the policy does not take."""
        return _within(self.options.steps, self.policy.sizes.denoise_steps, "denoise step")

    @property
    def model(self) -> dict[str, object]:
        """The file's attribute `model`."""
        policy, sizes, options = self.policy, self.policy.sizes, self.options
        return {
            "layers": sizes.layers,
            "heads": sizes.heads,
            "horizon": sizes.horizon,
            "steps": sizes.denoise_steps,
            "action_dim": sizes.action_dim,
            "dtype": str(options.dtype).removeprefix("torch."),
            "device": options.device.type,
            "kind": policy.kind,
            "name": policy.name,
            "config_hash": policy.config_hash,
            "tokenizer": policy.tokenizer_name,
            "time_grid": policy.time_grid,
        }

    @property
    def run(self) -> dict[str, object]:
        """The part of the file's attribute `run` that all files of a run share."""
        options, policy, sizes = self.options, self.policy, self.policy.sizes
        return {
            "device": options.device.type,
            "dtype": str(options.dtype).removeprefix("torch."),
            "seed": options.seed,
            "layers": list(self.layers),
            "steps": list(self.steps),
            "denoise_steps": sizes.denoise_steps,
            "horizon": sizes.horizon,
            "time_grid": policy.time_grid,
            "full": options.full,
            "store": options.store,
            "compress": options.compress,
            "check": options.check,
            "config": policy.config_hash,
            "weights": self.weights,
            "tokenizer": policy.tokenizer_name,
        }


@dataclass(frozen=True)
class FileOutline:
    """What a results file will be."""

    sizes: schema.Sizes
    run: Mapping[str, object]
    """The file's attribute `run`."""
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Plan(FileOutline):
    """Everything about one results file that can be known without weights and without decoding pictures."""

    setup: Setup
    episode: Episode
    moments: tuple[int, ...]
    """Frame numbers of the episode, rising."""
    ends: npt.NDArray[np.int64]
    """(moments,) frames of the file up to and with each moment: a moment has one for each of its prompts."""
    tables: tuple[TokenTable, ...]
    """Of the first frames."""

    @property
    def outline(self) -> FileOutline:
        """What of it concerns the file alone."""
        return FileOutline(self.sizes, self.run, self.warnings)

    @property
    def frame_bytes(self) -> int:
        """What a frame takes in the file at most, uncompressed."""
        width = 2 if self.setup.options.store == "bfloat16" else 4
        return sum(dataset.frame_bytes(width) for dataset in schema.datasets(self.sizes))

    def moments_from(self, start: int = 0) -> Iterator[list[tuple[Prepared, int]]]:
        """The frames from number `start` on, each ready for the model and with its seed, a moment's at a time.

        Pictures are decoded as it goes; frames of one moment share their prepared pictures and their seed. Raises
        UserError for pictures that cannot be read or differ from what the plan was made for.
        """
        setup, shapes = self.setup, dict(zip(self.sizes.cameras, self.sizes.pictures, strict=True))
        first = int(np.searchsorted(self.ends, start, side="right"))
        skipped = start - (int(self.ends[first - 1]) if first else 0)
        number = start
        for observation in self.episode.read(self.moments[first:]):
            check_pictures(observation, shapes)
            pictures = setup.policy.prepare_pictures(observation)
            frames = []
            for prompt in setup.options.prompts.of(observation.prompt)[skipped:]:
                known = number < len(self.tables)
                tokens = self.tables[number] if known else setup.policy.tokenise(prompt, observation.state)
                number += 1
                frames.append(
                    (Prepared(replace(observation, prompt=prompt), pictures, tokens), frame_seed(setup, observation))
                )
            skipped = 0
            yield frames


def frame_seed(setup: Setup, observation: Observation) -> int:
    """The same noise for the same moment: prompts compared on one picture then differ in their words alone."""
    return setup.options.seed + observation.index


def make_plan(setup: Setup, episode: Episode) -> Plan:
    """Check everything that can be checked before a weight is read. Raises UserError for what does not fit."""
    policy, options, axes = setup.policy, setup.options, setup.policy.sizes
    layers, steps = setup.layers, setup.steps
    other_tokenizer = policy.check_tokenizer()
    doubts: dict[str, list[str]] = {"cut": [], "empty": []}
    moments = options.frames.choose(episode.length, axes.horizon)
    shapes = episode.shapes
    if unknown := [camera for camera in shapes if camera not in axes.cameras]:
        raise UserError(f"this policy has no camera {unknown[0]!r}; its cameras are {', '.join(axes.cameras)}")
    if not shapes:
        raise UserError(f"no camera picture was given; this policy's cameras are {', '.join(axes.cameras)}")
    cameras = tuple(camera for camera in axes.cameras if camera in shapes)
    for camera in cameras:
        policy.letterbox(*shapes[camera])  # raises UserError for pictures of which nothing would be left

    ends: list[int] = []
    tables: list[TokenTable] = []
    states: set[int] = set()
    tokens = text_bytes = piece_bytes = 1
    frames = hashlib.sha256()
    count = 0
    for observation in episode.read_without_pictures(moments):
        where = f"frame {observation.index}" + (f" of {observation.episode}" if observation.episode else "")
        prompts = options.prompts.of(observation.prompt)
        states.add(0 if observation.state is None else len(observation.state))
        if len(states) > 1:
            raise UserError(
                "some frames have a state and some have none, or of another length; a results file holds one length"
            )
        for prompt in prompts:
            table = policy.tokenise(prompt, observation.state)
            if table.warning:
                doubts["cut"].append(f"{where}: {table.warning}")
            if not prompt.strip():
                doubts["empty"].append(f"{where}: the prompt is empty, which the policy was not trained with")
            if len(tables) < KEPT_TABLES:
                tables.append(table)
            tokens = max(tokens, len(table))
            text_bytes = max(text_bytes, *(len(t.encode()) for t in (prompt, observation.episode, table.text)))
            piece_bytes = max(piece_bytes, *(len(piece.encode()) for piece in table.pieces))
        frames.update(_told(observation, prompts))
        count += len(prompts)
        ends.append(count)
    if len(ends) != len(moments):
        raise UserError(f"the episode gives {len(ends)} frames where {len(moments)} were chosen")
    sizes = schema.Sizes(
        frames=count,
        cameras=cameras,
        layers=layers,
        steps=steps,
        heads=axes.heads,
        tokens=tokens,
        horizon=axes.horizon,
        denoise_steps=axes.denoise_steps,
        state_dim=states.pop(),
        robot_dim=axes.robot_dim,
        model_dim=axes.action_dim,
        pictures=tuple(shapes[camera] for camera in cameras),
        full=options.full,
        text_bytes=text_bytes,
        piece_bytes=piece_bytes,
        grid=axes.grid,
        model_picture=axes.picture,
    )
    run = {**setup.run, "count": count, "frames": frames.hexdigest(), "pictures": _pictures(episode, shapes)}
    warnings = [*([other_tokenizer] if other_tokenizer else []), *(_first_of(same) for same in doubts.values() if same)]
    ends_array = np.array(ends, dtype=np.int64)
    return Plan(sizes, run, tuple(warnings), setup, episode, moments, ends_array, tuple(tables))


def _first_of(same: list[str]) -> str:
    """One sentence for what is to be said of many frames alike."""
    others = len(same) - 1
    return same[0] + (f" (and so in {others} frame{'s' * (others != 1)} more)" if others else "")


def _told(observation: Observation, prompts: tuple[str, ...]) -> bytes:
    """What an observation says beside its pictures, as bytes that change if any of it does."""
    known: list[Any] = [observation.index, observation.time, observation.episode, observation.is_upside_down, *prompts]
    said = json.dumps(known).encode()
    for numbers in (observation.state, observation.true_actions):
        said += b"-" if numbers is None else str(numbers.shape).encode() + np.ascontiguousarray(numbers).tobytes()
    return said


def _pictures(episode: Episode, shapes: Mapping[str, tuple[int, int]]) -> str:
    """A sum over the pictures that are at hand, else over their sizes: decoding a video for it would take too long."""
    found = hashlib.sha256(json.dumps({camera: list(shapes[camera]) for camera in sorted(shapes)}).encode())
    if isinstance(episode, InMemoryEpisode):
        for observation in episode.observations:
            for camera in sorted(observation.pictures):
                found.update(np.ascontiguousarray(observation.pictures[camera]).tobytes())
    return found.hexdigest()


def _within(chosen: tuple[int, ...] | None, count: int, what: str) -> tuple[int, ...]:
    if chosen is None:
        return tuple(range(count))
    for number in chosen:
        if not 0 <= number < count:
            raise UserError(f"there is no {what} {number}: this policy has {count}, numbered 0 to {count - 1}")
    return chosen
