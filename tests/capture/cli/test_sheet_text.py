from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from capture.cli.preview.contact_sheet import ROLE_COLORS
from capture.cli.preview.sheet_text import TextPen, elide, measure, wrap


def test_elide_keeps_short_text_and_cuts_the_middle_of_long_text() -> None:
    assert elide("exterior", 13, 224) == "exterior"
    cut = elide("a" * 100 + "middle" + "z" * 100, 13, 200)
    assert measure(cut, 13) <= 200
    assert measure(cut + "a", 13) > 190
    head, tail = cut.split("…")
    assert set(head) == {"a"}
    assert set(tail) == {"z"}


@pytest.mark.parametrize("text", ["", "x" * 100_000, "\n\t", "\u628a" * 500, "\x1b[31m" * 300])
def test_elide_fits_any_text_into_its_width(text: str) -> None:
    assert measure(elide(text, 13, 120), 13) <= 120


def test_wrap_breaks_at_blanks_and_inside_long_words() -> None:
    lines = wrap("put the duck in the bowl " * 4, 13, 200, 10)
    assert " ".join(lines) == ("put the duck in the bowl " * 4).strip()
    assert all(measure(line, 13) <= 200 for line in lines)
    pieces = wrap("y" * 300, 13, 200, 50)
    assert "".join(pieces) == "y" * 300
    assert all(measure(piece, 13) <= 200 for piece in pieces)


def test_wrap_elides_what_does_not_fit_into_the_last_line() -> None:
    lines = wrap("word " * 500, 13, 200, 3)
    assert len(lines) == 3
    assert "…" in lines[-1]
    assert measure(lines[-1], 13) <= 200
    assert wrap("  \n ", 13, 200, 3) == []


def test_characters_without_a_glyph_are_written_as_escapes() -> None:
    assert measure("\U0010fffc", 13) == measure("\\U0010fffc", 13)
    assert measure("a\nb", 13) == measure("a\\nb", 13)


def test_write_draws_in_its_color_and_returns_the_width() -> None:
    image = Image.new("RGB", (200, 30))
    width = TextPen(image).write(10, 5, "duck", "#F0A35C", 13)
    assert width == measure("duck", 13)
    painted = np.argwhere(np.asarray(image).any(axis=2))
    assert painted[:, 1].min() >= 10
    assert painted[:, 1].max() <= 10 + width
    assert np.asarray(image).reshape(-1, 3).max(axis=0).tolist() == [0xF0, 0xA3, 0x5C]


def test_colors_of_prompt_and_state_are_far_apart() -> None:
    def channels(color: object) -> list[int]:
        text = str(color)
        return [int(text[start : start + 2], 16) for start in (1, 3, 5)]

    prompt, state = channels(ROLE_COLORS["prompt"]), channels(ROLE_COLORS["state"])
    assert sum(abs(first - second) for first, second in zip(prompt, state, strict=True)) > 200
