"""Messages about damaged files: a plain sentence; what HDF5 says is among the details."""

from __future__ import annotations

from typing import TYPE_CHECKING

from window_driver import spin, until

from viewer.controllers.files.file_opening import Opening
from viewer.controllers.session import Session
from viewer.errors import UserError, split_library_words

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


def test_split_library_words_takes_the_quotation_out() -> None:
    message = "a.h5 is torn (HDF5 says “wrong (version “3”)”). Copy it again."
    assert split_library_words(message) == ("a.h5 is torn. Copy it again.", "wrong (version “3”)")
    assert split_library_words("a.h5 is damaged: HDF5 says “bad”. Copy it.") == ("a.h5 is damaged. Copy it.", "bad")
    assert split_library_words("There is no file.") == ("There is no file.", "")


def test_damaged_file_is_reported_plainly_with_details(app: QApplication, tiny: Path, tmp_path: Path) -> None:
    content = bytearray(tiny.read_bytes())
    content[48:1048] = bytes(1000)
    path = tmp_path / "torn.h5"
    path.write_bytes(content)
    reports: list[tuple[str, str]] = []
    opening = Opening(lambda *_: False)
    opening.failed.connect(lambda *message: reports.append(message))
    opening.start(path)
    until(lambda: reports, 30)
    assert "HDF5" not in reports[0][0]
    assert "HDF5 says: " in reports[0][1]


def test_unreadable_frame_is_reported_without_the_words_of_hdf5(session: Session) -> None:
    messages: list[str] = []
    session.noticed.connect(messages.append)
    session.report_failure(OSError("Can't synchronously read data (filter returned failure)"))
    session.report_failure(OSError("inflate() failed"))
    spin()
    assert messages == ["This frame cannot be read: its part of the file is damaged. The other frames may be whole."]
    session.report_failure(
        UserError("A part of x cannot be read: the file is damaged (HDF5 says “bad”). Copy it again.")
    )
    assert messages[1] == "This frame cannot be read (A part of x cannot be read: the file is damaged. Copy it again)."
