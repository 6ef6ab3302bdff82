"""Controls of the Run page by themselves: what they offer, what they ask, what they refuse."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from viewer.runs.query import RunQuery
from viewer.widgets.controls.flow_layout import FlowLayout
from viewer.widgets.runs.run_controls import RunControls, find_common_words
from viewer.widgets.runs.run_heading import RunHeading


@pytest.fixture
def controls(app: QApplication) -> Iterator[RunControls]:
    controls = RunControls()
    controls.set_choices(["put the <b>duck</b> in the bowl", "get the duck"], ["duck", "a & b"], range(3), 5)
    controls.resize(1000, 60)
    controls.show()
    yield controls
    controls.close()
    controls.deleteLater()


@pytest.fixture
def requests(controls: RunControls) -> list[RunQuery]:
    queries: list[RunQuery] = []
    controls.query_requested.connect(queries.append)
    controls.query_requested.connect(lambda query: controls.show_query(query, is_contrast=False))
    return queries


def test_every_control_changes_its_field_of_the_query(controls: RunControls, requests: list[RunQuery]) -> None:
    controls.score.chosen.emit("region")
    controls.subject.chosen.emit("actions 0-2")
    controls.region.chosen.emit("duck")
    controls.step.chosen.emit("2")
    controls.prompt.chosen.emit("1")
    controls.outcome.chosen.emit("failure")
    controls.frames.chosen.emit("0-50%")
    assert requests[-1] == RunQuery(
        "region", "{object}", "0-2", "duck", ("get the duck",), ("failure",), (0.0, 0.5), None, 2
    )
    controls.step.chosen.emit("all")
    controls.prompt.chosen.emit("all")
    controls.outcome.chosen.emit("all")
    controls.frames.chosen.emit("all")
    assert requests[-1] == RunQuery("region", "{object}", "0-2", "duck")


def test_typed_words_are_requested_once_at_enter(controls: RunControls, requests: list[RunQuery]) -> None:
    field = controls.subject.field
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, "duck")
    assert not requests
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert [query.words for query in requests] == ["duck"]
    field.clearFocus()
    assert len(requests) == 1


@pytest.mark.parametrize(("name", "text"), [("frames", "9-2"), ("subject", "actions 3-")])
def test_impossible_values_are_reported_and_reverted(
    controls: RunControls, requests: list[RunQuery], name: str, text: str
) -> None:
    messages: list[str] = []
    controls.noticed.connect(messages.append)
    field = getattr(controls, name)
    before = field.field.text()
    field.chosen.emit(text)
    assert len(messages) == 1
    assert text in messages[0]
    assert field.field.text() == before
    assert not requests


def test_steps_are_disabled_for_words_of_a_run_with_a_reason(controls: RunControls) -> None:
    assert not controls.step.isEnabled()
    assert controls.step.toolTip() == "words have one pass: no denoise steps"
    controls.show_query(RunQuery(actions="all"), is_contrast=False)
    assert controls.step.isEnabled()


def test_score_over_steps_is_replaced_for_words(controls: RunControls, requests: list[RunQuery]) -> None:
    controls.show_query(RunQuery("change", "", "all", ""), is_contrast=False)
    controls.subject.chosen.emit("duck")
    assert (requests[-1].score, requests[-1].words, requests[-1].actions) == ("picture", "duck", "")


def test_contrast_is_off_with_the_reason_where_outcomes_are_unknown(controls: RunControls) -> None:
    controls.set_choices([], [], (), 0, contrast_reason="the run does not say which episodes succeeded")
    assert not controls.contrast.isEnabled()
    assert controls.contrast.toolTip() == "the run does not say which episodes succeeded"


def test_texts_of_a_run_are_plain_text_in_menus_and_tooltips(controls: RunControls) -> None:
    controls.prompt.show_value("0")
    assert "<b>" in controls.prompt.text()
    assert "&lt;b&gt;" in controls.prompt.toolTip()
    texts = [action.text() for action in controls.region.menu().actions()]
    assert texts == ["the region that each prompt names, {object}", "duck", "a && b"]


def test_suggested_words_are_those_of_most_prompts() -> None:
    assert find_common_words(["put the duck in the bowl", "get the duck", "a 12 x"])[:2] == ["the", "duck"]


def test_controls_wrap_into_lines_within_the_width(controls: RunControls) -> None:
    row = controls.layout()
    assert isinstance(row, FlowLayout)
    assert row.heightForWidth(1200) < row.heightForWidth(420)
    controls.resize(420, row.heightForWidth(420))
    QApplication.processEvents()
    widgets = [row.itemAt(index).widget() for index in range(row.count())]  # type: ignore[union-attr]
    assert all(widget.geometry().right() < 420 for widget in widgets)
    boxes = [widget.geometry() for widget in widgets]
    assert not any(box.intersects(other) for n, box in enumerate(boxes) for other in boxes[n + 1 :])


def test_heading_wraps_and_is_as_high_as_its_lines(app: QApplication) -> None:
    from viewer.runs.run_sentence import Phrase

    heading = RunHeading()
    heading.show()
    heading.resize(2000, 22)
    heading.show_phrases([Phrase("Mass in region duck", is_subject=True), Phrase(": mean over 20 episodes.")])
    assert heading.height() == 22
    heading.resize(180, 22)
    assert heading.height() == 66
    heading.close()
    assert heading.accessibleDescription() == "Mass in region duck: mean over 20 episodes."
