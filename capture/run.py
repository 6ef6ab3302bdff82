"""One capture from start to end: a plan that touches no weights, then load, call, record and write, frame by frame."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import torch

from capture import schema
from capture.checkpoint import Checkpoint
from capture.errors import UserError
from capture.frames import Errors, assemble
from capture.observation import Observation
from capture.policy import Call, Policy, prepare
from capture.tokenizer import Tokenizer, check_vocabulary
from capture.tokens import TokenTable
from capture.writer import ResultsWriter

AHEAD = 2
"""Frames that may wait to be summed up and written before the policy waits for them."""


class Progress(Protocol):
    """Where a run says how far it is."""

    def loading(self, done: int, total: int) -> None:
        """Bytes of weights read so far."""

    def step(self, frame: int, step: int) -> None:
        """A denoise step of a frame is done."""


@dataclass(frozen=True)
class Choices:
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


@dataclass(frozen=True)
class Plan:
    """Everything about a run that can be known without weights."""

    checkpoint: Checkpoint
    tokenizer: Tokenizer
    observations: tuple[Observation, ...]
    tables: tuple[TokenTable, ...]
    sizes: schema.Sizes
    choices: Choices
    warnings: tuple[str, ...]

    @property
    def frame_bytes(self) -> int:
        """What a frame takes in the file, uncompressed."""
        width = 2 if self.choices.store == "bfloat16" else 4
        return sum(dataset.frame_bytes(width) for dataset in schema.datasets(self.sizes))


@dataclass
class Outcome:
    """What a run found out about itself."""

    seconds: list[float] = field(default_factory=list)
    """Of each recorded call."""
    plain_seconds: list[float] = field(default_factory=list)
    """Of each unrecorded call of the same frames, with --check."""
    row_sum: float = 0.0
    masked_weight: float = 0.0
    action_difference: float | None = None

    @property
    def checks(self) -> dict[str, float]:
        """The file's attribute `checks`; what was not asked for is left out."""
        found = {schema.CHECK_ROW_SUM: self.row_sum, schema.CHECK_MASKED: self.masked_weight}
        if self.action_difference is not None:
            found[schema.CHECK_ACTIONS] = self.action_difference
            found[schema.CHECK_TIME] = statistics.median(self.seconds) / statistics.median(self.plain_seconds)
        return found


def plan(checkpoint: Checkpoint, tokenizer: Tokenizer, observations: Sequence[Observation], choices: Choices) -> Plan:
    """Check everything that can be checked before a weight is read. Raises UserError for what does not fit."""
    config, preprocessing = checkpoint.config, checkpoint.preprocessing
    layers = _within(choices.layers, config.vlm.depth, "layer")
    steps = _within(choices.steps, config.denoise_steps, "denoise step")
    first = observations[0]
    cameras = tuple(slot for slot in preprocessing.slots if slot in first.pictures)
    shapes = tuple(first.pictures[camera].shape[:2] for camera in cameras)
    tables, warnings = [], []
    if doubt := check_vocabulary(tokenizer, config.vocabulary):
        warnings.append(doubt)
    for observation in observations:
        where = f"frame {observation.index}" + (f" of {observation.episode}" if observation.episode else "")
        for camera, picture in observation.pictures.items():
            if camera in cameras and picture.shape[:2] != shapes[cameras.index(camera)]:
                raise UserError(
                    f"the {camera} picture of {where} is {picture.shape[1]} x {picture.shape[0]} pixels, the first one "
                    f"{shapes[cameras.index(camera)][1]} x {shapes[cameras.index(camera)][0]}; "
                    "a results file holds one size"
                )
        if tuple(slot for slot in preprocessing.slots if slot in observation.pictures) != cameras:
            raise UserError(f"{where} has other cameras than the first frame; a results file holds one set")
        table = preprocessing.prompt(observation.prompt, observation.state, tokenizer)
        check_vocabulary(table.ids, config.vocabulary)
        if table.warning:
            warnings.append(f"{where}: {table.warning}")
        tables.append(table)
    prepare(first, preprocessing, tokenizer, config.vocabulary)  # pictures and cameras fit the policy
    states = {0 if observation.state is None else len(observation.state) for observation in observations}
    if len(states) > 1:
        raise UserError(
            "some frames have a state and some have none, or of another length; a results file holds one length"
        )
    sizes = schema.Sizes(
        frames=len(observations),
        cameras=cameras,
        layers=layers,
        steps=steps,
        heads=config.vlm.heads,
        tokens=max(len(table.ids) for table in tables),
        horizon=config.horizon,
        denoise_steps=config.denoise_steps,
        state_dim=states.pop(),
        robot_dim=min(preprocessing.robot_dim, config.action_dim),
        model_dim=config.action_dim,
        pictures=tuple((int(height), int(width)) for height, width in shapes),
        full=choices.full,
        text_bytes=max(1, *(len(text.encode()) for text in _texts(observations, tables))),
        piece_bytes=max(1, *(len(piece.encode()) for table in tables for piece in table.pieces)),
    )
    return Plan(
        checkpoint, tokenizer, tuple(observations), tuple(tables), sizes, choices, tuple(dict.fromkeys(warnings))
    )


def capture(plan: Plan, output: Path, progress: Progress) -> Outcome:
    """Run the plan and write `output`. Frames that were finished are kept if it ends early."""
    writer = ResultsWriter(
        output,
        plan.sizes,
        model=describe_model(plan),
        generator=f"pi0-capture {version('pi0-attention')}",
        weights=plan.choices.store,
        compress=plan.choices.compress,
        overwrite=plan.choices.overwrite,
    )
    try:
        with writer:
            return _run(plan, writer, progress)
    except KeyboardInterrupt as stop:
        if writer.frames_done:
            stop.add_note(f"{writer.frames_done} of {plan.sizes.frames} frames are kept in {writer.partial_path}")
        raise


def _run(plan: Plan, writer: ResultsWriter, progress: Progress) -> Outcome:
    choices, checkpoint = plan.choices, plan.checkpoint
    outcome = Outcome()
    waiting: deque[Future[Errors]] = deque()

    def finish(call: Call) -> Errors:
        frame, errors = assemble(call)
        writer.write(frame)
        return errors

    def collect(down_to: int) -> None:
        while len(waiting) > down_to:
            errors = waiting.popleft().result()
            # np.maximum, since the built-in max loses NaN, and a model that gives NaN must not pass for a good one.
            outcome.row_sum = float(np.maximum(outcome.row_sum, errors.row_sum))
            outcome.masked_weight = float(np.maximum(outcome.masked_weight, errors.masked_weight))

    model = checkpoint.load(choices.device, choices.dtype, progress.loading)
    policy = Policy(model, checkpoint.preprocessing, plan.tokenizer)
    recorder = policy.recorder(layers=plan.sizes.layers, steps=plan.sizes.steps)
    with ThreadPoolExecutor(1, thread_name_prefix="summaries") as worker:
        for number, observation in enumerate(plan.observations):
            prepared = policy.prepare(observation)
            # The same noise for the same moment: prompts compared on one picture then differ in their words alone.
            seed = choices.seed + observation.index
            plain = None
            if choices.check:
                if not number:
                    policy.plain(prepared, seed=seed)  # the first call of all pays for warming up
                collect(0)  # neither call shares the machine with the last frame's summaries
                start = time.perf_counter()
                plain = policy.plain(prepared, seed=seed)
                outcome.plain_seconds.append(time.perf_counter() - start)
            after_step = partial(progress.step, number)
            start = time.perf_counter()
            with recorder:
                call = policy.run(prepared, recorder, seed=seed, full=choices.full, after_step=after_step)
            outcome.seconds.append(time.perf_counter() - start)
            if plain is not None:
                difference = float(np.abs(plain.actions[0].cpu().numpy() - call.path[-1]).max())
                outcome.action_difference = float(np.maximum(outcome.action_difference or 0.0, difference))
            waiting.append(worker.submit(finish, call))
            collect(AHEAD)
        collect(0)
    writer.finish(outcome.checks)
    return outcome


def describe_model(plan: Plan) -> dict[str, object]:
    """The file's attribute `model`."""
    checkpoint, config, choices = plan.checkpoint, plan.checkpoint.config, plan.choices
    return {
        "layers": config.vlm.depth,
        "heads": config.vlm.heads,
        "horizon": config.horizon,
        "steps": config.denoise_steps,
        "action_dim": config.action_dim,
        "dtype": str(choices.dtype).removeprefix("torch."),
        "device": choices.device.type,
        "kind": checkpoint.kind,
        "name": checkpoint.name,
        "config_hash": checkpoint.config_hash,
        "tokenizer": plan.tokenizer.name,
        "time_grid": checkpoint.preprocessing.time_grid,
    }


def _texts(observations: Sequence[Observation], tables: Sequence[TokenTable]) -> Iterator[str]:
    for observation, table in zip(observations, tables, strict=True):
        yield from (observation.prompt, observation.episode, table.text)


def _within(chosen: tuple[int, ...] | None, count: int, what: str) -> tuple[int, ...]:
    if chosen is None:
        return tuple(range(count))
    for number in chosen:
        if not 0 <= number < count:
            raise UserError(f"there is no {what} {number}: this policy has {count}, numbered 0 to {count - 1}")
    return chosen
