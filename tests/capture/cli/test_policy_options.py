"""Options that describe a policy of one's own."""

from __future__ import annotations

import pytest

from capture.cli.parser import build_parser, joined_values


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("none", ()),
        ("7,-1", (True,) * 7 + (False,)),
        ("2,-1,1,-2", (True, True, False, True, False, False)),
        ("-1,1", (False, True)),
    ],
)
def test_relative_actions_are_counted_as_openpi_counts_them(text, mask):
    arguments = ["--checkpoint", "x", *joined_values(["--relative-actions", text])]
    assert build_parser("pi0-capture").parse_args(arguments).relative_actions == mask


@pytest.mark.parametrize("option", [["--relative-actions", "7;-1"], ["--lora-alpha", "0"], ["--normalisation", "max"]])
def test_impossible_values_of_policy_options_are_refused(option, capsys):
    with pytest.raises(SystemExit) as error:
        build_parser("pi0-capture").parse_args(["--checkpoint", "x", *option])
    assert error.value.code == 2
    assert option[0] in capsys.readouterr().err
