from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viewer.errors import UserError
from viewer.model.view_state import CHOICES, Dims, Query, ViewState, from_json

DIMS = Dims(frames=3, layers=4, heads=3, steps=3, actions=5, chips=17, cameras=2, rows=16, cols=16)
numbers = st.integers(-5, 40)
cells = st.tuples(st.integers(0, 1), st.integers(0, 15), st.integers(0, 15))
states = st.builds(
    ViewState,
    frame=numbers,
    query=st.builds(
        Query,
        st.sampled_from(["text", "action"]),
        st.lists(st.integers(0, 40), min_size=1, max_size=4, unique=True).map(sorted).map(tuple),
    ),
    step=numbers,
    layer=numbers,
    heads=st.lists(st.integers(-1, 9), max_size=4).map(tuple),
    opacity=st.floats(0, 1),
    low=st.floats(-1, 1),
    region=st.lists(cells, max_size=5).map(tuple),
    left_out=st.lists(st.sampled_from(["bos", "bars", "wrist"]), max_size=2).map(tuple),
    smooth=st.booleans(),
    **{name: st.sampled_from(words) for name, words in CHOICES.items()},
)


@given(states, st.none() | states)
def test_view_survives_json_round_trip(state: ViewState, pinned: ViewState | None) -> None:
    state = ViewState(**{**{f: getattr(state, f) for f in ViewState.__dataclass_fields__}, "pinned": pinned})
    assert from_json(state.to_json()) == state


@given(states)
def test_clamped_view_fits_and_is_stable(state: ViewState) -> None:
    fitted = state.clamped(DIMS)
    assert fitted.clamped(DIMS) == fitted
    assert 0 <= fitted.frame < 3
    assert 0 <= fitted.layer < 4
    assert 0 <= fitted.step < 3
    assert all(0 <= head < 3 for head in fitted.heads)
    assert all(0 <= item < (5 if fitted.query.kind == "action" else 17) for item in fitted.query.items)


def test_clamped_view_takes_actions_where_there_are_no_words() -> None:
    assert ViewState().clamped(Dims(3, 4, 3, 3, 5, 0, 2, 16, 16)).query == Query("action", (0,))


def test_clamped_view_writes_all_heads_as_empty() -> None:
    assert ViewState(heads=(0, 1, 2)).clamped(DIMS).heads == ()


def test_unknown_keys_are_ignored_and_a_default_view_is_empty() -> None:
    assert from_json('{"layer": 2, "hologram": true}') == ViewState(layer=2)
    assert ViewState().to_json() == "{}"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"layer": "two"}',
        '{"layer": 1.5}',
        '{"layer": true}',
        '{"query": {"kind": "pixel", "items": [1]}}',
        '{"query": {"kind": "text", "items": []}}',
        '{"opacity": NaN}',
        '{"low": 1e999}',
        '{"region": [[1, 2]]}',
        '{"colours": "rainbow"}',
        '{"pinned": 3}',
        '{"left_out": [1]}',
        "[" * 50_000,
        "x" * 200_000,
        json.dumps({"pinned": {"layer": None}}),
    ],
)
def test_wrong_json_is_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match="Copy view as command"):
        from_json(text)


def test_number_in_place_of_words_error_asks_for_words() -> None:
    with pytest.raises(UserError, match=r"\(layer: a whole number is needed\)"):
        from_json('{"layer": "two"}')
