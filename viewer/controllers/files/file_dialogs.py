"""Dialogs that ask for a results file, the folder of a run, or a second file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from PySide6.QtCore import Qt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from PySide6.QtWidgets import QWidget

FILTER: Final = "Results and runs (*.h5 *.hdf5 *.partial index.json);;All files (*)"
FILTER_OTHER: Final = "Results (*.h5 *.hdf5 *.partial);;All files (*)"
"""File filters of the dialogs for the first and for the second file."""


def ask_file(window: QWidget, recent: Sequence[Path]) -> str:
    """Show the dialog for opening a file, at first in the folder of the most recent one; return the path or empty."""
    from PySide6.QtWidgets import QFileDialog  # imported late: slow to load and not needed at the start

    return QFileDialog.getOpenFileName(window, "Open results", _folder_of(recent), FILTER)[0]


def ask_folder(window: QWidget, recent: Sequence[Path], chosen: Callable[[str], None]) -> None:
    """Show the dialog for opening the folder of a run; `chosen` gets its path."""
    from PySide6.QtWidgets import QFileDialog

    dialog = QFileDialog(window, "Open run folder", _folder_of(recent))
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(chosen)
    dialog.open()


def ask_other(window: QWidget, first: Path | None) -> str:
    """Show the dialog for choosing a second file, at first in the folder of the first; return the path or empty."""
    from PySide6.QtWidgets import QFileDialog

    return QFileDialog.getOpenFileName(window, "Compare with", str(first.parent) if first else "", FILTER_OTHER)[0]


def _folder_of(recent: Sequence[Path]) -> str:
    return str(recent[0].parent) if recent else ""
