"""The bundled demo: its results file, and the run that the bundled policy makes of its bundled episodes. No Qt."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from viewer.io.user_cache import find_user_cache
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from capture.remote.address import Location

_VIEW: Final = ViewState(query=Query("text", (5,)), layer=1, heads=(0,))
"""The word “duck” of “pick up the duck”, seen by the head that was trained to point."""
_PARTS: Final = ("demo", "results.h5")
"""The last parts of the path of the bundled results file."""
_NAME: Final = "demo-run"
"""Of the run's folder."""


def demo_folder() -> Path | None:
    """Return the folder of the bundled demo; None if it is not installed."""
    import importlib.resources  # imported late: slow to load and rarely needed

    try:
        return Path(str(importlib.resources.files("resources") / "demo"))
    except ModuleNotFoundError:
        return None


def find_demo_path() -> Path | None:
    """Return the path of the bundled results file; None if it is not installed."""
    folder = demo_folder()
    path = None if folder is None else folder / _PARTS[-1]
    return path if path is not None and path.is_file() else None


def is_demo_file(path: Location) -> bool:
    """Return whether a results file is the bundled one."""
    if not isinstance(path, Path):
        return False
    path = path.resolve()
    if path.parts[-2:] != _PARTS:  # the usual case, which needs no importlib.resources
        return False
    demo = find_demo_path()
    return demo is not None and path == demo.resolve()


def create_demo_view(path: Location) -> ViewState | None:
    """Return the first view of a results file of the demo: the noun, in the head trained to point; None for others."""
    if not isinstance(path, Path):
        return None
    if is_of_demo_run(path):
        return _VIEW
    return _VIEW if is_demo_file(path) else None


def is_of_demo_run(path: Path) -> bool:
    """Return whether a results file is of the demo's run in the user's cache."""
    return path.parent.name == _NAME and path.parent == find_demo_run_folder()


def find_demo_episodes() -> list[Path]:
    """Return the folders of the bundled episodes in which the policy acted; none if they are not installed."""
    folder = demo_folder()
    return [] if folder is None else sorted(path.parent for path in (folder / "rollouts").glob("*/episode.json"))


@lru_cache(maxsize=1)
def find_demo_run_folder() -> Path | None:
    """Return where the captured run is kept: in the user's cache, since an installation may be read-only.

    Another one for other episodes or another policy. None if the episodes are not installed.
    """
    import hashlib  # imported late: slow to load and rarely needed

    episodes, folder = find_demo_episodes(), demo_folder()
    if not episodes or folder is None:
        return None
    digest = hashlib.sha256((folder / "model.safetensors").read_bytes())
    for episode in episodes:
        digest.update((episode / "episode.json").read_bytes())
    return find_user_cache("demo") / digest.hexdigest()[:12] / _NAME


def count_captured_episodes(folder: Path) -> int:
    """Return how many results files of the demo's run are in a folder, finished, with their regions beside them."""
    names = {path.name for path in folder.glob("*.h5")}
    return sum({f"{episode.name}.h5", f"{episode.name}.regions.h5"} <= names for episode in find_demo_episodes())


def is_demo_run_captured() -> bool:
    """Return whether the demo's run is in the user's cache, whole."""
    folder = find_demo_run_folder()
    if folder is None or not (folder / "index.json").is_file():
        return False
    return count_captured_episodes(folder) == len(find_demo_episodes())


def can_capture() -> bool:
    """Return whether this installation has what `pi0-capture` needs."""
    return all(importlib.util.find_spec(name) is not None for name in ("torch", "transformers"))
