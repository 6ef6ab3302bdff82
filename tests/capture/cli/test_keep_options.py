"""The options --keep, --regions and --region-names."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from capture.__main__ import main
from capture.cli import option_values
from capture.results import scores_schema


@pytest.mark.parametrize(("text", "expected"), [("maps", 1), ("summaries", 0), ("maps::8", 8), ("maps::1", 1)])
def test_parse_keep_reads_every_form(text: str, expected: int) -> None:
    assert option_values.parse_kept_maps(text) == expected
    assert option_values.parse_kept_maps(scores_schema.format_keep(expected)) == expected


@pytest.mark.parametrize("text", ["", "all", "maps:8", "maps::0", "maps::-2", "maps::8:2", "maps::8 ", "Maps"])
def test_parse_keep_refuses_other_text(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is none of maps, summaries and maps::N, such as maps::8"):
        option_values.parse_kept_maps(text)


def test_parse_region_names_reads_names_of_labels() -> None:
    assert option_values.parse_region_names("3=duck, 12 = red mug") == {3: "duck", 12: "red mug"}


@pytest.mark.parametrize("text", ["duck", "0=duck", "3=", "-1=duck", "3=a/b", "3=a,=b", "x=duck"])
def test_parse_region_names_refuses_other_text_with_an_example(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="is not labels above 0 and names, such as 3=duck,5=bowl"):
        option_values.parse_region_names(text)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--keep", "summaries", "--full"], "--full keeps the maps of image patches, and --keep summaries no maps"),
        (["--region-names", "3=duck"], "--region-names says what the labels of --regions dataset stand for"),
        (["--regions", "nowhere.regions.h5"], "--regions: there is no file or folder nowhere.regions.h5"),
        (["--regions", "dataset"], "--regions dataset finds no masks in these pictures"),
    ],
)
def test_options_that_contradict_each_other_get_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], sentence: str
) -> None:
    assert main(["--demo", "-o", str(tmp_path / "a.h5"), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_dry_run_prints_what_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--demo", "--dry-run", "--keep", "maps::4"]) == 0
    assert "maps of every frame whose number is a multiple of 4" in capsys.readouterr().out
