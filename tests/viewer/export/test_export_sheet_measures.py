"""The export sheet with measured effects: what each product offers, draws and says, and that none of it is refused."""

from __future__ import annotations

import itertools
import json
import shutil
from dataclasses import fields, replace
from typing import TYPE_CHECKING

import make_effects
import pytest
from window_driver import close, show, until

from viewer.export import cli
from viewer.export.plan import build_plan, check_targets
from viewer.export.request import KINDS, OVER
from viewer.export.resolve.request_resolver import resolve_request
from viewer.export.scenes import ExportSource
from viewer.io.effects_names import find_effects_files
from viewer.model.view_state import Query, ViewState
from viewer.widgets.overlays.export_form import ExportForm

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.export.request import ExportRequest
    from viewer.widgets.main_window import MainWindow

ACTION, WORD = Query("action", (1,)), Query("text", (1,))
PINNED = ViewState(query=Query("action", (2,)))


@pytest.fixture(scope="module")
def window(app: QApplication, small: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MainWindow]:
    """Return a window on a file with effects of frame 0."""
    folder = tmp_path_factory.mktemp("effects")
    path = folder / "small.h5"
    shutil.copy(small, path)
    make_effects.write(folder / "small.effects.h5", path)
    opened = show(path, folder)
    until(lambda: bool(opened.session.results and opened.session.results.effects), 20)
    yield opened
    close(opened)


@pytest.fixture(scope="module")
def source(window: MainWindow) -> Iterator[ExportSource]:
    assert window.session.results is not None
    path = window.session.results.path
    with ExportSource.open(path, beside=find_effects_files(path)) as opened:
        yield opened


def open_form(window: MainWindow, kind: str, **view: object) -> ExportForm:
    """Return the form of a product while the window shows a view."""
    window.session.update(**{field.name: getattr(ViewState(), field.name) for field in fields(ViewState)} | view)
    window.session.flush()
    assert window.session.path is not None
    return ExportForm(window.session, kind, window.session.path.parent / "out")  # type: ignore[union-attr]


def choose(form: ExportForm, **values: str) -> None:
    """Choose values as a user does: those that are offered."""
    for name, value in values.items():
        if not form.rows[name].isHidden() and value not in getattr(form._segments[name], "_reasons", {}):
            form._segments[name].chosen.emit(value)


def resolve(source: ExportSource, form: ExportForm) -> ExportRequest:
    """Return the request of what the sheet exports; its plan can be made."""
    request = resolve_request(source, cli.parse_arguments(form.arguments()))
    check_targets(build_plan(source, request).files, overwrite=True)
    return request


@pytest.mark.parametrize(
    ("query", "dim", "measure", "frame"),
    [(ACTION, 2, "effect", 0), (WORD, None, "effect", 0), (ACTION, None, "gradient", 1), (WORD, None, "weight", 1)],
)
def test_nothing_that_the_sheet_offers_is_refused(
    window: MainWindow, source: ExportSource, query: Query, dim: int | None, measure: str, frame: int
) -> None:
    form = open_form(window, "summary", query=query, measure=measure, dim=dim, frame=frame, pinned=PINNED,
                     range="locked", low=0.0, high=1.0)  # fmt: skip
    shown = set()
    for kind in KINDS:
        form.show_kind(kind)
        choose(form, reduce="both")
        for over, lines, chosen, queries in itertools.product(
            OVER.get(kind, ("",)), ("rows", "maps", "effects") if kind == "table" else ("",),
            ("weight", "contribution", "effect", "gradient") if not form.rows["measure"].isHidden() else ("",),
            ("this", "both"),
        ):  # fmt: skip
            choose(form, over=over, lines=lines, measure=chosen, queries=queries)
            request = resolve(source, form)
            assert request.view.measure == form.measure, (kind, over)
            shown.add((kind, form.measure))
    assert (("summary", "effect") in shown) == (frame == 0)
    assert {("film", "effect"), ("video", "gradient")} <= shown, "over the frames, some of which have effects"


def test_sheet_passes_the_shown_dimension_and_offers_the_others(window: MainWindow, source: ExportSource) -> None:
    form = open_form(window, "summary", query=ACTION, measure="gradient", dim=2)
    assert resolve(source, form).view.dim == 2
    assert "--dim" in form.arguments()
    choose(form, dim="0")
    assert resolve(source, form).view.dim == 0
    choose(form, dim="all")
    assert resolve(source, form).view.dim is None
    form = open_form(window, "summary", query=ACTION, measure="gradient", dim=2)
    choose(form, measure="effect")
    assert resolve(source, form).view.measure == "effect"
    for name in ("layers", "steps", "reduce", "unit"):
        assert form.rows[name].isHidden(), "an effect is of no layer, step or head"
    choose(form, measure="weight")
    assert form.rows["dim"].isHidden()
    assert not form.rows["layers"].isHidden()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("heads", "Draws the attention: no head has an effect map of its own."),
        ("wall", "Draws the attention: no head has an effect map of its own. It can be sorted by an effect."),
        ("film", "Draws the attention: no layer or step has an effect map of its own, but each frame (Over: frames)."),
        ("curves", "Curves are of attention mass, which effects have none of."),
        ("summary", ""),
        ("table", "Holds scores of heads; take Lines: effects for those of patches, words and dimensions."),
    ],
)
def test_sheet_names_what_a_product_draws_instead_of_effects(window: MainWindow, kind: str, sentence: str) -> None:
    form = open_form(window, kind, query=ACTION, measure="effect", film="layers")
    assert form.note.text() == sentence
    assert form.note.isHidden() == (not sentence)


def test_frame_without_effects_draws_attention_with_a_note(window: MainWindow, source: ExportSource) -> None:
    form = open_form(window, "summary", query=ACTION, measure="effect", frame=1, range="locked", low=0.0, high=40.0)
    assert form.note.text().startswith("Draws the attention: frame 1 has no effect map, frame 0 has one; ")
    request = resolve(source, form)
    assert (request.view.measure, request.view.range) == ("weight", "uniform"), "the range is in multiples of the noise"
    form.show_kind("table")
    choose(form, lines="effects")
    assert form.fields["frames"].text() == "0", "that has effects"
    choose(form, dim="2")
    request = resolve(source, form)
    assert (request.frames, request.table_of, request.dim) == ((0,), "effects", 2)


def test_locked_range_stays_with_its_measure_alone(window: MainWindow, source: ExportSource) -> None:
    locked = {"query": ACTION, "measure": "weight", "range": "locked", "low": 0.0, "high": 0.25}
    form = open_form(window, "summary", **locked)
    assert resolve(source, form).view.high == 0.25
    choose(form, measure="effect")
    assert resolve(source, form).view.range == "shared", "from 0, as the window shows effects"
    view = json.dumps({**json.loads(replace(ViewState(), **locked).to_json())})  # type: ignore[arg-type]
    assert source.results.path.name == "small.h5"
    words = ["summary", str(source.results.path), "--view", view, "--measure"]
    for measure, expected in (("contribution", "locked"), ("effect", "uniform")):
        arguments = cli.parse_arguments([*words, measure])
        assert resolve_request(source, arguments).view.range == expected
