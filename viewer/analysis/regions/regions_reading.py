"""Read a regions file in another process: HDF5 can hang or crash on a damaged file, which must not end the window.

`python -m viewer.analysis.regions.regions_reading RESULTS REGIONS` prints what is wrong with the file, or the patches
of its regions, as one line of JSON, after an empty line for each step, as `viewer.analysis.probe` does. With `masks` as
a third argument it reads what the commands read, and prints only what is wrong.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from viewer.analysis import probe
from viewer.analysis.probe import ForkedProbe, Probe
from viewer.regions.file_versions import read_stamp
from viewer.regions.known_patches import KnownPatches, from_plain
from viewer.regions.regions_file import read_decisive_parts, read_regions

if TYPE_CHECKING:
    from collections.abc import Callable

    from capture.remote.address import Location
    from viewer.io.results import Results
    from viewer.regions.region import RegionSet

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


class RegionsCheck(Probe):
    """A running test read of all that the commands read of a regions file; `poll` is as for a probe."""

    def __init__(self, path: Path, results: Location) -> None:
        """`results`: the results file that the regions belong to."""
        self._results = results
        super().__init__(path)

    def _words(self) -> tuple[str, ...]:
        return "viewer.analysis.regions.regions_reading", str(self._results), str(self.path), "masks"


class ForkedRegionsCheck(RegionsCheck, ForkedProbe):
    """The same in a fork of this process, where `probe.can_fork`."""

    def _check(self, note_progress: Callable[[], object]) -> str:
        assert isinstance(self.path, Path)
        return str(check(self._results, self.path, note_progress, probe.limit)["error"])


def read_checked_regions(path: Path, results: Results) -> RegionSet:
    """Return the regions of a file that belongs to `results`, after another process has read it.

    Raises:
        UserError: The file cannot be read, is damaged, or belongs to another results file.
    """
    check_regions(path, results)
    return read_regions(path, results)


def check_regions(path: Path, results: Results) -> None:
    """Let another process read a regions file; it is ended where HDF5 hangs. A file that has not changed is read once.

    Raises:
        UserError: The file cannot be read, is damaged, or belongs to another results file.
    """
    key = str(path.absolute()), str(results.path), read_stamp(path)
    if key in _checked:
        return
    (ForkedRegionsCheck if probe.can_fork() else RegionsCheck)(path, results.path).check()
    _checked.add(key)


_checked: Final[set[tuple[object, ...]]] = set()
"""Regions files, with the results files that they belong to and their stamps, that were read without a failure."""


def check(
    results: Location,
    path: Path,
    note_progress: Callable[[], object] = lambda: None,
    limit_again: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Read a regions file; return what is wrong with it under `error`. The rest is as for `read`."""

    def note_and_limit() -> None:
        note_progress()
        limit_again()

    def test_read(opened: Results) -> dict[str, Any]:
        read_decisive_parts(path, opened, note_and_limit)
        return {}

    return _read_with(results, path, test_read)


def read(
    results: Path,
    path: Path,
    note_progress: Callable[[], object] = lambda: None,
    limit_again: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Return the regions of a file as plain values under `regions`, and what is wrong with it under `error`.

    `note_progress` is called after each step and `limit_again` before the next.
    """
    from viewer.regions.known_patches import read_known_patches, to_plain

    def note_and_limit() -> None:
        note_progress()
        limit_again()

    return _read_with(
        results, path, lambda opened: {"regions": to_plain(read_known_patches(path, opened, note_and_limit))}
    )


def _read_with(results: Location, path: Path, act: Callable[[Results], dict[str, Any]]) -> dict[str, Any]:
    """Return what `act` returns of an open results file, with an empty `error`; or what is wrong with the regions."""
    from viewer.errors import READ_ERRORS
    from viewer.io.results import Results

    try:
        opened = Results(results)
        try:
            return {"error": "", **act(opened)}
        finally:
            opened.close()
    except MemoryError:
        return {"error": f"{path.name} is damaged: a part of it needs more than 1 GB. Copy it again, or make it again."}
    except READ_ERRORS as error:
        return {"error": " ".join(str(error).split())}


if __name__ == "__main__":
    from viewer.io import results as _loaded  # noqa: F401 - imports do not count

    _act = check if sys.argv[3:] == ["masks"] else read
    probe.print_answer(lambda note: _act(Path(sys.argv[1]), Path(sys.argv[2]), note, probe.limit))
