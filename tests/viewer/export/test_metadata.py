"""A figure carries its view, and gives it back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from export_driver import open_export
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtGui import QImage

from viewer.errors import UserError
from viewer.export import encoding, metadata
from viewer.model.view_state import Query, ViewState, from_json

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication


def image() -> QImage:
    picture = QImage(40, 30, QImage.Format.Format_RGB32)
    picture.fill(0xFF3366AA)
    return picture


@pytest.mark.parametrize("suffix", ["png", "jpg", "pdf", "svg"])
@pytest.mark.parametrize("kind", ["summary", "heads", "wall", "atlas", "film", "curves", "difference"])
def test_view_embedded_in_a_figure_reads_back(
    app: QApplication, small: Path, tmp_path: Path, kind: str, suffix: str
) -> None:
    view = ViewState(frame=1, query=Query("action", (1, 3)), step=1, layer=2, reduce="max", left_out=("bos", "“ü”"))
    view = replace(view, pinned=replace(view, layer=0))
    words = (kind, str(small), "--view", view.to_json(), "-o", str(tmp_path), "--format", suffix)
    with open_export(*words) as export:
        file = export.plan.files[0]
        figure = export.renderer.create_figure(file)
        export.renderer.write(file)
        back = from_json(metadata.read_view(str(file.path)))
        assert back == figure.view
        assert (back.frame, back.query, back.step, back.left_out) == (1, Query("action", (1, 3)), 1, ("bos", "“ü”"))
        before, after = export.source.compose_shown(figure.view), export.source.compose_shown(back)
        assert np.array_equal(before.maps, after.maps)
        assert before.ranges == after.ranges


@given(st.text(max_size=200), st.integers(0, 200_000))
def test_any_view_round_trips_through_png_and_jpg(word: str, extra: int) -> None:
    view = ViewState(left_out=(word, "x" * extra)).to_json()
    for picture, name in (
        (metadata.embed_in_png(encoding.encode_png(image()), view), "png"),
        (metadata.embed_in_jpg(encoding.encode_jpg(image()), view), "jpg"),
    ):
        stored = metadata._find_view(picture)
        assert stored is not None, name
        assert metadata.to_ascii_json(stored) == metadata.to_ascii_json(view)
        back = QImage.fromData(picture)
        assert (back.width(), back.height()) == (40, 30), f"the {name} is still a picture"


def test_files_without_a_view_are_user_errors(tmp_path: Path) -> None:
    for name, content in (
        ("plain.png", encoding.encode_png(image())), ("plain.jpg", encoding.encode_jpg(image())), ("a.pdf", b"%PDF-1.4 nothing"),
        ("empty.png", b""), ("torn.png", metadata.PNG_SIGNATURE + b"\xff\xff\xff\xffIHDR"), ("torn.jpg", b"\xff\xd8\xff\xfe\xff"),
    ):  # fmt: skip
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UserError, match=f"{name} carries no view"):
            metadata.read_view(str(path))
    with pytest.raises(UserError, match="neither the JSON of a view nor a figure"):
        metadata.read_view(str(tmp_path / "nowhere.png"))
    with pytest.raises(UserError, match="neither the JSON of a view nor a figure"):
        metadata.read_view("\0")


@given(st.binary(max_size=400))
def test_find_view_raises_nothing_on_random_bytes(content: bytes) -> None:
    for head in (metadata.PNG_SIGNATURE, b"\xff\xd8", b"%PDF", b"<svg>"):
        metadata._find_view(head + content)
