from __future__ import annotations

from typing import TYPE_CHECKING

import make_results

from viewer.io.results import Results
from viewer.model.words import align

if TYPE_CHECKING:
    from pathlib import Path


def test_pieces_join_to_words_and_digits_to_values(results: Results) -> None:
    chips = results.chips(0)
    assert [chip.label for chip in chips[:10]] == [
        "BOS",
        "Task:",
        "put",
        "the",
        "duck",
        "in",
        "the",
        "bowl",
        ",",
        "State:",
    ]
    assert [chip.role for chip in chips[-3:]] == ["template", "newline", "template"]
    values = [chip for chip in chips if chip.role == "state"]
    state = results.state(0)
    assert state is not None
    assert [chip.state_index for chip in values] == [0, 1, 2, 3]
    assert [chip.label for chip in values] == [f"s{n} {v:.2f}".replace("-", "−") for n, v in enumerate(state)]


def test_every_token_that_is_not_padding_is_on_one_chip(results: Results) -> None:
    tokens = [token for chip in results.chips(0) for token in chip.tokens]
    assert sorted(tokens) == list(range(len(tokens)))
    assert len(tokens) == int((results.roles(0) != 5).sum())


def test_long_words_have_several_pieces(tmp_path: Path) -> None:
    results = Results(
        make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1, tasks=("grab strawberries",)))
    )
    chip = next(c for c in results.chips(0) if c.label == "strawberries")
    assert len(chip.tokens) == 2
    assert chip.ordinal == 1
    results.close()


def test_align_finds_the_same_occurrence(tmp_path: Path) -> None:
    recipe = make_results.Recipe(frames=2, tasks=("the duck and the bowl", "please put the duck by the bowl"))
    results = Results(make_results.write(tmp_path / "a.h5", recipe))
    first, second = results.chips(0), results.chips(1)
    second_the = next(chip for chip in first if chip.text == "the" and chip.ordinal > 1)
    position = align(second_the, second)
    assert position is not None
    assert second[position].text == "the"
    assert second[position].ordinal == 2 or second[position].ordinal == 5
    duck = align(next(c for c in first if c.text == "duck"), second)
    assert duck is not None
    assert second[duck].text == "duck"
    assert align(next(c for c in first if c.text == "and"), second) is None
    results.close()
