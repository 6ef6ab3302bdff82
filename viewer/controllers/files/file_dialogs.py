"""Dialogs that ask for a results file, the folder of a run, or a second file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from PySide6.QtCore import Qt

from capture.results.regions_schema import SUFFIX as REGIONS_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PySide6.QtCore import QObject
    from PySide6.QtWidgets import QWidget

    from capture.remote.address import Location

FILTER: Final = "Results and runs (*.h5 *.hdf5 *.partial index.json);;All files (*)"
FILTER_OTHER: Final = "Results (*.h5 *.hdf5 *.partial);;All files (*)"
"""File filters of the dialogs for the first and for the second file."""


def ask_file(window: QObject | None, recent: Sequence[Location]) -> str:
    """Show the dialog for opening a file, at first in the folder of the most recent one; return the path or empty."""
    from PySide6.QtWidgets import QFileDialog  # imported late: slow to load and not needed at the start

    return QFileDialog.getOpenFileName(_as_widget(window), "Open results", _folder_of(recent), FILTER)[0]


def ask_folder(window: QObject | None, recent: Sequence[Location], chosen: Callable[[str], None]) -> None:
    """Show the dialog for opening the folder of a run; `chosen` gets its path."""
    from PySide6.QtWidgets import QFileDialog

    dialog = QFileDialog(_as_widget(window), "Open run folder", _folder_of(recent))
    dialog.setFileMode(QFileDialog.FileMode.Directory)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(chosen)
    dialog.open()


def ask_other(window: QObject | None, first: Location | None) -> str:
    """Show the dialog for choosing a second file, at first in the folder of the first; return the path or empty."""
    from PySide6.QtWidgets import QFileDialog

    folder = _folder_of([first] if first else [])
    return QFileDialog.getOpenFileName(_as_widget(window), "Compare with", folder, FILTER_OTHER)[0]


def ask_address(window: QObject | None, chosen: Callable[[str], None]) -> None:
    """Show the dialog for opening a file or run on another machine; `chosen` gets the address."""
    from PySide6.QtWidgets import QInputDialog

    dialog = QInputDialog(_as_widget(window))
    dialog.setWindowTitle("Open address")
    dialog.setLabelText(
        "Results file or run on another machine: ssh://user@host/path, https://…, s3://bucket/…,\n"
        "hf://datasets/owner/name/file.h5. ssh uses your keys and agent; no password is asked for or stored."
    )
    dialog.setOkButtonText("Open")
    dialog.resize(640, dialog.sizeHint().height())
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.textValueSelected.connect(chosen)
    dialog.open()


def ask_regions_path(window: QObject | None, proposed: Path) -> Path | None:
    """Show the dialog for choosing where to keep regions; return the path, None for nowhere."""
    from PySide6.QtWidgets import QFileDialog

    proposed.parent.mkdir(parents=True, exist_ok=True)
    path, _ = QFileDialog.getSaveFileName(
        _as_widget(window), "Keep the regions in", str(proposed), f"Regions (*{REGIONS_SUFFIX})",
        options=QFileDialog.Option.DontConfirmOverwrite,
    )  # fmt: skip
    return Path(path) if path else None


def _folder_of(recent: Sequence[Location]) -> str:
    return next((str(path.parent) for path in recent if isinstance(path, Path)), "")


def _as_widget(window: QObject | None) -> QWidget | None:
    """Return the window as what dialogs take; controllers know it as the parent that QObject.parent returns."""
    from PySide6.QtWidgets import QWidget

    return window if isinstance(window, QWidget) else None
