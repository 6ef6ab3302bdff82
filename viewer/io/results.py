"""Contents of an open results file by name: lazy reads, cached. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import h5py
import numpy as np
import numpy.typing as npt

from capture.results import schema
from viewer.errors import READ_ERRORS
from viewer.io import hdf5_guard, view_bytes
from viewer.io.hdf5_guard import read
from viewer.io.results_file import MAX_SIDE
from viewer.io.summaries import Summaries
from viewer.model import geometry
from viewer.model.attention import Floats, Rows, to_float32
from viewer.model.view_state import Dims, Kind
from viewer.model.words import Chip, chips

if TYPE_CHECKING:
    from capture.remote.address import Location
    from viewer.io.block_file import ByteSource

Pixels = npt.NDArray[np.uint8]


class Results(Summaries):
    """Contents of a results file; each is read when it is first used."""

    def __init__(self, path: Location, source: ByteSource | None = None) -> None:
        """Open the file and check its header; UserError if it cannot be shown. `source`: the bytes of a slow file."""
        self._dims: tuple[tuple[int, int], Dims] | None = None
        super().__init__(path, source)

    def dims(self, frame: int) -> Dims:
        """Return the lengths of the axes; the number of chips is that of one frame."""
        key = (frame, self.done)
        if self._dims is None or self._dims[0] != key:
            self._dims = key, self.dims_with(len(self.chips(frame)))
        return self._dims[1]

    def dims_with(self, words: int) -> Dims:
        """Return the lengths of the axes for a prompt of so many words."""
        lengths = (len(self.layers), self.heads, len(self.steps), self.horizon, words, len(self.cameras))
        return Dims(self.done, *lengths, *self.grid.shape)

    # Attention

    def rows(self, frame: int, kind: Kind, token: int) -> Rows:
        """Return the weights of one query token at all layers, steps and heads.

        Raises NoMapsError, as all that reads maps, where the frame's maps were not kept.
        """
        return self._get_cached((kind, frame, token), lambda: self._rows(frame, kind, token), lambda rows: rows.nbytes)

    def images(self, frame: int, kind: Kind, token: int) -> npt.NDArray[np.generic]:
        """Return the weights of one query token on the patches, as stored: (layers, steps, heads, cameras, rows, cols).

        Those on the text are not read, unless the file is slow, of which one request fetches all of `rows`.
        """
        if self.access.is_slow or (kind, frame, token) in self._cache:
            return self.rows(frame, kind, token).image
        return self._get_cached(
            ("image", kind, frame, token), lambda: self._read_image(frame, kind, (frame, slice(None), token)), _bytes_of
        )

    def layer_rows(self, frame: int, kind: Kind, token: int, layer: int) -> Rows:
        """Return the weights of one query token at one layer, at all steps and heads, no more if it is slow."""
        is_read = (kind, frame, token) in self._cache
        if is_read or not self.access.is_slow or kind == "text":  # a word's row is one chunk for all layers
            return self.rows(frame, kind, token).at(slice(layer, layer + 1))
        key = ("row", frame, token, layer)
        return self._get_cached(
            key, lambda: self._rows(frame, kind, token, slice(layer, layer + 1)), lambda rows: rows.nbytes
        )

    def _rows(self, frame: int, kind: Kind, token: int, layers: slice = slice(None)) -> Rows:
        self.require_maps(frame)
        to_text = view_bytes.NAMES[kind][1]
        at = (frame, layers, token)
        self.fetch_parts(view_bytes.list_row_parts(kind, at))
        image = self._read_image(frame, kind, at)
        text = self.read_part(to_text, 6 if kind == "action" else 5, at)
        action = self.read_part(schema.ACTION_TO_ACTION, 6, at) if kind == "action" else None
        if kind == "text" and text is not None:
            text = text[:, None]
        lead = image.shape[:3]
        return Rows(
            image,
            np.zeros((*lead, self.tokens), np.float32) if text is None else text,
            np.zeros((*lead, self.horizon if kind == "action" else 0), np.float32) if action is None else action,
        )

    def _read_image(self, frame: int, kind: Kind, at: hdf5_guard.Index) -> npt.NDArray[np.generic]:
        """Read weights of a token on the patches: (layers, steps, heads, cameras, rows, cols); `at`: where they are."""
        self.require_maps(frame)
        name = view_bytes.NAMES[kind][0]
        image = self.read_part(name, 8 if kind == "action" else 7, at)
        if image is None:
            raise IndexError(f"{name}: no frame {frame}")
        return image[:, None] if kind == "text" else image

    def column(self, frame: int, kind: Kind, layer: int, token: int) -> npt.NDArray[np.generic]:
        """Return weights of one token on the patches at one layer, as stored: (steps, heads, cameras, rows, cols)."""
        self.require_maps(frame)
        name, axes = view_bytes.NAMES[kind][0], 8 if kind == "action" else 7
        part = self.read_part(name, axes, (frame, layer, token))
        if part is None:
            raise IndexError(f"{name}: no frame {frame}")
        return part[None] if kind == "text" else part

    def layer_images(self, frame: int, kind: Kind, layer: int, step: int) -> npt.NDArray[np.generic]:
        """Return weights of all tokens on the patches at a layer and step: (tokens, heads, cameras, rows, cols)."""

        def make() -> npt.NDArray[np.generic]:
            self.require_maps(frame)
            index: hdf5_guard.Index = (frame, layer, slice(None))
            part = self.read_part(
                view_bytes.NAMES[kind][0], 8 if kind == "action" else 7, (*index, step) if kind == "action" else index
            )
            return np.zeros((0, self.heads, len(self.cameras), *self.grid.shape), np.float32) if part is None else part

        return self._get_cached(("layer", kind, frame, layer, step), make, lambda part: part.nbytes)

    def value_norms(self, frame: int, kind: Kind) -> tuple[Floats, Floats, Floats] | None:
        """Return the value norms of all keys; None if absent.

        image (layers, heads, cameras, rows, cols), text (layers, heads, T), action (layers, steps, heads, H)
        """
        action = kind == "action"
        of_image = schema.ACTION_VALUE_NORM_IMAGE if action else schema.TEXT_VALUE_NORM_IMAGE

        def make() -> tuple[Floats, Floats, Floats] | None:
            if not self.has_maps(frame):
                return None
            image = self.read_part(of_image, 6, (frame,))
            text = self.read_part(schema.ACTION_VALUE_NORM_TEXT if action else schema.TEXT_VALUE_NORM_TEXT, 4, (frame,))
            none = np.zeros((0, 0, 0, 0), np.float32)
            action_keys = self.read_part(schema.ACTION_VALUE_NORM_ACTION, 5, (frame,)) if action else none
            lead = (len(self.layers), self.heads)
            if (
                image is None
                or text is None
                or action_keys is None
                or image.shape != (*lead, len(self.cameras), *self.grid.shape)
            ):
                return None
            if text.shape != (*lead, self.tokens) or not image.any():
                return None
            if action and action_keys.shape != (lead[0], len(self.steps), lead[1], self.horizon):
                return None
            return to_float32(image), to_float32(text), to_float32(action_keys)

        return self._get_cached(("norms", kind, frame), make, lambda parts: sum(part.nbytes for part in parts or ()))

    # Pictures

    def picture(self, frame: int, camera: int, which: str) -> Pixels | None:
        """Return a camera's picture, (h, w, 3) uint8 RGB: `source` as it came, `model` as the model saw it.

        In a file without `source` pictures the model's are returned for them; None if both are absent.
        """
        name = self.cameras[camera]
        is_source = which == "source" and self._guard.find(schema.source_name(name), 4) is not None
        stored = schema.source_name(name) if is_source else schema.model_picture_name(name)

        def make() -> Pixels | None:
            dataset = self._guard.find(stored, 4)
            if dataset is None or dataset.dtype != np.uint8 or dataset.shape[3] != 3:
                return None
            if not 0 < max(dataset.shape[1:3]) <= MAX_SIDE or min(dataset.shape[1:3]) < 1:
                return None
            part = self.read_part(stored, 4, (frame,))
            return None if part is None else np.ascontiguousarray(part, np.uint8)

        return self._get_cached(
            ("picture", frame, camera, which), make, lambda part: 0 if part is None else part.nbytes
        )

    def to_model(self, frame: int, camera: int) -> geometry.Affine:
        """Return the stored map from the camera's picture to the model's; a letterbox if there is none to be inverted.

        It is the identity where the model's picture is shown for the camera's.
        """

        def make() -> geometry.Affine:
            if self._guard.find(schema.source_name(self.cameras[camera]), 4) is None:
                return geometry.letterbox(self.grid.height, self.grid.width, self.grid)
            part = self.read_part(schema.to_model_name(self.cameras[camera]), 3, (frame,))
            if part is not None and geometry.is_invertible(np.asarray(part, np.float64)):
                return np.asarray(part, np.float64)
            return geometry.letterbox(*self.picture_size(camera), self.grid)

        return self._get_cached(("map", frame, camera), make, lambda part: part.nbytes)

    def picture_size(self, camera: int) -> tuple[int, int]:
        """Return height and width of the camera's pictures; of the model's where there are none.

        Never raises for a damaged file: the layout of a window needs it, and `picture` reports the damage.
        """

        def make() -> tuple[int, int]:
            try:
                dataset = self._guard.find(schema.source_name(self.cameras[camera]), 4)
            except READ_ERRORS:
                return self.grid.height, self.grid.width
            if dataset is None or min(dataset.shape[1:3]) < 1 or max(dataset.shape[1:3]) > MAX_SIDE:
                return self.grid.height, self.grid.width
            return int(dataset.shape[1]), int(dataset.shape[2])

        return self._get_cached(("size", camera), make, lambda _: 64)

    def bars(self, frame: int) -> npt.NDArray[np.bool_]:
        """Return which patches lie wholly in the letterbox bars: (cameras, rows, cols)."""
        maps = [self.to_model(frame, camera) for camera in range(len(self.cameras))]

        def make() -> npt.NDArray[np.bool_]:
            each = [
                geometry.find_bars(transform, *self.picture_size(camera), self.grid)
                for camera, transform in enumerate(maps)
            ]
            return np.stack(each) if each else np.zeros((0, *self.grid.shape), bool)

        # Cached by the maps and not by the frame: all frames of an episode usually have the same.
        return self._get_cached(("bars", *(transform.tobytes() for transform in maps)), make, lambda part: part.nbytes)

    # Text

    def roles(self, frame: int) -> npt.NDArray[np.int64]:
        """Return the role of every text token as its index in schema.ROLES: (T,)."""

        def make() -> npt.NDArray[np.int64]:
            pad = schema.ROLES.index("pad")
            dataset = self._guard.find(schema.TEXT_ROLE, 2)
            if dataset is None or dataset.shape[1] != self.tokens or frame >= dataset.shape[0]:
                return np.full(self.tokens, pad, np.int64)
            values = read(dataset, (frame,))
            enum = h5py.check_enum_dtype(dataset.dtype)
            if enum:
                name_by_value = {int(value): name for name, value in enum.items()}
                named = [name_by_value.get(int(value), "pad") for value in values.tolist()]
            elif values.dtype.kind in "iu":
                numbers = values.astype(np.int64)
                return np.where((numbers >= 0) & (numbers < len(schema.ROLES)), numbers, pad)
            else:
                named = list(hdf5_guard.texts(values))
            return np.array([schema.ROLES.index(name) if name in schema.ROLES else pad for name in named], np.int64)

        return self._get_cached(("roles", frame), make, lambda part: part.nbytes)

    def _read_integers(self, name: str, frame: int, absent: int) -> npt.NDArray[np.int64]:
        part = self.read_part(name, 2, (frame,))
        if part is None or part.shape != (self.tokens,) or part.dtype.kind not in "iu":
            return np.full(self.tokens, absent, np.int64)
        return part.astype(np.int64)

    def chips(self, frame: int) -> tuple[Chip, ...]:
        """Return the chips of one frame; none if the file holds no attention of words."""

        def make() -> tuple[Chip, ...]:
            if not self.tokens or frame >= self.done or self._guard.find(schema.TEXT_TO_IMAGE, 7) is None:
                return ()
            pieces = self.pieces(frame)
            if len(pieces) != self.tokens:
                pieces = tuple(f"token {number}" for number in range(self.tokens))
            spans = np.stack(
                [self._read_integers(schema.TEXT_START, frame, 0), self._read_integers(schema.TEXT_STOP, frame, 0)], -1
            )
            return chips(
                self.roles(frame),
                self._read_integers(schema.TEXT_WORD, frame, -1),
                self._read_integers(schema.TEXT_STATE_INDEX, frame, -1),
                pieces,
                spans,
                self.string(schema.FRAMES_TEXT, frame),
                self.state(frame),
            )

        return self._get_cached(("chips", frame, self.done > frame), make, lambda chips: 200 * len(chips))

    def pieces(self, frame: int) -> tuple[str, ...]:
        """Return the piece of text of each token; empty if absent."""
        texts = self.read_part(schema.TEXT_PIECE, 2, (frame,))
        return hdf5_guard.texts(texts) if texts is not None else ()

    def string(self, name: str, frame: int) -> str:
        """Return one string of a frame; empty if absent."""

        def make() -> str:
            dataset = self._guard.find(name, 1)
            if dataset is None or frame >= dataset.shape[0]:
                return ""
            return hdf5_guard.texts(read(dataset, (slice(frame, frame + 1),)))[0]

        return self._get_cached((name, frame), make, len)

    def words_of(self, name: str) -> tuple[str, ...]:
        """Return the strings of all finished frames; empty if absent."""
        texts = self._read_finished(name)
        return () if texts is None else hdf5_guard.texts(texts)

    def column_of(self, name: str) -> npt.NDArray[np.generic] | None:
        """Return the numbers of all finished frames, (done,); None if absent."""
        return self._read_finished(name, "fiu")

    def _read_finished(self, name: str, kinds: str = "") -> npt.NDArray[np.generic] | None:
        """Return a dataset of one axis at all finished frames; None if absent, or of another kind than `kinds`."""

        def read_it() -> npt.NDArray[np.generic] | None:
            dataset = self._guard.find(name, 1)
            if dataset is None or not self.done or dataset.shape[0] < self.done:
                return None
            return read(dataset, (slice(0, self.done),)) if not kinds or dataset.dtype.kind in kinds else None

        return self.access.run(read_it)

    def extents(self, frame: int, kind: Kind, tokens: tuple[int, ...], which: str) -> list[tuple[int, int]]:
        """Return where in the file the first picture's data of a frame lies: (offset, size) in bytes.

        Empty for a file that is being written: its frames are still in the system's memory.
        """
        if self.growing:
            return []
        byte_ranges = []
        for name, axes, index in view_bytes.list_parts(self, frame, kind, tokens, which):
            dataset = self._guard.find(name, axes)
            byte_ranges += hdf5_guard.extents_of_part(dataset, index) if dataset is not None else []
        return byte_ranges

    # Actions

    def state(self, frame: int) -> npt.NDArray[np.float64] | None:
        """Return the robot's state before normalisation, (S,); None if absent."""
        part = self.read_part(schema.FRAMES_STATE, 2, (frame,))
        return None if part is None or part.dtype.kind not in "fiu" else part.astype(np.float64)

    def flow(self, name: str, frame: int) -> npt.NDArray[np.float64] | None:
        """Return `action/predicted`, `action/truth` (H, A), `action/x` (steps + 1, H, 32) or `action/time` (steps,)."""

        def make() -> npt.NDArray[np.float64] | None:
            axes = {schema.ACTION_X: 4, schema.ACTION_TIME: 2}.get(name, 3)
            part = self.read_part(name, axes, (frame,))
            return None if part is None or part.dtype.kind not in "fiu" else part.astype(np.float64)

        return self._get_cached((name, frame), make, lambda part: 0 if part is None else part.nbytes)

    def time(self, frame: int) -> float | None:
        """Return the time of a frame in its episode in seconds; None if absent."""
        seconds = self.read_part(schema.FRAMES_TIME, 1, (frame,))
        return None if seconds is None or seconds.dtype.kind != "f" else float(seconds)


def _bytes_of(values: npt.NDArray[np.generic]) -> int:
    return values.nbytes
