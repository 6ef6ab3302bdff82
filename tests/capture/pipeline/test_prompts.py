"""Prompts in place of an episode's own task."""

from __future__ import annotations

from pathlib import Path

import pytest

from capture.errors import UserError
from capture.pipeline.planning.prompts import OWN_PROMPT, Prompts, read_prompts


def write_prompts(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prompts.yaml"
    path.write_text(text)
    return path


def test_default_prompt_is_the_own_task() -> None:
    assert OWN_PROMPT.of("put it down") == ("put it down",)
    for blank in ("", " \n"):
        with pytest.raises(UserError, match="names no task"):
            OWN_PROMPT.of(blank)


def test_prompt_list_applies_to_every_frame(tmp_path: Path) -> None:
    prompts = read_prompts(write_prompts(tmp_path, '- "{task}"\n- "{task} slowly"\n- wave\n'))
    assert prompts.of("put it down") == ("put it down", "put it down slowly", "wave")
    assert Prompts(("wave",)).of("") == ("wave",)


def test_prompt_mapping_is_looked_up_by_task(tmp_path: Path) -> None:
    prompts = read_prompts(write_prompts(tmp_path, 'put it down:\n  - wave\n  - "{task}"\n"*": ["{task}"]\n'))
    assert prompts.of("put it down") == ("wave", "put it down")
    assert prompts.of("pick it up") == ("pick it up",)
    with pytest.raises(UserError, match="has none for the task 'pick it up'"):
        read_prompts(write_prompts(tmp_path, "put it down: [wave]\n")).of("pick it up")


def test_duplicate_prompts_are_merged() -> None:
    assert Prompts(("wave", "{task}", "wave", "put it down")).of("put it down") == ("wave", "put it down")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "holds no prompts"),
        ("[]", "holds no prompts"),
        ("just words", "holds no prompts"),
        ("a: b", "holds no prompts"),
        ("a: []", "holds no prompts"),
        ("- 7", "holds 7 where a text should be"),
        ("7: [a]", "holds 7 where a text should be"),
        ("- [a, b]", "where a text should be"),
        ("- 'open", "cannot be read as YAML in line"),
        ("!!python/object/apply:os.system ['true']", "cannot be read as YAML"),
        ("\x00", "cannot be read as YAML"),
    ],
)
def test_read_prompts_refuses_other_files(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        read_prompts(write_prompts(tmp_path, text))


@pytest.mark.parametrize("name", ["prompts.json", "prompts.yaml"])
@pytest.mark.parametrize(
    "style", ['["pick up the \\ud83e\\udd86"]', '- "pick up the \\ud83e\\udd86"', "- pick up the 🦆"]
)
def test_read_prompts_joins_surrogate_pairs(tmp_path: Path, name: str, style: str) -> None:
    path = tmp_path / ("prompts.yaml" if style.startswith("-") else name)
    path.write_text(style, encoding="utf-8")
    assert read_prompts(path).always == ("pick up the \U0001f986",)


def test_read_prompts_accepts_the_byte_order_marks_of_windows(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text('["鸭子"]', encoding="utf-8-sig")
    assert read_prompts(path).always == ("鸭子",)
    path = tmp_path / "prompts.yaml"
    path.write_text("- 鸭子\n", encoding="utf-16")
    assert read_prompts(path).always == ("鸭子",)


def test_read_prompts_refuses_half_of_a_surrogate_pair(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(r'["duck \ud83e"]')
    with pytest.raises(UserError, match="half of a surrogate pair"):
        read_prompts(path)
    path.write_text("[1")
    with pytest.raises(UserError, match="cannot be read as JSON"):
        read_prompts(path)


def test_read_prompts_refuses_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_prompts(tmp_path / "none.yaml")
    with pytest.raises(UserError, match="cannot be read"):
        read_prompts(tmp_path)
