"""A real window on files of which a part is damaged: that part says so, and the rest of the window goes on."""

from __future__ import annotations

from pathlib import Path

import h5py
import pytest
from PySide6.QtWidgets import QApplication
from window_driver import close, show, spin, wait_until_idle

from capture.results import schema
from viewer.errors import UserError
from viewer.io.results import Results
from viewer.widgets.view_picture import render_view

NAMES = (
    schema.source_name("exterior"),
    schema.to_model_name("exterior"),
    schema.TEXT_MASS,
    schema.ACTION_TO_IMAGE,
    schema.TEXT_PIECE,
)


def with_torn_header(source: Path, path: Path, name: str) -> Path:
    """Return a copy of the file in which the object header of one dataset has a wrong checksum."""
    with h5py.File(source) as file:
        address = h5py.h5o.get_info(file[name].id).addr
    content = bytearray(source.read_bytes())
    content[address + 20] ^= 0xFF
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_window_stays_usable_on_a_file_with_one_damaged_dataset(
    app: QApplication, tiny: Path, tmp_path: Path, name: str
) -> None:
    path = with_torn_header(tiny, tmp_path / "torn.h5", name)
    try:
        Results(path).close()
    except UserError as error:
        assert name in str(error)
        return
    window = show(path, tmp_path)
    messages: list[str] = []
    window.session.noticed.connect(messages.append)
    for frame in range(2):
        window.session.update(frame=frame, layer=1)
        spin()
        for command in ("film", "curve", "score", "actions", "swap", "pin", "difference", "unpin"):
            window.perform_id(command)
            spin(0.0)
        wait_until_idle(window)
        assert not window.grab().isNull()
        assert not render_view(window.panels).isNull()
    assert not [sentence for sentence in messages if "cannot be drawn" in sentence]
    close(window)


def test_size_of_unreadable_pictures_is_that_of_the_model(tiny: Path, tmp_path: Path) -> None:
    results = Results(with_torn_header(tiny, tmp_path / "torn.h5", schema.source_name("exterior")))
    assert (results.picture_size(0), results.picture_size(1)) == ((224, 224), (36, 64))
    with pytest.raises(UserError, match="images/exterior/source cannot be read"):
        results.picture(0, 0, "source")
    results.close()
