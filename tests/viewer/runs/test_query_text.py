"""Words, actions and frames of a query as they are typed, and views of runs as JSON."""

import pytest

from viewer.errors import UserError
from viewer.runs.query import RunQuery
from viewer.runs.query_text import format_frames, format_subject, parse_frames, parse_subject
from viewer.runs.run_view import RunView, parse_run_view


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yellow duck", ("yellow duck", "")),
        ("{object}", ("{object}", "")),
        ("all actions", ("", "all")),
        ("Actions 0–4", ("", "0-4")),
        ("action 3", ("", "3")),
        ("action hero", ("action hero", "")),
        ("actions 4-", None),
    ],
)
def test_words_and_actions_are_distinguished(text, expected):
    assert parse_subject(text) == expected


@pytest.mark.parametrize("query", [RunQuery(words="duck"), RunQuery(actions="all"), RunQuery(actions="0-4")])
def test_subject_is_read_as_it_is_written(query):
    words, actions = parse_subject(format_subject(query))
    assert (words or query.words, actions) == (query.words, query.actions)


@pytest.mark.parametrize(
    ("text", "frames", "times"),
    [
        ("all", None, (0.0, 1.0)),
        ("", None, (0.0, 1.0)),
        ("3", (3, 3), (0.0, 1.0)),
        ("0 - 20", (0, 20), (0.0, 1.0)),
        ("0-50%", None, (0.0, 0.5)),
        ("12.5%–100%", None, (0.125, 1.0)),
    ],
)
def test_frames_are_read_as_they_are_written(text, frames, times):
    fields = parse_frames(text)
    assert fields == {"frames": frames, "times": times}
    assert parse_frames(format_frames(RunQuery(**fields))) == fields


@pytest.mark.parametrize("text", ["9-2", "50-20%", "0-200%", "x", "1.2.3-5%", "1,5", "0-0%"])
def test_impossible_frames_are_refused(text):
    assert parse_frames(text) is None


def test_view_of_a_run_round_trips_through_json():
    view = RunView(RunQuery("entropy", "", "3", "", step=2, times=(0.25, 0.5)), is_contrast=True, layer=4, head=7)
    assert parse_run_view(view.to_json()) == view
    assert view.cell == (4, 7)
    assert view.resolved_query.group == "outcome"
    assert view.resolved_query.outcomes == ("success", "failure")


@pytest.mark.parametrize(
    "text",
    ['{"run":{"layer":-1,"head":true,"contrast":1,"query":{"score":"nonsense"}}}', '{"run":{"query":7}}', '{"run":{}}'],
)
def test_damaged_view_of_a_run_has_the_defaults(text):
    assert parse_run_view(text) == RunView()


def test_view_of_an_episode_is_no_view_of_a_run():
    assert parse_run_view('{"frame":3}') is None
    assert parse_run_view('{"run":3}') is None
    with pytest.raises(UserError, match="cannot be read"):
        parse_run_view("[1]")
