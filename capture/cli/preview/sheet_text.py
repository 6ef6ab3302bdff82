"""Text on pictures with Pillow: fonts, measuring, wrapping and drawing; characters without a glyph are escaped."""

from __future__ import annotations

from functools import cache
from itertools import groupby
from typing import Final

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.FreeTypeFont
Color = str
"""Hex name such as "#D7DAE0"."""

FALLBACKS: Final = ("DejaVuSans.ttf", "NotoSansCJK-Regular.ttc", "NotoSans-Regular.ttf", "Arial Unicode.ttf")
"""Fonts of the system for what Pillow's own font lacks, which holds little beyond ASCII, in order of preference."""

_NO_GLYPH: Final = "\U0010fffd"
"""A character that no font has: its bitmap is what a font draws in place of a missing glyph."""


class TextPen:
    """Draws single lines of text on one picture."""

    def __init__(self, image: Image.Image) -> None:
        self._draw = ImageDraw.Draw(image)

    def write(self, x: float, y: float, text: str, color: Color, size: int) -> float:
        """Draw a line with its top left corner at (x, y); return its width in pixels."""
        start = x
        for font, run in _split_by_font(_escape(text, size), size):
            # All fonts share the baseline of the first: a fallback with taller letters must not move the line.
            self._draw.text((x, y + _ascent(size)), run, fill=color, font=font, anchor="ls")
            x += font.getlength(run)
        return x - start


def measure(text: str, size: int) -> float:
    """Return the width of a line in pixels."""
    return sum(font.getlength(run) for font, run in _split_by_font(_escape(text, size), size))


def elide(text: str, size: int, width: float) -> str:
    """Return the text cut in the middle so that it fits into `width` pixels."""
    text = text[:2000]
    if measure(text, size) <= width:
        return text
    low, high = 0, len(text)
    while low < high:  # the largest number of characters that fits
        middle = (low + high + 1) // 2
        low, high = (middle, high) if measure(_cut(text, middle), size) <= width else (low, middle - 1)
    return _cut(text, low)


def wrap(text: str, size: int, width: float, max_lines: int) -> list[str]:
    """Return at most `max_lines` lines that fit into `width` pixels, broken at blanks, or inside long words."""
    lines: list[str] = []
    remaining = " ".join(text.split())
    while remaining and len(lines) < max_lines:
        if len(lines) == max_lines - 1:
            lines.append(elide(remaining, size, width))
            break
        words = remaining.split(" ")
        count = 1
        while count < len(words) and measure(" ".join(words[: count + 1]), size) <= width:
            count += 1
        line = " ".join(words[:count])
        if measure(line, size) > width:  # one long word
            length = len(line)
            while length > 1 and measure(line[:length], size) > width:
                length -= max(1, length // 16)
            line, remaining = line[:length], remaining[length:]
        else:
            remaining = " ".join(words[count:])
        lines.append(line)
    return lines


def _cut(text: str, count: int) -> str:
    """Return the first and the last characters of a text, `count` in all, around an ellipsis."""
    if count >= len(text):
        return text
    head = (count + 1) // 2
    return f"{text[:head]}…{text[len(text) - (count - head) :]}"


def _escape(text: str, size: int) -> str:
    return "".join(
        character
        if character.isprintable() and _font_of(character, size) is not None
        else character.encode("unicode_escape").decode()
        for character in text
    )


def _split_by_font(text: str, size: int) -> list[tuple[Font, str]]:
    runs = groupby(text, lambda character: _font_of(character, size))
    return [(font, "".join(run)) for font, run in runs if font is not None]


@cache
def _fonts(size: int) -> tuple[Font, ...]:
    fonts = []
    default = ImageFont.load_default(size)
    if isinstance(default, Font):
        fonts.append(default)
    for name in FALLBACKS:
        try:
            fonts.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return tuple(fonts)


@cache
def _ascent(size: int) -> int:
    return _fonts(size)[0].getmetrics()[0]


@cache
def _bitmap(font: Font, character: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(character)
    return mask.size, bytes(mask)


@cache
def _font_of(character: str, size: int) -> Font | None:
    """Return the first font with a glyph for a character; None where none has one."""
    fonts = _fonts(size)
    if character.isascii():
        return fonts[0]
    return next((font for font in fonts if _bitmap(font, character) != _bitmap(font, _NO_GLYPH)), None)
