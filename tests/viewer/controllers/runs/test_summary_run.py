"""The process that makes a summary, as the window sees it: progress, errors, silence."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from planted_run import BOX, write_planted_run
from window_driver import until

from viewer.controllers.runs import summary_run
from viewer.controllers.runs.summary_run import SummaryRun
from viewer.export.runs import build_summary
from viewer.runs.query import RunQuery
from viewer.runs.summary_process import list_arguments

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

SUBJECT = RunQuery("region", "duck", region=BOX).subject


def test_summary_process_reports_progress_and_its_end(app: QApplication, tmp_path: Path) -> None:
    folder = write_planted_run(tmp_path / "planted", 2)
    build = SummaryRun()
    ends: list[str] = []
    written: list[int] = []
    build.ended.connect(ends.append)
    build.written.connect(lambda: written.append(build.progress.done))
    build.start(folder, SUBJECT)
    assert build.is_running
    until(lambda: ends, 60)
    assert ends == [""]
    assert (build.progress.done, build.progress.total, build.progress.is_finished) == (2, 2, True)
    assert written
    assert not build.is_running


def test_missing_run_is_one_sentence(app: QApplication, tmp_path: Path) -> None:
    build = SummaryRun()
    ends: list[str] = []
    build.ended.connect(ends.append)
    build.start(tmp_path / "gone", SUBJECT)
    until(lambda: ends, 60)
    assert "gone" in ends[0]
    assert ends[0].endswith(".")


def test_silent_process_is_ended(app: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_run, "MODULE", "viewer.export.preview_server")  # waits for its input for ever
    build = SummaryRun()
    build._silence.setInterval(300)
    ends: list[str] = []
    build.ended.connect(ends.append)
    build.start(tmp_path, SUBJECT)
    until(lambda: ends, 30)
    assert ends == ["The episodes could not be summarised: the process said nothing for 120 s."]


def test_stopped_process_is_no_error(app: QApplication, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(summary_run, "MODULE", "viewer.export.preview_server")
    build = SummaryRun()
    ends: list[str] = []
    build.ended.connect(ends.append)
    build.start(tmp_path, SUBJECT)
    build.stop()
    until(lambda: ends, 30)
    assert ends == [""]
    assert build.is_stopped


def test_process_reports_progress_while_an_episode_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_planted_run(tmp_path / "planted", 1)
    monkeypatch.setattr(build_summary, "ALIVE_SECONDS", -1.0)
    assert build_summary.main(list_arguments(folder, [SUBJECT])) == 0
    lines = capsys.readouterr().out.split("\n")
    assert lines[1] == "", "an empty line comes between the lines of progress"
    assert json.loads(lines[0])["done"] == 0
