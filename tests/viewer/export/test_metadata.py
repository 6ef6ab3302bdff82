"""A figure carries its view, and gives it back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtGui import QImage

from viewer.errors import UserError
from viewer.export import cli, encoding, metadata
from viewer.export.plan import plan
from viewer.export.renderer import Studio
from viewer.export.scenes import Source
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState, from_json

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


def image() -> QImage:
    made = QImage(40, 30, QImage.Format.Format_RGB32)
    made.fill(0xFF3366AA)
    return made


@pytest.mark.parametrize("suffix", ["png", "jpg", "pdf", "svg"])
@pytest.mark.parametrize("kind", ["summary", "heads", "atlas", "film", "curves", "difference"])
def test_every_figure_reopens_what_it_shows(
    app: QApplication, small: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    view = ViewState(frame=1, query=Query("action", (1, 3)), step=1, layer=2, reduce="max", left_out=("bos", "“ü”"))
    view = replace(view, pinned=replace(view, layer=0))
    given_words = [kind, str(small), "--view", view.to_json(), "-o", str(tmp_path), "--format", suffix]
    with Studio(cli.options(given_words)) as studio:
        job = plan(studio.source.results, studio.options).jobs[0]
        figure = studio.figure(job)
        studio.write(job)
    back = from_json(metadata.view_of(str(job.path)))
    assert back == figure.view
    assert (back.frame, back.query, back.step, back.left_out) == (1, Query("action", (1, 3)), 1, ("bos", "“ü”"))
    results = Results(small)
    shown, again = Source(results).shown(figure.view), Source(results).shown(back)
    assert np.array_equal(shown.maps, again.maps)
    assert shown.ranges == again.ranges
    results.close()


@given(st.text(max_size=200), st.integers(0, 200_000))
def test_any_view_survives_png_and_jpg(word: str, extra: int) -> None:
    view = ViewState(left_out=(word, "x" * extra)).to_json()
    for made, name in (
        (metadata.into_png(encoding.png(image()), view), "png"),
        (metadata.into_jpg(encoding.jpg(image()), view), "jpg"),
    ):
        found = metadata._found(made)
        assert found is not None, name
        assert metadata.ascii_json(found) == metadata.ascii_json(view)
        back = QImage.fromData(made)
        assert (back.width(), back.height()) == (40, 30), f"the {name} is still a picture"


def test_what_carries_no_view_is_one_sentence(tmp_path: Path) -> None:
    for name, content in (
        ("plain.png", encoding.png(image())), ("plain.jpg", encoding.jpg(image())), ("a.pdf", b"%PDF-1.4 nothing"),
        ("empty.png", b""), ("torn.png", metadata.PNG_HEAD + b"\xff\xff\xff\xffIHDR"), ("torn.jpg", b"\xff\xd8\xff\xfe\xff"),
    ):  # fmt: skip
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name} carries no view"):
            metadata.view_of(str(path))
    with pytest.raises(UserError, match="neither the JSON of a view nor a figure"):
        metadata.view_of(str(tmp_path / "nowhere.png"))
    with pytest.raises(UserError, match="neither the JSON of a view nor a figure"):
        metadata.view_of("\0")


@given(st.binary(max_size=400))
def test_no_bytes_make_the_reader_fall(content: bytes) -> None:
    for head in (metadata.PNG_HEAD, b"\xff\xd8", b"%PDF", b"<svg>"):
        metadata._found(head + content)
