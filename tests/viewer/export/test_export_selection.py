"""Parsing of frames, layers, heads, words and regions into positions on the axes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.analysis.region_boxes import find_boxes
from viewer.errors import UserError
from viewer.export import selection
from viewer.export.arguments import ExportArguments
from viewer.export.resolve.request_resolver import resolve_request
from viewer.export.scenes import ExportSource
from viewer.model.geometry import PatchGrid
from viewer.model.number_ranges import format_numbers
from viewer.model.view_state import Query, ViewState
from viewer.regions.boxes import parse_region

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.export.request import ExportRequest
    from viewer.io.results import Results
    from viewer.model.view_state import Cell


@given(st.sets(st.integers(0, 200), min_size=1), st.data())
def test_parse_positions_reads_lists_as_captions_write_them(labels: set[int], data: st.DataObject) -> None:
    axis = sorted(labels)
    picked = data.draw(st.sets(st.sampled_from(axis), min_size=1))
    typed = format_numbers(sorted(picked)).replace("–", "-")
    assert {axis[position] for position in selection.parse_positions(typed, axis, "layer")} >= picked
    assert selection.parse_positions(",".join(map(str, picked)), axis, "layer") == tuple(
        axis.index(v) for v in sorted(picked)
    )


def test_parse_positions_reads_all_last_and_ranges() -> None:
    assert selection.parse_positions("all", (4, 10, 15), "layer") == (0, 1, 2)
    assert selection.parse_positions("last", (4, 10, 15), "layer") == (2,)
    assert selection.parse_positions("4-15", (4, 10, 15), "layer") == (0, 1, 2)
    assert selection.parse_positions("15 4", (4, 10, 15), "layer") == (0, 2)


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("5", "There is no layer 5; the file has layers 4, 10, 15."),
        ("x", "“x” is no layer"),
        ("15-4", "write 4-15"),
        (",", "No layer is named"),
        ("-1", "“-1” is no layer"),
        ("9" * 40, "is no layer"),
    ],
)
def test_parse_positions_refuses_unknown_positions(typed: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace(".", r"\.")):
        selection.parse_positions(typed, (4, 10, 15), "layer")


def resolve_options(results: Results, **fields: object) -> ExportRequest:
    values = {"kind": "summary", "file": results.path, "format": "jpg", **fields}
    return resolve_request(ExportSource(results), ExportArguments(**values))  # type: ignore[arg-type]


def resolve_phases(results: Results, **fields: object) -> tuple[str, ...]:
    return tuple(queries.phase for queries in resolve_options(results, **fields).queries)


def test_phases_are_both_unless_a_query_implies_one(results: Results) -> None:
    assert resolve_phases(results) == ("prefix", "suffix")
    assert resolve_phases(results, words=("duck",)) == ("prefix",)
    assert resolve_phases(results, actions=("1",)) == ("suffix",)
    assert resolve_phases(results, view=ViewState(query=Query("action", (0,)))) == ("suffix",)
    with pytest.raises(UserError, match="--words belongs to the prefix"):
        resolve_phases(results, words=("duck",), phases=("suffix",))


def test_find_words_ignores_case(results: Results) -> None:
    chips = results.chips(0)
    named = selection.find_words(results, 0, "DUCK")
    assert [chips[item].label for item in named.query.items] == ["duck"]
    tokens = selection.find_words(results, 0, "duck bowl")
    assert [chips[item].label for item in tokens.query.items] == ["duck", "bowl"]
    the = selection.find_words(results, 0, "the")
    assert [chips[item].label for item in the.query.items] == ["the", "the"], "a word that comes twice is both"
    with pytest.raises(UserError, match="There is no word “goose” in frame 0; its prompt has put, the, duck, in, bowl"):
        selection.find_words(results, 0, "goose")


def test_find_words_of_tokens_returns_the_word_of_a_token(results: Results) -> None:
    chips = results.chips(0)
    duck = next(index for index, chip in enumerate(chips) if chip.label == "duck")
    token = chips[duck].tokens[0]
    assert selection.find_words_of_tokens(results, 0, str(token)) == Query("text", (duck,))


def format_boxes(results: Results, cells: Sequence[Cell]) -> tuple[str, ...]:
    """Return the boxes of patches as a user types them."""
    return tuple(map(str, find_boxes(results, cells)))


@given(st.sets(st.tuples(st.integers(0, 1), st.integers(0, 15), st.integers(0, 15)), max_size=60))
def test_parse_region_reads_boxes_of_find_boxes(cells: set[tuple[int, int, int]]) -> None:
    class TwoCameras:
        cameras = ("exterior", "left:wrist")
        grid = PatchGrid(16, 16, 224, 224)

    boxes = format_boxes(TwoCameras, sorted(cells))  # type: ignore[arg-type]
    assert set(parse_region(TwoCameras, boxes)) == cells  # type: ignore[arg-type]


def test_find_boxes_merges_a_rectangle(results: Results) -> None:
    cells = [(1, row, col) for row in range(4, 8) for col in range(8, 12)]
    assert format_boxes(results, cells) == ("wrist:4-7,8-11",)
    assert format_boxes(results, [(0, 15, 0)]) == ("exterior:15,0",)
    assert format_boxes(results, [*cells, (1, 4, 2), (0, 0, 15)]) == ("exterior:0,15", "wrist:4,2", "wrist:4-7,8-11")
    assert format_boxes(results, []) == ()


@given(st.text(min_size=1, max_size=80))
def test_file_slug_has_no_special_characters(name: str) -> None:
    slug = selection.create_slug(name)
    assert slug
    assert not set(slug) & set('/\\:*?"<>| \0\n')
    assert not slug.startswith(".")


def test_defaults_are_first_frame_last_step_and_every_layer(results: Results) -> None:
    summary = resolve_options(results)
    assert (summary.frames, summary.layers, summary.steps) == ((0,), (0, 1, 2, 3), (2,))
    assert (summary.heads, summary.view.heads) == ((0, 1, 2), ())
    assert resolve_options(results, kind="film", over="frames").frames == (0, 1, 2)
    assert resolve_options(results, kind="table").steps == (0, 1, 2)
