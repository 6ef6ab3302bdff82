"""Controls of the Run page: what is asked over the episodes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QSizePolicy, QWidget

from viewer.analysis.scores import SCORES
from viewer.model.plain_text import clean_text, plain_tooltip, shorten_line
from viewer.runs.query import OBJECT, RUN_SCORES, RunQuery
from viewer.runs.query_text import ALL, format_frames, format_subject, parse_frames, parse_subject
from viewer.widgets.controls.button import Button
from viewer.widgets.controls.drop_down import DropDown
from viewer.widgets.controls.flow_layout import FlowLayout
from viewer.widgets.controls.suggest_field import SuggestField

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN: Final = "unknown"
OUTCOMES: Final = (
    (ALL, "all outcomes"), ("success", "successes"), ("failure", "failures"), (UNKNOWN, "unknown outcome"),
)  # fmt: skip
TIMES: Final = (
    ("all", "all frames"), ("0-50%", "first half of each episode"), ("50-100%", "second half of each episode"),
    ("0-33%", "first third"), ("33-67%", "middle third"), ("67-100%", "last third"),
)  # fmt: skip
MOST_PROMPT: Final = 44
"""Characters of a prompt on its button."""
MOST_PROMPTS: Final = 100
"""Prompts in the menu."""


class RunControls(QWidget):
    """Score, words or actions, region, denoise step, prompt, outcome, frames, and success against failure."""

    query_requested = Signal(object)
    """The user asks another question: a RunQuery."""
    contrast_requested = Signal(bool)
    """Success is to be compared with failure, or no longer."""
    noticed = Signal(str)
    """What the user typed cannot be: one sentence."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setAccessibleName("What is asked over the run")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._query = RunQuery()
        self._prompts: tuple[str, ...] = ()
        self.score = DropDown("Score", [(name, SCORES[name].title) for name in RUN_SCORES])
        self.score.set_tool_tips({name: SCORES[name].description for name in RUN_SCORES})
        self.subject = SuggestField("Words or actions", "of")
        self.subject.set_tool_tip(
            f"Whose attention: words of the prompt, {OBJECT} for the object that each prompt names, “all actions”, "
            "“action 3” or “actions 0-4”"
        )
        self.region = SuggestField("Region", "on")
        self.region.set_tool_tip(
            f"A region that pi0-regions made, such as duck, {OBJECT} for the one that each prompt names, or boxes such "
            "as exterior:4-7,8-11"
        )
        self.step = DropDown("Denoise step", [(ALL, "mean of steps")])
        self.prompt = DropDown("Prompt", [(ALL, "all prompts")])
        self.outcome = DropDown("Outcome", OUTCOMES)
        self.frames = SuggestField("Frames", "frames")
        self.frames.set_tool_tip("all, frames by number such as 0-20, or a part of each episode such as 0-50%")
        self.frames.set_suggestions(TIMES)
        self.contrast = Button("Success − failure", kind="toggle")
        self.contrast.setCheckable(True)
        self.contrast.setToolTip("The mean of the successes minus that of the failures, with marks and effect sizes")
        row = FlowLayout(self, 8, 4)
        for control in (self.score, self.subject, self.region, self.step, self.prompt, self.outcome, self.frames,
                        self.contrast):  # fmt: skip
            row.addWidget(control)
        self.score.chosen.connect(self._set_score)
        self.subject.chosen.connect(self._set_subject)
        self.region.chosen.connect(self._set_region)
        self.step.chosen.connect(self._set_step)
        self.prompt.chosen.connect(self._set_prompt)
        self.outcome.chosen.connect(self._set_outcome)
        self.frames.chosen.connect(self._set_frames)
        self.contrast.clicked.connect(self._set_contrast)
        self.show_query(self._query, is_contrast=False)

    # What there is to choose from

    def set_choices(
        self,
        prompts: Sequence[str],
        regions: Sequence[str],
        steps: Sequence[int],
        actions: int,
        *,
        contrast_reason: str = "",
    ) -> None:
        """Set what the run offers.

        Args:
            prompts: Of its episodes.
            regions: Names of regions that are known.
            steps: Numbers of the recorded denoise steps; none if they are not known.
            actions: Number of action tokens of an episode; 0 if it is not known.
            contrast_reason: Why success cannot be compared with failure; empty if it can.
        """
        self._prompts = tuple(prompts[:MOST_PROMPTS])
        words = find_common_words(prompts)
        subjects = [(OBJECT, f"the object that each prompt names, {OBJECT}"), *((word, word) for word in words)]
        subjects += [("all actions", "all actions"), *((f"action {n}", f"action {n}") for n in range(min(actions, 3)))]
        self.subject.set_suggestions(subjects)
        named = [(OBJECT, f"the region that each prompt names, {OBJECT}"), *((name, name) for name in regions)]
        self.region.set_suggestions(named)
        self.step.set_options([(ALL, "mean of steps"), *((str(step), f"step {step}") for step in steps)])
        self._list_prompts()
        self.contrast.setEnabled(not contrast_reason)
        tip = contrast_reason or "The mean of the successes minus that of the failures, with marks and effect sizes"
        self.contrast.setToolTip(plain_tooltip(tip))
        self.show_query(self._query, is_contrast=self.contrast.isChecked())

    def show_query(self, query: RunQuery, *, is_contrast: bool) -> None:
        """Show what is asked, without a signal."""
        self._query = query
        self.score.show_value(query.score)
        reasons = {name: replace(query, score=name).find_problem() for name in RUN_SCORES}
        self.score.disable({name: shorten_line(reason.rstrip("."), 70) for name, reason in reasons.items() if reason})
        self.subject.show_value(format_subject(query))
        self.region.show_value(query.region)
        self.step.show_value(ALL if query.step is None else str(query.step))
        self.step.setEnabled(bool(query.actions))
        self.step.setToolTip("" if query.actions else "words have one pass: no denoise steps")
        self.prompt.show_value(self._prompt_value(query))
        self.outcome.show_value((query.outcomes[0] or UNKNOWN) if len(query.outcomes) == 1 else ALL)
        self.outcome.setEnabled(not is_contrast)
        self.outcome.setToolTip("both outcomes are compared" if is_contrast else "")
        self.frames.show_value(format_frames(query))
        self.contrast.setChecked(is_contrast)
        self.updateGeometry()

    def _list_prompts(self) -> None:
        """Fill the menu of prompts, which shortens them, with tooltips that do not."""
        texts = ((str(n), shorten_line(prompt, MOST_PROMPT)) for n, prompt in enumerate(self._prompts))
        self.prompt.set_options([(ALL, "all prompts"), *texts])
        self.prompt.set_tool_tips({str(n): prompt for n, prompt in enumerate(self._prompts)})

    def _prompt_value(self, query: RunQuery) -> str:
        """Return the menu's value of the prompt; one that the run lacks is added to the menu."""
        if not query.prompts:
            return ALL
        if query.prompts[0] not in self._prompts:
            self._prompts = (*self._prompts, query.prompts[0])
            self._list_prompts()
        return str(self._prompts.index(query.prompts[0]))

    # What the user chooses

    def _request_query(self, **changes: Any) -> None:
        query = replace(self._query, **changes)
        if query != self._query:
            self.query_requested.emit(query)

    def _set_score(self, name: str) -> None:
        self._request_query(score=name)

    def _set_subject(self, text: str) -> None:
        words_and_actions = parse_subject(text)
        if words_and_actions is None:
            self.noticed.emit(f"“{clean_text(text, 40)}” names no actions; write action 3, actions 0-4 or all actions.")
            self.subject.show_value(format_subject(self._query))
        else:
            words, actions = words_and_actions
            score = self._query.score
            if not actions and "steps" in SCORES[score].needs:
                score = "picture"
            self._request_query(actions=actions, score=score, **({} if actions else {"words": words}))

    def _set_region(self, text: str) -> None:
        self._request_query(region=text)

    def _set_step(self, value: str) -> None:
        self._request_query(step=None if value == ALL else int(value))

    def _set_prompt(self, value: str) -> None:
        self._request_query(prompts=() if value == ALL else (self._prompts[int(value)],))

    def _set_outcome(self, value: str) -> None:
        self._request_query(outcomes=() if value == ALL else ("" if value == UNKNOWN else value,))

    def _set_frames(self, text: str) -> None:
        frame_changes = parse_frames(text)
        if frame_changes is None:
            self.noticed.emit(f"“{clean_text(text, 40)}” are no frames; write all, 0-20, or 0-50% of each episode.")
            self.frames.show_value(format_frames(self._query))
        else:
            self._request_query(**frame_changes)

    def _set_contrast(self) -> None:
        self.contrast_requested.emit(self.contrast.isChecked())


def find_common_words(prompts: Sequence[str], most: int = 12) -> list[str]:
    """Return the words of three letters or more that most prompts have, the commonest first."""
    counts: dict[str, int] = {}
    for prompt in prompts:
        for word in dict.fromkeys(re.findall(r"[^\W\d_]{3,30}", prompt.casefold())):
            counts[word] = counts.get(word, 0) + 1
    return sorted(counts, key=lambda word: -counts[word])[:most]
