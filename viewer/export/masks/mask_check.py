"""Test reads of another program's HDF5 file in a process of its own, which is ended where HDF5 hangs or crashes. No Qt.

`python -m viewer.export.masks.mask_check FILE DATASET` prints what is wrong as `viewer.analysis.probe` does.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viewer.analysis import probe
from viewer.analysis.probe import ForkedProbe, Probe
from viewer.errors import READ_ERRORS
from viewer.io import hdf5_guard, open_file
from viewer.io.hdf5_guard import Guarded

if TYPE_CHECKING:
    from collections.abc import Callable


class MaskCheck(Probe):
    """A running test read of one data set of an HDF5 file; `poll` is as for a probe."""

    def __init__(self, path: Path, dataset: str) -> None:
        self._dataset = dataset
        super().__init__(path)

    def _words(self) -> tuple[str, ...]:
        return "viewer.export.masks.mask_check", str(self.path), self._dataset


class ForkedMaskCheck(MaskCheck, ForkedProbe):
    """The same in a fork of this process, where `probe.can_fork`."""

    def _check(self, note_progress: Callable[[], object]) -> str:
        assert isinstance(self.path, Path)
        return check_labels(self.path, self._dataset, note_progress)


def check_dataset(path: Path, dataset: str) -> None:
    """Raise UserError where another process cannot read a data set of an HDF5 file."""
    (ForkedMaskCheck if probe.can_fork() else MaskCheck)(path, dataset).check()


def check_labels(path: Path, dataset: str, note_progress: Callable[[], object] = lambda: None) -> str:
    """Read the first and the last row of a data set; return what is wrong with it, empty if nothing is.

    Damage in the other rows is an error that HDF5 reports. A data set that is not there is left to who asks for it.
    """
    try:
        with open_file.open_hdf5(path) as file:
            guard = Guarded(file, path)
            place: Any = file.get(dataset) if is_inside(file, dataset) else None
            labels = guard.find(dataset, place.ndim) if hasattr(place, "ndim") else None
            note_progress()
            if labels is not None and labels.ndim and labels.shape[0]:
                if labels.chunks:
                    labels.id.get_num_chunks()
                for row in sorted({0, labels.shape[0] - 1}):
                    hdf5_guard.read(labels, (row,))
                    note_progress()
    except MemoryError:
        return f"{path.name} is damaged: a part of it needs more than 1 GB. Copy it again."
    except READ_ERRORS as error:
        return " ".join(str(error).split())
    return ""


def is_inside(file: object, dataset: str) -> bool:
    """Return whether each part of a path is a hard link, so that following it leaves the file nowhere."""
    import h5py

    place = file
    for part in dataset.split("/"):
        if not isinstance(place, h5py.Group) or not isinstance(place.get(part, getlink=True), h5py.HardLink):
            return False
        place = place[part]
    return True


if __name__ == "__main__":
    probe.print_answer(lambda note: {"error": check_labels(Path(sys.argv[1]), sys.argv[2], note)})
