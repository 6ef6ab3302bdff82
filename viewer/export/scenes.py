"""The open files of an export, their scenes as the window shows them, and colour ranges of several views. No Qt."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from viewer.analysis import scene
from viewer.analysis.carried_query import align_view, describe_not_aligned
from viewer.analysis.comparison import in_measure_of, take_side
from viewer.analysis.effects.measured import find_map_unavailable_reason
from viewer.analysis.scene import Scene
from viewer.errors import READ_ERRORS, NoMapsError, UserError
from viewer.export import cancellation
from viewer.io.effects import Effects, attach
from viewer.io.results import Results
from viewer.model import attention
from viewer.model.view_state import FROM_EFFECTS, SHARED_RANGES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from capture.remote.address import Location
    from viewer.model.view_state import ViewState


@dataclass(frozen=True)
class ExportSource:
    """The open file that is exported, and the one that is subtracted, if any. A context manager that closes both."""

    results: Results
    other: Results | None = None

    @classmethod
    def open(
        cls,
        file: Location,
        other: Location | None = None,
        effects: Sequence[Path] = (),
        beside: Sequence[Path] = (),
        beside_other: Sequence[Path] = (),
    ) -> Self:
        """Open the files.

        `effects` are effects files about `file`, the one to prefer first; those in `beside` come after them, and are
        left out where they are about another file or damaged, as those of `beside_other` are, about `other`.

        Raises:
            UserError: A file cannot be opened.
        """
        with contextlib.ExitStack() as opened:
            results = Results(file)
            opened.callback(results.close)
            _attach_all(results, (*effects, *beside), required=effects)
            second = None
            if other is not None:
                second = Results(other)
                opened.callback(second.close)
                _attach_all(second, beside_other)
            opened.pop_all()
            return cls(results, second)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the files; a second call does nothing."""
        self.results.close()
        if self.other is not None:
            self.other.close()

    def is_unpaired(self, view: ViewState) -> bool:
        """Return whether a view has no counterpart in the other file: no such frame, or a prompt without the words."""
        if self.other is None:
            return False
        if view.frame >= self.other.done or align_view(view, self.results, self.other) is None:
            return True
        is_of_effects = view.measure in FROM_EFFECTS and bool(self.other.effects)
        return is_of_effects and bool(find_map_unavailable_reason(self.other, view.frame, view.measure, view.dim))

    def subtracted(self, view: ViewState) -> tuple[Results, ViewState] | None:
        """Return the file and the view that a view is compared with; None where it has none.

        Raises:
            UserError: The prompt of the other file lacks the words.
        """
        if self.other is not None:
            aligned = align_view(view, self.results, self.other)
            if aligned is None:
                reason = describe_not_aligned(view, self.results, self.other)
                raise UserError(f"{reason}; name a word that both prompts have, or another frame.")
            return self.other, aligned
        if view.pinned is None:
            return None
        return self.results, in_measure_of(view, take_side(view.bare(), view.pinned))

    def compose(self, view: ViewState) -> Scene:
        """Return the scene of a view, whatever it is compared with."""
        return _compose(self.results, view)

    def compose_both(self, view: ViewState) -> tuple[Scene, Scene]:
        """Return the scenes of a view and of what it is compared with.

        Raises:
            UserError: The view is compared with nothing.
        """
        pair = self.subtracted(view)
        if pair is None:
            raise UserError("There is nothing to compare this view with.")
        return self.compose(view), _compose(*pair)

    def compose_shown(self, view: ViewState) -> Scene:
        """Return the scene that a view shows: of the difference where it shows one."""
        if view.compare == "difference" and self.subtracted(view) is not None:
            return scene.compare(*self.compose_both(view), view)
        return self.compose(view)


def _attach_all(results: Results, effects: Sequence[Path], required: Sequence[Path] = ()) -> None:
    """Open effects files, the one to prefer first. Raises UserError for a required one that cannot be read."""
    for path in reversed(effects):
        try:
            attach(results, Effects(path))
        except UserError as error:
            if path in required:
                raise
            results.effects_left_out += (str(error),)


@contextlib.contextmanager
def explain_read_errors(results: Results, frame: int | None = None) -> Iterator[None]:
    """Turn errors of reading a file, or one frame of it, into a UserError with one sentence."""
    try:
        yield
    except UserError:
        raise
    except READ_ERRORS as error:
        reason = " ".join(str(error).split())[:120].strip("'")
        where = f"Frame {frame} of {results.path.name}" if frame is not None else results.path.name
        advice = "name other frames" if frame is not None else "it is damaged: copy it again, or record it again"
        raise UserError(f"{where} cannot be read ({reason}); {advice}.") from error


def _compose(results: Results, view: ViewState) -> Scene:
    with explain_read_errors(results, view.frame):
        composed = scene.compose(results, view)
    if composed.missing:
        raise NoMapsError(f"Frame {view.frame} of {results.path.name} cannot be drawn. {composed.missing}")
    return composed


def find_common_range(scenes: Iterable[Scene], mode: str = "shared") -> tuple[float, float]:
    """Return one colour range for several scenes, `uniform` or `shared` as `attention.color_range` has them.

    It ends at the 99th percentile of all their weights. For differences it is centred on 0 and reaches as far as the
    widest of theirs.
    """
    all_scenes = list(scenes)
    if not all_scenes:
        return 0.0, 1.0
    if all_scenes[0].difference:
        limit = max((high for scene in all_scenes for _, high in scene.ranges), default=1.0)
        return -limit, limit
    maps = np.concatenate([scene.maps.reshape(-1) for scene in all_scenes])
    if not maps.size:
        return 0.0, 1.0
    return attention.color_range(maps[None], mode, 0, 0, min(scene.uniform for scene in all_scenes))[0]


def lock_range(view: ViewState, ends: tuple[float, float]) -> ViewState:
    """Return the view with its colour range locked, so that its JSON opens in the colours of the figure."""
    return replace(view, range="locked", low=max(ends[0], 0.0), high=ends[1])


def share_range(source: ExportSource, views: Sequence[ViewState]) -> list[ViewState]:
    """Return the views on one colour range, unless theirs is locked or each map's own."""
    if not views or views[0].range not in SHARED_RANGES or views[0].scale == "rank":
        return list(views)

    def compose(view: ViewState) -> Scene:
        cancellation.check()
        return source.compose_shown(view)

    ends = find_common_range((compose(view) for view in views), views[0].range)
    return [lock_range(view, ends) for view in views]
