from __future__ import annotations

import json

import pytest

from capture.provenance import MAX_BYTES, MAX_DECISIONS, MAX_TEXT, Decision, from_json, merge_decisions, to_json

CAMERA = Decision("exterior camera", "image", "the only camera with a known name", is_certain=True)
CONFIG = Decision("openpi configuration", "pi05_droid", "by the name of its folder", is_certain=False)


def test_sentence_gives_subject_choice_and_reason():
    assert CAMERA.sentence == "exterior camera: image (the only camera with a known name)"
    assert Decision("clock", "control", "", is_certain=True).sentence == "clock: control"


def test_sentence_escapes_what_could_steer_a_terminal():
    hostile = Decision("wrist camera", "a\x1b[31m\nb\u202e\u00e9", "by\tname", is_certain=True)
    assert hostile.sentence == "wrist camera: a\\x1b[31m\\nb\\u202e\u00e9 (by\\tname)"


def test_merge_keeps_the_first_of_equal_decisions_in_order():
    later = Decision("exterior camera", "image2", "by --camera", is_certain=True)
    assert merge_decisions([CAMERA, CONFIG], [CONFIG, later], [CAMERA]) == (CAMERA, CONFIG, later)


def test_merge_keeps_doubt():
    sure = Decision(CONFIG.subject, CONFIG.choice, CONFIG.reason, is_certain=True)
    assert merge_decisions([sure], [CONFIG], [sure]) == (CONFIG,)


def test_json_round_trip_is_exact_and_ascii():
    hostile = Decision("wrist camera", "\udcff\x00\u202e\u00e9\n", "", is_certain=False)
    text = to_json([CAMERA, hostile, CONFIG])
    assert text.isascii()
    assert from_json(text) == (CAMERA, hostile, CONFIG)
    assert json.loads(text)[0] == {
        "subject": "exterior camera",
        "choice": "image",
        "reason": "the only camera with a known name",
        "certain": True,
    }
    assert from_json(to_json([])) == ()


def test_to_json_cuts_long_text():
    (read,) = from_json(to_json([Decision("x" * 5000, "b", "c", is_certain=True)]))
    assert read.subject == "x" * (MAX_TEXT - 1) + "…"


def test_to_json_leaves_out_certain_decisions_first_and_says_how_many():
    many = [Decision(f"camera {number}", "a", "b", is_certain=number % 2 == 0) for number in range(300)]
    read = from_json(to_json(many))
    assert len(read) == MAX_DECISIONS
    assert [decision for decision in read if not decision.is_certain] == [
        decision for decision in many if not decision.is_certain
    ]
    assert read[-1] == Decision("further decisions", "101 are not listed", "there are too many", is_certain=True)
    assert [decision.subject for decision in read[:3]] == ["camera 0", "camera 1", "camera 2"]


def test_to_json_stays_below_the_limit_of_an_attribute():
    long = [
        Decision(f"{number}" + "\u20ac" * 400, "\u20ac" * 400, "\u20ac" * 400, is_certain=False) for number in range(50)
    ]
    text = to_json(long)
    assert len(text) <= MAX_BYTES
    read = from_json(text)
    assert read[-1].choice == f"{50 - (len(read) - 1)} are not listed"
    assert not read[-1].is_certain


@pytest.mark.parametrize(
    "entry", [3, None, [], {}, {"subject": "a", "choice": "b", "reason": "c"}, {"subject": 1, "choice": "b", "reason": "c", "certain": True},
              {"subject": "a", "choice": "b", "reason": "c", "certain": 1}],
)  # fmt: skip
def test_from_json_leaves_out_malformed_entries(entry):
    text = json.dumps([entry, json.loads(to_json([CONFIG]))[0]])
    assert from_json(text) == (CONFIG,)


def test_from_json_ignores_unknown_keys_and_entries_beyond_the_limit():
    entry = {**json.loads(to_json([CONFIG]))[0], "note": "x"}
    assert from_json(json.dumps([entry] * (MAX_DECISIONS + 5))) == (CONFIG,) * MAX_DECISIONS


@pytest.mark.parametrize("text", ["{}", "null", "[", "[" * 20_000, " " * (MAX_BYTES + 1)])
def test_from_json_refuses_what_is_no_list(text):
    with pytest.raises(ValueError, match=r"."):
        from_json(text)
