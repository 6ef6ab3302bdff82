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
    made = RunControls()
    made.set_choices(["put the <b>duck</b> in the bowl", "get the duck"], ["duck", "a & b"], range(3), 5)
    made.resize(1000, 60)
    made.show()
    yield made
    made.close()
    made.deleteLater()


@pytest.fixture
def asked(controls: RunControls) -> list[RunQuery]:
    queries: list[RunQuery] = []
    controls.query_requested.connect(queries.append)
    controls.query_requested.connect(lambda query: controls.show_query(query, is_contrast=False))
    return queries


def test_every_control_changes_its_field_of_the_question(controls: RunControls, asked: list[RunQuery]) -> None:
    controls.score.chosen.emit("region")
    controls.subject.chosen.emit("actions 0-2")
    controls.region.chosen.emit("duck")
    controls.step.chosen.emit("2")
    controls.prompt.chosen.emit("1")
    controls.outcome.chosen.emit("failure")
    controls.frames.chosen.emit("0-50%")
    assert asked[-1] == RunQuery(
        "region", "{object}", "0-2", "duck", ("get the duck",), ("failure",), (0.0, 0.5), None, 2
    )
    controls.step.chosen.emit("all")
    controls.prompt.chosen.emit("all")
    controls.outcome.chosen.emit("all")
    controls.frames.chosen.emit("all")
    assert asked[-1] == RunQuery("region", "{object}", "0-2", "duck")


def test_typed_words_are_asked_for_at_enter_and_once(controls: RunControls, asked: list[RunQuery]) -> None:
    field = controls.subject.field
    field.setFocus()
    field.selectAll()
    QTest.keyClicks(field, "duck")
    assert not asked
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert [query.words for query in asked] == ["duck"]
    field.clearFocus()
    assert len(asked) == 1


@pytest.mark.parametrize(("name", "text"), [("frames", "9-2"), ("subject", "actions 3-")])
def test_what_cannot_be_is_said_and_taken_back(
    controls: RunControls, asked: list[RunQuery], name: str, text: str
) -> None:
    said: list[str] = []
    controls.noticed.connect(said.append)
    field = getattr(controls, name)
    before = field.field.text()
    field.chosen.emit(text)
    assert len(said) == 1
    assert text in said[0]
    assert field.field.text() == before
    assert not asked


def test_words_have_no_steps_and_the_reason_is_said(controls: RunControls) -> None:
    assert not controls.step.isEnabled()
    assert controls.step.toolTip() == "words have one pass: no denoise steps"
    controls.show_query(RunQuery(actions="all"), is_contrast=False)
    assert controls.step.isEnabled()


def test_score_over_steps_gives_way_where_words_are_asked_for(controls: RunControls, asked: list[RunQuery]) -> None:
    controls.show_query(RunQuery("change", "", "all", ""), is_contrast=False)
    controls.subject.chosen.emit("duck")
    assert (asked[-1].score, asked[-1].words, asked[-1].actions) == ("picture", "duck", "")


def test_contrast_is_off_with_the_reason_where_outcomes_are_unknown(controls: RunControls) -> None:
    controls.set_choices([], [], (), 0, contrast_reason="the run does not say which episodes succeeded")
    assert not controls.contrast.isEnabled()
    assert controls.contrast.toolTip() == "the run does not say which episodes succeeded"


def test_texts_of_a_run_are_no_markup_in_menus_and_tooltips(controls: RunControls) -> None:
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
    widgets = [row.itemAt(place).widget() for place in range(row.count())]  # type: ignore[union-attr]
    assert all(widget.geometry().right() < 420 for widget in widgets)
    boxes = [widget.geometry() for widget in widgets]
    assert not any(one.intersects(other) for n, one in enumerate(boxes) for other in boxes[n + 1 :])


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
