"""Targets of interventions: regions of a picture, words, heads; and random regions to compare with."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, get_args

import numpy as np
import numpy.typing as npt

from capture.errors import UserError
from capture.number_ranges import format_numbers, parse_ranges

Mask = npt.NDArray[np.bool_]
Spans = npt.NDArray[np.int32]
Kind = Literal["region", "word", "head", "replacement"]
Fill = Literal["mean", "grey", "blur", "inpaint", "frame"]
FILLS: Final[tuple[str, ...]] = get_args(Fill)
"""What can cover a region in a picture; `frame` stands for the pixels of another frame."""

_MOST_BYTES = 10_000_000
_WORD = re.compile(r"[^\W_]+")  # policies read an underscore in a task as a space


@dataclass(frozen=True, eq=False)
class Target:
    """One target of an intervention. Only the fields of its kind are filled."""

    name: str
    kind: Kind
    patches: Mask | None = None
    """(cameras, rows, cols): the patches of a region."""
    by_frame: Mapping[int, Mask] | None = None
    """The patches of a region that lies elsewhere in each frame, by the frames in which it is known."""
    tokens: tuple[int, ...] = ()
    """Numbers of the text tokens of a word."""
    head: tuple[int, int] | None = None
    """Layer and head, counted from 0."""
    prompt: str | None = None
    """The task with another word in the place of one, for a replacement."""

    def at_frame(self, frame: int) -> Target:
        """Return the target as it is in a frame.

        Raises UserError for a region that is not known there, or is known to be absent.
        """
        if self.by_frame is None:
            return self
        patches = self.by_frame.get(frame)
        if patches is None or not patches.any():
            reason = "not known" if patches is None else "absent"
            present = [number for number, mask in self.by_frame.items() if mask.any()]
            advice = f"it is in {format_numbers(sorted(present))}" if present else "it is in none"
            raise UserError(
                f"the region {self.name!r} is {reason} in frame {frame}; {advice}: name those with --frames"
            )
        return replace(self, patches=patches, by_frame=None)


def parse_box(text: str, cameras: Sequence[str], grid: tuple[int, int]) -> Mask:
    """Return the patches (cameras, rows, cols) of `camera:rows,cols`, such as `exterior:4-7,8-11`.

    Raises UserError for another form, an unknown camera or patches outside the grid.
    """
    camera, colon, box = text.rpartition(":")
    ranges = parse_ranges(box)
    if not colon or ranges is None or len(ranges) != 2:
        raise UserError(f"the region {text!r} cannot be read; write camera:rows,columns, such as exterior:4-7,8-11")
    if camera not in cameras:
        raise UserError(f"the file has no camera {camera!r}; its cameras are {', '.join(cameras)}")
    for (first, last), size, axis in zip(ranges, grid, ("rows", "columns"), strict=True):
        if not first <= last < size:
            raise UserError(f"the region {text!r} is no box of patches: {axis} run from 0 to {size - 1}")
    mask = np.zeros((len(cameras), *grid), bool)
    (top, bottom), (left, right) = ranges
    mask[list(cameras).index(camera), top : bottom + 1, left : right + 1] = True
    return mask


def read_regions(path: Path, cameras: Sequence[str], grid: tuple[int, int]) -> list[Target]:
    """Return the regions of a JSON file: `{"duck": ["exterior:7-8,8-11", "wrist:3,4"]}`.

    Raises UserError for a file that cannot be read or is not of that form.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise UserError(f"{path} is no file of regions: it is larger than {_MOST_BYTES // 1_000_000} MB")
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path} cannot be read ({(error.strerror or str(error)).lower()})") from None
    except ValueError:
        raise UserError(f'{path} is not valid JSON; write {{"duck": ["exterior:7-8,8-11"]}}') from None
    if not isinstance(content, dict) or not content:
        raise UserError(f'{path} names no regions; write {{"duck": ["exterior:7-8,8-11"]}}')
    regions = []
    for name, boxes in content.items():
        boxes = [boxes] if isinstance(boxes, str) else boxes
        if not isinstance(boxes, list) or not boxes or not all(isinstance(box, str) for box in boxes):
            raise UserError(f"the region {name!r} of {path} is no list of boxes such as exterior:7-8,8-11")
        regions.append(Target(name, "region", np.any([parse_box(box, cameras, grid) for box in boxes], axis=0)))
    return regions


def find_word(word: str, text: str, start: Spans, stop: Spans, prompt: Mask) -> Target:
    """Return the tokens of a word, or of several words in a row, of the task, found regardless of case.

    `start`, `stop`: characters of each token in `text`; `prompt`: which tokens belong to the task, (tokens,).
    Raises UserError where the task does not have the word.
    """
    spans = _find_spans(word, text)
    tokens = tuple(
        token
        for token in np.flatnonzero(prompt).tolist()
        if any(start[token] < last and stop[token] > first for first, last in spans)
    )
    if not tokens:
        raise UserError(f"the prompt has no word {word!r}; give one of its words")
    return Target(word, "word", tokens=tokens)


def replace_word(target: Target, other: str, task: str) -> Target:
    """Return the replacement of a word of `find_word` by another one, or by several, wherever the task has it."""
    text, end = "", 0
    for first, last in _find_spans(target.name, task):
        text, end = text + task[end:first] + other, last
    return Target(f"{target.name} -> {other}", "replacement", tokens=target.tokens, prompt=text + task[end:])


def _find_spans(word: str, text: str) -> list[tuple[int, int]]:
    """Return first and last character + 1 of each place at which a text has a word, or several words in a row."""
    wanted = [part.casefold() for part in _WORD.findall(word)]
    matches = list(_WORD.finditer(text))
    text_words = [match.group().casefold() for match in matches]
    first_words = [
        first for first in range(len(text_words)) if wanted and text_words[first : first + len(wanted)] == wanted
    ]
    return [(matches[first].start(), matches[first + len(wanted) - 1].end()) for first in first_words]


def list_words(word_numbers: Spans) -> list[Target]:
    """Return every word of a text, in reading order.

    `word_numbers`: (tokens,), the number of each token's word; -1 for none.
    """
    words = []
    for number in np.unique(word_numbers[word_numbers >= 0]).tolist():
        words.append(Target(f"word {number}", "word", tokens=tuple(np.flatnonzero(word_numbers == number).tolist())))
    return words


def list_blocks(pictured: Mask, size: int) -> list[tuple[tuple[int, int, int], Target]]:
    """Return the squares of `size` x `size` patches that show some of a picture, with their place on a coarser grid.

    `pictured`: (cameras, rows, cols), False for letterbox bars. A square at the edge of the grid may be smaller.
    """
    squares = []
    cameras, rows, cols = pictured.shape
    for camera in range(cameras):
        for top in range(0, rows, size):
            for left in range(0, cols, size):
                mask = np.zeros_like(pictured)
                mask[camera, top : top + size, left : left + size] = True
                if (mask & pictured).any():
                    name = f"{camera}:{top}-{min(top + size, rows) - 1},{left}-{min(left + size, cols) - 1}"
                    squares.append(((camera, top // size, left // size), Target(name, "region", mask)))
    return squares


def draw_controls(region: Mask, pictured: Mask, count: int, seed: int) -> list[Mask]:
    """Return up to `count` regions of the same shape elsewhere in the same picture, drawn without repetition.

    A control is the region moved by whole patches within the patches that show the picture; it neither overlaps nor
    touches the region. A region over several cameras is moved in each of them by a draw of its own. Fewer are returned
    where the picture has no more places. `region`, `pictured`: (cameras, rows, cols).
    """
    generator = np.random.default_rng(seed)
    moves_by_camera: list[list[Mask]] = []
    for mask, shown in zip(region, pictured, strict=True):
        if not mask.any():
            continue
        moves = _moved(mask, shown)
        moves_by_camera.append([moves[index] for index in generator.permutation(len(moves))])
    if not moves_by_camera:
        return []
    controls = []
    cameras = [camera for camera in range(len(region)) if region[camera].any()]
    for index in range(min(count, *(len(moves_in_camera) for moves_in_camera in moves_by_camera))):
        control = np.zeros_like(region)
        for camera, moves_in_camera in zip(cameras, moves_by_camera, strict=True):
            control[camera] = moves_in_camera[index]
        controls.append(control)
    return controls


def _moved(mask: Mask, shown: Mask) -> list[Mask]:
    """Return all moves of `mask` (rows, cols) within `shown` that do not touch it, diagonals included."""
    rows, cols = np.nonzero(mask)
    top, left = int(rows.min()), int(cols.min())
    height, width = int(rows.max()) - top + 1, int(cols.max()) - left + 1
    padded = np.pad(mask, 1)
    is_near = np.zeros_like(mask)
    for down in range(3):
        for right in range(3):
            is_near |= padded[down : down + mask.shape[0], right : right + mask.shape[1]]
    allowed = shown & ~is_near
    moves = []
    for row in range(mask.shape[0] - height + 1):
        for col in range(mask.shape[1] - width + 1):
            if allowed[rows - top + row, cols - left + col].all():
                moved = np.zeros_like(mask)
                moved[rows - top + row, cols - left + col] = True
                moves.append(moved)
    return moves
