"""Read a regions file in another process: HDF5 can hang or crash on a damaged file, which must not end the window.

`python -m viewer.analysis.regions.regions_reading RESULTS REGIONS` prints what is wrong with the file, or the patches
of its regions, as one line of JSON, after an empty line for each step, as `viewer.analysis.probe` does.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viewer.analysis import probe
from viewer.analysis.probe import Probe
from viewer.regions.known_patches import KnownPatches, from_plain

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ANSWER: Final = 1 << 26
"""Bytes of an answer."""


class RegionsReading(Probe):
    """A running read of one regions file in another process; `poll` is as for a probe."""

    def __init__(self, path: Path, results: Path) -> None:
        """`results`: the results file that the regions belong to."""
        self._results = results
        self.regions = KnownPatches()
        """What was read, once `poll` has returned an empty sentence."""
        super().__init__(path)

    def _words(self) -> tuple[str, ...]:
        return "viewer.analysis.regions.regions_reading", str(self._results), str(self.path)

    def _read(self) -> None:
        super()._read()
        if len(self._output) > MAX_ANSWER:
            self._process.kill()

    def _ask(self) -> str | None:
        answer = super()._ask()
        if answer == "":
            assert isinstance(self.path, Path)
            self.regions = from_plain(json.loads(self._output)["regions"], self.path)
        return answer


def read(
    results: Path,
    path: Path,
    note_progress: Callable[[], object] = lambda: None,
    limit_again: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Return the regions of a file as plain values under `regions`, and what is wrong with it under `error`.

    `note_progress` is called after each step and `limit_again` before the next.
    """
    from viewer.errors import READ_ERRORS
    from viewer.io.results import Results
    from viewer.regions.known_patches import read_known_patches, to_plain

    def go_on() -> None:
        note_progress()
        limit_again()

    try:
        opened = Results(results)
        try:
            return {"error": "", "regions": to_plain(read_known_patches(path, opened, go_on))}
        finally:
            opened.close()
    except MemoryError:
        return {"error": f"{path.name} is damaged: a part of it needs more than 1 GB. Copy it again, or make it again."}
    except READ_ERRORS as error:
        return {"error": " ".join(str(error).split())}


def _note_progress() -> None:
    sys.stdout.write("\n")
    sys.stdout.flush()


if __name__ == "__main__":
    from viewer.io import results as _loaded  # noqa: F401 - imports do not count

    probe.limit_memory()
    probe.limit()
    _note_progress()
    sys.stdout.write(json.dumps(read(Path(sys.argv[1]), Path(sys.argv[2]), _note_progress, probe.limit)))
