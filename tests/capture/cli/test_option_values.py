"""Forms of --state: numbers with commas, blanks and brackets, and files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pytest

from capture.cli.option_values import parse_state


@pytest.mark.parametrize(
    "text",
    [
        "0.1,-0.4,2",
        " 0.1, -0.4 ,2 ",
        "0.1 -0.4  2",
        "[0.1, -0.4, 2]",
        "[ 0.1 -0.4  2. ]",
        "(0.1,-0.4,2)",
        "[[0.1],[-0.4],[2]]",
    ],
)
def test_parse_state_reads_commas_blanks_and_brackets(text: str) -> None:
    assert parse_state(text.replace("],[", ",") if text.startswith("[[") else text) == (0.1, -0.4, 2.0)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds 0 numbers"),
        ("[]", "holds 0 numbers"),
        ("1,,2", "is not a list of numbers"),
        ("1, 2 3", "is not a list of numbers"),
        ("1,two", "is not a list of numbers such as 0.1,-0.4,0.0, nor a .npy or .json file"),
        ("[1,2", "a bracket that is not closed"),
        ("1,inf", "not finite"),
        ("none.npy", "none.npy cannot be read as a state .*No such file"),
    ],
)
def test_parse_state_refuses_other_texts(text: str, words: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        parse_state(text)


@pytest.mark.parametrize("shape", [(8,), (1, 8), (2, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_parse_state_reads_npy_files(tmp_path: Path, shape: tuple[int, ...], dtype: str) -> None:
    np.save(tmp_path / "state.npy", np.arange(8, dtype=dtype).reshape(shape))
    assert parse_state(str(tmp_path / "state.npy")) == tuple(range(8))


@pytest.mark.parametrize("content", [[0.5, 1, -2], [[0.5, 1], [-2]], {"state": [0.5, 1, -2], "time": 3}])
def test_parse_state_reads_json_files(tmp_path: Path, content: object) -> None:
    (tmp_path / "state.JSON").write_text(json.dumps(content))
    assert parse_state(str(tmp_path / "state.JSON")) == (0.5, 1.0, -2.0)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "cannot be read"),
        ("3", "holds no list"),
        ('{"x": 1}', "holds no list"),
        ('["a"]', "holds no list"),
        ("[NaN]", "not finite"),
    ],
)
def test_parse_state_refuses_other_json(tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(argparse.ArgumentTypeError, match=words):
        parse_state(str(tmp_path / "state.json"))


def test_parse_state_opens_no_pickled_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "state.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(argparse.ArgumentTypeError, match="cannot be read as a state"):
        parse_state(str(tmp_path / "state.npy"))
    np.save(tmp_path / "state.npy", np.array(["a"]))
    with pytest.raises(argparse.ArgumentTypeError, match="holds <U1 values"):
        parse_state(str(tmp_path / "state.npy"))
    np.save(tmp_path / "state.npy", np.zeros(5000))
    with pytest.raises(argparse.ArgumentTypeError, match="holds 5000 numbers where one state is needed"):
        parse_state(str(tmp_path / "state.npy"))
