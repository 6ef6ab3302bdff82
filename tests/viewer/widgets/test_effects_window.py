"""Effects in a real window: found beside the file, blinked to, measured for a region, compared with attention."""

from __future__ import annotations

import importlib.util
import shutil
from typing import TYPE_CHECKING

import h5py
import make_effects
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtTest import QTest
from window_driver import close, press, show, spin, until, wait_until_idle

from viewer.controllers.effects.region_run import RegionRequest, write_command
from viewer.io.demo_files import find_demo_path
from viewer.io.results import Results
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from viewer.widgets.main_window import MainWindow


DUCK = tuple((0, row, col) for row in (7, 8) for col in range(8, 12))
"""Where the duck lies in the demo's exterior picture, whose prompt is to pick it up."""


def show_file(small: Path, folder: Path, **view: object) -> MainWindow:
    """Return a window with a copy of a file, whose effects lie beside it."""
    path = folder / "small.h5"
    shutil.copy(small, path)
    make_effects.write(folder / "small.effects.h5", path)
    window = show(path, folder, **view)
    until(lambda: window.session.results is not None and window.session.results.effects)
    wait_until_idle(window)
    return window


@pytest.fixture
def measured(small: Path, tmp_path: Path) -> Iterator[MainWindow]:
    window = show_file(small, tmp_path, query=Query("action", (4,)))
    yield window
    close(window)


def test_effects_beside_the_file_are_found(measured: MainWindow) -> None:
    heat = measured.panels.heat
    assert heat.measure.buttons["effect"].isEnabled()
    QTest.mouseClick(heat.measure.buttons["effect"], Qt.MouseButton.LeftButton)
    spin()
    assert measured.session.state.measure == "effect"
    scene = measured.session.scene()
    assert scene is not None
    assert scene.maps[0, 7, 3] == pytest.approx(7.03 / make_effects.FLOOR)
    assert heat.bar.toolTip().startswith("2 patches above, up to 20 × noise")
    assert heat.uniform.text() == "× noise"
    assert not heat.uniform.isEnabled()
    measured.session.point((0, 7, 3))
    spin()
    assert measured.status.left() == (
        "exterior, patch (7, 3) · effect 14.1 × noise · rank 121 · of its block of 2 × 2 patches"
    )
    assert measured.status.right().endswith("measured effects, not attention")


def test_dimension_of_gradients_and_effects_is_chosen_under_the_color_bar(measured: MainWindow) -> None:
    heat, session = measured.panels.heat, measured.session
    assert heat.dim.isHidden(), "attention has no dimension"
    session.update(measure="gradient")
    spin()
    assert heat.uniform.isHidden()
    assert heat.dim.text() == "mean ▾"
    assert heat.dim.toolTip() == "Attention × gradient, mean of dimensions 0, 2"
    menu = heat.dim.menu()
    assert [action.text() for action in menu.actions()] == ["mean", "dim 0", "dim 2"]
    menu.actions()[2].trigger()
    menu.close()
    spin()
    assert session.state.dim == 2
    assert session.scene().maps[0, 7, 3] == pytest.approx(7.03 * 5 * 0.003)
    assert "what raises dimension 2 of the actions (" in str(measured.panels.sentence.lines()[0][1])
    QTest.mouseClick(heat.measure.buttons["effect"], Qt.MouseButton.LeftButton)
    spin()
    assert (heat.dim.text(), session.state.dim) == ("dim 2 ▾", 2)
    assert session.scene().maps[0, 7, 3] == pytest.approx(7.03 * 3 / make_effects.FLOOR)
    session.update(dim=1)
    spin()
    QTest.mouseClick(heat.measure.buttons["gradient"], Qt.MouseButton.LeftButton)
    spin()
    assert (heat.dim.text(), session.state.dim) == ("mean ▾", None), "there is no gradient of dimension 1"
    session.update(dim=1)
    spin()
    assert heat.dim.text() == "dim 1 ▾"
    assert str(measured.panels.sentence.lines()[0][1]).startswith("No gradients: frame 0 has no gradient of action")


def test_key_e_blinks_between_attention_and_effect(measured: MainWindow) -> None:
    session, sentence = measured.session, measured.panels.sentence
    weights = session.scene()
    QTest.keyPress(measured, Qt.Key.Key_E)
    spin()
    scene = session.scene()
    assert scene is not None
    assert scene.effect is not None
    assert [(label, is_seen) for label, _, is_seen in sentence.lines()] == [("Attention", False), ("Effect", True)]
    assert session.pin_name == "Effect"
    assert weights is not None
    assert scene.ranges != weights.ranges, "each side has its own scale"
    QTest.keyRelease(measured, Qt.Key.Key_E)
    spin()
    assert session.scene() is weights
    assert session.state.measure == "weight"
    session.update(measure="effect")
    spin()
    QTest.keyPress(measured, Qt.Key.Key_E)
    spin()
    assert session.pin_name == "Attention"
    QTest.keyRelease(measured, Qt.Key.Key_E)


def test_e_reports_a_frame_without_a_map(measured: MainWindow) -> None:
    measured.session.update(frame=1)
    spin()
    press(measured, Qt.Key.Key_E)
    assert measured.notice.text.startswith("Frame 1 has no effect map, frame 0 has one; ")
    assert not measured.session.blinking


def test_locked_range_is_released_when_the_unit_changes(measured: MainWindow) -> None:
    session = measured.session
    session.update(range="locked", low=0.0, high=0.02)
    measured.perform_id("effect_map")
    spin()
    assert (session.state.measure, session.state.range) == ("effect", "uniform")
    session.update(range="locked", low=0.0, high=5.0)
    spin()
    QTest.keyPress(measured, Qt.Key.Key_E)
    spin()
    scene = session.scene()
    assert scene is not None
    assert scene.ranges[0][1] < 1, "attention is not shown on a range of multiples"
    QTest.keyRelease(measured, Qt.Key.Key_E)


def test_effect_is_shown_beside_the_attention(measured: MainWindow) -> None:
    press(measured, Qt.Key.Key_E, Qt.KeyboardModifier.ShiftModifier)
    panes = measured.panels.camera_grid
    assert panes.beside
    assert panes.panes[0].scene is not None
    assert panes.panes[0].scene.effect is None
    assert panes.pinned[0].scene is not None
    assert panes.pinned[0].scene.effect is not None
    assert not measured.grab().isNull()


def test_region_has_its_effect_with_the_controls(measured: MainWindow) -> None:
    measured.session.update(region=make_effects.BOX)
    spin()
    measured.perform_id("region_effect")
    panel = measured.panels.effect.region
    assert panel.isVisible()
    assert not measured.files.effects.region_run.is_running, "the file has it already"
    assert panel.sentences() == [
        "Action 4 moves 4.0 × the noise when these patches are hidden from the actions (random areas of the same "
        "shape: 0.5 × (median), 4 of 4 smaller)."
    ]
    table = panel.data_table()
    assert table is not None
    assert table[1][0] == ["hidden from the actions", "region", 4.0]
    assert [round(float(str(row[2])), 3) for row in table[1][1:]] == [0.2, 0.4, 0.6, 0.8]
    assert not panel.grab().isNull()


def test_action_chart_draws_the_actions_without_the_region(measured: MainWindow) -> None:
    measured.panels.show_tab("action_chart")
    chart = measured.panels.action_chart
    assert len(chart.charts()["chunk"][0].lines) <= 2
    measured.session.update(region=make_effects.BOX)
    measured.panels.show_tab("action_chart")
    spin()
    first = chart.charts()["chunk"][0]
    lines = {line.name: line.values for line in first.lines}
    assert (lines["region hidden"] - lines["predicted"]).tolist() == pytest.approx([0.25] * len(first.xs))
    [band] = first.bands
    assert (band.low - lines["predicted"]).tolist() == pytest.approx([-0.1] * len(first.xs), abs=1e-6)
    assert (band.high - lines["predicted"]).tolist() == pytest.approx([0.1] * len(first.xs), abs=1e-6)
    assert not chart.grab().isNull()
    measured.session.update(region=((0, 6, 6),))
    spin()
    assert chart.target is None, "of another region nothing is known"


def test_click_on_the_scatter_shows_the_head(measured: MainWindow) -> None:
    measured.panels.show_tab("effect")
    spin()
    scatter, session = measured.panels.effect.scatter, measured.session
    assert scatter.name == "knockout"
    positions = scatter.places()
    layer, head = max(positions, key=lambda key: -positions[key].y())
    assert (layer, head) == (len(session.results.layers) - 1, session.results.heads - 1)  # type: ignore[union-attr]
    point = positions[layer, head]
    assert scatter.head_at(point + QPointF(2, 2)) == (layer, head)
    QTest.mouseClick(scatter, Qt.MouseButton.LeftButton, pos=point.toPoint())
    spin()
    assert (session.state.layer, session.state.heads) == (layer, (head,))
    scatter.measured.chosen.emit("agreement")
    spin()
    assert scatter.content is not None
    assert scatter.content.up.name == "agreement"
    session.update(query=Query("text", (3,)))
    spin()
    assert scatter.reason == "effects are compared with the attention of actions: choose one"
    assert not scatter.grab().isNull()


def test_effects_of_another_file_are_refused_in_a_sentence(measured: MainWindow, tiny: Path, tmp_path: Path) -> None:
    other_effects = make_effects.write(tmp_path / "tiny.effects.h5", tiny)
    before = measured.session.results.effects  # type: ignore[union-attr]
    with h5py.File(other_effects, "a") as file:
        file.attrs["results"] = '{"name": "tiny.h5", "uuid": "of tiny"}'
    measured.open(other_effects)
    until(lambda: "fingerprints differ" in measured.notice.text)
    assert measured.notice.text.startswith("tiny.effects.h5 holds effects on tiny.h5, not on small.h5")
    assert measured.session.results.effects == before  # type: ignore[union-attr]


def test_long_sentence_is_smaller_in_a_narrow_window(measured: MainWindow) -> None:
    sentence = measured.panels.sentence
    assert sentence.find_size() == 14.5
    measured.session.update(measure="effect", region=make_effects.BOX)
    spin()
    sentence.resize(3000, sentence.height())
    assert sentence.find_size() == 14.5
    sentence.resize(300, sentence.height())
    assert sentence.find_size() == 12.5


def test_film_and_wall_say_that_effects_have_no_layers_and_heads(measured: MainWindow) -> None:
    film = measured.panels.film
    measured.session.update(measure="gradient", film="layers")
    spin()
    assert film.note.text == "attention, as gradients have no layers; each on its own scale, from 1 × uniform"
    measured.session.update(film="frames", dim=2)
    until(lambda: film.reader.film() is not None)
    spin()
    assert film.reader.frames() == (0,), "frames without gradients would look like frames without relevance"
    assert film.note.text == "2 without gradients · gradients of dimension 2, each on its own scale"
    measured.session.update(measure="effect", wall="layer")
    spin()
    assert measured.panels.wall.describe_scale().startswith("attention, as effects have no heads · one scale for all")


def test_dropped_effects_are_opened_and_described(small: Path, tmp_path: Path) -> None:
    window = show(small, tmp_path)
    window.open(make_effects.write(tmp_path / "mine.effects.h5", small))
    until(lambda: window.session.results is not None and window.session.results.effects)
    spin()
    assert window.notice.text == (
        "Effects of mine.effects.h5 on frame 0: an effect map (hold E to see it), gradients, 1 region, every head."
    )
    close(window)


def test_torn_effects_are_reported_and_the_window_stays_usable(small: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.h5"
    shutil.copy(small, path)
    intact = make_effects.write(tmp_path / "small.effects.h5", path)
    intact.write_bytes(intact.read_bytes()[:3000])
    window = show(path, tmp_path)
    until(lambda: "small.effects.h5" in window.notice.text)
    assert window.session.results is not None
    assert window.session.results.effects == ()
    assert not window.panels.heat.measure.buttons["effect"].isEnabled()
    close(window)


def test_command_for_another_machine_names_frame_and_region(results: Results) -> None:
    results.model["kind"] = "openpi"
    box = tuple((0, row, col) for row in (6, 7) for col in (2, 3))
    assert write_command(RegionRequest(results, 2, box, "occlude")) == (
        "pi0-capture effects small.h5 --checkpoint CHECKPOINT --frames 2 --region exterior:6-7,2-3 --mode occlude -o "
        "small.1.effects.h5"
    )
    several = write_command(RegionRequest(results, 2, (*box, (1, 0, 0)), "all"))
    named = '{"exterior:6-7,2-3 wrist:0,0": ["exterior:6-7,2-3", "wrist:0,0"]}'
    assert several.startswith(f"echo '{named}' > regions.json && ")
    assert "--regions regions.json --from all" in several


def test_file_without_its_checkpoint_offers_the_command(measured: MainWindow) -> None:
    assert measured.session.results is not None
    measured.session.results.model["kind"] = "openpi"
    measured.session.update(region=((0, 6, 6),))
    spin()
    measured.perform_id("region_effect")
    panel = measured.panels.effect.region
    assert panel.checkpoint.isVisible()
    assert not panel.measure.isVisible()
    assert panel.note() == "The policy’s checkpoint is not known here: copy the command for another machine."
    assert "--frames 0 --region exterior:6,6 --from all" in QGuiApplication.clipboard().text()


@pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")
def test_effect_of_a_region_is_measured_now(tmp_path: Path) -> None:
    demo = find_demo_path()
    assert demo is not None
    path = tmp_path / "demo.h5"
    shutil.copy(demo, path)
    saved = tmp_path / "demo.effects.h5"
    saved.write_bytes(b"of the user")
    window = show(path, tmp_path, query=Query("action", (7,)), region=DUCK)
    run = window.files.effects.region_run
    window.perform_id("region_effect")
    assert run.is_running
    panel = window.panels.effect.region
    assert panel.stop.isVisible()
    QTest.mouseClick(panel.stop, Qt.MouseButton.LeftButton)
    until(lambda: not run.is_running)
    assert sorted(file.name for file in tmp_path.glob("*.h5")) == ["demo.effects.h5", "demo.h5"], "nothing is left"
    progress: list[tuple[int, int]] = []
    run.changed.connect(lambda: progress.append(run.progress))
    QTest.mouseClick(panel.measure, Qt.MouseButton.LeftButton)
    until(lambda: not run.is_running, 300)
    until(lambda: window.session.results is not None and window.session.results.effects)
    spin()
    assert saved.read_bytes() == b"of the user"
    assert (tmp_path / "demo.1.effects.h5").exists()
    assert progress[-1][0] == progress[-1][1] == 37  # seeds, the region and its random regions
    [target] = panel.targets
    assert target.method.phrase == "hidden from words, patches and actions"
    assert target.compare_with_noise((7,)).smaller == 20
    close(window)
