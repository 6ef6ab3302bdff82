"""The numbers of a view as the window shows them, comparison included, and ranges that many views share. No Qt."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from viewer.analysis import scene
from viewer.analysis.scene import Scene
from viewer.errors import READ_ERRORS, UserError
from viewer.export import cancellation
from viewer.model import attention

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from viewer.io.results import Results
    from viewer.model.view_state import ViewState


@dataclass(frozen=True)
class Source:
    """The file that is exported, and the one that it is compared with, if any."""

    results: Results
    other: Results | None = None

    def compared(self, view: ViewState) -> tuple[Results, ViewState] | None:
        """The file and view that a view is compared with."""
        if self.other is not None:
            return self.other, scene.aligned(view, self.results, self.other)
        return None if view.pinned is None else (self.results, view.pinned)

    def plain(self, view: ViewState) -> Scene:
        """The numbers of a view by itself."""
        return _composed(self.results, view)

    def both(self, view: ViewState) -> tuple[Scene, Scene]:
        """The view and what it is compared with, each by itself."""
        pair = self.compared(view)
        if pair is None:
            raise UserError("There is nothing to compare this view with.")
        return self.plain(view), _composed(*pair)

    def shown(self, view: ViewState) -> Scene:
        """The numbers of a view, the difference where it is one."""
        if view.compare == "difference" and self.compared(view) is not None:
            return scene.compare(*self.both(view), view)
        return self.plain(view)


@contextlib.contextmanager
def readable(results: Results, frame: int | None = None) -> Iterator[None]:
    """UserError with one sentence where the file cannot be read, or one frame of it."""
    try:
        yield
    except UserError:
        raise
    except READ_ERRORS as error:
        reason = " ".join(str(error).split())[:120].strip("'")
        where = f"Frame {frame + 1} of {results.path.name}" if frame is not None else results.path.name
        what = "name other frames" if frame is not None else "it is damaged: copy it again, or record it again"
        raise UserError(f"{where} cannot be read ({reason}); {what}.") from error


def _composed(results: Results, view: ViewState) -> Scene:
    with readable(results, view.frame):
        return scene.compose(results, view)


def common_range(scenes: Iterable[Scene]) -> tuple[float, float]:
    """One colour range for many scenes: the 99th percentile of all their weights, or centred on 0 for differences."""
    kept = list(scenes)
    maps = np.concatenate([one.maps.reshape(-1) for one in kept]) if kept else np.zeros(0, np.float32)
    if kept and kept[0].difference:
        reach = attention.colour_range(np.abs(maps)[None], "shared", 0, 0)[0][1]
        return -reach, reach
    return attention.colour_range(maps[None], "shared", 0, 0)[0] if maps.size else (0.0, 1.0)


def on_range(view: ViewState, ends: tuple[float, float]) -> ViewState:
    """The view with its colour range held, so that its JSON opens in the very colours of the figure."""
    return replace(view, range="locked", low=max(ends[0], 0.0), high=ends[1])


def _shown(source: Source, view: ViewState) -> Scene:
    cancellation.check()
    return source.shown(view)


def sharing(source: Source, views: Sequence[ViewState]) -> list[ViewState]:
    """The views on one colour range, unless theirs is locked or one a map."""
    if not views or views[0].range != "shared" or views[0].scale == "rank":
        return list(views)
    ends = common_range(_shown(source, view) for view in views)
    return [on_range(view, ends) for view in views]
