"""Decisions about the input on the page of `pi0-capture info`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import h5py
import pytest
import synthetic

from capture.cli.info.describe import describe
from capture.cli.info.page import WIDTH
from capture.provenance import Decision, to_json
from capture.results import schema
from capture.results.writer import ResultsWriter

SIZES = synthetic.SMALL
CHECKS = {schema.CHECK_ROW_SUM: 0.0021, schema.CHECK_MASKED: 0.0}


def write_results(path: Path, decisions: Sequence[Decision] = ()) -> Path:
    """Write a results file with these decisions."""
    with ResultsWriter(path, SIZES, model=synthetic.MODEL, generator="test", provenance=to_json(decisions)) as writer:
        for number in range(SIZES.frames):
            writer.write(synthetic.make_frame(SIZES, number))
        return writer.finish(CHECKS)


def test_decisions_about_the_input_are_counted_and_doubts_shown(tmp_path: Path) -> None:
    decisions = [Decision("exterior camera", "image\x1b[31m", "by its name", is_certain=True)]
    decisions += [Decision(f"subject {number}", "a", "b" * 200, is_certain=False) for number in range(7)]
    path = write_results(tmp_path / "a.h5", decisions)
    lines = describe(path).splitlines()
    start = lines.index("input     1 decided, 7 assumed; -v gives each with its reason")
    assert lines[start + 1].startswith("          assumed subject 0: a (bbb")
    assert lines[start + 6] == "          and 2 more assumed"
    assert max(map(len, lines)) <= WIDTH
    page = describe(path, verbose=True)
    assert "          decided exterior camera: image\\x1b[31m (by its name)\n" in page
    assert page.count("assumed subject") == 7
    assert page.count("b" * 60) >= 14
    assert max(map(len, page.splitlines())) <= WIDTH


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (None, "decisions about it are not stored, as in files of format 1.0"),
        ("{}", "the stored decisions about it cannot be read"),
        ("[" * 9000, "the stored decisions about it cannot be read"),
        ("[]", "0 decided, 0 assumed; -v gives each with its reason"),
    ],
)
def test_file_without_readable_decisions_is_described(tmp_path: Path, stored: str | None, message: str) -> None:
    path = write_results(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file.attrs.pop(schema.PROVENANCE_ATTRIBUTE, None)
        if stored is not None:
            file.attrs[schema.PROVENANCE_ATTRIBUTE] = stored
    assert f"input     {message}" in describe(path).splitlines()
