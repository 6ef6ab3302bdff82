"""Contact sheet of what a policy would be shown: pictures, tokens and state bins of a few frames, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from capture.cli.preview.sheet_text import Color, TextPen, elide, measure, wrap
from capture.policies.base import TokenTable
from capture.provenance import Decision
from capture.results.schema import ROLES

MARGIN: Final = 28
GAP: Final = 16
PANEL_WIDTH: Final = 600
"""Width of the column of tokens and state."""
MAX_ACROSS: Final = 3
"""Pictures side by side."""
MAX_ASSUMED: Final = 8
MAX_VALUES: Final = 64
CAPTION_LINES: Final = 5
"""Lines below a picture: slot, source, size, and two about its turn."""
LINE: Final = 17
CHIP: Final = 20
TRACK: Final = 96
"""Width of the line on which the place of a bin is marked."""

BACKGROUND: Final = "#15171C"
RAISED: Final = "#23262E"
RULE: Final = "#2B2F38"
TEXT: Final = "#E4E6EB"
SECONDARY: Final = "#98A0AF"
FAINT: Final = "#4A505D"
ACCENT: Final = "#F0A35C"
ROLE_COLORS: Final[dict[str, Color]] = {
    "bos": "#6A5DB0",
    "template": "#3C6E73",
    "prompt": "#2F7DBB",
    "state": "#8A6D1F",
    "newline": "#6B5A78",
    "pad": "#3A3F4A",
}


@dataclass(frozen=True)
class Slot:
    """One camera slot of the policy in one frame."""

    name: str
    source: str
    """Camera or file that feeds it, or why it is masked."""
    picture: npt.NDArray[np.uint8] | None
    """(height, width, 3) RGB as the policy sees it; None where the slot is masked."""
    turn: str = ""
    """How the stored picture is turned for the policy: "turned by 180 degrees"; empty if it is not."""
    size: tuple[int, int] = (0, 0)
    """Height and width of the camera's picture."""
    is_assumed: bool = False
    """Whether the choice of the camera was assumed."""


@dataclass(frozen=True)
class Frame:
    """One frame: its pictures, its tokens and its state."""

    episode: str
    """Name of its episode; empty for pictures of the command line."""
    number: int
    """Number of the frame in its episode."""
    details: str
    """Time and place among the frames of the results file."""
    prompt: str
    other_prompts: int
    """Number of further prompts that the same frame is run with."""
    slots: tuple[Slot, ...]
    tokens: TokenTable
    state: npt.NDArray[np.float64] | None
    """(values,) in robot units."""

    @property
    def title(self) -> str:
        """Such as "mug, frame 3 of the episode"."""
        return f"{self.episode}, frame {self.number} of the episode" if self.episode else f"Frame {self.number}"


@dataclass(frozen=True)
class Sheet:
    """Contents of a contact sheet."""

    title: str
    details: str
    frames: tuple[Frame, ...]
    decisions: tuple[Decision, ...]
    picture: tuple[int, int]
    """Height and width of the policy's pictures."""


def draw_sheet(sheet: Sheet) -> Image.Image:
    """Draw the sheet. Pictures keep their pixels; text that is too long is wrapped, then elided in its middle."""
    across = max(1, min(MAX_ACROSS, max((len(frame.slots) for frame in sheet.frames), default=1)))
    pictures = across * (sheet.picture[1] + GAP) - GAP
    width = 2 * MARGIN + pictures + 2 * GAP + PANEL_WIDTH
    # Drawn twice: the first time on one row of pixels, to learn the height.
    height = _Painter(Image.new("RGB", (width, 1)), sheet, across).paint()
    image = Image.new("RGB", (width, height), BACKGROUND)
    _Painter(image, sheet, across).paint()
    return image


class _Painter:
    """Draws the parts of a sheet from top to bottom; each method returns the y below what it drew."""

    def __init__(self, image: Image.Image, sheet: Sheet, across: int) -> None:
        self._image, self._sheet, self._across = image, sheet, across
        self._draw, self._pen = ImageDraw.Draw(image), TextPen(image)
        self._panel = image.width - MARGIN - PANEL_WIDTH

    def paint(self) -> int:
        """Draw all and return the height."""
        y = self._paint_header(MARGIN)
        for frame in self._sheet.frames:
            self._draw.line((MARGIN, y, self._image.width - MARGIN, y), fill=RULE)
            y = self._paint_frame(frame, y + GAP) + GAP
        return y + MARGIN - GAP

    def _paint_header(self, y: int) -> int:
        width = self._image.width - 2 * MARGIN
        y = self._paint_lines(wrap(self._sheet.title, 22, width, 1), y, TEXT, 22, 32)
        y = self._paint_lines(wrap(self._sheet.details, 13, width, 2), y, SECONDARY, 13, LINE + 2)
        assumed = [decision for decision in self._sheet.decisions if not decision.is_certain]
        y += 8
        if not assumed:
            return self._paint_lines(["Nothing was assumed about the input."], y, SECONDARY, 13, LINE + 2) + GAP
        y = self._paint_lines(["Assumed, so check it:"], y, ACCENT, 13, LINE + 3)
        for assumption in assumed[:MAX_ASSUMED]:
            y = self._paint_lines(wrap(assumption.sentence, 13, width - 14, 2), y, TEXT, 13, LINE, x=MARGIN + 14)
        if len(assumed) > MAX_ASSUMED:
            more = f"and {len(assumed) - MAX_ASSUMED} more, which --dry-run lists"
            y = self._paint_lines([more], y, SECONDARY, 13, LINE, x=MARGIN + 14)
        return y + GAP

    def _paint_frame(self, frame: Frame, y: int) -> int:
        title = elide(frame.title, 17, (self._image.width - 2 * MARGIN) * 2 // 3)
        used = self._pen.write(MARGIN, y, title, TEXT, 17)
        room = self._image.width - 2 * MARGIN - used - 12
        self._pen.write(MARGIN + used + 12, y + 3, elide(frame.details, 13, room), SECONDARY, 13)
        y += 26
        others = f"   and {frame.other_prompts} other prompt{'s' * (frame.other_prompts != 1)}"
        prompt = f'"{frame.prompt}"' + others * bool(frame.other_prompts)
        y = self._paint_lines(wrap(prompt, 15, self._image.width - 2 * MARGIN, 3), y, TEXT, 15, 20) + 10
        return max(self._paint_slots(frame.slots, y), self._paint_panel(frame, y))

    def _paint_slots(self, slots: Sequence[Slot], y: int) -> int:
        height, width = self._sheet.picture
        for first in range(0, len(slots), self._across):
            for index, slot in enumerate(slots[first : first + self._across]):
                x = MARGIN + index * (width + GAP)
                self._draw.rectangle((x - 1, y - 1, x + width, y + height), outline=FAINT)
                if slot.picture is None:
                    self._paint_mask(x, y)
                else:
                    self._image.paste(Image.fromarray(slot.picture), (x, y))
                self._paint_caption(slot, x, y + height + 7)
            y += height + 7 + CAPTION_LINES * LINE + GAP
        return y - GAP

    def _paint_mask(self, x: int, y: int) -> None:
        """Draw the place of a slot that the policy does not see."""
        height, width = self._sheet.picture
        hatched = Image.new("RGB", (width, height), RAISED)
        pencil = ImageDraw.Draw(hatched)
        for start in range(-height, width, 14):
            pencil.line((start, height, start + height, 0), fill=RULE, width=2)
        self._image.paste(hatched, (x, y))
        self._pen.write(x + (width - measure("masked", 15)) / 2, y + height / 2 - 9, "masked", SECONDARY, 15)

    def _paint_caption(self, slot: Slot, x: int, y: int) -> None:
        width = self._sheet.picture[1]
        self._pen.write(x, y, elide(slot.name, 13, width), TEXT, 13)
        color = ACCENT if slot.is_assumed else SECONDARY
        if slot.picture is None:
            self._paint_lines(wrap(slot.source, 12, width, 2), y + LINE, color, 12, LINE, x=x)
            return
        self._pen.write(x, y + LINE, elide(slot.source, 12, width), color, 12)
        self._pen.write(x, y + 2 * LINE, f"{slot.size[1]} x {slot.size[0]} pixels", SECONDARY, 12)
        turn = wrap(slot.turn or "not turned", 12, width, CAPTION_LINES - 3)
        self._paint_lines(turn, y + 3 * LINE, ACCENT if slot.turn else SECONDARY, 12, LINE, x=x)

    def _paint_panel(self, frame: Frame, y: int) -> int:
        table = frame.tokens
        self._paint_legend(table, self._pen.write(self._panel, y, f"{len(table)} text tokens", SECONDARY, 13), y)
        y = self._paint_tokens(table, y + LINE + 7)
        if table.warning:
            y = self._paint_lines(wrap(table.warning, 13, PANEL_WIDTH, 3), y + 4, ACCENT, 13, LINE, x=self._panel)
        return self._paint_state(frame, y + 12)

    def _paint_legend(self, table: TokenTable, used: float, y: int) -> None:
        x = self._panel + used + 18
        for number, role in enumerate(ROLES):
            if number in table.role:
                self._draw.rectangle((x, y + 3, x + 9, y + 12), fill=ROLE_COLORS[role])
                x += 14 + self._pen.write(x + 14, y, role, SECONDARY, 12) + 12

    def _paint_tokens(self, table: TokenTable, y: int) -> int:
        """Draw each token as a box in its role's colour; those of one word touch and stay on one line if they fit."""
        tokens = list(zip(table.pieces, table.role.tolist(), table.word.tolist(), strict=True))
        x = 0.0
        for _, word in groupby(enumerate(tokens), lambda item: item[1][2] if item[1][2] >= 0 else -1 - item[0]):
            boxes = []
            for _, (piece, role, _) in word:
                text = elide(piece.replace("▁", " ").strip(" ") or "_", 12, 180)
                boxes.append((text, ROLE_COLORS[ROLES[role]], measure(text, 12) + 10))
            if x and x + sum(width + 1 for _, _, width in boxes) > PANEL_WIDTH:
                x, y = 0.0, y + CHIP + 4
            for text, color, width in boxes:
                if x and x + width > PANEL_WIDTH:
                    x, y = 0.0, y + CHIP + 4
                left = self._panel + x
                self._draw.rounded_rectangle((left, y, left + width, y + CHIP), radius=4, fill=color)
                self._pen.write(left + 5, y + 3, text, "#FFFFFF", 12)
                x += width + 1
            x += 3
        return y + CHIP

    def _paint_state(self, frame: Frame, y: int) -> int:
        state, bins = frame.state, frame.tokens.state_bins
        if state is None:
            return self._paint_lines(["no state"], y, SECONDARY, 13, LINE, x=self._panel)
        if bins is None:
            values = ", ".join(f"{value:.4g}" for value in state[:MAX_VALUES])
            heading = f"state of {state.size} values, not in the prompt: {values}"
            return self._paint_lines(wrap(heading, 13, PANEL_WIDTH, 4), y, SECONDARY, 13, LINE, x=self._panel)
        beyond = set(frame.tokens.state_beyond)
        heading = f"state of {state.size} values in robot units, and the bins that the prompt spells"
        y = self._paint_lines([heading], y, SECONDARY, 13, LINE + 5, x=self._panel)
        count = min(state.size, len(bins), MAX_VALUES)
        rows = -(-count // 2)
        for number in range(count):
            column, row = divmod(number, rows)
            position = self._panel + column * (PANEL_WIDTH // 2), y + row * LINE
            self._paint_value(number, float(state[number]), int(bins[number]), number in beyond, *position)
        y += rows * LINE
        if state.size > count or len(bins) > count:
            more = f"and {max(state.size, len(bins)) - count} values more"
            y = self._paint_lines([more], y + 2, SECONDARY, 12, LINE, x=self._panel)
        return y

    def _paint_value(self, number: int, value: float, bin_number: int, is_beyond: bool, x: int, y: int) -> None:
        color = ACCENT if is_beyond else TEXT
        self._pen.write(x, y, str(number), SECONDARY, 12)
        shown = f"{value:.4g}"
        self._pen.write(x + 88 - measure(shown, 12), y, shown, TEXT, 12)
        start, middle = x + 102, y + 7
        self._draw.line((start, middle, start + TRACK, middle), fill=FAINT)
        center = start + TRACK * min(max(bin_number, 0), 255) / 255
        self._draw.ellipse((center - 3, middle - 3, center + 3, middle + 3), fill=color)
        used = self._pen.write(start + TRACK + 12, y, str(bin_number), color, 12)
        if is_beyond:
            self._pen.write(start + TRACK + 12 + used + 5, y, "clipped", ACCENT, 12)

    def _paint_lines(self, lines: Sequence[str], y: int, color: Color, size: int, step: int, *, x: int = MARGIN) -> int:
        for line in lines:
            self._pen.write(x, y, line, color, size)
            y += step
        return y
