"""Exported films have the frames, numbers and colours of the window's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import make_results
import numpy as np
import pytest
from export_driver import open_export, plan_export
from window_driver import close, show, until

from viewer.analysis.film import MAX_FRAMES, MAX_FRAMES_OF_LAYERS, tile_thumbnails
from viewer.export import cli, metadata
from viewer.export.encoding import pixels
from viewer.export.figures.films import TITLE_HEIGHT, ThumbnailGrid
from viewer.model import attention, geometry
from viewer.model.view_state import Query, ViewState, from_json
from viewer.rendering import colormaps

if TYPE_CHECKING:
    from pathlib import Path

    import numpy.typing as npt
    from PySide6.QtWidgets import QApplication

    from viewer.export.figures.figure import Figure

TWO = ("put the duck in the bowl", "put the bowl in the duck")


def paint_film(path: Path, *words: str) -> tuple[Figure, npt.NDArray[np.uint32]]:
    """The one figure of a film and its page as 0xFFRRGGBB words."""
    with open_export("film", str(path), *words, "--scale", "1") as export:
        (file,) = export.plan.files
        figure = export.renderer.create_figure(file)
        page = pixels(figure.render(1.0)).astype(np.uint32)
        return figure, 0xFF000000 | page[..., 2] << 16 | page[..., 1] << 8 | page[..., 0]


def film_pixels(figure: Figure) -> ThumbnailGrid:
    assert isinstance(figure.content, ThumbnailGrid)
    return figure.content


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirty moments, each with two prompts."""
    recipe = make_results.Recipe(frames=60, counterfactual=True, tasks=TWO, layers=3, heads=2, steps=2, size=(36, 64))
    return make_results.write(tmp_path_factory.mktemp("films") / "long.h5", recipe)


@pytest.mark.parametrize("kind", ["layers", "steps", "frames", "layers-frames"])
@pytest.mark.parametrize("measure", ["weight", "contribution"])
def test_film_has_the_pixels_of_the_windows_film(
    app: QApplication, long_file: Path, tmp_path: Path, kind: str, measure: str
) -> None:
    window = show(
        long_file, tmp_path, film=kind, query=Query("action", (2,)), step=1, layer=1, frame=7, measure=measure
    )
    panel = window.panels.film
    until(lambda: panel.film() is not None and (panel.reader.frames() or "frames" not in kind))
    until(lambda: "frames" not in kind or (panel.film() is not None and len(panel.film().columns) > 12))  # type: ignore[union-attr]
    figure, page = paint_film(long_file, "--view", window.session.state.to_json())
    grid = film_pixels(figure)
    until(lambda: panel.film() is not None and np.array_equal(grid.maps, panel.film().maps))  # type: ignore[union-attr]
    shown = panel.film()
    assert shown is not None
    assert np.array_equal(grid.maps, shown.maps)
    high = attention.color_range(shown.maps.reshape(1, -1), "shared", 0, 0)[0][1]
    assert grid.scale.high == high
    assert grid.columns == tuple(map(str, shown.columns))
    assert grid.rows == (tuple(map(str, shown.rows)) or ("",))
    results = window.session.results
    assert results is not None
    index = geometry.map_pixels_to_patches(
        results.to_model(7, 0), *results.picture_size(0), 36, grid.thumbnail_width - 2, results.grid
    )
    expected = tile_thumbnails(colormaps.painted(shown.maps[:, :, 0], high, "inferno"), index, 2, 0xFFFFFFFF)
    left = round(20 + (figure.width - 40 - grid.width) / 2 + grid.width - shown.maps.shape[1] * grid.thumbnail_width)
    top = 20 + round(TITLE_HEIGHT)
    assert np.array_equal(page[top : top + expected.shape[0], left : left + expected.shape[1]], expected)
    assert from_json(figure.view.to_json()) == window.session.state
    close(window)


def test_film_over_frames_keeps_to_one_prompt(app: QApplication, long_file: Path) -> None:
    for frame, parity in (("0", 0), ("1", 1)):
        view = json.dumps({"frame": int(frame), "query": {"kind": "text", "items": [4]}})
        one_prompt = film_pixels(paint_film(long_file, "--view", view, "--over", "frames")[0])
        assert len(one_prompt.columns) == MAX_FRAMES
        assert {int(label) % 2 for label in one_prompt.columns} == {parity}
        many = film_pixels(paint_film(long_file, "--view", view, "--over", "layers-frames")[0])
        assert (many.maps.shape[:2], many.rows) == ((3, MAX_FRAMES_OF_LAYERS), ("0", "1", "2"))
        assert {int(label) % 2 for label in many.columns} == {parity}
    named = film_pixels(paint_film(long_file, "--words", "duck", "--over", "frames", "--frames", "0-3")[0])
    assert named.columns == ("0", "1", "2", "3"), "what is named is taken"


def test_film_shows_the_chosen_layers(app: QApplication, long_file: Path) -> None:
    options = ("--actions", "0", "--layers", "0,2", "--frames", "3,9")
    chosen = film_pixels(paint_film(long_file, *options, "--over", "layers-frames")[0])
    assert (chosen.rows, chosen.columns) == (("0", "2"), ("3", "9"))
    steps = film_pixels(paint_film(long_file, "--actions", "0", "--layers", "0,2", "--over", "steps")[0])
    assert (steps.rows, steps.columns) == (("0", "1"), ("0", "2"))


def test_film_axis_comes_from_the_view_unless_an_option_names_one() -> None:
    acting = ViewState(query=Query("action", (0,)), film="steps").to_json()
    reading = ViewState(film="steps").to_json()
    view = ViewState(film="layers-frames").to_json()
    for words, axis in (
        (["--view", acting], "steps"),
        (["--view", acting, "--words", "duck"], "layers"),
        (["--view", reading], "layers"),
        (["--view", reading, "--actions", "0"], "steps"),
        (["--view", view], "layers-frames"),
        (["--view", view, "--over", "frames"], "frames"),
        ([], "layers"),
    ):
        assert cli.parse_arguments(["film", "a.h5", *words]).resolve_over() == axis, words
    curve = ViewState(query=Query("action", (0,)), curve="frames").to_json()
    assert cli.parse_arguments(["curves", "a.h5", "--view", curve]).resolve_over() == "frames"


def test_film_caption_ignores_settings_that_films_do_not_use(app: QApplication, long_file: Path) -> None:
    view = ViewState(unit="uniform", left_out=("bos",), scale="log", layer=1, film="layers-frames").to_json()
    figure, _ = paint_film(long_file, "--view", view, "--frames", "1,3")
    text = " ".join(run.text for paragraph in figure.paragraphs for line in paragraph.lines for _, run in line)
    for part in ("one scale for all maps", "raw weights", "without BOS, renormalised", "frames 1, 3 of 0–59"):
        assert part in text
    for part in ("uniform", "log colours", "layer 1"):
        assert part not in text
    assert metadata.read_view_json(" {}") == " {}"


def test_video_over_frames_keeps_to_one_prompt(long_file: Path) -> None:
    from viewer.io.results import Results

    results = Results(long_file)
    (file,) = plan_export(results, "video --words duck").files
    assert [view.frame for view in file.sweep] == list(range(0, 60, 2))
    results.close()
