"""Plan one results file: what will be run and stored, known before weights or pictures are read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from capture import __version__
from capture.datasets.base import Episode
from capture.datasets.in_memory import InMemoryEpisode, check_pictures
from capture.datasets.regions.source import RegionMasks
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.planning.input_decisions import StateRange, decide_frames, decide_masked_slots
from capture.pipeline.planning.setup import Setup
from capture.policies.base import PolicySpec, Prepared, TokenTable
from capture.policies.region_coverage import cover_patches
from capture.provenance import Decision, merge_decisions
from capture.results import schema, scores_schema
from capture.results.dataset_layout import list_datasets
from capture.results.word_groups import group_tokens

GENERATOR: Final = f"pi0-capture {__version__}"
KEPT_TABLES: Final = 2048
"""Token tables that a plan keeps (about 16 MB), so that most frames are tokenised only once."""


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
                for dataset in list_datasets(self.sizes)
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
        remaining = self.moments[first:]
        masks = repeat(None) if self.regions is None else self.regions.read(remaining)
        for observation, mask in zip(self.episode.read(remaining), masks, strict=self.regions is not None):
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
    options, axes = setup.options, setup.policy.sizes
    layers, steps = setup.layers, setup.steps
    tokenizer_warning = setup.policy.check_tokenizer()
    moments = options.frames.choose(episode.length, axes.horizon)
    shapes = episode.shapes
    cameras = _choose_cameras(setup.policy, shapes)
    contents = _read_contents(setup, episode, moments)
    shown = {camera: shapes[camera] for camera in cameras}
    regions = None if options.regions is None else options.regions.open(episode, shown)
    sizes = schema.Sizes(
        frames=int(contents.ends[-1]),
        cameras=cameras,
        layers=layers,
        steps=steps,
        heads=axes.heads,
        tokens=contents.tokens,
        horizon=axes.horizon,
        denoise_steps=axes.denoise_steps,
        state_dim=contents.state_dim,
        robot_dim=axes.robot_dim,
        model_dim=axes.action_dim,
        pictures=tuple(shown.values()),
        full=options.full,
        text_bytes=contents.text_bytes,
        piece_bytes=contents.piece_bytes,
        grid=axes.grid,
        model_picture=axes.picture,
        maps_every=options.maps_every,
        regions=() if regions is None else regions.names,
        words=contents.words,
    )
    episode_decisions = episode.frame_decisions(moments)
    run = {
        **setup.run,
        "input": _list_input(setup, episode, episode_decisions),
        "count": sizes.frames,
        "frames": contents.fingerprint,
        "pictures": _fingerprint_pictures(episode, shapes),
        **({} if regions is None else {"region_masks": regions.fingerprint}),
    }
    warnings = [
        *([tokenizer_warning] if tokenizer_warning else []),
        *(_merge_warnings(repeated) for repeated in contents.warnings_by_kind.values() if repeated),
    ]
    decisions = merge_decisions(
        setup.decisions,
        episode_decisions,
        decide_masked_slots(axes.cameras, shapes, (*setup.decisions, *episode_decisions)),
        [decide_frames(options.frames, moments, episode.length)],
        contents.state_range.decide(),
        () if regions is None else regions.decisions,
    )
    ends, tables = np.array(contents.ends, dtype=np.int64), tuple(contents.tables)
    return Plan(sizes, run, tuple(warnings), decisions, setup, episode, moments, ends, tables, regions)


def _choose_cameras(policy: PolicySpec, shapes: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
    """Return the policy's cameras that have pictures, in its order; `shapes`: camera -> height and width.

    Raises UserError for a camera that the policy does not have, for no camera, and for pictures too narrow to scale.
    """
    axes = policy.sizes
    if unknown := [camera for camera in shapes if camera not in axes.cameras]:
        raise UserError(f"this policy has no camera {unknown[0]!r}; its cameras are {', '.join(axes.cameras)}")
    if not shapes:
        raise UserError(f"no camera picture was given; this policy's cameras are {', '.join(axes.cameras)}")
    cameras = tuple(camera for camera in axes.cameras if camera in shapes)
    for camera in cameras:
        policy.letterbox(*shapes[camera])  # raises UserError for pictures too narrow to be scaled
    return cameras


@dataclass
class _Contents:
    """Lengths, tokens and fingerprint of the chosen frames, without their pictures."""

    ends: list[int] = field(default_factory=list)
    """Number of frames in the file up to and including each moment."""
    tables: list[TokenTable] = field(default_factory=list)
    tokens: int = 1
    words: int = 1
    text_bytes: int = 1
    piece_bytes: int = 1
    state_dim: int = 0
    state_range: StateRange = field(default_factory=StateRange)
    fingerprint: str = ""
    """SHA-256 (hex) of the observations' values and prompts."""
    warnings_by_kind: dict[str, list[str]] = field(default_factory=lambda: {"cut": [], "empty": []})

    def add_prompt(self, table: TokenTable, prompt: str, observation: Observation, where: str) -> None:
        """Take up the tokens of one prompt; `where` names its frame in warnings."""
        if table.warning:
            self.warnings_by_kind["cut"].append(f"{where}: {table.warning}")
        if not prompt.strip():
            self.warnings_by_kind["empty"].append(
                f"{where}: the prompt is empty, which the policy was not trained with"
            )
        if len(self.tables) < KEPT_TABLES:
            self.tables.append(table)
        words = group_tokens(table.role, table.word, table.state_index, table.pieces)
        texts = (prompt, observation.episode, table.text)
        self.tokens, self.words = max(self.tokens, len(table)), max(self.words, len(words))
        self.state_range.add(table, 0 if observation.state is None else len(observation.state))
        self.text_bytes = max(self.text_bytes, *(len(text.encode()) for text in texts))
        self.piece_bytes = max(self.piece_bytes, *(len(piece.encode()) for piece in table.pieces))


def _read_contents(setup: Setup, episode: Episode, moments: Sequence[int]) -> _Contents:
    """Read the chosen frames without pictures, and tokenise their prompts.

    Raises UserError for states of different lengths, and where the episode gives another number of frames.
    """
    contents, hashed, count = _Contents(), hashlib.sha256(), 0
    state_dims: set[int] = set()
    for observation in episode.read_without_pictures(moments):
        frame = f"frame {observation.index}" + (f" of {observation.episode}" if observation.episode else "")
        prompts = setup.options.prompts.of(observation.prompt)
        state = setup.policy.robot_state(observation.state)
        state_dims.add(0 if state is None else len(state))
        if len(state_dims) > 1:
            raise UserError(
                "some frames have a state and some have none, or of another length; a results file holds one length"
            )
        for number, prompt in enumerate(prompts, 1):
            where = f"{frame}, prompt {number} of {len(prompts)}" if len(prompts) > 1 else frame
            contents.add_prompt(setup.policy.tokenise(prompt, observation.state), prompt, observation, where)
        hashed.update(_serialise(observation, prompts))
        count += len(prompts)
        contents.ends.append(count)
    if len(contents.ends) != len(moments):
        raise UserError(f"the episode gives {len(contents.ends)} frames where {len(moments)} were chosen")
    contents.state_dim, contents.fingerprint = state_dims.pop(), hashed.hexdigest()
    return contents


def _list_input(setup: Setup, episode: Episode, episode_decisions: Sequence[Decision]) -> dict[str, str]:
    """Return subject and choice of what decides which pictures are shown, beside those that are fingerprinted.

    An episode that lacks a camera of its source may show another one instead. Pictures in memory are fingerprinted, and
    may come from files with other names.
    """
    cameras = (
        ()
        if isinstance(episode, InMemoryEpisode)
        else [decision for decision in episode_decisions if " camera" in decision.subject]
    )
    return {decision.subject: decision.choice for decision in (*setup.source_decisions, *cameras)}


def _merge_warnings(repeated: list[str]) -> str:
    """Merge the warnings of many frames into one sentence."""
    count = len(repeated) - 1
    return repeated[0] + (f" (and so in {count} frame{'s' * (count != 1)} more)" if count else "")


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
    hashed = hashlib.sha256(json.dumps({camera: list(shapes[camera]) for camera in sorted(shapes)}).encode())
    if isinstance(episode, InMemoryEpisode):
        for observation in episode.observations:
            for camera in sorted(observation.pictures):
                hashed.update(np.ascontiguousarray(observation.pictures[camera]).tobytes())
    return hashed.hexdigest()
