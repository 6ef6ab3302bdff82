"""One change of the regions file that can be undone and redone: copies of the file before and after it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from viewer.controllers.history import EditLostError, FileEdit
from viewer.regions.file_versions import put_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def read_digest(path: Path) -> str:
    """Return what identifies the content of a file; empty if there is no such file."""
    import hashlib  # late: OpenSSL takes 3.4 MB

    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


class RegionEdit(FileEdit):
    """A change of the regions file at `path`."""

    def __init__(self, title: str, path: Path, before: Path | None, after: Path, note_done: Callable[[], None]) -> None:
        """Take copies of the file before and after the change, which stay where they are.

        Args:
            title: What was done, such as `tracking duck`.
            path: The file.
            before: Copy of what was there; None if there was no file.
            after: Copy of what is there now; may not exist yet, and is then made.
            note_done: Called after the change was undone or redone.
        """
        self.title, self._path, self._before, self._after = title, path, before, after
        shutil.copyfile(path, after)
        self._note_done = note_done

    def apply(self, *, back: bool) -> None:
        """Undo or redo the change.

        Raises:
            EditLostError: The file is not as this change left it.
            UserError: It cannot be written now.
        """
        expected, target = (self._after, self._before) if back else (self._before, self._after)
        if read_digest(self._path) != ("" if expected is None else read_digest(expected)):
            verb = "undone" if back else "done again"
            raise EditLostError(f"Not {verb}: {self._path.name} was changed since; `pi0-regions undo` takes that back.")
        put_file(self._path, target)
        self._note_done()
