"""Appends finished frames to a results file, in the background, so that a run killed at any point loses none of them.

What makes that true (tests/capture/results/test_writer.py kills a run before each of its writes):

* every dataset and attribute is laid out before the first frame, then HDF5's single-writer mode (SWMR) is started, in
  which metadata reaches the file only after what it points to;
* a frame's data are flushed before `frames/done` counts it, and the counter is flushed in turn;
* chunks bypass HDF5's cache, and no string has a variable length (see storage.py);
* the file bears its final name only once it is whole and on the disk.
"""

from __future__ import annotations

import json
import math
import uuid
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Self

import h5py
import numpy as np

from capture.errors import UserError
from capture.results import schema
from capture.results.hdf5_storage import CHECKS_BYTES, Array, Storage, Weights, frame_room, memory_type, reason
from capture.results.partial_file import PartialFile
from capture.results.resume import describe_difference, read_run_state, row_sum_error

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

UNREADABLE_BYTES: Final = 64 << 20
"""A file without a finished frame takes no more than this and the room of one frame; a larger one is worth a look."""
WAITING_FRAMES: Final = 2
"""Frames that may wait for the disk; a run that is faster is held back."""


class ResultsWriter:
    """A results file that grows frame by frame: `with ResultsWriter(...) as writer`, `write` each frame, then `finish`.

    `path`: the final name. `sizes`: lengths of all axes; as many frames as planned. `model`: the root attribute of that
    name (FORMAT.md lists its keys). `generator`: program and version. `weights`: number type of attention; bfloat16
    holds a bfloat16 run exactly. `compress`: bitshuffle-lz4 on large datasets; a reader then needs hdf5plugin.
    `overwrite`: replace a file of that name, at the end, and drop what a dead run left under the partial name, at once.
    `run`: what defines the run, the root attribute of that name; where a dead run left a file of the very same, it is
    written on, and `frames_done` says where. Without it such a file is in the way. `background`: whether frames are
    written by a thread of the writer's own, or by `write` itself.

    Until `finish` the file is called `partial_path`. Leaving the `with` block without `finish` keeps finished frames
    there, or removes the file if there are none.

    Raises UserError where the file cannot be created, what is there is of another run, a camera's name cannot be stored
    or hdf5plugin is missing.
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
        background: bool = True,
    ) -> None:
        if sizes.frames < 1:
            raise ValueError("a results file needs a frame")
        _check_cameras(sizes.cameras)
        self._sizes = sizes
        self._layout = {dataset.name: dataset for dataset in schema.datasets(sizes)}
        self._given = 0
        self._done = 0
        self._stopped = False
        self._finished = False
        self._failure: UserError | None = None
        self._waiting: deque[Future[None]] = deque()
        self._earlier_row_sum = 0.0
        self._partial = PartialFile(path, overwrite=overwrite, resume=run is not None)
        try:
            if run is not None and self._partial.found:
                self._left(run, weights)
        except BaseException:  # what is there stays as it is
            self._partial.close()
            raise
        found = self._partial.found
        try:
            attributes = None if found else _root_attributes(sizes, model, generator, run)
            self._storage = Storage(self.partial_path, sizes, attributes, weights, compress=compress)
            self._partial.hold()
            if found:
                self._done = self._given = self._storage.frames_done
                self._earlier_row_sum = row_sum_error(self._storage.file, self._done)
            self._partial.reserve(self._storage.size + self._storage.frame_room)
        except BaseException as error:
            if found:
                self._let_go()
            else:
                self._drop()
            if isinstance(error, OSError | RuntimeError | KeyError) or (found and isinstance(error, ValueError)):
                raise UserError(f"{self.partial_path} cannot be written{' on' * found}: {reason(error)}") from error
            raise
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="results-writer") if background else None

    def _left(self, run: Mapping[str, object], weights: Weights) -> None:
        """Make ready what a dead run left: to be written on, or, where it holds no frame, to be written anew."""
        left = read_run_state(self.partial_path)
        if left is None and self._partial.length > frame_room(self._layout.values(), weights) + UNREADABLE_BYTES:
            raise UserError(
                f"{self.partial_path}, left by a run that did not end, is damaged and cannot be written on; "
                "move it away, or say --overwrite to drop it"
            )
        if left is None or not left.done:  # its run died before its first frame was whole
            self._partial.empty()
            return
        if changed := describe_difference(left.run, run):
            raise UserError(
                f"{self.partial_path} was begun by another run, and is left as it is: {changed}; "
                "choose another name, or say --overwrite to drop it"
            )
        self._partial.release()

    @property
    def partial_path(self) -> Path:
        """Where the file is until `finish`."""
        return self._partial.path

    @property
    def frames_done(self) -> int:
        """Frames that are in the file and would survive the end of this process."""
        return self._done

    @property
    def earlier_row_sum_error(self) -> float:
        """Largest |sum of a row - 1| of the frames that were in the file already."""
        return self._earlier_row_sum

    def write(self, frame: schema.Frame) -> None:
        """Hand over the next frame; its arrays must not be changed afterwards. Waits if the disk is two frames behind.

        Raises UserError if this or an earlier frame cannot be stored (disk full, a picture of another size, a text that
        is too long), ValueError or TypeError if a dataset is missing, unknown, misshapen or of a wrong number type.
        """
        ready = self._checked(frame)
        while self._waiting and (len(self._waiting) >= WAITING_FRAMES or self._waiting[0].done()):
            self._wait()
        if self._failure is not None:
            raise self._failure
        if self._given == self._sizes.frames:
            raise ValueError(f"the results file was made for {self._given} frames")
        self._given += 1
        if self._thread is not None:
            self._waiting.append(self._thread.submit(self._store, ready))
            return
        stored: Future[None] = Future()
        self._waiting.append(stored)
        try:
            self._store(ready)
            stored.set_result(None)
        except (OSError, RuntimeError) as error:
            stored.set_exception(error)
        self._wait()

    def finish(self, checks: Mapping[str, object]) -> Path:
        """Wait for the last frame, store the checks, mark the file complete, rename it and return its final name.

        Numbers that are not finite are stored by name, as "nan". Raises UserError where a frame could not be stored or
        the final name is taken (the file then stays, whole, at `partial_path`), ValueError if frames are missing.
        """
        self.seal(checks)
        return self.publish()

    def seal(self, checks: Mapping[str, object]) -> None:
        """The first half of `finish`: all that HDF5 has to do with it."""
        text = json.dumps(_finite(dict(checks)), allow_nan=False).encode()
        if len(text) > CHECKS_BYTES:
            raise ValueError(f"checks take {len(text)} bytes; {CHECKS_BYTES} are free")
        while self._waiting:
            self._wait()
        if self._failure is not None:
            raise self._failure
        if self._done != self._sizes.frames:
            raise ValueError(f"{self._done} of {self._sizes.frames} frames were written; the file is not complete")
        try:
            self._storage.complete(text)
            self._close()
        except (OSError, RuntimeError) as error:
            raise UserError(f"the end of {self.partial_path} could not be written: {reason(error)}") from error
        self._finished = True

    def publish(self) -> Path:
        """The second half: wait until the disk has it, and give it its final name."""
        self._partial.publish()
        return self._partial.final

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.shutdown(wait=True)  # a frame that was handed over is a finished frame
        try:
            if kind is None and not self._finished:
                while self._waiting:
                    self._wait()
        finally:
            if self._done:
                try:
                    self._close()
                except (OSError, RuntimeError):
                    self._storage.abandon()
                self._partial.close()
            else:
                self._drop()

    def _store(self, ready: dict[str, Array]) -> None:
        """Write one frame; runs in the background thread."""
        if self._stopped:  # an earlier frame failed: nothing may take its place
            return
        self._stopped = True  # until all of the below went well
        before = self._storage.size
        self._partial.reserve(before + self._storage.frame_room, before)
        self._storage.store(self._done, ready)
        self._done += 1
        self._partial.send_off(before)
        self._stopped = False

    def _wait(self) -> None:
        """Wait for the oldest frame that was handed over; raises what stopped it."""
        try:
            self._waiting.popleft().result()
        except (OSError, RuntimeError) as error:
            kept = f"; finished frames ({self._done}) stay in {self.partial_path}" if self._done else ""
            self._failure = UserError(f"frame {self._done} could not be written: {reason(error)}{kept}")
            raise self._failure from error

    def _close(self) -> None:
        """Close the HDF5 file, if it is open, and give back what was reserved."""
        size = self._storage.close()
        if size is not None:
            self._partial.cut(size)

    def _let_go(self) -> None:
        """Close a file that holds the frames of an earlier run."""
        if hasattr(self, "_storage"):
            self._storage.abandon()
        self._partial.close()

    def _drop(self) -> None:
        """Remove a file that holds no frame."""
        if hasattr(self, "_storage"):
            self._storage.abandon()
        self._partial.remove()
        self._partial.close()

    def _checked(self, frame: schema.Frame) -> dict[str, Array]:
        """The frame's values as arrays of the right shape and kind; see `write` for what it raises."""
        expected = self._layout.keys() - {schema.FRAMES_DONE}
        if unknown := frame.keys() - expected:
            raise ValueError(f"a results file of these sizes has no dataset {', '.join(sorted(unknown))}")
        if missing := expected - frame.keys() - {schema.ACTION_TRUTH}:
            raise ValueError(f"the frame lacks {', '.join(sorted(missing))}")
        tokens = np.asarray(frame[schema.TEXT_ID]).size
        if not 1 <= tokens <= self._sizes.tokens:
            raise ValueError(f"the frame has {tokens} text tokens; the file was made for 1 to {self._sizes.tokens}")
        return {name: self._checked_value(self._layout[name], value, tokens) for name, value in frame.items()}

    def _checked_value(self, dataset: schema.Dataset, value: object, tokens: int) -> Array:
        array = np.asarray(value, dtype=object if dataset.kind == "str" else None)
        axes = enumerate(dataset.shape[1:], start=1)
        shape = tuple(tokens if axis in dataset.text_axes else size for axis, size in axes)
        if array.shape != shape:
            for camera, (height, width) in zip(self._sizes.cameras, self._sizes.pictures, strict=True):
                if dataset.name == schema.source_name(camera):
                    found = " x ".join(map(str, array.shape))
                    raise UserError(
                        f"frame {self._given}: the {camera} picture is {found}, but this file is for {height} x "
                        f"{width} x 3; pictures of one camera need one size in a file"
                    )
            raise ValueError(f"{dataset.name} has shape {array.shape} in this frame; expected {shape}")
        if dataset.kind == "str":
            return _encoded(array, dataset, self._given)
        if dataset.kind == "weight" and array.dtype == np.uint16:
            return array
        number = memory_type(dataset, "float32")
        whole = number.kind in "iu"
        if array.dtype.kind not in ("biu" if whole else "biuf"):
            raise TypeError(f"{dataset.name} holds {array.dtype} in this frame; expected {number}")
        if whole and array.size:
            low = np.iinfo(number).min
            high = len(schema.ROLES) - 1 if dataset.kind == "role" else np.iinfo(number).max
            if array.min() < low or array.max() > high:
                raise ValueError(f"{dataset.name} holds values outside {low} … {high} in this frame")
        return array


def _encoded(array: Array, dataset: schema.Dataset, frame: int) -> Array:
    """Strings as UTF-8 of the dataset's fixed length."""
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


def _root_attributes(
    sizes: schema.Sizes, model: Mapping[str, object], generator: str, run: Mapping[str, object] | None
) -> dict[str, object]:
    return {
        **({} if run is None else {schema.RUN_ATTRIBUTE: json.dumps(dict(run), allow_nan=False)}),
        "format": schema.FORMAT,
        "format_version": np.array(schema.FORMAT_VERSION, dtype="<i8"),
        "uuid": str(uuid.uuid4()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "generator": generator,
        "model": json.dumps(_finite(dict(model)), allow_nan=False),
        "cameras": np.array(sizes.cameras, dtype=h5py.string_dtype()),
        "layers": np.array(sizes.layers, dtype="<i8"),
        "steps": np.array(sizes.steps, dtype="<i8"),
    }


def _check_cameras(cameras: tuple[str, ...]) -> None:
    for camera in cameras:
        if not camera or camera == "." or "/" in camera or not camera.isprintable():
            raise UserError(f"{camera!r} cannot be the name of a camera; use letters, digits, _ and -")
    if len(set(cameras)) != len(cameras):
        raise UserError(f"two cameras have the same name among {', '.join(cameras)}; give each its own")


def _finite(value: Any) -> Any:
    """`value` with its name, such as "nan", for every number that JSON cannot spell."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
