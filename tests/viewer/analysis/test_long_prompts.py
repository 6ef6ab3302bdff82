"""Long prompts are shortened where they are told: in captions of figures and beside two views."""

from __future__ import annotations

from typing import TYPE_CHECKING

import make_results
from export_driver import open_export

from viewer.analysis import caption, comparison
from viewer.io.results import Results
from viewer.model.view_state import ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

LONG = f"begin {'put the small yellow duck into the bowl ' * 120}end"


def test_prompt_of_5000_characters_keeps_its_beginning_and_its_end_in_a_caption() -> None:
    sentence = caption.describe_prompts([LONG])
    assert len(sentence) <= caption.MOST_CHARACTERS_OF_PROMPT + len("prompt “”")
    assert sentence.startswith("prompt “begin put the small")
    assert sentence.endswith("end”")
    assert " … " in sentence
    assert caption.describe_prompts(["short", LONG]) == "2 prompts, the first “short”"
    assert caption.describe_prompts([]) == ""


def test_figure_and_both_sides_of_a_comparison_shorten_a_long_prompt(app: QApplication, tmp_path: Path) -> None:
    recipe = make_results.Recipe(frames=1, tasks=(LONG[:400],))
    path = make_results.write(tmp_path / "long.h5", recipe)
    results = Results(path)
    side = str(comparison.create_side_caption(results, ViewState()))
    assert side.endswith("…”")
    assert len(side) < 60 + 160
    results.close()
    with open_export("summary", str(path), "--layers", "0") as export:
        figure = export.renderer.create_figure(export.plan.files[0])
        text = " ".join(run.text for paragraph in figure.paragraphs for line in paragraph.lines for _, run in line)
    assert "prompt “" in text
    assert " … " in text
    assert len(text) < 700
