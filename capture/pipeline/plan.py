"""Plan one results file: what will be run and stored, known before weights or pictures are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import repeat
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import torch

from capture import __version__
from capture.datasets.base import Episode
from capture.datasets.in_memory import InMemoryEpisode, check_pictures
from capture.datasets.regions.source import RegionMasks, RegionSource
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.frame_builder import Kept
from capture.pipeline.frame_selection import ALL_FRAMES, FrameSelection
from capture.pipeline.input_decisions import StateRange, decide_frames, decide_masked_slots, decide_prompts
from capture.pipeline.prompts import OWN_PROMPT, Prompts
from capture.policies.base import PolicySpec, Prepared, TokenTable
from capture.policies.region_coverage import cover_patches
from capture.provenance import Decision, merge_decisions
from capture.results import schema, scores_schema
from capture.results.scores_schema import format_keep
from capture.results.word_groups import group_tokens

GENERATOR: Final = f"pi0-capture {__version__}"
KEPT_TABLES: Final = 2048
"""Token tables that a plan keeps (about 16 MB), so that most frames are tokenised only once."""


@dataclass(frozen=True)
class RunOptions:
    """The user's options of a run."""

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
    """Pairs of reader and writer processes, one per open file; 0: this process does both; None: chosen by the run."""
    graphs: bool = True
    """Whether calls on a GPU may be replayed as CUDA graphs."""
    frames: FrameSelection = ALL_FRAMES
    prompts: Prompts = OWN_PROMPT
    maps_every: int = scores_schema.ALL_MAPS
    """`maps_every` of the files' `schema.Sizes`."""
    regions: RegionSource | None = None
    """Where the regions come from whose scores are stored, if any."""

    @property
    def replayed(self) -> bool:
        """Whether calls are replayed as CUDA graphs; not with --check, which compares the times of calls."""
        return self.device.type == "cuda" and self.graphs and not self.check

    @property
    def kept(self) -> Kept:
        """What is kept of recorded calls."""
        has_scores = self.maps_every != scores_schema.ALL_MAPS or self.regions is not None
        return Kept.choose(self.stored_as, self.maps_every, has_scores=has_scores)

    @property
    def stored_as(self) -> torch.dtype | None:
        """Number type to which attention is rounded; None keeps the policy's own."""
        return torch.bfloat16 if self.store == "bfloat16" else None


@dataclass(frozen=True)
class Setup:
    """A policy and the options of a run, the same for all its results files."""

    policy: PolicySpec
    options: RunOptions
    weights: str
    """Fingerprint of the checkpoint's weights."""
    source_decisions: tuple[Decision, ...] = ()
    """`decisions` of the source of the episodes; empty where these are in memory."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Numbers of the layers to record. Raises UserError for one that the policy does not have."""
        return _check_numbers(self.options.layers, self.policy.sizes.layers, "layer")

    @property
    def steps(self) -> tuple[int, ...]:
        """Numbers of the denoise steps to record. Raises UserError for one that the policy does not take."""
        return _check_numbers(self.options.steps, self.policy.sizes.denoise_steps, "denoise step")

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
            "input": {decision.subject: decision.choice for decision in self.source_decisions},
            **({} if options.maps_every == scores_schema.ALL_MAPS else {"keep": format_keep(options.maps_every)}),
            **({} if options.regions is None else {"regions": options.regions.origin}),
        }

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """Decisions that all files of the run share."""
        prompts = decide_prompts(self.options.prompts)
        return merge_decisions(self.policy.decisions, self.source_decisions, [prompts])


@dataclass(frozen=True)
class FileOutline:
    """Sizes, attributes and warnings of a results file to be written."""

    sizes: schema.Sizes
    run: Mapping[str, object]
    """The file's attribute `run`."""
    warnings: tuple[str, ...]
    decisions: tuple[Decision, ...]
    """All decisions about the input of this file, each once."""


@dataclass(frozen=True)
class Plan(FileOutline):
    """All that is known of one results file without reading weights or decoding pictures."""

    setup: Setup
    episode: Episode
    moments: tuple[int, ...]
    """Frame numbers in the episode, in rising order."""
    ends: npt.NDArray[np.int64]
    """(moments,) number of frames in the file up to and including each moment, which has one per prompt."""
    tables: tuple[TokenTable, ...]
    """Token tables of the first frames, at most `KEPT_TABLES`."""

    @property
    def outline(self) -> FileOutline:
        """The part that concerns the file alone."""
        return FileOutline(self.sizes, self.run, self.warnings, self.decisions)

    regions: RegionMasks | None = None
    """Masks of the regions, for `sizes.regions`."""

    @property
    def frame_bytes(self) -> int:
        """Largest size of a frame in the file, uncompressed; the mean where not all keep their maps."""
        width, every = 2 if self.setup.options.store == "bfloat16" else 4, self.sizes.maps_every
        part = sum(scores_schema.keeps_maps(every, frame) for frame in range(self.sizes.frames)) / self.sizes.frames
        return round(
            sum(
                dataset.frame_bytes(width) * (part if dataset.name in schema.OF_MAPS else 1)
                for dataset in schema.datasets(self.sizes)
            )
        )

    def moments_from(self, start: int = 0) -> Iterator[list[tuple[Prepared, int]]]:
        """Yield the frames from number `start` on, prepared for the model and with their seeds, one moment at a time.

        Pictures are decoded one moment at a time. Frames of a moment share their prepared pictures and their seed.
        Raises UserError for pictures that cannot be read or whose size differs from the plan's.
        """
        setup, shapes = self.setup, dict(zip(self.sizes.cameras, self.sizes.pictures, strict=True))
        first = int(np.searchsorted(self.ends, start, side="right"))
        skipped = start - (int(self.ends[first - 1]) if first else 0)
        number = start
        left = self.moments[first:]
        masks = repeat(None) if self.regions is None else self.regions.read(left)
        for observation, mask in zip(self.episode.read(left), masks, strict=self.regions is not None):
            check_pictures(observation, shapes)
            pictures = setup.policy.prepare_pictures(observation)
            state = setup.policy.robot_state(observation.state)
            coverage = None if mask is None else cover_patches(self.sizes.regions, mask, pictures)
            frames = []
            for prompt in setup.options.prompts.of(observation.prompt)[skipped:]:
                is_known = number < len(self.tables)
                tokens = self.tables[number] if is_known else setup.policy.tokenise(prompt, observation.state)
                number += 1
                frames.append(
                    (
                        Prepared(replace(observation, prompt=prompt, state=state), pictures, tokens, coverage),
                        frame_seed(setup, observation),
                    )
                )
            skipped = 0
            yield frames


def frame_seed(setup: Setup, observation: Observation) -> int:
    """Return the seed of a frame's noise, which depends on the moment alone: prompts are compared with equal noise."""
    return setup.options.seed + observation.index


def make_plan(setup: Setup, episode: Episode) -> Plan:
    """Plan the results file of an episode. Raises UserError for data or options that do not fit the policy."""
    policy, options, axes = setup.policy, setup.options, setup.policy.sizes
    layers, steps = setup.layers, setup.steps
    tokenizer_warning = policy.check_tokenizer()
    warnings_by_kind: dict[str, list[str]] = {"cut": [], "empty": []}
    moments = options.frames.choose(episode.length, axes.horizon)
    shapes = episode.shapes
    if unknown := [camera for camera in shapes if camera not in axes.cameras]:
        raise UserError(f"this policy has no camera {unknown[0]!r}; its cameras are {', '.join(axes.cameras)}")
    if not shapes:
        raise UserError(f"no camera picture was given; this policy's cameras are {', '.join(axes.cameras)}")
    cameras = tuple(camera for camera in axes.cameras if camera in shapes)
    for camera in cameras:
        policy.letterbox(*shapes[camera])  # raises UserError for pictures too narrow to be scaled

    ends: list[int] = []
    tables: list[TokenTable] = []
    states: set[int] = set()
    state_range = StateRange()
    tokens = words = text_bytes = piece_bytes = 1
    frames = hashlib.sha256()
    count = 0
    for observation in episode.read_without_pictures(moments):
        where = f"frame {observation.index}" + (f" of {observation.episode}" if observation.episode else "")
        prompts = options.prompts.of(observation.prompt)
        state = policy.robot_state(observation.state)
        states.add(0 if state is None else len(state))
        if len(states) > 1:
            raise UserError(
                "some frames have a state and some have none, or of another length; a results file holds one length"
            )
        for number, prompt in enumerate(prompts, 1):
            which = f"{where}, prompt {number} of {len(prompts)}" if len(prompts) > 1 else where
            table = policy.tokenise(prompt, observation.state)
            if table.warning:
                warnings_by_kind["cut"].append(f"{which}: {table.warning}")
            if not prompt.strip():
                warnings_by_kind["empty"].append(f"{which}: the prompt is empty, which the policy was not trained with")
            if len(tables) < KEPT_TABLES:
                tables.append(table)
            tokens = max(tokens, len(table))
            words = max(words, len(group_tokens(table.role, table.word, table.state_index, table.pieces)))
            state_range.add(table, 0 if observation.state is None else len(observation.state))
            text_bytes = max(text_bytes, *(len(t.encode()) for t in (prompt, observation.episode, table.text)))
            piece_bytes = max(piece_bytes, *(len(piece.encode()) for piece in table.pieces))
        frames.update(_serialise(observation, prompts))
        count += len(prompts)
        ends.append(count)
    if len(ends) != len(moments):
        raise UserError(f"the episode gives {len(ends)} frames where {len(moments)} were chosen")
    of_cameras = {camera: shapes[camera] for camera in cameras}
    regions = None if options.regions is None else options.regions.open(episode, of_cameras)
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
        maps_every=options.maps_every,
        regions=() if regions is None else regions.names,
        words=words,
    )
    own = episode.frame_decisions(moments)
    run = {
        **setup.run,
        "input": _list_input(setup, episode, own),
        "count": count,
        "frames": frames.hexdigest(),
        "pictures": _fingerprint_pictures(episode, shapes),
        **({} if regions is None else {"region_masks": regions.fingerprint}),
    }
    warnings = [
        *([tokenizer_warning] if tokenizer_warning else []),
        *(_merge_warnings(repeated) for repeated in warnings_by_kind.values() if repeated),
    ]
    decisions = merge_decisions(
        setup.decisions,
        own,
        decide_masked_slots(axes.cameras, shapes, (*setup.decisions, *own)),
        [decide_frames(options.frames, moments, episode.length)],
        state_range.decide(),
        () if regions is None else regions.decisions,
    )
    ends_array = np.array(ends, dtype=np.int64)
    return Plan(sizes, run, tuple(warnings), decisions, setup, episode, moments, ends_array, tuple(tables), regions)


def _list_input(setup: Setup, episode: Episode, own: Sequence[Decision]) -> dict[str, str]:
    """Return subject and choice of what decides which pictures are shown, beside those that are fingerprinted.

    An episode that lacks a camera of its source may show another one instead. Pictures in memory are fingerprinted, and
    may come from files with other names.
    """
    cameras = (
        () if isinstance(episode, InMemoryEpisode) else [decision for decision in own if " camera" in decision.subject]
    )
    return {decision.subject: decision.choice for decision in (*setup.source_decisions, *cameras)}


def _merge_warnings(repeated: list[str]) -> str:
    """Merge the warnings of many frames into one sentence."""
    others = len(repeated) - 1
    return repeated[0] + (f" (and so in {others} frame{'s' * (others != 1)} more)" if others else "")


def _serialise(observation: Observation, prompts: tuple[str, ...]) -> bytes:
    """Serialise an observation's values other than its pictures, for a fingerprint."""
    values: list[Any] = [
        observation.index,
        observation.time,
        observation.episode,
        observation.is_upside_down,
        *prompts,
    ]
    serialised = json.dumps(values).encode()
    for numbers in (observation.state, observation.true_actions):
        serialised += b"-" if numbers is None else str(numbers.shape).encode() + np.ascontiguousarray(numbers).tobytes()
    return serialised


def _fingerprint_pictures(episode: Episode, shapes: Mapping[str, tuple[int, int]]) -> str:
    """Return a fingerprint of the pictures in memory, otherwise of their sizes: decoding videos would take too long."""
    found = hashlib.sha256(json.dumps({camera: list(shapes[camera]) for camera in sorted(shapes)}).encode())
    if isinstance(episode, InMemoryEpisode):
        for observation in episode.observations:
            for camera in sorted(observation.pictures):
                found.update(np.ascontiguousarray(observation.pictures[camera]).tobytes())
    return found.hexdigest()


def _check_numbers(chosen: tuple[int, ...] | None, count: int, what: str) -> tuple[int, ...]:
    if chosen is None:
        return tuple(range(count))
    for number in chosen:
        if not 0 <= number < count:
            raise UserError(f"there is no {what} {number}: this policy has {count}, numbered 0 to {count - 1}")
    return chosen
