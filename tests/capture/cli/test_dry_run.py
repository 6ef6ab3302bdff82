from __future__ import annotations

from pathlib import Path

from episode_files import write_droid
from paths import ROOT

from capture.__main__ import main

DEMO = ROOT / "resources" / "demo"


def test_forecast_lists_what_was_assumed_in_other_episodes(tmp_path: Path, capsys) -> None:
    for name in ("a", "b"):
        write_droid(tmp_path / "set" / name, 3, uuid=name)
    (tmp_path / "set" / "b" / "recordings" / "MP4" / "20036094.mp4").unlink()
    assert main(["--checkpoint", str(DEMO), "--dataset", str(tmp_path / "set"), "--dry-run"]) == 0
    lines = capsys.readouterr().out.splitlines()
    first = [line for line in lines if line.startswith("  assumed   exterior camera: exterior_image_1_left (")]
    assert len(first) == 1
    start = lines.index("assumed in other episodes:")
    assert lines[start + 1] == "  exterior camera of b: exterior_image_2_left (it has no exterior_image_1_left)"
    assert not any("of b" in line for line in lines[:start])


def test_forecast_of_equal_episodes_lists_no_others(tmp_path: Path, capsys) -> None:
    for name in ("a", "b"):
        write_droid(tmp_path / "set" / name, 3, uuid=name)
    assert main(["--checkpoint", str(DEMO), "--dataset", str(tmp_path / "set"), "--dry-run"]) == 0
    assert "assumed in other episodes:" not in capsys.readouterr().out
