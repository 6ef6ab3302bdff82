"""JSON of others: every field is of the type asked for, or a sentence names file, field and what it should be."""

from __future__ import annotations

import pytest

from capture.errors import UserError
from capture.json_fields import MAX_BYTES, JsonObject, parse_json, read_json

FIELDS = JsonObject(
    {
        "n": 3,
        "yes": True,
        "word": "x",
        "words": ["a", "b"],
        "row": [1, 2.5],
        "inner": {"n": 4},
        "list": [{"n": 5}],
        "none": None,
    },
    "config.json",
)


def test_fields_of_the_right_type():
    assert FIELDS.integer("n") == 3
    assert FIELDS.flag("yes") is True
    assert FIELDS.text("word") == "x"
    assert FIELDS.texts("words") == ("a", "b")
    assert FIELDS.numbers("row") == (1.0, 2.5)
    assert FIELDS.section("inner").integer("n") == 4
    assert [entry.integer("n") for entry in FIELDS.sections("list")] == [5]


@pytest.mark.parametrize("read", ["integer", "flag", "text", "texts", "numbers", "section", "sections"])
def test_absent_and_null_read_as_none(read):
    assert getattr(FIELDS, read)("absent") is None
    assert getattr(FIELDS, read)("none") is None


@pytest.mark.parametrize(
    ("read", "key", "expected"),
    [
        ("integer", "yes", "a whole number from 1 to"),
        ("integer", "word", "a whole number"),
        ("flag", "n", "true or false"),
        ("text", "n", "a string"),
        ("texts", "row", "a list of strings"),
        ("texts", "word", "a list of strings"),
        ("numbers", "words", "a list of finite numbers"),
        ("numbers", "n", "a list of finite numbers"),
        ("section", "list", "an object"),
        ("sections", "inner", "a list of objects"),
        ("sections", "words", "a list of objects"),
    ],
)
def test_fields_of_another_type_are_named(read, key, expected):
    with pytest.raises(UserError, match=f"'{key}' in config.json is .*, but should be {expected}"):
        getattr(FIELDS, read)(key)


def test_whole_numbers_have_bounds():
    assert FIELDS.integer("n", least=3, most=3) == 3
    with pytest.raises(UserError, match="from 4 to 9"):
        FIELDS.integer("n", least=4, most=9)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400])
def test_numbers_must_be_finite(number):
    with pytest.raises(UserError, match="finite numbers"):
        parse_json(f'{{"row": [{number}]}}'.encode(), "here").numbers("row")


def test_a_place_inside_is_named_in_full():
    with pytest.raises(UserError, match="'word' in config.json, 'inner' is 'x', but should be an object"):
        JsonObject({"inner": {"word": "x"}}, "config.json").section("inner").section("word")
    with pytest.raises(UserError, match=r"'n' in config.json, 'list'\[0\] is 5, but should be a string"):
        FIELDS.sections("list")[0].text("n")


def test_long_values_are_shortened():
    with pytest.raises(UserError, match=r"'x{39}…, but"):
        JsonObject({"a": "x" * 10_000}, "here").flag("a")


def test_read_json_takes_a_byte_order_mark_and_refuses_unusable_files(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}')  # a byte order mark, as editors on Windows write it
    assert read_json(path).integer("n") == 1
    with pytest.raises(UserError, match="cannot read .*b.json: No such file"):
        read_json(tmp_path / "b.json")
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="only a Git LFS pointer"):
        read_json(path)
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(UserError, match="larger than 64 MB"):
        read_json(path)
