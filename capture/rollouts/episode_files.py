"""The results files of a run of rollouts and its index, for the thread that writes them."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from capture.errors import UserError
from capture.provenance import Decision
from capture.results import run_index, schema
from capture.results.regions_file import write_frame_masks
from capture.results.resume import describe_difference
from capture.rollouts.episode_file import EpisodeFile, add_room, find_sizes, format_time
from capture.rollouts.episode_masks import EpisodeMasks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from capture.rollouts.run_description import RolloutRun
    from capture.rollouts.stream import CallSlot, Episode
    from capture.rollouts.transfer import Transfer

NUMBERS: Final = 1_000_000
"""Number of episodes that a folder can have."""
SHOWN_REGIONS: Final = 12
_log: Final = logging.getLogger(__name__)


@dataclass
class _Open:
    """A file that is being written."""

    file: EpisodeFile
    entry: run_index.Entry
    first: CallSlot
    masks: EpisodeMasks
    """Of the regions in its frames."""


class EpisodeFiles:
    """Writes each episode's recordings to its results file, and keeps the index. Not thread-safe.

    `finished`: called with each results file that is complete. `note_problem`: with a sentence about what could not be
    recorded beside the frames.

    Raises UserError where the folder cannot be used, or holds another run.
    """

    def __init__(
        self,
        folder: Path,
        run: RolloutRun,
        finished: Callable[[Path], None],
        note_problem: Callable[[str], None],
    ) -> None:
        self._folder, self._run, self._finished, self._note_problem = folder, run, finished, note_problem
        self._files: dict[Episode, _Open] = {}
        run_index.prepare_folder(folder)
        self._number = self._check_folder()

    def _check_folder(self) -> int:
        """Return the number of the next episode. Raises UserError where the folder holds another run."""
        index = run_index.read_index(self._folder)
        names = os.listdir(self._folder)  # noqa: PTH208 - names are all that is needed
        has_results = any(name.endswith((".h5", ".h5" + schema.PARTIAL_SUFFIX)) for name in names)
        changed = describe_difference(index.get("run"), self._run.index_head["run"]) if index is not None else None
        if has_results and changed:
            raise UserError(
                f"{self._folder} holds another run, and is left as it is: {changed}; choose another folder for these "
                "rollouts"
            )
        numbers = [name.split(".")[0].removeprefix("episode_") for name in names if name.startswith("episode_")]
        return max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)

    def write(self, slot: CallSlot, transfer: Transfer, dropped: int) -> bool:
        """Write a recording as the next frame of its episode's file, and return whether this began a file.

        `dropped`: recordings of the episode that had been dropped before. A recording that does not fit into the file,
        such as one with pictures of another size, begins another file. Raises UserError where it cannot be stored.
        """
        episode = slot.episode
        built = transfer.build()
        sizes = find_sizes(built, self._run.maps_every)
        opened = self._files.get(episode)
        if opened is not None and (difference := opened.file.find_difference(sizes)):
            self.finish(episode, f"{difference}; the episode goes on in the next file")
            opened = None
        is_new = opened is None
        if opened is None:
            opened = self._open(slot, add_room(sizes, built.prepared.tokens))
        if built.problem:
            self._note_problem(built.problem)
        frame = built.frame | {
            schema.FRAMES_INDEX: slot.index,
            schema.FRAMES_TIME: slot.start - episode.start,
            schema.FRAMES_EPISODE: opened.file.name,
            schema.FRAMES_CLOCK: slot.clock,
            schema.FRAMES_CALL_SECONDS: slot.seconds,
            schema.FRAMES_DROPPED: dropped,
        }
        opened.masks.add(opened.file.frames, built.masks)  # first, so that a finished frame has its masks
        opened.file.write(frame, built.errors)
        return is_new

    def finish(self, episode: Episode, ended: str) -> None:
        """Complete the file of an episode, if it has one. `ended`: why it ended. Raises UserError."""
        opened = self._files.get(episode)
        if opened is None:
            return
        path = opened.file.finish(self._describe(opened, ended), partial(self._write_regions, opened.masks))
        del self._files[episode]
        opened.masks.close(is_kept=False)
        self._finished(path)
        self._write_index({**opened.entry, "frames": opened.file.frames, "success": episode.success})

    def _write_regions(self, masks: EpisodeMasks, results: Path, path: Path) -> None:
        """Write the masks of a results file beside `path`, its final name; note why it cannot be done.

        The scores in the file are as good without.
        """
        problem = masks.problem and f"its masks could not be kept: {masks.problem}"
        try:
            if not problem:
                write_frame_masks(results, masks.cameras, masks.read, final=path)
        except (UserError, OSError, RuntimeError, KeyError) as error:  # HDF5's own, where the file was removed
            problem = str(error)
        if problem:
            self._note_problem(f"no file of regions is written beside {path.name}: {problem}")

    def abandon(self, episode: Episode, reason: str) -> int:
        """Close the file of an episode under its partial name, and note why. Failures to do so are logged.

        Return the number of frames that are lost, because the file was removed while it was written.
        """
        opened = self._files.pop(episode, None)
        if opened is None:
            return 0
        path, lost = opened.file.path, 0
        try:
            kept = opened.file.leave()
            opened.masks.close(is_kept=kept > 0)
            if not (opened.file.partial_path.exists() or path.exists()):
                lost = kept
            if self._folder.is_dir():
                run_index.write_failure(path, reason)
                self._write_index({**opened.entry, "frames": kept - lost, "failed": reason})
        except OSError as error:
            _log.warning("why %s is incomplete could not be noted beside it (%s)", path, error.strerror or error)
        except UserError as error:
            _log.warning("%s", error)
        return lost

    def _open(self, slot: CallSlot, sizes: schema.Sizes) -> _Open:
        while True:
            path = self._folder / f"episode_{self._number:06d}.h5"
            try:
                file = EpisodeFile(path, self._run, sizes, (*slot.episode.decisions, *decide_regions(sizes.regions)))
                break
            except UserError:
                if not (_is_taken(path) and self._number < NUMBERS):
                    raise
                self._number += 1  # another process records into the folder too
        entry: run_index.Entry = {"file": path.name, "name": file.name, "number": self._number}
        entry |= {"prompts": [slot.episode.prompt], "frames": None, "rate": None, "success": None}
        self._number += 1
        opened = self._files[slot.episode] = _Open(file, entry, slot, EpisodeMasks(path))
        file.describe(self._describe(opened, ""))
        self._write_index(entry)
        return opened

    def _describe(self, opened: _Open, ended: str) -> dict[str, object]:
        """Return the file's attribute `rollout`; without `ended`, what is not known yet is left out."""
        episode = opened.first.episode
        begun = {
            "stream": episode.stream,
            "every": self._run.every,
            "started": format_time(opened.first.clock),
            "first_call": opened.first.index,
        }
        known = {"ended": ended, "calls": episode.calls, "dropped": episode.dropped, "success": episode.success}
        return {**begun, **known} if ended else begun

    def _write_index(self, entry: run_index.Entry) -> None:
        try:
            run_index.write_index(self._folder, self._run.index_head, [entry])
        except OSError as error:
            raise UserError(f"the index in {self._folder} cannot be written ({error.strerror or error})") from None


def decide_regions(names: tuple[str, ...]) -> list[Decision]:
    """Return where the regions of a file come from; nothing where it has none."""
    shown = ", ".join(names[:SHOWN_REGIONS]) + (
        f" and {len(names) - SHOWN_REGIONS} more" * (len(names) > SHOWN_REGIONS)
    )
    return [Decision("regions", shown, "by the masks that came with the calls", is_certain=True)] if names else []


def _is_taken(path: Path) -> bool:
    return os.path.lexists(path) or os.path.lexists(path.with_name(path.name + schema.PARTIAL_SUFFIX))
