from __future__ import annotations

import json

import pytest

from capture.provenance import Decision as Written
from capture.provenance import to_json
from viewer.model.provenance import MAX_DECISIONS, Decision, count_assumptions, parse_decisions

ENTRY = {"subject": "clock", "choice": "control", "reason": "the only one", "certain": True}


def test_parse_reads_what_capture_writes() -> None:
    written = [Written("exterior camera", "left", "the first", is_certain=False), Written("clock", "a", "", True)]
    assert parse_decisions(to_json(written)) == (
        Decision("exterior camera", "left", "the first", is_certain=False),
        Decision("clock", "a", "", is_certain=True),
    )
    assert count_assumptions(parse_decisions(to_json(written))) == 1
    assert count_assumptions(None) == 0


def test_parse_replaces_what_cannot_be_printed() -> None:
    (decision,) = parse_decisions(json.dumps([ENTRY | {"choice": "a\nb\x1b\u202e"}])) or ()
    assert decision.choice == "a b\ufffd\ufffd"


@pytest.mark.parametrize("stored", [None, 3, b"[]", "{}", "null", "[", "[" * 30_000, " " * 100_000])
def test_parse_returns_none_for_what_is_no_list(stored: object) -> None:
    assert parse_decisions(stored) is None


@pytest.mark.parametrize("entry", [None, 3, [], ENTRY | {"certain": 1}, ENTRY | {"reason": None}, {"subject": "a"}])
def test_parse_leaves_out_malformed_entries(entry: object) -> None:
    assert parse_decisions(json.dumps([entry, ENTRY])) == (Decision("clock", "control", "the only one", True),)


def test_parse_bounds_entries_and_texts() -> None:
    decisions = parse_decisions(json.dumps([ENTRY] * (MAX_DECISIONS + 9)))
    assert decisions is not None
    assert len(decisions) == MAX_DECISIONS
    (long,) = parse_decisions(json.dumps([ENTRY | {"choice": "x" * 9000}])) or ()
    assert len(long.choice) == 400
