"""The window's export sheet: preview, options, export, cancel."""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import make_effects
import make_results
import numpy as np
import pytest
from paths import ROOT
from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from window_driver import close, show, spin, until

from viewer.analysis import scores
from viewer.export import cli, metadata
from viewer.export.encoding import pixels
from viewer.export.request import FORMATS, KINDS
from viewer.io.demo_files import find_demo_path
from viewer.model.view_state import Query, from_json
from viewer.rendering import theme
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.overlays.export_sheet import ExportSheet, find_default_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from PySide6.QtWidgets import QApplication

    from viewer.widgets.main_window import MainWindow


@pytest.fixture
def sheet(app: QApplication, small: Path, tmp_path: Path) -> Iterator[ExportSheet]:
    window = show(small, tmp_path, layer=2, query=Query("action", (1,)), step=1)
    window.settings.set_text("export/folder", str(tmp_path / "out"))
    yield open_sheet(window)
    close(window)


def open_sheet(window: MainWindow) -> ExportSheet:
    QTest.keyClick(window, Qt.Key.Key_E, Qt.KeyboardModifier.ControlModifier)
    assert isinstance(window.overlays.overlay, ExportSheet)
    wait_for_preview(window.overlays.overlay)
    return window.overlays.overlay


def wait_for_preview(sheet: ExportSheet) -> None:
    """Wait for the answer to the newest ask."""
    requested = sheet.preview._request_number
    until(lambda: sheet.preview.reply.get("ask", 0) >= max(requested, 1) and not sheet.preview._timer.isActive(), 20)
    until(lambda: sheet.preview.reply.get("ask", 0) == sheet.preview._request_number, 20)


def test_every_kind_has_its_own_preview_and_command_line(sheet: ExportSheet) -> None:
    previews = set()
    for kind in KINDS:
        button = sheet.kinds[kind]
        if kind == "difference":
            assert not button.isEnabled()
            assert button.toolTip() == "pin a view first (P)"
            continue
        button.click()
        spin(0.2)
        wait_for_preview(sheet)
        assert not sheet.preview.error
        options = cli.parse_arguments(sheet.form.arguments())
        assert (options.kind, options.format) == (kind, FORMATS[kind][0])
        assert sheet.preview.reply["first"].endswith(options.format)
        assert sheet.preview.image is not None
        previews.add(pixels(sheet.preview.image).tobytes())
        assert [name for name, one in sheet.kinds.items() if one.isChecked()] == [kind]
    assert len(previews) == len(KINDS) - 1


def test_preview_follows_changes_and_shows_errors(sheet: ExportSheet) -> None:
    assert sheet.preview.image is not None
    before = pixels(sheet.preview.image).copy()
    sheet.form._segments["theme"].buttons["dark"].click()  # type: ignore[union-attr]
    spin(0.2)
    wait_for_preview(sheet)
    after = pixels(sheet.preview.image).copy()
    assert before[2, 2, :3].min() > 240
    assert after[2, 2, :3].max() < 40
    field = sheet.form.fields["layers"]
    field.selectAll()
    QTest.keyClicks(field, "99")
    spin(0.2)
    wait_for_preview(sheet)
    assert sheet.preview.error == "There is no layer 99; the file has layers 0–3."
    assert not sheet.export.isEnabled()
    field.selectAll()
    QTest.keyClicks(field, "all")
    spin(0.2)
    wait_for_preview(sheet)
    assert sheet.words()[0].startswith("4 files, about ")
    assert sheet.export.isEnabled()


def test_export_writes_the_shown_view_and_opens_its_folder(
    sheet: ExportSheet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sheet.export.click()
    assert sheet.exporting.is_running
    assert sheet.cancel.text() == "Cancel"
    until(lambda: not sheet.exporting.is_running, 30)
    path = tmp_path / "out" / "small" / "suffix_L2_attn_vis_mean_action1_step1.jpg"
    assert sheet.result == "1 file written to small"
    view = from_json(metadata.read_view(str(path)))
    assert (view.layer, view.query, view.step) == (2, Query("action", (1,)), 1)
    opened: list[str] = []
    monkeypatch.setattr(
        "viewer.widgets.overlays.export_sheet.QDesktopServices.openUrl", lambda url: opened.append(url.toLocalFile())
    )
    assert not sheet.open_folder.isHidden()
    sheet.open_folder.click()
    assert opened == [str(path.parent)]
    spin(0.2)
    wait_for_preview(sheet)
    sheet.result = ""
    assert "1 exists already" in sheet.words()[0]
    assert not sheet.export.isEnabled()
    sheet.form._segments["existing"].buttons["replace"].click()  # type: ignore[union-attr]
    assert sheet.export.isEnabled()


def test_copied_command_writes_the_same_files(sheet: ExportSheet, tmp_path: Path) -> None:
    sheet.copy.click()
    words = shlex.split(QGuiApplication.clipboard().text())
    assert words[0] == "pi0-export"
    completed = subprocess.run([sys.executable, "-m", "viewer.export", *words[1:]], cwd=ROOT, check=False)
    assert completed.returncode == 0
    assert (tmp_path / "out" / "small" / "suffix_L2_attn_vis_mean_action1_step1.jpg").is_file()


def test_form_puts_measure_unit_and_scale_into_the_command(sheet: ExportSheet) -> None:
    for name, value in (("measure", "contribution"), ("unit", "uniform"), ("colour_scale", "log")):
        sheet.form._segments[name].chosen.emit(value)
    options = cli.parse_arguments(sheet.form.arguments())
    assert (options.measure, options.unit, options.colour_scale) == ("contribution", "uniform", "log")
    sheet.kinds["atlas"].click()
    assert cli.parse_arguments(sheet.form.arguments()).measure is None


def test_form_offers_the_color_map_and_names_the_scales(sheet: ExportSheet) -> None:
    choice = sheet.form._segments["colours"]
    assert isinstance(choice, DropDown)
    assert [action.text() for action in choice.menu().actions()] == ["inferno", "viridis", "magma", "turbo", "jet"]
    choice.chosen.emit("viridis")
    assert cli.parse_arguments(sheet.form.arguments()).colours == "viridis"
    labels = {name: row.label for name, row in sheet.form.rows.items() if not row.isHidden()}
    assert (labels["colours"], labels["colour_scale"], labels["range"]) == ("Colours", "Scale", "Range")
    assert len(set(labels.values())) == len(labels)
    sheet.kinds["curves"].click()
    assert "--colours" not in sheet.form.arguments()


def test_unavailable_scores_are_disabled(app: QApplication, small: Path, tmp_path: Path) -> None:
    def cells(**view: object) -> tuple[str, dict[str, bool], str]:
        window = show(small, tmp_path, query=Query("text", (4,)), **view)
        window.settings.set_text("export/folder", str(tmp_path / "out"))
        sheet = open_sheet(window)
        sheet.kinds["atlas"].click()
        spin(0.2)
        wait_for_preview(sheet)
        choice = sheet.form._segments["score"]
        assert isinstance(choice, DropDown)
        menu = choice.menu()
        enabled = {action.data(): action.isEnabled() for action in menu.actions()}
        menu.close()
        answer = sheet.form.values["score"], enabled, sheet.preview.error
        close(window)
        return answer

    score, enabled, error = cells(score="lift")
    assert (score, error) == ("picture", ""), "nothing is said of options of a command line"
    assert {name for name, on in enabled.items() if not on} == {
        *(score.name for score in scores.SCORES.values() if score.needs_region or score.needs_effects),
        "change",
    }
    score, enabled, error = cells(score="lift", region=((0, 6, 6),))
    assert (score, error) == ("lift", "")
    effects = {score.name for score in scores.SCORES.values() if score.needs_effects}
    assert {name for name, on in enabled.items() if not on} == {"change", *effects}
    assert cells(score="lift", thumbnails=True)[0] == "maps"


def test_film_over_layers_and_frames_can_be_chosen(sheet: ExportSheet) -> None:
    sheet.kinds["film"].click()
    axis_buttons = sheet.form._segments["over"]
    assert isinstance(axis_buttons, DropDown)
    words = {action.data(): action.text() for action in axis_buttons.menu().actions()}
    assert words["layers-frames"] == "layers × frames"
    next(action for action in axis_buttons.menu().actions() if action.data() == "layers-frames").trigger()
    spin(0.2)
    wait_for_preview(sheet)
    assert not sheet.preview.error
    assert sheet.preview.reply["first"].endswith("suffix_film_layers-frames_action1_step1.png")
    sheet.kinds["curves"].click()
    assert "layers-frames" not in {action.data() for action in axis_buttons.menu().actions()}
    assert sheet.form.values["over"] == "steps", "as the window's curves, of an action"


def test_escape_closes_the_sheet_and_ends_its_process(sheet: ExportSheet) -> None:
    window, process = sheet.window(), sheet.preview.process
    pid = process.processId()
    assert pid
    QTest.keyClick(sheet, Qt.Key.Key_Escape)
    assert window.overlays.overlay is None
    assert process.state() == process.ProcessState.NotRunning


def test_cancel_button_stops_a_long_export(app: QApplication, tmp_path: Path) -> None:
    recipe = make_results.Recipe(frames=6, layers=8, heads=8, steps=6, size=(360, 640))
    window = show(make_results.write(tmp_path / "large.h5", recipe), tmp_path)
    window.settings.set_text("export/folder", str(tmp_path / "out"))
    window.settings.set_text("export/kind", "heads")
    sheet = open_sheet(window)
    for name in ("frames", "layers"):
        sheet.form.fields[name].selectAll()
        QTest.keyClicks(sheet.form.fields[name], "all")
    spin(0.2)
    wait_for_preview(sheet)
    assert sheet.words()[0].startswith("384 files")
    sheet.export.click()
    until(lambda: 0 < sheet.exporting.progress[0] < 384, 30)
    sheet.cancel.click()
    until(lambda: not sheet.exporting.is_running, 30)
    assert sheet.result.startswith("Stopped; what is finished stays")
    assert 0 < len(list((tmp_path / "out").rglob("*.jpg"))) < 384
    assert not list((tmp_path / "out").rglob("*.partial"))
    close(window)


def test_difference_to_a_pinned_view_can_be_exported(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, layer=2)
    window.acts.pin()
    window.session.update(layer=0)
    window.settings.set_text("export/kind", "difference")
    sheet = open_sheet(window)
    assert sheet.form.kind == "difference"
    assert not sheet.preview.error
    assert sheet.preview.reply["first"].endswith("prefix_difference_L0_duck_minus_L2.png")
    close(window)


def test_difference_of_two_files_can_be_exported(app: QApplication, small: Path, tmp_path: Path) -> None:
    from viewer.io.results import Results

    second_file = make_results.write(tmp_path / "other.h5", make_results.Recipe(seed=5))
    window = show(small, tmp_path, layer=2)
    window.show_results(Results(second_file), True)
    sheet = open_sheet(window)
    sheet.kinds["difference"].click()
    spin(0.2)
    wait_for_preview(sheet)
    assert not sheet.preview.error
    assert "--other" in sheet.form.arguments()
    close(window)


def test_window_does_not_wait_for_the_preview(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path)
    window.overlays.show("export")
    sheet = window.overlays.overlay
    assert isinstance(sheet, ExportSheet)
    assert sheet.preview.image is None, "the sheet is there before its picture"
    assert not sheet.export.isEnabled()
    wait_for_preview(sheet)
    assert sheet.export.isEnabled()
    close(window)


def test_preview_server_answers_the_newest_request(small: Path) -> None:
    asks = [
        {"ask": n, "arguments": words, "width": 400, "height": 300, "ratio": 1.0}
        for n, words in enumerate(([], ["film", "nowhere.h5"], ["curves", str(small), "--over", "layers"]))
    ]
    lines = "".join(json.dumps(ask) + "\n" for ask in asks).encode()
    completed = subprocess.run(
        [sys.executable, "-m", "viewer.export.preview_server"], cwd=ROOT, input=lines, capture_output=True, check=False
    )
    assert completed.returncode == 0
    rest, answers = completed.stdout, []
    while rest:
        line, _, rest = rest.partition(b"\n")
        answers.append(json.loads(line))
        picture, rest = rest[: answers[-1]["size"]], rest[answers[-1]["size"] :]
    assert answers[-1]["ask"] == 2
    assert (answers[-1]["error"], answers[-1]["files"]) == ("", 2)
    shape = answers[-1]["height"], answers[-1]["width"], 4
    page = np.frombuffer(picture, np.uint8).reshape(shape)
    assert shape[1] <= 400
    assert shape[0] <= 300
    assert (page[1, 1, :3] == 255).all()
    assert np.ptp(page[..., :3]) > 100


def test_preview_shows_a_placeholder_before_the_first_picture(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path)
    window.perform_id("export")
    sheet = window.overlays.overlay
    assert isinstance(sheet, ExportSheet)
    assert sheet.preview.image is None
    middle = sheet.preview.rect().center()
    empty = sheet.preview.grab().toImage()
    assert empty.pixelColor(middle).name() == theme.active().raised.lower()
    guessed = sheet.preview.estimate_shape()
    wait_for_preview(sheet)
    image = sheet.preview.image
    assert image is not None
    assert guessed == pytest.approx(image.width() / image.height(), rel=0.1)
    assert sheet.preview.estimate_shape() == pytest.approx(image.width() / image.height(), abs=0.001)
    close(window)


def test_default_folder_is_beside_the_file_but_not_in_the_package(
    app: QApplication, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_default_folder(small) == small.parent / "results"
    demo = find_demo_path()
    assert demo is not None
    folder = find_default_folder(demo)
    assert not folder.is_relative_to(demo.parents[2])
    assert folder.name == "pi0-export"
    monkeypatch.setattr("viewer.widgets.overlays.export_sheet.os.access", lambda path, mode: False)
    assert find_default_folder(small) == folder
    assert find_default_folder(None) == folder


def test_sheet_exports_the_wall_as_the_window_shows_it(app: QApplication, small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path, layer=2, query=Query("action", (1,)), step=1, wall="best", score="entropy")
    window.settings.set_text("export/folder", str(tmp_path / "out"))
    sheet = open_sheet(window)
    assert sheet.form.kind == "wall"
    assert sheet.form.rows["layers"].isHidden(), "the best heads are those of all layers"
    arguments = cli.parse_arguments(sheet.form.arguments())
    assert (arguments.kind, arguments.wall, arguments.score) == ("wall", "best", "entropy")
    sheet.form._segments["wall"].chosen.emit("layer")
    assert not sheet.form.rows["layers"].isHidden()
    assert cli.parse_arguments(sheet.form.arguments()).layers == "2"
    close(window)


def test_effects_opened_from_another_folder_are_exported(app: QApplication, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.h5"
    shutil.copy(small, path)
    (tmp_path / "elsewhere").mkdir()
    effects = make_effects.write(tmp_path / "elsewhere" / "measured.h5", path)
    window = show(path, tmp_path, query=Query("action", (4,)))
    window.settings.set_text("export/folder", str(tmp_path / "out"))
    try:
        window.files.effects.open(effects)
        until(lambda: bool(window.session.results and window.session.results.effects), 20)
        window.session.update(measure="effect")
        spin()
        sheet = open_sheet(window)
        assert not sheet.preview.error
        arguments = sheet.form.arguments()
        assert arguments[arguments.index("--effects") + 1] == str(effects)
        sheet.export.click()
        until(lambda: not sheet.exporting.is_running, 30)
        assert sheet.result == "1 file written to small"
        assert [file.name for file in (tmp_path / "out" / "small").iterdir()] == ["effect_summary_action4.jpg"]
    finally:
        close(window)


def test_effects_beside_the_file_need_no_option(app: QApplication, small: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.h5"
    shutil.copy(small, path)
    make_effects.write(tmp_path / "small.effects.h5", path)
    window = show(path, tmp_path)
    try:
        until(lambda: bool(window.session.results and window.session.results.effects), 20)
        assert "--effects" not in open_sheet(window).form.arguments()
    finally:
        close(window)
