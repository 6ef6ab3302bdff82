"""Write a results file frame by frame in the background; a run killed at any point loses no finished frame.

This holds because (tests/capture/results/test_writer.py kills a run before each of its writes):

* every dataset and attribute is created before the first frame, and HDF5's single-writer mode (SWMR) is then started,
  in which metadata reaches the file only after the data that it points to;
* a frame's data are flushed before `frames/done` counts it, and the counter is flushed in turn;
* chunks bypass HDF5's cache, and no string has a variable length (see hdf5_storage.py);
* the file gets its final name only when it is complete and on the disk.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, Self

import numpy as np

from capture.errors import UserError
from capture.results import schema
from capture.results.dataset_layout import Dataset, list_datasets
from capture.results.hdf5_storage import Array, Storage, Weights, describe_error, memory_type
from capture.results.partial_file import PartialFile
from capture.results.resume import ask_run_state, describe_difference, may_hold_frames
from capture.results.root_attributes import encode_object, root_attributes
from capture.results.scores_schema import HAS_MAPS, WORD, keeps_maps

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

MAX_PENDING_FRAMES: Final = 2
"""Frames that may wait for the disk; `write` blocks beyond that."""


class ResultsWriter:
    """Writer of one results file: `with ResultsWriter(...) as writer`, `write` each frame, then `finish`.

    Args:
        path: The final name.
        sizes: Lengths of all axes, with the planned number of frames; a rollout takes any number of frames.
        model: The root attribute `model`; FORMAT.md lists its keys.
        generator: Program and version.
        weights: Number type of the attention weights; bfloat16 stores a bfloat16 run exactly.
        compress: Compress large datasets with bitshuffle-lz4; readers then need hdf5plugin.
        overwrite: Replace an existing file at the end, and remove the partial file of an interrupted run at once.
        run: The root attribute `run`, which defines the run. The partial file of an interrupted run with the same
            value is continued, and `frames_done` says from where. Without `run`, and for a rollout, which nobody can
            repeat, a partial file is an error.
        provenance: The root attribute `provenance`, as JSON; a continued file keeps the one that it has.
        background: Write frames in a thread; otherwise `write` itself writes them.

    Until `finish` the file is `partial_path`. Leaving the `with` block without `finish` keeps the finished frames
    there, or removes the file if there are none.

    Raises:
        UserError: The file cannot be created, the existing one is of another run, a camera's name cannot be stored, or
            hdf5plugin is missing.
    """

    def __init__(
        self,
        path: Path,
        sizes: schema.Sizes,
        *,
        model: Mapping[str, object],
        generator: str,
        weights: Weights = "bfloat16",
        compress: bool = False,
        overwrite: bool = False,
        run: Mapping[str, object] | None = None,
        provenance: str | None = None,
        background: bool = True,
    ) -> None:
        if sizes.frames < 1 and not sizes.is_rollout:
            raise ValueError("a results file needs at least one frame")
        _check_cameras(sizes.cameras)
        self._sizes = sizes
        self._layout = {dataset.name: dataset for dataset in list_datasets(sizes)}
        self._submitted = 0
        self._done = 0
        self._stopped = False
        self._finished = False
        self._failure: UserError | None = None
        self._pending: deque[Future[None]] = deque()
        self._earlier_row_sum = 0.0
        self._partial = PartialFile(path, overwrite=overwrite, resume=run is not None and not sizes.is_rollout)
        try:
            if run is not None and self._partial.is_resumed:
                self._prepare_partial(run)
        except BaseException:  # the existing file stays unchanged
            self._partial.close()
            raise
        is_resumed = self._partial.is_resumed
        try:
            attributes = None if is_resumed else root_attributes(sizes, model, generator, run, provenance)
            self._storage = Storage(self.partial_path, sizes, attributes, weights, compress=compress)
            self._partial.lock_again()
            if is_resumed:
                self._done = self._submitted = self._storage.frames_done
            self._partial.reserve(self._storage.size + self._storage.max_frame_bytes)
        except BaseException as error:
            if is_resumed:
                self._close_unchanged()
            else:
                self._remove()
            if isinstance(error, OSError | RuntimeError | KeyError) or (is_resumed and isinstance(error, ValueError)):
                raise UserError(
                    f"{self.partial_path} cannot be {'continued' if is_resumed else 'written'}: {describe_error(error)}"
                ) from error
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="results-writer") if background else None

    def _prepare_partial(self, run: Mapping[str, object]) -> None:
        """Prepare the partial file of an interrupted run to be continued, or to be begun again if it holds no frame."""
        state = ask_run_state(self.partial_path)
        if state is None and may_hold_frames(self.partial_path):
            raise UserError(
                f"{self.partial_path}, from an interrupted run, is damaged and cannot be continued; "
                "move it away, or use --overwrite to remove it"
            )
        if state is None or not state.frames_done:  # interrupted before the first frame was finished
            self._partial.clear()
            return
        if changed := describe_difference(state.run, run):
            raise UserError(
                f"{self.partial_path} was begun by another run, and is left as it is: {changed}; "
                "choose another name, or use --overwrite to remove it"
            )
        self._earlier_row_sum = state.row_sum_error
        self._partial.clear_writer_flag()

    @property
    def partial_path(self) -> Path:
        """Path of the file until `finish`."""
        return self._partial.path

    @property
    def frames_done(self) -> int:
        """Number of frames that are in the file and survive the end of this process."""
        return self._done

    @property
    def earlier_row_sum_error(self) -> float:
        """Largest |sum of a row - 1| of the frames that an interrupted run had written."""
        return self._earlier_row_sum

    def write(self, frame: schema.Frame) -> None:
        """Write the next frame; its arrays must not be changed afterwards. Blocks if the disk is two frames behind.

        Maps are left out where the file does not keep them, and may be absent from the frame there.

        Raises UserError if this or an earlier frame cannot be stored (disk full, a picture of another size, too long a
        text), ValueError or TypeError if a dataset is missing, unknown, or has a wrong shape or number type.
        """
        ready = self._check_frame(self._leave_out_maps(frame))
        while self._pending and (len(self._pending) >= MAX_PENDING_FRAMES or self._pending[0].done()):
            self._wait_for_oldest()
        if self._failure is not None:
            raise self._failure
        if self._submitted == self._sizes.frames and not self._sizes.is_rollout:
            raise ValueError(f"the results file was made for {self._submitted} frames")
        self._submitted += 1
        if self._thread is not None:
            self._pending.append(self._thread.submit(self._store, ready))
            return
        stored: Future[None] = Future()
        self._pending.append(stored)
        try:
            self._store(ready)
            stored.set_result(None)
        except (OSError, RuntimeError, UserError) as error:
            stored.set_exception(error)
        self._wait_for_oldest()

    def finish(self, checks: Mapping[str, object]) -> Path:
        """Wait for the last frame, store the checks, mark the file complete, rename it and return its final name.

        Numbers that are not finite are stored as strings, such as "nan". Raises UserError where a frame could not be
        stored or the final name is taken (the complete file then stays at `partial_path`), ValueError if frames are
        missing.
        """
        self.seal(checks)
        return self.publish()

    def seal(self, checks: Mapping[str, object]) -> None:
        """Store the checks, mark the file complete and close it: the first half of `finish`."""
        text = encode_object("checks", checks)
        while self._pending:
            self._wait_for_oldest()
        if self._failure is not None:
            raise self._failure
        if self._done != self._sizes.frames and not (self._sizes.is_rollout and self._done == self._submitted > 0):
            raise ValueError(f"{self._done} of {self._sizes.frames} frames were written; the file is not complete")
        try:
            self._storage.complete(text)
            self._close()
        except (OSError, RuntimeError) as error:
            raise UserError(f"the end of {self.partial_path} could not be written: {describe_error(error)}") from error
        self._finished = True

    def publish(self) -> Path:
        """Wait for the disk, rename the file and return its final name: the second half of `finish`."""
        self._partial.publish()
        return self._partial.final

    def describe_rollout(self, rollout: Mapping[str, object]) -> None:
        """Replace the root attribute `rollout`; for a writer without a background thread, which alone may use the file.

        Raises ValueError where its JSON is too long, UserError where it cannot be written.
        """
        try:
            name = schema.ROLLOUT_ATTRIBUTE
            self._storage.set_text(name, encode_object(f"values of {name}", rollout))
        except (OSError, RuntimeError) as error:
            raise UserError(f"{self.partial_path} cannot be written: {describe_error(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True)  # frames that `write` accepted are finished
        try:
            if kind is None and not self._finished:
                while self._pending:
                    self._wait_for_oldest()
        finally:
            if self._done:
                try:
                    self._close()
                except (OSError, RuntimeError):
                    self._storage.abandon()
                self._partial.close()
            else:
                self._remove()

    def _store(self, ready: dict[str, Array]) -> None:
        """Store one frame; runs in the background thread."""
        if self._stopped:  # an earlier frame failed, and no later one may take its place
            return
        self._stopped = True  # until all of the following has succeeded
        size_before = self._storage.size
        self._partial.check_exists()
        self._partial.reserve(size_before + self._storage.max_frame_bytes, size_before)
        self._storage.store(self._done, ready)
        self._done += 1
        self._partial.start_writeback(size_before)
        self._stopped = False

    def _wait_for_oldest(self) -> None:
        """Wait for the oldest pending frame. Raises UserError if it could not be written."""
        try:
            self._pending.popleft().result()
        except UserError as error:
            self._failure = error
            raise
        except (OSError, RuntimeError) as error:
            note = f"; finished frames ({self._done}) stay in {self.partial_path}" if self._done else ""
            self._failure = UserError(f"frame {self._done} could not be written: {describe_error(error)}{note}")
            raise self._failure from error

    def _close(self) -> None:
        """Close the HDF5 file if it is open, and truncate the reserved space."""
        size = self._storage.close()
        if size is not None:
            self._partial.truncate(size)

    def _close_unchanged(self) -> None:
        """Close a file with the frames of an interrupted run, without a change."""
        if hasattr(self, "_storage"):
            self._storage.abandon()
        self._partial.close()

    def _remove(self) -> None:
        """Remove a file without frames."""
        if hasattr(self, "_storage"):
            self._storage.abandon()
        self._partial.remove()
        self._partial.close()

    def _leave_out_maps(self, frame: schema.Frame) -> schema.Frame:
        """Return the frame with what the file keeps of it, and whether that includes its maps."""
        if not self._sizes.has_scores:
            return frame
        has_maps = keeps_maps(self._sizes.maps_every, self._submitted)
        stored = {name: value for name, value in frame.items() if has_maps or name not in schema.OF_MAPS}
        return {**stored, HAS_MAPS: int(has_maps)}

    def _check_frame(self, frame: schema.Frame) -> dict[str, Array]:
        """Return the frame's values as arrays of the right shape and kind. Raises as `write`."""
        expected = self._layout.keys() - {schema.FRAMES_DONE}
        if unknown := frame.keys() - expected:
            raise ValueError(f"a results file of these sizes has no dataset {', '.join(sorted(unknown))}")
        can_lack = {schema.ACTION_TRUTH} if frame.get(HAS_MAPS, 1) else {schema.ACTION_TRUTH, *schema.OF_MAPS}
        if missing := expected - frame.keys() - can_lack:
            raise ValueError(f"the frame lacks {', '.join(sorted(missing))}")
        tokens = np.asarray(frame[schema.TEXT_ID]).size
        if not 1 <= tokens <= self._sizes.tokens:
            raise ValueError(f"the frame has {tokens} text tokens; the file was made for 1 to {self._sizes.tokens}")
        counts = {"text": tokens, "token": tokens}
        if self._sizes.has_scores:
            counts["word"] = int(np.max(np.asarray(frame[WORD]), initial=-1)) + 1
            if counts["word"] > self._sizes.words:
                raise ValueError(f"the frame has {counts['word']} words; the file was made for {self._sizes.words}")
        return {name: self._check_value(self._layout[name], value, counts) for name, value in frame.items()}

    def _check_value(self, dataset: Dataset, value: object, counts: Mapping[str, int]) -> Array:
        array = np.asarray(value, dtype=object if dataset.kind == "str" else None)
        axes = enumerate(zip(dataset.axes, dataset.shape, strict=True))
        shape = tuple(counts[word] if axis in dataset.text_axes else size for axis, (word, size) in axes)[1:]
        if array.shape != shape:
            for camera, (height, width) in zip(self._sizes.cameras, self._sizes.pictures, strict=True):
                if dataset.name == schema.source_name(camera):
                    actual = " x ".join(map(str, array.shape))
                    raise UserError(
                        f"frame {self._submitted}: the {camera} picture is {actual}, but this file is for {height} x "
                        f"{width} x 3; pictures of one camera need one size in a file"
                    )
            raise ValueError(f"{dataset.name} has shape {array.shape} in this frame; expected {shape}")
        if dataset.kind == "str":
            return _encode_strings(array, dataset, self._submitted)
        if dataset.kind == "weight" and array.dtype == np.uint16:
            return array
        number = memory_type(dataset, "float32")
        is_whole = number.kind in "iu"
        if array.dtype.kind not in ("biu" if is_whole else "biuf"):
            raise TypeError(f"{dataset.name} holds {array.dtype} in this frame; expected {number}")
        if is_whole and array.size:
            low = np.iinfo(number).min
            high = len(schema.ROLES) - 1 if dataset.kind == "role" else np.iinfo(number).max
            if array.min() < low or array.max() > high:
                raise ValueError(f"{dataset.name} holds values outside {low} … {high} in this frame")
        return array


def _encode_strings(array: Array, dataset: Dataset, frame: int) -> Array:
    """Return strings as UTF-8 of the dataset's fixed length. Raises UserError for one that is too long."""
    encoded = []
    for text in array.ravel():
        if not isinstance(text, str):
            raise TypeError(f"{dataset.name} holds {type(text).__name__} in this frame; expected str")
        shown = ascii(text if len(text) < 40 else text[:40] + "…")
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise UserError(f"frame {frame}: {shown} ({dataset.name}) is not valid text; give it in UTF-8") from None
        if len(data) > dataset.string_bytes:
            raise UserError(
                f"frame {frame}: {shown} ({dataset.name}) takes {len(data)} bytes, and this file has room for "
                f"{dataset.string_bytes}; shorten it"
            )
        encoded.append(data)
    return np.array(encoded, dtype=f"S{dataset.string_bytes}").reshape(array.shape)


def _check_cameras(cameras: tuple[str, ...]) -> None:
    for camera in cameras:
        if not camera or camera == "." or "/" in camera or not camera.isprintable():
            raise UserError(f"{camera!r} cannot be the name of a camera; use letters, digits, _ and -")
    if len(set(cameras)) != len(cameras):
        raise UserError(f"two cameras have the same name among {', '.join(cameras)}; give each its own")
