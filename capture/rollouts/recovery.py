"""Complete recordings of rollouts whose process was killed: finished frames are kept, none is written again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py

from capture.errors import UserError
from capture.results import hdf5_storage, run_index, schema
from capture.results.hdf5_storage import describe_error
from capture.results.partial_file import PartialFile, is_being_written
from capture.results.read_access import open_for_reading
from capture.results.regions_file import write_frame_masks
from capture.results.resume import RunState, ask_run_state, may_hold_frames
from capture.results.root_attributes import encode_object
from capture.rollouts.episode_masks import EpisodeMasks

KILLED: Final = "its process was killed; completed by pi0-capture recover"
"""Why the episode ended, where nothing else is known."""
LOCK_PATIENCE_SECONDS: Final = 0.5
"""Time for which a locked file is asked again: a process that was just killed holds its lock for a moment."""


@dataclass(frozen=True)
class RecoveredFile:
    """A recording that is complete now."""

    path: Path
    frames: int
    problem: str = ""
    """Why no regions file was written of the masks that came with its calls; empty if none was needed or it was."""


def find_unfinished(folder: Path, *, patience: float = LOCK_PATIENCE_SECONDS) -> list[Path]:
    """Return the unfinished results files in a folder that nobody is writing, in order of their names.

    `patience` is that of `is_being_written`, for each file that is locked.
    """
    found = sorted(folder.glob(f"*.h5{schema.PARTIAL_SUFFIX}"))
    return [path for path in found if not is_being_written(path, patience=patience)]


def recover_file(partial: Path) -> RecoveredFile:
    """Complete the recording of a rollout whose process was killed, and give it its final name.

    No frame is written or copied: the attributes say that the episode has ended, and how. The frame that was begun last
    is cut off, and no existing file is replaced.
    A process that is killed meanwhile leaves a file with the same frames, of which this can be repeated. The episode's
    entry in the index of its folder gets the number of frames; masks that came with its calls become its regions.

    Raises UserError for a file that is being written, damaged, without a finished frame, or not of a rollout, or whose
    final name is taken; it is then as before.
    """
    if not partial.name.endswith(schema.PARTIAL_SUFFIX):
        raise UserError(f"{partial} is not called NAME{schema.PARTIAL_SUFFIX}, as unfinished recordings are; name one")
    if not partial.is_file():
        raise UserError(f"{partial} does not exist; check the path")
    path = partial.with_name(partial.name.removesuffix(schema.PARTIAL_SUFFIX))
    file = PartialFile(path, resume=True)
    try:
        if not file.is_resumed:  # it has disappeared since
            file.remove()
            raise UserError(f"{partial} does not exist; check the path")
        state = ask_run_state(file.path)
        if state is None and may_hold_frames(file.path):
            raise UserError(f"{partial} is damaged and is left as it is; its first frames may still open in pi0-viewer")
        if state is None or not state.frames_done:
            raise UserError(f"{partial} holds no finished frame and is left as it is; delete it")
        episode = _read_rollout(file.path, state.frames_done)
        failure = run_index.read_failure(path)
        if not state.is_complete:
            _complete(file, state, {**episode.rollout, "ended": failure or KILLED})
        masks = EpisodeMasks.read_back(path)
        problem = _write_regions(file.path, masks, path)
        file.publish()
    finally:
        file.close()
    masks.close(is_kept=bool(problem))
    _note_in_index(path, episode, state.frames_done)
    return RecoveredFile(path, state.frames_done, problem)


def _write_regions(partial: Path, masks: EpisodeMasks, path: Path) -> str:
    """Write the masks that came with the calls as regions of the file; return why that is impossible."""
    try:
        write_frame_masks(partial, masks.cameras, masks.read, final=path)
    except (UserError, OSError, RuntimeError, KeyError) as error:
        return str(error)
    return ""


@dataclass(frozen=True)
class _RecordedEpisode:
    """The episode of a recording, as its file describes it."""

    rollout: Mapping[str, Any]
    """The attribute `rollout`, with the numbers of calls up to the last frame."""
    name: str
    prompt: str


def _read_rollout(path: Path, done: int) -> _RecordedEpisode:
    """Return the episode of an unfinished file. Raises UserError for a file that is not of a rollout."""
    try:
        with open_for_reading(path) as file:
            if schema.FRAMES_CLOCK not in file or schema.ROLLOUT_ATTRIBUTE not in file.attrs:
                raise UserError(f"{path} is of a capture that was interrupted; the same command resumes it")
            known = json.loads(file.attrs[schema.ROLLOUT_ATTRIBUTE])
            calls, dropped = (int(file[name][done - 1]) for name in (schema.FRAMES_INDEX, schema.FRAMES_DROPPED))
            rollout = {"success": None, **known, "calls": calls + 1, "dropped": dropped}
            name, prompt = (
                file[name].asstr()[done - 1].rstrip("\0") for name in (schema.FRAMES_EPISODE, schema.FRAMES_PROMPT)
            )
            return _RecordedEpisode(rollout, name, prompt)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is damaged and is left as it is ({describe_error(error)})") from None


def _complete(partial: PartialFile, state: RunState, rollout: Mapping[str, Any]) -> None:
    """Write the attributes of an episode that has ended."""
    checks = encode_object("checks", {schema.CHECK_ROW_SUM: state.row_sum_error})
    text = encode_object(f"values of {schema.ROLLOUT_ATTRIBUTE}", rollout)
    partial.clear_writer_flag()
    try:
        opened, _ = hdf5_storage.open_for_writing(partial.path)
        with h5py.File(opened) as file:
            _cut_frames(file, state.frames_done)
            hdf5_storage.set_text(file, schema.ROLLOUT_ATTRIBUTE, text)
            hdf5_storage.set_complete(file, checks)
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{partial.path} cannot be completed: {describe_error(error)}") from None
    finally:
        partial.lock_again()


def _cut_frames(file: h5py.File, done: int) -> None:
    """Cut the frame that was begun last off the datasets that have it already."""

    def cut(_: str, found: h5py.Group | h5py.Dataset) -> None:
        if isinstance(found, h5py.Dataset) and found.maxshape[:1] == (None,) and found.shape[0] > done:
            found.id.set_extent((done, *found.shape[1:]))

    file.visititems(cut)
    file.flush()


def _note_in_index(path: Path, episode: _RecordedEpisode, frames: int) -> None:
    """Note in the index of a run that the episode's file is complete now."""
    try:
        run_index.write_failure(path, None)
        index = run_index.read_index(path.parent)
        if index is None:
            return
        entries = {entry["file"]: entry for entry in index["episodes"]}
        number = path.name.split(".")[0].rpartition("_")[2]
        made: run_index.Entry = {"file": path.name, "name": episode.name, "prompts": [episode.prompt], "rate": None}
        made["number"] = int(number) if number.isdecimal() else len(entries)
        entry = {**made, **entries.get(path.name, {}), "frames": frames, "success": episode.rollout.get("success")}
        head = {key: index[key] for key in ("generator", "source", "model", "run")}
        run_index.write_index(path.parent, head, [entry])
    except (OSError, KeyError, TypeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it has another form"
        raise UserError(f"{path} is complete, but the index beside it could not be written ({reason})") from None
