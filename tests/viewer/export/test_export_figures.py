"""Figures: heat at its patch, shared colour scales, captions, and text stored as text."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import h5py
import make_results
import numpy as np
import pytest
from export_driver import open_export
from planted_results import CELL, expected_patch_rectangle, write_planted
from PySide6.QtGui import QImage

from viewer.export import encoding, metadata
from viewer.export.encoding import pixels
from viewer.model.view_state import from_json
from viewer.rendering.ticks import format_number

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from PySide6.QtWidgets import QApplication

    from viewer.export.figures.figure import Figure


def write_figures(folder: Path, path: Path, words: str) -> list[Path]:
    kind, _, rest = words.partition(" ")
    with open_export(kind, str(path), *rest.split(), "-o", str(folder / "out")) as export:
        for file in export.plan.files:
            export.renderer.write(file)
        return [file.path for file in export.plan.files]


def create_figures(path: Path, words: str) -> list[tuple[Figure, npt.NDArray[np.uint8]]]:
    kind, _, rest = words.partition(" ")
    with open_export(kind, str(path), *rest.split()) as export:
        created = [export.renderer.create_figure(file) for file in export.plan.files]
        figures = []
        for figure in created:
            image = figure.render(1.0)
            figures.append((figure, pixels(image)[..., 2::-1].copy()))
        return figures


def read_pixels(path: Path) -> npt.NDArray[np.uint8]:
    image = QImage(str(path)).convertToFormat(QImage.Format.Format_RGB32)
    return pixels(image)[..., 2::-1].copy()


@pytest.mark.parametrize("is_turned", [(), ("wrist",)])
@pytest.mark.parametrize("size", [(180, 320), (240, 320)])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_summary_heatmap_covers_the_planted_patch(
    app: QApplication, tmp_path: Path, size: tuple[int, int], is_turned: tuple[str, ...], suffix: str
) -> None:
    path = write_planted(tmp_path, size=size, turned=is_turned)
    words = f"summary --words duck --layers 1 --size 320 --scale 1 --no-caption --no-grid --format {suffix}"
    page = read_pixels(write_figures(tmp_path, path, words)[0]).astype(int)
    tall = size[0]
    for camera, name in enumerate(("exterior", "wrist")):
        top = 20 + 22 + camera * (tall + 22 + 6)
        pixels = page[top : top + tall, 20:340]
        heated = page[top : top + tall, 352:672]
        rows, cols = np.nonzero(np.abs(heated - pixels).max(-1) > 60)
        box = expected_patch_rectangle(pixels.shape, CELL[camera], size, name in is_turned)
        slack = 1.01 if suffix == "png" else 2.01  # a JPEG's edges are a little soft
        assert (cols.min(), rows.min(), cols.max() + 1, rows.max() + 1) == pytest.approx(box, abs=slack)


def test_cameras_share_one_scale_unless_range_is_map(app: QApplication, small: Path) -> None:
    shared, separate = (
        create_figures(small, f"summary --layers 2 --words duck {option}")[0][0] for option in ("", "--range map")
    )
    assert len(shared.scales) == 1
    assert len(separate.scales) == 2
    assert separate.scales[0].high != separate.scales[1].high
    locked = create_figures(small, "summary --layers 2 --words duck --range 0:0.5")[0][0]
    assert (locked.scales[0].low, locked.scales[0].high) == (0.0, 0.5)


def test_heads_of_a_layer_share_one_scale(app: QApplication, tmp_path: Path) -> None:
    def plant(kind: str, image: npt.NDArray[np.float32], words: npt.NDArray[np.float32], actions: object) -> None:
        words[..., 0] = 1.0
        image[..., 1, :, :, :] *= 1e-4  # head 1 looks at its pictures hardly at all

    path = make_results.write(tmp_path / "weak.h5", make_results.Recipe(frames=1, plant=plant))
    sheets = create_figures(path, "heads --layers 2 --words duck --no-caption --range shared")
    tops = {figure.view.high for figure, _ in sheets}
    assert len(tops) == 1
    assert {figure.view.range for figure, _ in sheets} == {"locked"}
    lowest = np.array([68, 1, 84])  # viridis at 0
    heated_shares = [
        (np.abs(page[42 : 42 + 180, 20:660].astype(int) - lowest).max(-1) > 12).mean() for _, page in sheets
    ]
    assert heated_shares[1] == pytest.approx(0.02, abs=0.02), "nothing but the gap between the two maps"
    assert min(heated_shares[0], heated_shares[2]) > 0.2


def test_range_set_gives_all_figures_one_range(app: QApplication, small: Path, tmp_path: Path) -> None:
    from viewer.export.__main__ import main

    folder = tmp_path / "out"
    assert main(["summary", str(small), "--range", "set", "--words", "duck", "-o", str(folder)]) == 0
    views = [from_json(metadata.read_view(str(path))) for path in sorted(folder.rglob("*.jpg"))]
    assert len(views) == 4
    assert len({(view.range, view.low, view.high) for view in views}) == 1
    assert views[0].range == "locked"


@pytest.mark.parametrize(
    "words",
    ["summary --layers 1", "heads --layers 1", "wall", "wall --heads-of best", "atlas", "atlas --score entropy", "atlas --thumbnails", "film",
     "film --over steps", "film --over frames", "film --over layers-frames", "curves", "curves --over steps", "curves --over frames",
     "difference --against layer=0"],
)  # fmt: skip
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_figures_draw_nothing_over_the_page_edge(app: QApplication, small: Path, words: str, theme: str) -> None:
    for figure, page in create_figures(small, f"{words} --theme {theme}"):
        ground = page[2, 2].astype(int)
        assert (ground > 240).all() if theme == "light" else (ground < 40).all()
        ink = np.abs(page.astype(int) - ground).max(-1) > 24
        edge = np.concatenate([ink[:8].ravel(), ink[-8:].ravel(), ink[:, :8].ravel(), ink[:, -8:].ravel()])
        assert not edge.any(), "nothing runs off the page"
        assert ink.mean() > 0.03
        page_height = page.shape[0]
        assert (page.shape[1], page_height) == (figure.width, figure.height)


def test_caption_names_file_frame_prompt_query_layer_heads_and_scale(app: QApplication, small: Path) -> None:
    figure, _ = create_figures(small, "summary --frame 1 --words duck --layers 3 --heads 1,2 --reduce max")[0]
    text = " ".join(run.text for paragraph in figure.paragraphs for line in paragraph.lines for _, run in line)
    for part in (
        "“duck”", "(token 5, prefix)", "layer 3 of 0–3", "maximum of heads 1–2", "raw weights", "one scale from 1 × uniform",
        "small.h5", "planted", "frame 1 of 0–2", "“put the duck in the bowl”", "attention is not cause",
    ):  # fmt: skip
        assert part in text, part
    acting, _ = create_figures(small, "curves --over frames --actions 1 --step 1")[0]
    text = " ".join(run.text for paragraph in acting.paragraphs for line in paragraph.lines for _, run in line)
    assert "action 1 of 0–4 (suffix, step 1" in text
    assert "frames 0–2 of 0–2" in text


def read_notes(figure: Figure) -> list[str]:
    return [cell.note for column in figure.content.columns for cell in column if cell.note]  # type: ignore[attr-defined]


def test_figure_of_a_maximum_prints_its_own_number(app: QApplication, small: Path) -> None:
    maximum, _ = create_figures(small, "summary --words duck --layers 3 --reduce max")[0]
    with h5py.File(small, locking=False) as file:
        token = [piece.decode() for piece in file["text/piece"][0]].index("▁duck")
        maps = file["text/to_image"][0, 3, token].astype("f4").max(0)  # camera, row, col
    peaks = [maps[camera][~make_results.bars(72, 128)].max() for camera in range(2)]
    assert read_notes(maximum) == [f"up to {format_number(float(peak))} on a patch" for peak in peaks]
    figure, _ = create_figures(small, "summary --words duck --layers 3 --reduce max --heads 1")[0]
    assert all(note.endswith("of this row’s weight") for note in read_notes(figure)), "one head is a row"


def test_caption_of_a_long_prompt_is_bounded(app: QApplication, tmp_path: Path) -> None:
    task = " ".join(["word" * 30, *(f"and{number}" for number in range(500))])
    path = make_results.write(tmp_path / "long.h5", make_results.Recipe(frames=1, tasks=(task,), layers=1))
    figure, _ = create_figures(path, "summary --phase prefix")[0]
    text = " ".join(run.text for paragraph in figure.paragraphs for line in paragraph.lines for _, run in line)
    assert len(task) > 3000
    assert len(text) < 600
    assert "499”" in text, "the end of the prompt is kept"


@pytest.mark.parametrize(
    "words",
    ["summary", "wall", "film", "film --over steps", "curves --over steps", "atlas", "difference --against layer=0"],
)
def test_caption_is_a_whole_sentence(app: QApplication, small: Path, words: str) -> None:
    figure, _ = create_figures(small, f"{words} --actions 1")[0]
    text = " ".join(run.text for paragraph in figure.paragraphs for line in paragraph.lines for _, run in line)
    assert "…" not in text
    assert "looks at the pictures:" in text or "where its weight goes over" in text


def test_svg_has_text_elements_in_a_common_font_family(app: QApplication, small: Path, tmp_path: Path) -> None:
    source = write_figures(tmp_path, small, "atlas --phase suffix --format svg")[0].read_text()
    text = re.findall(r"<text[^>]*>([^<]*)</text>", source)
    assert "layer" in text
    assert "mean" in text
    assert "actions 0–4 of 0–4" in text
    assert "Sans Serif" not in source
    lengths = re.findall(r'<text textLength="([\d.]+)"', source)
    assert len(lengths) == len([text for text in text if text.strip()]), "no font makes words run into each other"
    widths = create_figures(small, "atlas --phase suffix")[0][0]
    assert f'viewBox="0 0 {widths.width} {widths.height}"' in source


def test_pdf_text_can_be_extracted(app: QApplication, small: Path, tmp_path: Path) -> None:
    reader = shutil.which("pdftotext")
    if reader is None:
        pytest.skip("pdftotext is not installed (poppler-utils): the text of a PDF is not read back")
    path = write_figures(tmp_path, small, "summary --words duck --layers 3 --format pdf")[0]
    text = subprocess.run([reader, str(path), "-"], capture_output=True, text=True, check=True).stdout
    words = " ".join(text.split())
    assert (
        "“duck” (token 5, prefix) looks at the pictures: layer 3 of 0–3 · mean of 3 heads · raw weights · one scale from 1 × uniform"
        in words
    )
    assert "frame 0 of 0–2, prompt “put the duck in the bowl”" in words


def test_qt_encodes_the_same_pixels_as_opencv(
    app: QApplication, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    by_opencv = read_pixels(write_figures(tmp_path, small, "film --phase suffix")[0])
    monkeypatch.setattr(encoding, "import_opencv", lambda: None)
    by_qt = read_pixels(write_figures(tmp_path, small, "film --phase suffix --overwrite")[0])
    assert np.array_equal(by_opencv, by_qt)
    soft = write_figures(tmp_path, small, "film --phase suffix --format jpg")[0]
    assert np.abs(read_pixels(soft).astype(int) - by_qt).mean() < 4
    assert metadata.read_view(str(soft))


def test_curves_and_films_show_the_chosen_positions_only(app: QApplication, small: Path) -> None:
    curve, _ = create_figures(small, "curves --over layers --layers 1,3 --words duck")[0]
    assert curve.content.curves.labels == (1, 3)  # type: ignore[attr-defined]
    film, _ = create_figures(small, "film --over frames --frames 1-2 --words duck")[0]
    assert film.content.columns == ("1", "2")  # type: ignore[attr-defined]
    steps, _ = create_figures(small, "film --over steps --steps 0,2")[0]
    assert steps.content.rows == ("0", "2")  # type: ignore[attr-defined]


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.37, 1.5, 2.0])
def test_background_fills_the_image_at_every_scale(app: QApplication, small: Path, scale: float) -> None:
    with open_export("curves", str(small), "--words", "duck") as export:
        figure = export.renderer.create_figure(export.plan.files[0])
        for even in (False, True):
            image = figure.render(scale, even=even)
            page = pixels(image)[..., :3]
            assert (page[-2:] == 255).all()
            assert (page[:, -2:] == 255).all()
