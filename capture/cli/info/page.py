"""The page of a results file: its lines, at most 100 characters each."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

import h5py
import numpy as np

from capture.cli.info.stored_values import clean, read_attribute, read_first, read_json, read_texts
from capture.cli.kept import describe_kept
from capture.cli.units import format_bytes
from capture.effects.description import describe_file
from capture.errors import UserError
from capture.number_ranges import format_numbers
from capture.provenance import from_json
from capture.remote.address import Location, RemotePath
from capture.results import effects_schema, schema
from capture.results.partial_file import is_being_written
from capture.results.read_access import find_dataset

WIDTH: Final = 100
SHOWN_PROMPTS: Final = 4
SHOWN_DECISIONS: Final = 5
LOCK_PATIENCE_SECONDS: Final = 0.5
"""Time for which a locked file is asked again: a run that was just killed holds its lock for a moment."""


def format_file(path: Location, file: h5py.File, *, verbose: bool) -> list[str]:
    """Return the lines of a results file or an effects file; `verbose` adds every decision with its whole reason.

    Raises UserError for another kind of file or a newer format, KeyError, ValueError and others for a damaged one.
    """
    if read_attribute(file, "format", "") == effects_schema.FORMAT:
        return [clean(line, WIDTH) for line in describe_file(path, file)]
    if read_attribute(file, "format", "") != schema.FORMAT:
        raise UserError(f"{path} is an HDF5 file, but not a results file of pi0-capture")
    major, minor = (int(number) for number in np.ravel(read_attribute(file, "format_version"))[:2])
    if major > schema.FORMAT_VERSION[0]:
        raise UserError(
            f"{path} is of format {major}.{minor}, and this version reads up to {schema.FORMAT_VERSION[0]}; "
            "install a newer pi0-attention"
        )
    planned = find_dataset(file, schema.FRAMES_INDEX, 1).shape[0]
    finished = int(find_dataset(file, schema.FRAMES_DONE, 0)[()])
    if not 0 <= finished <= planned:
        raise UserError(f"{path} is damaged: it claims {finished} finished frames of {planned}")
    is_rollout = schema.FRAMES_CLOCK in file
    planned = finished if is_rollout else planned  # its axes may be a frame longer where its process was killed
    complete = bool(read_attribute(file, "complete"))
    lines = _format_head(
        path, file, complete=complete, frames=f"{finished}" if is_rollout else f"{finished} of {planned}"
    )
    lines += _format_decisions(file, verbose=verbose)
    lines += _format_frames(file, finished, planned)
    lines += _format_rows(file, finished)
    bfloat16 = not str(read_json(file, "model").get("dtype", "")).endswith("32")
    lines += _format_checks(read_json(file, "checks"), bfloat16=bfloat16, complete=complete)
    lines += _format_commands(path, complete=complete, is_rollout=is_rollout)
    return [clean(line, WIDTH) for line in lines]


def _format_head(path: Location, file: h5py.File, *, complete: bool, frames: str) -> list[str]:
    """Return the lines about the file as a whole: size, state, model and cameras; `frames`: how many, as text."""
    model = read_json(file, "model")
    created = schema.describe_time(str(read_attribute(file, "created", "?")))
    state = "complete" if complete else f"not complete, {frames} frames"
    cameras = [str(camera) for camera in np.ravel(read_attribute(file, "cameras"))]
    sizes = [find_dataset(file, schema.source_name(camera), 4).shape[1:3] for camera in cameras]
    pictures = [f"{camera} {width} x {height}" for camera, (height, width) in zip(cameras, sizes, strict=True)]
    return [
        f"{path.name}: {format_bytes(path.stat().st_size)}, {state}",
        f"written   {created} by {read_attribute(file, 'generator', '?')}",
        f"model     {model.get('name', '?')} ({model.get('kind', '?')}), {model.get('layers', '?')} layers x "
        f"{model.get('heads', '?')} heads, {model.get('steps', '?')} denoise step{'s' * (model.get('steps') != 1)}, "
        f"{model.get('dtype', '?')}",
        f"cameras   {', '.join(pictures) or 'none'}",
    ]


def _format_commands(path: Location, *, complete: bool, is_rollout: bool) -> list[str]:
    """Return the lines that say how the file can be opened."""
    lines = []
    if isinstance(path, RemotePath):
        if not complete:
            lines.append("open      the finished frames can be opened; new ones are shown as they come:")
        lines.append(f"{'' if not complete else 'open':<9} pi0-viewer {shlex.quote(path.shown)}")
        return lines
    name = shlex.quote(path.name)
    if not complete and is_being_written(path, patience=LOCK_PATIENCE_SECONDS):
        lines.append("open      a run is still writing it; it can be opened already, and shows new frames:")
    elif not complete and is_rollout:
        lines.append("open      its recording ended early; its frames are whole, and pi0-capture recover completes it:")
    elif not complete and path.suffix == schema.PARTIAL_SUFFIX:
        lines.append("open      its run ended early, and the same command resumes it; it can be opened all the same:")
    elif not complete:
        lines.append("open      its run ended early; the finished frames can be opened all the same:")
    lines.append(f"{'' if not complete else 'open':<9} pi0-viewer {name}")
    if not complete:
        lines.append(f'{"":<9} h5py.File({path.name!r}, "r", swmr=True)')
    return lines


def _format_decisions(file: h5py.File, *, verbose: bool) -> list[str]:
    """Return how many decisions about the input were certain and which were not; `verbose`: every one."""
    stored = read_attribute(file, schema.PROVENANCE_ATTRIBUTE, "")
    if not stored:
        return ["input     decisions about it are not stored, as in files of format 1.0"]
    try:
        decisions = from_json(str(stored))
    except ValueError:
        return ["input     the stored decisions about it cannot be read"]
    assumed = [decision for decision in decisions if not decision.is_certain]
    count = f"{len(decisions) - len(assumed)} decided, {len(assumed)} assumed"
    if verbose:
        shown = [f"{decision.label} {decision.sentence}" for decision in decisions]
        wrapped = [line for text in shown for line in textwrap.wrap(text, WIDTH - 10, subsequent_indent="  ")]
        return [f"input     {count}:", *(f"{'':<9} {line}" for line in wrapped)]
    lines = [f"input     {count}; -v gives each with its reason"]
    lines += [f"{'':<9} assumed {decision.sentence}" for decision in assumed[:SHOWN_DECISIONS]]
    if len(assumed) > SHOWN_DECISIONS:
        lines.append(f"{'':<9} and {len(assumed) - SHOWN_DECISIONS} more assumed")
    return lines


def _format_frames(file: h5py.File, finished: int, planned: int) -> list[str]:
    count = f"{finished}" if finished == planned else f"{finished} of {planned}"
    if not finished:
        return [f"frames    {count}"]
    prompts = read_texts(file, schema.FRAMES_PROMPT, finished)
    episodes = list(dict.fromkeys(read_texts(file, schema.FRAMES_EPISODE, finished)))
    times = read_first(file, schema.FRAMES_TIME, 1, finished)
    named_episodes = [episode for episode in episodes if episode]
    details = [count]
    if named_episodes:
        details.append(f"from {', '.join(clean(episode, 24) for episode in named_episodes[:2])}")
        details[-1] += f" and {len(named_episodes) - 2} more" if len(named_episodes) > 2 else ""
    if times.max() > times.min():
        details.append(f"{times.min():.2f} to {times.max():.2f} s")
    lines = [f"frames    {', '.join(details)}"]
    first, prompt_runs = 0, []
    for prompt, repeats in groupby(prompts):
        length = len(list(repeats))
        frame_range = f"frame {first}" if length == 1 else f"frames {first} to {first + length - 1}"
        prompt_runs.append((prompt, frame_range))
        first += length
    for number, (prompt, frame_range) in enumerate(prompt_runs[:SHOWN_PROMPTS]):
        heading = "prompts" if not number else ""
        lines.append(f'{heading:<9} "{clean(prompt, WIDTH - 14 - len(frame_range))}" {frame_range}')
    if len(prompt_runs) > SHOWN_PROMPTS:
        lines.append(f"{'':<9} and {len(prompt_runs) - SHOWN_PROMPTS} more")
    return lines


def _format_rows(file: h5py.File, finished: int) -> list[str]:
    text = find_dataset(file, schema.TEXT_TO_IMAGE, 7)
    action = find_dataset(file, schema.ACTION_TO_IMAGE, 8)
    _, _, horizon, _, heads, *_ = action.shape
    layers = [int(layer) for layer in np.ravel(read_attribute(file, "layers"))]
    steps = [int(step) for step in np.ravel(read_attribute(file, "steps"))]
    roles = read_first(file, schema.TEXT_ROLE, 2, finished)
    enum = h5py.check_enum_dtype(roles.dtype)
    pad = enum.get("pad", -1) if enum else b"pad"
    counts = (roles != pad).sum(-1) if finished else np.zeros(1, int)
    tokens = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    state = find_dataset(file, schema.FRAMES_STATE, 2).shape[1]
    robot = find_dataset(file, schema.ACTION_PREDICTED, 3).shape[2]
    known_actions = (
        np.isfinite(read_first(file, schema.ACTION_TRUTH, 3, finished)).any(axis=(1, 2)).sum() if finished else 0
    )
    stored_type = text.id.get_type()
    stored = {2: "bfloat16", 4: "float32"}.get(stored_type.get_size(), str(text.dtype))
    properties = text.id.get_create_plist()
    filters = {properties.get_filter(number)[0] for number in range(properties.get_nfilters())}
    # Deflate and shuffle are part of HDF5 itself; every other filter is a plug-in.
    plugin = filters - {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    packed = "compressed: readers need hdf5plugin" if plugin else "compressed" if filters else "not compressed"
    return [
        f"words     {tokens} tokens a frame, {text.shape[3]} heads, layers {_join(layers)}: prefix phase, one pass",
        f"actions   {horizon} tokens, {heads} heads, layers {_join(layers)}, steps {_join(steps)}: suffix phase",
        f"values    state of {state}, {robot} action dimensions, true actions in {known_actions} of {finished} frames",
        f"weights   {stored}, {packed}, rows of "
        + ("pictures, words and actions" if schema.IMAGE_TO_IMAGE in file else "words and actions"),
        *describe_kept(file, finished),
    ]


def _format_checks(checks: dict[str, Any], *, bfloat16: bool, complete: bool) -> list[str]:
    """Return one line per check: the measured value and whether it is within its limit."""
    # A bfloat16 weight is off by up to 1/512 of itself, so rows are off by about 2e-3; float32 leaves no such excuse.
    known_checks = (
        (schema.CHECK_ROW_SUM, "rows sum to 1 within", schema.ROW_SUM_LIMITS["bfloat16" if bfloat16 else "float32"]),
        (schema.CHECK_MASKED, "largest weight on a masked key", 0.0),
        (schema.CHECK_ACTIONS, "actions differ from an unrecorded run by", 1e-3),
        (schema.CHECK_TIME, "time of a recorded call over a plain one", 1.1),
    )
    lines = []
    for key, description, limit in known_checks:
        value = checks.get(key)
        if value is None:  # not made
            continue
        number = isinstance(value, int | float)
        is_well = number and value <= limit
        lines.append(
            f"{description:<41} {f'{value:.3g}' if number else value!s:<10} {'ok' if is_well else 'LOOK HERE'}"
        )
    if not lines:
        lines = ["none were made" if complete else "they are stored when a run ends well"]
    return [f"{'' if number else 'checks':<9} {line}" for number, line in enumerate(lines)]


def _join(numbers: Sequence[int]) -> str:
    return clean(format_numbers(numbers), 24)
