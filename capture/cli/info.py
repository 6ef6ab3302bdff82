"""What a results file holds, in words for one screen of a terminal, read as a file that may come from anywhere.

HDF5 is C code that trusts what it reads: a torn file can keep it busy for minutes, a forged one can crash it or make it
open other files. So a second process looks, within a time limit; it follows no links out of the file and looks at
shapes before it reads values.
"""

from __future__ import annotations

import json
import math
import os
import shlex
import stat
import textwrap
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np

from capture import watched_process
from capture.cli.kept import describe_kept
from capture.cli.units import size_text
from capture.effects.description import describe_file
from capture.errors import UserError
from capture.number_ranges import format_numbers
from capture.provenance import from_json
from capture.remote.address import Location, RemotePath, parse_location
from capture.remote.errors import RemoteError
from capture.results import effects_schema, schema
from capture.results.partial_file import is_being_written
from capture.results.read_access import LARGEST_READ, find_dataset, open_for_reading
from capture.terminal_text import replace_control_characters
from capture.watched_process import NoAnswerError, WatchedProcess

WIDTH: Final = 100
SHOWN_PROMPTS: Final = 4
SHOWN_DECISIONS: Final = 5
LOCK_PATIENCE_SECONDS: Final = 0.5
"""Time for which a locked file is asked again: a run that was just killed holds its lock for a moment."""
SIGNATURE: Final = b"\x89HDF\r\n\x1a\n"

_CHILD: Final = "import capture.cli.info; capture.cli.info.serve()"


def describe(path: Location, *, verbose: bool = False) -> str:
    """Return what the file holds in lines of 100 characters: model, cameras, decisions about the input, frames, checks.

    There are at most 30 lines, unless `verbose` adds every decision with its whole reason.

    Raises UserError with one sentence for a file that is missing, empty, cut short, damaged, of another kind or of a
    newer format.
    """
    if isinstance(path, Path):
        _check_is_file(path)
    reader = WatchedProcess(_CHILD)
    try:
        answered = reader.ask([str(path), verbose])
    except NoAnswerError as error:
        what = "came to no end" if error.is_overdue else "failed"
        raise UserError(f"{path} is damaged: reading it {what}; copy it again, or capture it again") from None
    finally:
        reader.stop()
    if "refused" in answered:
        raise UserError(answered["refused"])
    return str(answered["page"])


def serve() -> None:
    """Answer each path, and whether all decisions are to be listed, with the file's page; for the second process."""

    def answer(request: tuple[str, bool], note_progress: Callable[[], None]) -> object:
        path, verbose = request
        try:
            place = parse_location(path)
            if isinstance(place, Path):
                return {"page": "\n".join(_make_page(place, verbose=verbose))}
            from capture.remote.event_loop import set_note_waiting

            set_note_waiting(note_progress)
            return {"page": "\n".join(_make_remote_page(place, note_progress, verbose=verbose))}
        except UserError as error:
            return {"refused": str(error)}

    watched_process.serve(answer)


def _check_is_file(path: Path) -> None:
    try:
        kind = path.stat().st_mode
        if stat.S_ISDIR(kind):
            run = f", or look at the run with pi0-viewer {path}" if (path / schema.INDEX_NAME).is_file() else ""
            raise UserError(f"{path} is a folder; name a results file in it{run}")
        if not stat.S_ISREG(kind):  # opening a pipe would wait for ever
            raise UserError(f"{path} is not a file on a disk; name a results file")
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            if size == 0 and path.suffix != schema.PARTIAL_SUFFIX:
                raise UserError(f"{path} is empty; capture it again")
            at = 0
            while at < size:
                file.seek(at)
                if file.read(len(SIGNATURE)) == SIGNATURE:
                    return
                at = max(512, 2 * at)  # where HDF5 itself looks for it
    except FileNotFoundError:
        raise _missing_error(path) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({os.strerror(error.errno or 0).lower()})") from None
    if path.suffix == schema.PARTIAL_SUFFIX:
        raise _no_frame_error(path)
    raise UserError(f"{path} is not a results file: it is not HDF5; name a file that pi0-capture wrote")


def _missing_error(path: Path) -> UserError:
    """Return the error for a file that does not exist, which names the partial file where its run has one."""
    partial = path.with_name(path.name + schema.PARTIAL_SUFFIX) if path.name else path
    if not partial.is_file():
        return UserError(f"{path} does not exist")
    if is_being_written(partial, patience=LOCK_PATIENCE_SECONDS):
        return UserError(f"{path} does not exist yet: a run is still writing it; look at {partial}")
    return UserError(f"{path} does not exist: its run ended early; look at {partial}, which the same command resumes")


def _no_frame_error(path: Path) -> UserError:
    """Return the error for a partial file that HDF5 cannot open."""
    if is_being_written(path, patience=LOCK_PATIENCE_SECONDS):
        return UserError(f"{path} holds no frame yet: a run has begun to write it; look again when it has one")
    return UserError(f"{path} holds no frame that can be read, and no run is writing it; delete it and capture again")


def _make_page(path: Path, *, verbose: bool) -> list[str]:
    try:
        with _open(path) as file:
            return _format_file(path, file, verbose=verbose)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, MemoryError, OverflowError) as error:
        words = str(error.args[0] if error.args else error).partition("\n")[0]
        early = ", or its run ended before the first frame was whole" * (path.suffix == schema.PARTIAL_SUFFIX)
        raise UserError(f"{path} is damaged{early} ({clean(words, 80)}); copy it again, or capture it again") from None


def _make_remote_page(path: RemotePath, note_progress: Callable[[], None], *, verbose: bool) -> list[str]:
    """Return the page of a file on another machine; `note_progress` once there is a connection."""
    from capture.remote.remote_file import RemoteFile

    try:
        try:
            stream = RemoteFile(path)
        except FileNotFoundError:
            path = path.with_name(path.name + schema.PARTIAL_SUFFIX)
            stream = RemoteFile(path)
        note_progress()
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path.shown.removesuffix(schema.PARTIAL_SUFFIX)} does not exist; check the address") from None
    except PermissionError:
        raise UserError(f"{path.shown} may not be read by this user; check its permissions") from None
    except RemoteError as error:
        raise UserError(str(error)) from None
    try:
        if stream.read(len(SIGNATURE)) != SIGNATURE:
            raise UserError(f"{path.shown} is not a results file: it is not HDF5; name a file that pi0-capture wrote")
        with h5py.File(stream, "r") as file:
            return _format_file(path, file, verbose=verbose)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, IndexError, MemoryError, OverflowError) as error:
        if stream.failure is not None:
            raise UserError(str(stream.failure)) from None
        words = str(error.args[0] if error.args else error).partition("\n")[0]
        raise UserError(f"{path.shown} is damaged ({clean(words, 80)}); copy it again, or capture it again") from None
    finally:
        stream.close()


def _open(path: Path) -> h5py.File:
    try:
        return open_for_reading(path)
    except (OSError, RuntimeError, ValueError) as error:
        refused = str(error)
    if path.suffix == schema.PARTIAL_SUFFIX:
        raise _no_frame_error(path)
    if "truncated file" in refused:
        raise UserError(f"{path} is cut short; copy it again")
    raise OSError(refused)


def _format_file(path: Location, file: h5py.File, *, verbose: bool) -> list[str]:
    if _read_attribute(file, "format", "") == effects_schema.FORMAT:
        return [clean(line, WIDTH) for line in describe_file(path, file)]
    if _read_attribute(file, "format", "") != schema.FORMAT:
        raise UserError(f"{path} is an HDF5 file, but not a results file of pi0-capture")
    major, minor = (int(number) for number in np.ravel(_read_attribute(file, "format_version"))[:2])
    if major > schema.FORMAT_VERSION[0]:
        raise UserError(
            f"{path} is of format {major}.{minor}, and this version reads up to {schema.FORMAT_VERSION[0]}; "
            "install a newer pi0-attention"
        )
    planned = find_dataset(file, schema.FRAMES_INDEX, 1).shape[0]
    done = int(find_dataset(file, schema.FRAMES_DONE, 0)[()])
    if not 0 <= done <= planned:
        raise UserError(f"{path} is damaged: it claims {done} finished frames of {planned}")
    is_rollout = schema.FRAMES_CLOCK in file
    planned = done if is_rollout else planned  # its axes may be a frame longer where its process was killed
    complete = bool(_read_attribute(file, "complete"))
    model = _read_json(file, "model")
    created = schema.describe_time(str(_read_attribute(file, "created", "?")))
    count = f"{done}" if is_rollout else f"{done} of {planned}"
    state = "complete" if complete else f"not complete, {count} frames"
    lines = [
        f"{path.name}: {size_text(path.stat().st_size)}, {state}",
        f"written   {created} by {_read_attribute(file, 'generator', '?')}",
        f"model     {model.get('name', '?')} ({model.get('kind', '?')}), {model.get('layers', '?')} layers x "
        f"{model.get('heads', '?')} heads, {model.get('steps', '?')} denoise step{'s' * (model.get('steps') != 1)}, "
        f"{model.get('dtype', '?')}",
    ]
    cameras = [str(camera) for camera in np.ravel(_read_attribute(file, "cameras"))]
    sizes = [find_dataset(file, schema.source_name(camera), 4).shape[1:3] for camera in cameras]
    pictures = [f"{camera} {width} x {height}" for camera, (height, width) in zip(cameras, sizes, strict=True)]
    lines.append(f"cameras   {', '.join(pictures) or 'none'}")
    lines += _format_decisions(file, verbose=verbose)
    lines += _format_frames(file, done, planned)
    lines += _format_rows(file, done)
    bfloat16 = not str(model.get("dtype", "")).endswith("32")
    lines += _format_checks(_read_json(file, "checks"), bfloat16=bfloat16, complete=complete)
    if isinstance(path, RemotePath):
        if not complete:
            lines.append("open      the finished frames can be opened; new ones are shown as they come:")
        lines.append(f"{'' if not complete else 'open':<9} pi0-viewer {shlex.quote(path.shown)}")
        return [clean(line, WIDTH) for line in lines]
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
    return [clean(line, WIDTH) for line in lines]


def _format_decisions(file: h5py.File, *, verbose: bool) -> list[str]:
    """Return how many decisions about the input were certain and which were not; `verbose`: every one."""
    stored = _read_attribute(file, schema.PROVENANCE_ATTRIBUTE, "")
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


def _format_frames(file: h5py.File, done: int, planned: int) -> list[str]:
    count = f"{done}" if done == planned else f"{done} of {planned}"
    if not done:
        return [f"frames    {count}"]
    prompts = _read_texts(file, schema.FRAMES_PROMPT, done)
    episodes = list(dict.fromkeys(_read_texts(file, schema.FRAMES_EPISODE, done)))
    times = _read_first(file, schema.FRAMES_TIME, 1, done)
    named = [episode for episode in episodes if episode]
    details = [count]
    if named:
        details.append(f"from {', '.join(clean(episode, 24) for episode in named[:2])}")
        details[-1] += f" and {len(named) - 2} more" if len(named) > 2 else ""
    if times.max() > times.min():
        details.append(f"{times.min():.2f} to {times.max():.2f} s")
    lines = [f"frames    {', '.join(details)}"]
    first, runs = 0, []
    for prompt, same in groupby(prompts):
        length = len(list(same))
        where = f"frame {first}" if length == 1 else f"frames {first} to {first + length - 1}"
        runs.append((prompt, where))
        first += length
    for number, (prompt, where) in enumerate(runs[:SHOWN_PROMPTS]):
        head = "prompts" if not number else ""
        lines.append(f'{head:<9} "{clean(prompt, WIDTH - 14 - len(where))}" {where}')
    if len(runs) > SHOWN_PROMPTS:
        lines.append(f"{'':<9} and {len(runs) - SHOWN_PROMPTS} more")
    return lines


def _format_rows(file: h5py.File, done: int) -> list[str]:
    text = find_dataset(file, schema.TEXT_TO_IMAGE, 7)
    action = find_dataset(file, schema.ACTION_TO_IMAGE, 8)
    _, _, horizon, _, heads, *_ = action.shape
    layers = [int(layer) for layer in np.ravel(_read_attribute(file, "layers"))]
    steps = [int(step) for step in np.ravel(_read_attribute(file, "steps"))]
    roles = _read_first(file, schema.TEXT_ROLE, 2, done)
    enum = h5py.check_enum_dtype(roles.dtype)
    pad = enum.get("pad", -1) if enum else b"pad"
    counts = (roles != pad).sum(-1) if done else np.zeros(1, int)
    tokens = f"{counts.min()}" if counts.min() == counts.max() else f"{counts.min()} to {counts.max()}"
    state = find_dataset(file, schema.FRAMES_STATE, 2).shape[1]
    robot = find_dataset(file, schema.ACTION_PREDICTED, 3).shape[2]
    known = np.isfinite(_read_first(file, schema.ACTION_TRUTH, 3, done)).any(axis=(1, 2)).sum() if done else 0
    kind = text.id.get_type()
    stored = {2: "bfloat16", 4: "float32"}.get(kind.get_size(), str(text.dtype))
    properties = text.id.get_create_plist()
    filters = {properties.get_filter(number)[0] for number in range(properties.get_nfilters())}
    # Deflate and shuffle are part of HDF5 itself; every other filter is a plug-in.
    plugin = filters - {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    packed = "compressed: readers need hdf5plugin" if plugin else "compressed" if filters else "not compressed"
    return [
        f"words     {tokens} tokens a frame, {text.shape[3]} heads, layers {_join(layers)}: prefix phase, one pass",
        f"actions   {horizon} tokens, {heads} heads, layers {_join(layers)}, steps {_join(steps)}: suffix phase",
        f"values    state of {state}, {robot} action dimensions, true actions in {known} of {done} frames",
        f"weights   {stored}, {packed}, rows of "
        + ("pictures, words and actions" if schema.IMAGE_TO_IMAGE in file else "words and actions"),
        *describe_kept(file, done),
    ]


def _format_checks(checks: dict[str, Any], *, bfloat16: bool, complete: bool) -> list[str]:
    """Return one line per check: the measured value and whether it is within its limit."""
    # A bfloat16 weight is off by up to 1/512 of itself, so rows are off by about 2e-3; float32 leaves no such excuse.
    known = (
        (schema.CHECK_ROW_SUM, "rows sum to 1 within", schema.ROW_SUM_LIMITS["bfloat16" if bfloat16 else "float32"]),
        (schema.CHECK_MASKED, "largest weight on a masked key", 0.0),
        (schema.CHECK_ACTIONS, "actions differ from an unrecorded run by", 1e-3),
        (schema.CHECK_TIME, "time of a recorded call over a plain one", 1.1),
    )
    lines = []
    for key, words, limit in known:
        value = checks.get(key)
        if value is None:  # not made
            continue
        number = isinstance(value, int | float)
        well = number and value <= limit
        lines.append(f"{words:<41} {f'{value:.3g}' if number else value!s:<10} {'ok' if well else 'LOOK HERE'}")
    if not lines:
        lines = ["none were made" if complete else "they are stored when a run ends well"]
    return [f"{'' if number else 'checks':<9} {line}" for number, line in enumerate(lines)]


# Values of a file that may come from anywhere


def _read_first(file: h5py.File, name: str, axes: int, done: int) -> np.ndarray[Any, Any]:
    """Return the finished frames of a small dataset, or as many of them as may be read at once."""
    dataset = find_dataset(file, name, axes)
    row = dataset.dtype.itemsize * math.prod(dataset.shape[1:])
    chunk = dataset.dtype.itemsize * math.prod(dataset.chunks or (1,))
    if max(row, chunk) > LARGEST_READ:
        raise ValueError(f"{name} is too large")
    return np.asarray(dataset[: min(done, dataset.shape[0], max(1, LARGEST_READ // max(1, row)))])


def _read_texts(file: h5py.File, name: str, done: int) -> list[str]:
    return [_to_text(value) for value in _read_first(file, name, 1, done)]


def _to_text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _read_attribute(file: h5py.File, name: str, default: Any = None) -> Any:
    if name not in file.attrs:
        if default is None:
            raise KeyError(f"attribute {name} is missing")
        return default
    if file.attrs.get_id(name).get_storage_size() > 1 << 20:
        raise ValueError(f"attribute {name} is too large")
    value = file.attrs[name]
    return _to_text(value) if isinstance(value, bytes) else value


def _read_json(file: h5py.File, name: str) -> dict[str, Any]:
    value = json.loads(_read_attribute(file, name))
    if not isinstance(value, dict):
        raise TypeError(f"attribute {name} is no JSON object")
    return value


# Formatting


def clean(text: str, width: int) -> str:
    """Return `text` without terminal control characters, cut to `width`."""
    shown = replace_control_characters(text[: width + 1])
    return shown if len(text) <= width else shown[: width - 1] + "…"


def _join(numbers: Sequence[int]) -> str:
    return clean(format_numbers(numbers), 24)
