"""An open results file: its header, its growth while a capture writes it, and reads of parts. No Qt.

Files are opened for reading only, and anew when a capture that is still writing one has finished more frames.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
import numpy.typing as npt

from capture.remote.address import RemotePath
from capture.results import schema
from viewer.errors import READ_ERRORS, ConnectionLostError, GivenUpError, UserError
from viewer.io import hdf5_guard, open_file
from viewer.io.file_access import FileAccess
from viewer.io.hdf5_guard import Guarded, read
from viewer.model.geometry import PatchGrid
from viewer.model.plain_text import clean_text
from viewer.model.provenance import Decision, parse_decisions

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.io.block_file import ByteSource
    from viewer.io.effects import Effects
    from viewer.io.remote_bytes import RemoteBytes
    from viewer.io.view_bytes import Part

MAX_AXIS: Final = 4096
MAX_SIDE: Final = 16384
"""Pixels of a picture's side."""
FileChange = Literal["", "cut short", "gone", "replaced", "rewritten"]
"""What can have happened to an open file on the disk; empty if nothing did."""


class ResultsFile:
    """An open results file, with the names and lengths of its axes."""

    def __init__(self, path: Location, source: ByteSource | None = None) -> None:
        """Open the file and check its header; UserError if it cannot be shown.

        `source` gives the bytes of a slow file, of which `path` is the name, as those of an address are; the thread
        that opens it waits.
        """
        open_source = open_file.find_source(path) if source is None else None
        source = source if open_source is None else open_source()
        self.path: Location = open_file.find(path) if source is None else getattr(source, "path", path)
        self.access = FileAccess()
        """How parts are read."""
        self._source = source
        self.effects: tuple[Effects, ...] = ()
        """Effects files about this file, the one to prefer first."""
        self.effects_left_out: tuple[str, ...] = ()  # why each effects file beside it is not among them: sentences
        self._open()

    def _open(self) -> None:
        if self._source is None:
            assert isinstance(self.path, Path)
            self._file = open_file.open_hdf5(self.path)
            self._stamp = open_file.read_stamp(self.path)
        else:
            self.access.blocks = blocks = open_file.open_blocks(self._source)
            self._file = self.access.run(lambda: open_file.open_hdf5_blocks(self.path, blocks))
            self._stamp = self._stamp_of_source()
        try:
            self._guard = Guarded(self._file, self.path, self.access)
            self.access.run(self._read_header)
            self._least = self._least_bytes() if self._source is None else 0
        except (UserError, GivenUpError):
            self._file.close()
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
            self._file.close()
            raise UserError(open_file.describe_damage(self.path, error)) from error

    def _stamp_of_source(self) -> open_file.Stamp | None:
        """Return the stamp of an opened remote file; None of other slow files."""
        return None if self.remote is None else open_file.make_remote_stamp(self.remote.found, self.remote.path)

    @property
    def remote(self) -> RemoteBytes | None:
        """The bytes of a file on another machine; None of a file of this machine."""
        return self._source if isinstance(self.path, RemotePath) else None  # type: ignore[return-value]

    def _read_header(self) -> None:
        guard = self._guard
        if (file_format := guard.attribute("format")) != schema.FORMAT:
            raise open_file.create_format_error(self.path, file_format)
        version = hdf5_guard.numbers(guard.attribute("format_version"))
        if version and version[0] > schema.FORMAT_VERSION[0]:
            raise UserError(
                f"{self.path.name} has format {'.'.join(map(str, version))}, and this viewer reads up to "
                f"{schema.FORMAT_VERSION[0]}.x; install a newer pi0-attention."
            )
        self.uuid = str(guard.attribute("uuid") or "")
        self.generator = clean_text(str(guard.attribute("generator") or ""))
        self.created = clean_text(str(guard.attribute("created") or ""))
        self.complete = bool(guard.attribute("complete"))
        self.model = guard.json("model")
        self.checks = guard.json("checks")
        self.format = ".".join(map(str, version)) or "?"
        self.decisions = self._read_decisions()
        self.cameras = hdf5_guard.names(guard.attribute("cameras"))
        if not self.cameras:
            raise guard.damaged("it names no camera")
        if len(self.cameras) > 16 or len(set(self.cameras)) != len(self.cameras):
            raise guard.damaged("its list of cameras cannot be")
        if any(not name or "/" in name or len(name) > 64 or name == "." for name in self.cameras):
            raise guard.damaged("a camera has a name that cannot be")
        done = guard.find(schema.FRAMES_DONE, 0)
        if done is None:
            raise guard.damaged("it does not say how many frames are finished")
        self._read_axes()
        self.is_rollout = self._has_clock()
        """Whether the frames are calls of a policy that acts, with the time of each."""
        self.done = self._count_done()

    def _has_clock(self) -> bool:
        try:
            return self._guard.find(schema.FRAMES_CLOCK, 1) is not None
        except UserError:  # the attention can be shown without
            return False

    def _read_decisions(self) -> tuple[Decision, ...] | None:
        """Return the decisions about the input; None where the file holds none that can be read."""
        try:
            return parse_decisions(self._guard.attribute(schema.PROVENANCE_ATTRIBUTE))
        except UserError:  # too large; the attention can be shown without
            return None

    def _read_axes(self) -> None:
        guard, cameras = self._guard, len(self.cameras)
        text, action = guard.find(schema.TEXT_TO_IMAGE, 7), guard.find(schema.ACTION_TO_IMAGE, 8)
        if text is None and action is None:
            raise guard.damaged("it holds no attention")
        layers = {shape[1] for shape in (dataset.shape for dataset in (text, action) if dataset is not None)}
        grid: tuple[int, ...] = ()
        for dataset, tail in ((text, 4), (action, 5)):
            if dataset is None:
                continue
            grid = grid or dataset.shape[tail + 1 :]
            if dataset.shape[tail:] != (cameras, *grid) or min(grid) < 1:
                raise guard.damaged(f"{dataset.name} has shape {dataset.shape}, which does not fit {cameras} cameras")
            if max(dataset.shape[1:]) > MAX_AXIS or dataset.dtype.kind != "f":
                raise guard.damaged(f"{dataset.name} has shape {dataset.shape} of {dataset.dtype}, which cannot be")
        self.grid = PatchGrid(grid[0], grid[1], *self._model_picture())
        if len(layers) != 1:
            raise guard.damaged("words and actions have different numbers of layers")
        count = layers.pop()
        self.planned = min(dataset.shape[0] for dataset in (text, action) if dataset is not None)
        self.tokens = text.shape[2] if text is not None else 0
        self.horizon = action.shape[2] if action is not None else 0
        steps = action.shape[3] if action is not None else 0
        self.heads = (text if text is not None else action).shape[3 if text is not None else 4]  # type: ignore[union-attr]
        if min(count, self.heads) < 1 or (action is not None and action.shape[4] != self.heads):
            raise guard.damaged("its numbers of layers and heads cannot be")
        self.layers = self._labels("layers", count)
        self.steps = self._labels("steps", steps)
        for name, axes, length in (
            (schema.TEXT_TO_TEXT, 5, self.tokens),
            (schema.ACTION_TO_TEXT, 6, self.tokens),
            (schema.ACTION_TO_ACTION, 6, self.horizon),
        ):
            dataset = guard.find(name, axes)
            whole = text if name.startswith("text") else action
            if dataset is not None and whole is not None:
                if dataset.shape[1 : axes - 1] != whole.shape[1 : axes - 1] or dataset.shape[-1] > MAX_AXIS:
                    raise guard.damaged(f"{name} has shape {dataset.shape}, which does not fit {whole.name}")
                if text is None and name == schema.ACTION_TO_TEXT:
                    self.tokens = dataset.shape[-1]
                elif dataset.shape[-1] != length:
                    raise guard.damaged(f"{name} has shape {dataset.shape}, which does not fit {length} keys")

    def _model_picture(self) -> tuple[int, int]:
        """Return height and width of the pictures that the model saw; Pi0.5's where the file has none."""
        for camera in self.cameras:
            try:
                pictures = self._guard.find(schema.model_picture_name(camera), 4)
            except UserError:  # reported where the picture is shown; the attention can be shown without
                continue
            if pictures is not None and 1 <= min(pictures.shape[1:3]) <= max(pictures.shape[1:3]) <= MAX_SIDE:
                return int(pictures.shape[1]), int(pictures.shape[2])
        return schema.MODEL_PIXELS, schema.MODEL_PIXELS

    def _labels(self, name: str, count: int) -> tuple[int, ...]:
        stored = hdf5_guard.numbers(self._guard.attribute(name))
        return stored if len(stored) == count else tuple(range(count))

    def _count_done(self) -> int:
        dataset = self._guard.find(schema.FRAMES_DONE, 0, grow=self.growing)
        assert dataset is not None
        done = int(np.asarray(dataset[()]))
        for name, axes in ((schema.TEXT_TO_IMAGE, 7), (schema.ACTION_TO_IMAGE, 8)):
            weights = self._guard.find(name, axes, grow=self.growing)
            if weights is not None:
                done = min(done, weights.shape[0])
        return max(done, 0)

    # Growth while a capture runs

    def grow(self) -> bool:
        """Return whether frames or the whole capture were finished since the last call.

        If so, the file is opened anew: HDF5 caches the index of chunks, so that new frames read as zeros in the old
        handle. False also where it cannot be read at this moment, as its writer may be amid rewriting a block.
        """
        before = self.done, self.complete
        if self.remote is not None:
            return self._grow_remote(self.remote)
        with contextlib.suppress(*READ_ERRORS):  # the handle may be of no use from then on
            if self._source is None and not self._renamed() and self._count_done() == self.done:
                return False
        try:
            self._open_anew()
        except UserError:
            return False
        return (self.done, self.complete) != before

    def _grow_remote(self, remote: RemoteBytes) -> bool:
        before = self.done, self.complete
        now = remote.refresh()
        if now is None or open_file.make_remote_stamp(now, remote.path) == self._stamp:
            return False  # renamed, or as it was
        try:
            self._open_anew()
        except ConnectionLostError:
            raise
        except UserError:
            return False
        return (self.done, self.complete) != before

    def _renamed(self) -> bool:
        """Return whether the capture has given the file its final name since, and take that as `path`."""
        final = self.finished_path
        if final is None or not self.is_at(final):
            return False
        self.path = final
        return True

    def _open_anew(self) -> None:
        """Open the file again, and close the old handle. Raises UserError, and keeps the old one, where that fails."""
        with self.access.lock:
            before, blocks = self.__dict__.copy(), self.access.blocks
            try:
                self._open_same()
            except (UserError, GivenUpError):
                if self._source is not before["_source"] and self._source is not None:
                    self._source.close()
                self.__dict__.update(before)
                self.access.blocks = blocks
                raise
            if self._source is not before["_source"]:
                before["_source"].close()
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                before["_file"].close()

    def _open_same(self) -> None:
        if self._source is not None:
            uuid, self._source = self.uuid, self._source.reopen()
            self._open()
            if self.uuid != uuid:
                raise UserError(f"{self.path.name} was replaced by another file; open that one anew.")
            return
        self._renamed()
        for _ in range(2):
            if not self.is_at(self.path):  # nobody has looked at that file
                raise UserError(f"{self.path.name} was replaced by another file; open that one anew.")
            try:
                self._open()
            except UserError:
                if not self._renamed():  # renamed between the two calls
                    raise
            else:
                return

    def is_at(self, path: Location) -> bool:
        """Return whether this is the file at a path, whatever its name was when it was opened."""
        return self._stamp is not None and open_file.read_identity(path) == self._stamp.identity

    @property
    def file_change(self) -> FileChange:
        """What has happened to the file on the disk since it was opened, apart from growth; costs one stat.

        HDF5 does not report it: what was cut off reads as zeros.
        """
        if self.remote is not None:
            return "" if self._is_partial else self.remote.file_change
        before, now = self._stamp, open_file.read_stamp(self.path)
        # A partial file leaves its path when it gets its final name.
        if now is None and not self._is_partial and open_file.is_missing(self.path):
            return "gone"
        if before is None or now is None or now[1:] == before[1:]:  # some network drives change inode numbers
            return ""
        if now.identity != before.identity:
            return "replaced"
        if now.size < self._least:
            return "cut short"
        return "" if self._is_partial else "rewritten"

    @property
    def _is_partial(self) -> bool:
        return self.path.name.endswith(schema.PARTIAL_SUFFIX)

    def _least_bytes(self) -> int:
        """Return the number of bytes below which the file is cut short.

        A capture reserves more space than it has written and gives it back at the end. In a file that is being written
        it is the end of the last chunk of the last finished frame.
        """
        if not self._is_partial:
            return 0 if self._stamp is None else self._stamp.size
        weights = self._guard.find(schema.TEXT_TO_IMAGE, 7) or self._guard.find(schema.ACTION_TO_IMAGE, 8)
        if weights is None or not self.done:
            return 0
        last = (self.done - 1, *(length - 1 for length in weights.shape[1:3]))
        return max((offset + size for offset, size in hdf5_guard.extents(weights, last)), default=0)

    @property
    def checkpoint_name(self) -> str:
        """The name of the checkpoint that was run; empty if the file does not say."""
        name = self.model.get("name") or self.model.get("checkpoint") or ""  # `checkpoint` in files of other programs
        return clean_text(name, 200) if isinstance(name, str) else ""

    @property
    def growing(self) -> bool:
        """Whether a capture may still add frames."""
        return not self.complete

    @property
    def finished_path(self) -> Location | None:
        """The final path, if the file was opened under its partial name and has been finished since; else None."""
        if not self._is_partial:
            return None
        if (remote := self.remote) is not None:
            is_gone = remote.known_stat() is None  # it has its final name, or was deleted
            return remote.path.with_name(remote.path.name.removesuffix(schema.PARTIAL_SUFFIX)) if is_gone else None
        assert isinstance(self.path, Path)
        final = self.path.with_name(self.path.name.removesuffix(schema.PARTIAL_SUFFIX))
        return final if final.exists() and not self.path.exists() else None

    def close(self) -> None:
        """Close the file, and the effects files about it."""
        for effect in self.effects:
            effect.close()
        self.access.close()
        if self._source is not None:
            self._source.close()
        with contextlib.suppress(OSError, RuntimeError, ValueError):
            self._file.close()

    # Parts

    def has_layer_chunks(self, name: str, axes: int) -> bool:
        """Return whether the chunks of a dataset hold one layer each; False if it is absent."""

        def has_chunks() -> bool:
            dataset = self._guard.find(name, axes)
            return dataset is not None and dataset.chunks is not None and dataset.chunks[1] == 1

        return self.access.run(has_chunks)

    def fetch_parts(self, parts: list[Part]) -> None:
        """Fetch the bytes of parts of a slow file into memory, in few requests; waits."""

        def need_byte_ranges() -> None:
            byte_ranges = []
            for name, axes, index in parts:
                with contextlib.suppress(*READ_ERRORS):  # what was not in memory is fetched for all parts at once
                    dataset = self._guard.find(name, axes)
                    byte_ranges += hdf5_guard.extents_of_part(dataset, index) if dataset is not None else []
            self.access.need(byte_ranges)

        if self.access.is_slow:
            self.access.run(need_byte_ranges)

    def read_part(self, name: str, axes: int, index: hdf5_guard.Index) -> npt.NDArray[np.generic] | None:
        try:
            return self._read_part(name, axes, index)
        except (OSError, RuntimeError, UserError):
            if not self.growing or self.access.is_slow:
                raise
        # While a file is followed, HDF5's cached metadata can become inconsistent, and every read fails then.
        # Opened anew, the file can be read.
        self._open_anew()
        return self._read_part(name, axes, index)

    def _read_part(self, name: str, axes: int, index: hdf5_guard.Index) -> npt.NDArray[np.generic] | None:
        def read_it() -> npt.NDArray[np.generic] | None:
            dataset = self._guard.find(name, axes)
            if dataset is None or not dataset.shape or (isinstance(index[0], int) and index[0] >= dataset.shape[0]):
                return None
            if self.access.is_slow:  # all chunks in one request, instead of one after another
                self.access.need(hdf5_guard.extents_of_part(dataset, index))
            return read(dataset, index)

        return self.access.run(read_it)
