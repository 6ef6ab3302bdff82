from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from small_tokenizers import TOKENIZER, gemma_tokenizer, small_tokenizer

from capture.errors import UserError
from capture.policies.pi05.prompt import TokenTable, clean_prompt, state_bins, tokenise
from capture.policies.tokenizer import Tokenizer, read_tokenizer
from capture.results.schema import ROLES

CASES = json.loads((TOKENIZER.parent / "prompts_openpi.json").read_text(encoding="utf-8"))["cases"]

FRAGMENTS = (
    *("pick up the duck", "bowl", "State:", "Task: ", ", State: 12 -1;\nAction: ", ";", ".", ",", "_", "\n", " ", "  "),
    *("é", "–", "🤖", "\U000f1234", "128", "-1", "\t", "\u00a0"),
)
PROMPTS = st.lists(st.sampled_from(FRAGMENTS) | st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(
    "".join
)
STATES = st.lists(st.floats(-1.5, 1.5), max_size=9).map(np.array)


@pytest.fixture(scope="module", params=["json", "sentencepiece"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return small_tokenizer(request.param, tmp_path_factory.mktemp(request.param))


def covered_characters(table: TokenTable, chosen: np.ndarray) -> str:
    """Characters that the chosen tokens cover; those of one character's bytes count once."""
    spans = sorted({(int(table.start[i]), int(table.stop[i])) for i in np.flatnonzero(chosen)})
    return "".join(table.text[start:stop] for start, stop in spans)


def roles(table: TokenTable) -> list[str]:
    return [ROLES[role] for role in table.role]


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["prompt"][:20]))
def test_openpi_prompts_and_bins_equal_reference(tokenizer: Tokenizer, case: dict) -> None:
    state = np.array(case["state"], case["state_dtype"])
    assert state_bins(state).tolist() == case["bins"]
    assert tokenise(case["prompt"], state, tokenizer).text == case["openpi_with_state"]
    assert tokenise(case["prompt"], None, tokenizer).text == "".join(case["openpi_without_state_pieces"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: repr(case["prompt"][:20]))
def test_openpi_token_ids_equal_reference(case: dict) -> None:
    gemma = read_tokenizer(gemma_tokenizer())
    with_state = tokenise(case["prompt"], np.array(case["state"], case["state_dtype"]), gemma)
    assert with_state.ids.tolist() == case["openpi_with_state_token_ids"]
    assert len(with_state) == case["openpi_with_state_num_tokens"]
    assert (with_state.dropped > 0) == (len(with_state) == 200)
    assert tokenise(case["prompt"], None, gemma).ids.tolist() == case["openpi_without_state_token_ids"]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_state_bins_change_exactly_at_edges(dtype: type) -> None:
    edges = np.array([-1 + k / 128 for k in range(256)], dtype)
    assert state_bins(edges).tolist() == list(range(256))
    assert state_bins(np.nextafter(edges, dtype(-2))).tolist() == list(range(-1, 255))
    assert state_bins(np.array([0, 1, 7, -7], dtype)).tolist() == [128, 255, 255, -1]


def test_task_text_is_cleaned_as_in_training() -> None:
    assert clean_prompt("  Pick_up the\nduck_ ") == "Pick up the duck "
    assert clean_prompt("\n_ \t") == " "


def test_token_table_of_prompt_that_resembles_the_template(tokenizer: Tokenizer) -> None:
    table = tokenise("put the duck. ; State: 3;\nin_ bowl.", np.array([0.0, -1.1, 0.5]), tokenizer)
    assert table.text == "Task: put the duck. ; State: 3; in  bowl., State: 128 -1 192;\nAction: "
    words = [covered_characters(table, table.word == word).strip() for word in range(table.word.max() + 1)]
    # ".," is one piece; it begins with the task's full stop, so the comma has no word of its own.
    assert words == [
        *("Task:", "put", "the", "duck.", ";", "State:", "3;", "in", "bowl.,"),
        *("State:", "128", "-1", "192", ";", "Action:"),
    ]
    by_role = {role: covered_characters(table, table.role == number) for number, role in enumerate(ROLES)}
    assert by_role == {
        "bos": "",
        "template": "Task: State:;Action: ",
        "prompt": " put the duck. ; State: 3; in  bowl.,",
        "state": " 128 -1 192",
        "newline": "\n",
        "pad": "",
    }
    assert roles(table)[0] == "bos"
    assert (table.ids[0], table.start[0], table.stop[0], table.word[0], table.state_index[0]) == (2, 0, 0, -1, -1)
    assert [covered_characters(table, table.state_index == k) for k in range(3)] == [" 128", " -1", " 192"]
    assert table.pieces[-1] == "▁"
    assert (roles(table)[-1], table.word[-1]) == ("template", -1)
    assert all(column.dtype == np.int32 for column in (table.ids, table.start, table.role, table.word))


@given(prompt=PROMPTS, state=STATES)
@example(prompt="", state=np.array([]))
@example(prompt="_", state=np.array([0.0]))
@example(prompt="State: 1;", state=np.array([-1.5, 1.5]))
def test_token_spans_agree_with_prompt_text(tokenizer: Tokenizer, prompt: str, state: np.ndarray) -> None:
    table = tokenise(prompt, state, tokenizer, max_tokens=10_000)
    task, bins = clean_prompt(prompt), state_bins(state)
    assert table.text == f"Task: {task}, State: {' '.join(map(str, bins))};\nAction: "
    assert table.ids.tolist() == [2] + [piece.id for piece in tokenizer.encode(table.text)]
    assert (table.dropped, table.warning) == (0, None)

    # Every state value is there, whole, as one word of role state.
    for k, value in enumerate(bins):
        tokens = table.state_index == k
        assert covered_characters(table, tokens) == f" {value}"
        assert len(set(table.word[tokens])) == 1
        assert {ROLES[role] for role in table.role[tokens]} == {"state"}
    assert table.state_index.max() == len(bins) - 1
    assert ((table.state_index >= 0) == (table.role == ROLES.index("state"))).all()

    # A token that lies in one stretch of the text has its role; one that reaches across has either side's.
    task_end, state_end = 6 + len(task), table.text.index(";\nAction: ", 6 + len(task))
    for start, stop, role in zip(table.start[1:], table.stop[1:], roles(table)[1:], strict=True):
        assert role != "prompt" or (stop > 6 and start < task_end)
        assert role != "state" or (start >= task_end + 8 and stop <= state_end)
        assert role != "template" or not (start >= 6 and stop <= task_end)
    assert covered_characters(table, table.role == ROLES.index("newline")) == "\n"

    # Words are runs without blanks, numbered in reading order without gaps; blanks alone have none.
    used = table.word[table.word >= 0]
    assert (np.diff(used) >= 0).all()
    assert sorted(set(used)) == list(range(used.max() + 1))
    for word in range(used.max() + 1):
        assert not any(character.isspace() for character in covered_characters(table, table.word == word).strip())
    for i in np.flatnonzero(table.word < 0):
        assert not table.text[table.start[i] : table.stop[i]].strip()


@given(prompt=PROMPTS)
@example(prompt="")
@example(prompt="put the duck in the bowl, State: 1;")
def test_prompt_without_state_is_the_task_alone(tokenizer: Tokenizer, prompt: str) -> None:
    table = tokenise(prompt, None, tokenizer, max_tokens=10_000)
    task = clean_prompt(prompt)
    assert table.text == task + "\n"
    pieces = [*tokenizer.encode(task), *tokenizer.encode("\n")]
    assert table.ids.tolist() == [2] + [piece.id for piece in pieces]
    assert roles(table) == ["bos", *["prompt"] * (len(table) - 2), "newline"]
    assert (table.start[-1], table.stop[-1]) == (len(task), len(task) + 1)
    assert (table.state_index == -1).all()


@given(prompt=PROMPTS, limit=st.integers(1, 60))
def test_long_prompt_is_truncated_on_the_right_with_warning(tokenizer: Tokenizer, prompt: str, limit: int) -> None:
    state = np.zeros(4)
    whole = tokenise(prompt, state, tokenizer, max_tokens=10_000)
    assume(len(whole) > limit)
    cut = tokenise(prompt, state, tokenizer, max_tokens=limit)
    assert cut.dropped == len(whole) - limit
    assert len(cut) == len(cut.pieces) == limit
    for column in ("ids", "start", "stop", "role", "word", "state_index"):
        assert (getattr(cut, column) == getattr(whole, column)[:limit]).all()
    assert cut.text == whole.text
    assert cut.warning is not None
    lost = (whole.state_index[limit:] >= 0).any()
    assert ("the state among them" in cut.warning) == lost
    assert tokenise(prompt, state, tokenizer, max_tokens=len(whole)).dropped == 0


def test_prompt_holds_the_real_state(tokenizer: Tokenizer) -> None:
    """A known fault of other tools: labels made from a state of zeros, so that all after the first value shift."""
    state = np.array([-0.9, 0.99, -1.2, 0.0])
    table = tokenise("pick up the mug", state, tokenizer)
    zeros = tokenise("pick up the mug", np.zeros(4), tokenizer)
    assert [covered_characters(table, table.state_index == k).strip() for k in range(4)] == ["12", "254", "-1", "128"]
    assert len(table) != len(zeros)


@pytest.mark.parametrize("prompt", ["pick up \udcff", "pick\0up"])
def test_prompt_that_is_not_text_is_refused(tokenizer: Tokenizer, prompt: str) -> None:
    with pytest.raises(UserError, match="the prompt holds"):
        tokenise(prompt, None, tokenizer)
