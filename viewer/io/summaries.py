"""Summaries in an open results file: masses, entropies, and scores of words and regions. No Qt."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from capture.results import schema, scores_schema
from capture.results.regions_schema import choose_patches, is_name
from viewer.errors import NoMapsError
from viewer.io import hdf5_guard
from viewer.io.cache import Cache
from viewer.io.results_file import MAX_AXIS, ResultsFile
from viewer.model.attention import Floats, reorder_masses, to_float32
from viewer.model.view_state import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from capture.remote.address import Location
    from capture.results.scores_schema import Measure
    from viewer.io.block_file import ByteSource
    from viewer.model.view_state import Cell

T = TypeVar("T")
CACHE_BYTES: Final = 64 << 20
MOST_NAMED: Final = 6
"""Frames with maps that a sentence names."""


class Summaries(ResultsFile):
    """The summaries of a results file; each is read when it is first used."""

    def __init__(self, path: Location, source: ByteSource | None = None) -> None:
        """Open the file and check its header; see `ResultsFile`."""
        self._cache = Cache(CACHE_BYTES)
        super().__init__(path, source)

    def remember(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return the cached value of `key`, computed by `make` if it is absent; CACHE_BYTES are kept in all."""
        return self._cache.get(key, make, size)

    def _get_cached(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """Return the cached value of `key`, read by `make` with the file held open if it is absent."""
        return self.access.read_kept(self._cache, key, make, size)

    # Masses and entropies

    def mass(self, frame: int, kind: Kind) -> Floats | None:
        """Return the stored masses of the key groups, in the order of `groups`; None if absent or never filled in.

        text (layers, T, heads, groups), action (layers, H, steps, heads, groups)
        """
        name, axes = (schema.ACTION_MASS, 6) if kind == "action" else (schema.TEXT_MASS, 5)

        def make() -> Floats | None:
            order = self._group_order(kind)
            return None if order is None else reorder_masses(self.read_part(name, axes, (frame,)), order)

        return self._get_cached(("mass", kind, frame), make, lambda part: 0 if part is None else part.nbytes)

    def _group_order(self, kind: Kind) -> list[int] | None:
        """Return the index of each of `groups` in the stored masses; None where no masses fit the file."""
        name, axes = (schema.ACTION_MASS, 6) if kind == "action" else (schema.TEXT_MASS, 5)
        dataset = self._guard.find(name, axes)
        if dataset is None:
            return None
        stored = hdf5_guard.names(dataset.attrs.get(schema.GROUPS_ATTRIBUTE, ())) or self.groups
        if dataset.shape[1:] != (*self._row_shape(kind), len(stored)) or not set(self.groups) <= set(stored):
            return None
        return [stored.index(group) for group in self.groups]

    def _row_shape(self, kind: Kind) -> tuple[int, ...]:
        """Return the lengths of the axes of one frame's summaries: layers, tokens, denoise steps of actions, heads."""
        if kind == "text":
            return len(self.layers), self.tokens, self.heads
        return len(self.layers), self.horizon, len(self.steps), self.heads

    def entropy(self, frame: int, kind: Kind) -> Floats | None:
        """Return the stored entropy in nats over the patches that show a picture; None if absent or never filled in.

        text (layers, T, heads), action (layers, H, steps, heads); NaN, in early files 0, without weight on a picture.
        """
        name, axes = (schema.ACTION_ENTROPY, 5) if kind == "action" else (schema.TEXT_ENTROPY, 4)

        def make() -> Floats | None:
            part = self.read_part(name, axes, (frame,))
            if part is None or part.dtype.kind != "f" or part.shape != self._row_shape(kind):
                return None
            if not np.nan_to_num(part).any():
                return None
            return to_float32(part)

        return self._get_cached(("entropy", kind, frame), make, lambda part: 0 if part is None else part.nbytes)

    def mass_at(self, frame: int, kind: Kind, token: int, layer: int, step: int) -> Floats | None:
        """Return the stored masses of one row, (heads, groups), reading no more, for curves over many frames."""
        name, axes = (schema.ACTION_MASS, 6) if kind == "action" else (schema.TEXT_MASS, 5)
        index = (frame, layer, token, step) if kind == "action" else (frame, layer, token)

        def make() -> Floats | None:
            order = self._group_order(kind)
            return None if order is None else reorder_masses(self.read_part(name, axes, index), order)

        if not self.access.is_slow:
            return self.access.run(make)
        if ("mass", kind, frame) in self._cache:
            whole = self.mass(frame, kind)
            return None if whole is None else whole[index[1:]]
        return self._get_cached(("mass", kind, index), make, lambda part: 0 if part is None else part.nbytes)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the key groups."""
        return _name_groups(self.cameras)

    # Scores of words and regions, and which frames have maps

    def _read_axes(self) -> None:
        """Read the names and lengths of axes, and check that the scores fit them; UserError where they do not."""
        super()._read_axes()
        guard = self._guard
        self.regions: tuple[str, ...] = ()
        """Names of the regions whose scores are stored."""
        self._words = 0
        flags = guard.find(scores_schema.HAS_MAPS, 1)
        self._has_flags = flags is not None
        if flags is None:
            return
        coverage = guard.find(scores_schema.COVERAGE, 5)
        if coverage is not None:
            self.regions = hdf5_guard.names(coverage.attrs.get(scores_schema.REGIONS_ATTRIBUTE, ()))
        if len(set(self.regions)) != len(self.regions) or not all(map(is_name, self.regions)):
            raise guard.damaged("its regions have names that cannot be")
        lengths = {
            "region": len(self.regions),
            "layer": len(self.layers),
            "action": self.horizon,
            "step": len(self.steps),
            "head": self.heads,
            "camera": len(self.cameras),
            "row": self.grid.rows,
            "col": self.grid.cols,
            "token": self.tokens,
        }
        words = guard.find(scores_schema.WORD_ENTROPY, 4)
        if words is not None:
            self._words = lengths["word"] = int(words.shape[2])
        axes_of = {scores_schema.WORD: "frame, token", scores_schema.COVERAGE: "frame, region, camera, row, col"}
        for name, text in (axes_of | scores_schema.AXES).items():
            axes = text.split(", ")
            dataset = guard.find(name, len(axes))
            if dataset is None:
                continue
            expected = tuple(lengths.get(axis, 0) for axis in axes[1:])
            kinds = "iu" if name == scores_schema.WORD else "f"
            if dataset.shape[1:] != expected or max(expected, default=0) > MAX_AXIS or dataset.dtype.kind not in kinds:
                shape = tuple(map(int, dataset.shape))
                raise guard.damaged(f"{name} has shape {shape} of {dataset.dtype}, which does not fit its other parts")

    def has_maps(self, frame: int) -> bool:
        """Return whether the maps of a frame were kept, and not its summaries alone."""
        if not self._has_flags:
            return True
        return frame in self.frames_with_maps or frame >= self.done

    @property
    def frames_with_maps(self) -> frozenset[int]:
        """The finished frames whose maps were kept; all where the file does not tell."""
        if not self._has_flags:
            return frozenset(range(self.done))

        def make() -> frozenset[int]:
            flags = self.read_part(scores_schema.HAS_MAPS, 1, (slice(0, self.done),))
            return frozenset() if flags is None else frozenset(np.flatnonzero(flags).tolist())

        return self._get_cached(("has maps", self.done), make, lambda frames: 64 * len(frames))

    def require_maps(self, frame: int) -> None:
        """Raise NoMapsError where the maps of a frame were not kept."""
        if not self.has_maps(frame):
            raise NoMapsError(f"{self.describe_missing_maps()}.")

    def describe_missing_maps(self) -> str:
        """Return that a frame has no maps, and which have, as a sentence without a full stop."""
        frames = sorted(self.frames_with_maps)
        if not frames:
            return "No attention maps were kept in this file, but the summaries of every frame (--keep)"
        shown = ", ".join(map(str, frames[:MOST_NAMED])) + (" …" if len(frames) > MOST_NAMED else "")
        return f"The attention maps of this frame were not kept, but its summaries (--keep; frames {shown} have maps)"

    def region_cells(self, frame: int, region: int) -> tuple[Cell, ...] | None:
        """Return the patches (camera, row, col) of a stored region in a frame, in order; None where it is not known."""

        def make() -> tuple[Cell, ...] | None:
            coverage = self.read_part(scores_schema.COVERAGE, 5, (frame, region))
            if coverage is None:
                return None
            cameras = [camera for camera, patches in enumerate(coverage) if not np.isnan(patches).all()]
            chosen = {camera: choose_patches(np.nan_to_num(to_float32(coverage[camera]))) for camera in cameras}
            cells = [
                (camera, row, col) for camera, patches in chosen.items() for row, col in np.argwhere(patches).tolist()
            ]
            return tuple(cells) if cameras else None

        return self._get_cached(("cells", frame, region), make, lambda cells: 100 * len(cells or ()))

    def find_region(self, frame: int, cells: Sequence[Cell]) -> int | None:
        """Return the place among `regions` of the one that has exactly these patches in a frame; None without any."""
        requested = set(cells)
        for region in range(len(self.regions)):
            stored_cells = self.region_cells(frame, region)
            if stored_cells is not None and set(stored_cells) == requested:
                return region
        return None

    def region_score(self, frame: int, kind: Kind, measure: Measure, region: int) -> Floats | None:
        """Return a stored score of a region for every word or action, (items, layers, steps, heads); None if absent.

        Words are those of `chips`.
        """
        name = scores_schema.region_score(kind, measure)

        def make() -> Floats | None:
            part = self.read_part(name, 6 if kind == "action" else 5, (frame, region))
            return None if part is None else _by_item(to_float32(part), kind)

        return self._get_cached((name, frame, region), make, lambda part: 0 if part is None else part.nbytes)

    def word_entropy(self, frame: int) -> Floats | None:
        """Return the stored entropy of every word over the pictures, (words, layers, 1, heads); None if absent."""

        def make() -> Floats | None:
            part = self.read_part(scores_schema.WORD_ENTROPY, 4, (frame,))
            return None if part is None else _by_item(to_float32(part), "text")

        return self._get_cached(("word entropy", frame), make, lambda part: 0 if part is None else part.nbytes)

    def step_change(self, frame: int) -> Floats | None:
        """Return the stored change of every action over the steps, (actions, layers, heads); None if absent."""
        part = self.read_part(scores_schema.CHANGE, 4, (frame,))
        return None if part is None else to_float32(part).swapaxes(0, 1)


@lru_cache(maxsize=16)
def _name_groups(cameras: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of the key groups; kept, as a change of the view asks for them eight times."""
    return schema.mass_groups(cameras)


def _by_item(values: npt.NDArray[Any], kind: Kind) -> Floats:
    """Return (layers, words, heads) or (layers, actions, steps, heads) as (items, layers, steps, heads)."""
    return values.swapaxes(0, 1)[:, :, None] if kind == "text" else values.swapaxes(0, 1)
