"""Summary of a source of episodes for one terminal screen: `pi0-capture sources PATH`."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from capture.cli.info import clean
from capture.datasets.base import Episode, Source, SourceOptions
from capture.datasets.key_mapping import CAMERAS
from capture.datasets.registry import open_source
from capture.errors import UserError
from capture.number_ranges import format_numbers
from capture.observation import EXTERIOR, RIGHT_WRIST, WRIST

WIDTH: Final = 100
SHOWN: Final = 12
"""Episodes that are looked at closely: their last frame is read, and they get a line."""
SHOWN_BROKEN: Final = 8
SHOWN_PROMPTS: Final = 4
ASKED: Final = 1000
"""Episodes up to which each is asked whether it ended well, for which some data sets have to open a file."""


def describe(path: Path) -> str:
    """What is found at `path`, what a policy would get of it, what is broken and why, and what to type next.

    Raises UserError where no reader knows the path, or none of its episodes can be used.
    """
    try:
        source = open_source(path, SourceOptions((EXTERIOR, WRIST), 1))
        if any(camera.name in CAMERAS[RIGHT_WRIST] for camera in source.cameras):
            source = open_source(path, SourceOptions((EXTERIOR, WRIST, RIGHT_WRIST), 1))
        mapped, is_mapped = [one.sentence for one in source.decisions], True
    except UserError as error:
        source = open_source(path, SourceOptions((), 1))  # what it holds can still be said
        mapped, is_mapped = [str(error)], False
    looked = _look(source)
    lines = [f"{source.kind}: {source.path}"]
    lines += _labelled("episodes", _episodes(looked))
    lines += _labelled("cameras", [_camera(camera.name, camera.width, camera.height) for camera in source.cameras])
    lines += _labelled("state", _parts(source.state_parts))
    lines += _labelled("actions", _parts(source.action_parts))
    lines += _labelled("prompts", _prompts(looked))
    lines += _labelled("mapped", mapped)
    lines += _labelled("broken", _broken(looked.broken))
    lines += ["", *_table(looked), ""]
    lines += _labelled("next", _next(source, path, looked.good, is_mapped=is_mapped, prompts=bool(looked.prompts)))
    return "\n".join(lines)


@dataclass(frozen=True)
class _Row:
    """Summary of one episode."""

    episode: Episode
    length: int
    success: bool | None
    looked: bool
    """Whether its last frame was read."""


@dataclass(frozen=True)
class _Looked:
    """Results of inspecting all episodes."""

    good: tuple[_Row, ...]
    broken: Mapping[str, str]
    prompts: tuple[str, ...]
    """All that differ, in order."""
    asked: bool
    """Whether each was asked how it ended; otherwise only those that are shown were."""


def _look(source: Source) -> _Looked:
    good: list[_Row] = []
    broken = {name: one.reason for name, one in source.unusable.items()}
    prompts: dict[str, None] = {}
    asked = len(source.episodes) <= ASKED
    for number, episode in enumerate(source.episodes):
        shown = number < SHOWN
        try:
            row = _Row(episode, episode.length, episode.success if asked or shown else None, shown)
            tasks = episode.prompts
            if shown:
                list(episode.read([row.length - 1]))
        except UserError as error:
            broken[episode.name] = str(error)
        else:
            good.append(row)
            prompts.update(dict.fromkeys(tasks))
    return _Looked(tuple(good), broken, tuple(prompts), asked)


def _episodes(looked: _Looked) -> Iterator[str]:
    lengths = [row.length for row in looked.good]
    rates = {row.episode.rate for row in looked.good[:SHOWN]} - {None}
    if lengths:
        frames = f"{lengths[0]}" if len(set(lengths)) == 1 else f"{min(lengths)} to {max(lengths)}"
        each = "" if len(lengths) == 1 else f" each, {sum(lengths)} in all"
        rate = ", ".join(f"{rate:g}" for rate in sorted(rate for rate in rates if rate)) or "an unknown number of"
        yield f"{len(lengths)} of {frames} frame{'s' * (frames != '1')}{each}, at {rate} frames a second"
    marks = [row.success for row in looked.good if row.success is not None]
    if marks and len(lengths) == 1:
        yield "it ended well" if marks[0] else "it did not end well"
    elif marks:
        of = "" if looked.asked else f" of the first {SHOWN}"
        yield f"{sum(marks)}{of} ended well, {len(marks) - sum(marks)} did not"
    yield f"{len(looked.broken)} cannot be used" if looked.broken else "none is broken, as far as was looked"


def _camera(name: str, width: int, height: int) -> str:
    return f"{name}, {width} x {height}" if width and height else f"{name}, size not told"


def _parts(parts: Mapping[str, int]) -> list[str]:
    told = ", ".join(f"{name} ({dims})" for name, dims in parts.items()) or "none"
    return textwrap.wrap(told, WIDTH - 10)


def _prompts(looked: _Looked) -> Iterator[str]:
    for prompt in looked.prompts[:SHOWN_PROMPTS]:
        yield f'"{clean(prompt, WIDTH - 12)}"'
    if len(looked.prompts) > SHOWN_PROMPTS:
        yield f"… and {len(looked.prompts) - SHOWN_PROMPTS} more"
    if not looked.prompts:
        yield "none; give one with --prompt"


def _broken(broken: Mapping[str, str]) -> Iterator[str]:
    for name, why in list(broken.items())[:SHOWN_BROKEN]:
        yield f"{name}: {why}"
    if len(broken) > SHOWN_BROKEN:
        yield f"… and {len(broken) - SHOWN_BROKEN} more"


def _table(looked: _Looked) -> Iterator[str]:
    """A line an episode, the first ones, in columns."""
    shown = [row for row in looked.good if row.looked]
    if not shown:
        return
    names = [clean(row.episode.name, 48) for row in shown]
    wide = max(len("name"), *(len(name) for name in names))
    digits = max(len("number"), *(len(str(row.episode.number)) for row in shown))
    yield f"{'number':>{digits}}  {'name':<{wide}}  frames  seconds  ended     prompt"
    for row, name in zip(shown, names, strict=True):
        seconds = f"{row.length / row.episode.rate:.1f}" if row.episode.rate else "?"
        ended = {True: "well", False: "not well", None: "?"}[row.success]
        prompts = row.episode.prompts
        more = f" (+{len(prompts) - 1})" if len(prompts) > 1 else ""
        start = f"{row.episode.number:>{digits}}  {name:<{wide}}  {row.length:>6}  {seconds:>7}  {ended:<8}  "
        prompt = clean(prompts[0], max(16, WIDTH - len(start) - len(more))) if prompts else "none"
        yield f"{start}{prompt}{more}".rstrip()
    if len(looked.good) > len(shown):
        yield f"… and {len(looked.good) - len(shown)} more"


def _next(source: Source, path: Path, good: Sequence[_Row], *, is_mapped: bool, prompts: bool) -> Iterator[str]:
    """Return a command that can be copied."""
    if not good:
        yield "nothing can be captured from it as it is"
        return
    one = len(source.episodes) == 1
    which = f"--episode {shlex.quote(str(path))}" if one else f"--dataset {shlex.quote(str(path))}"
    numbers = format_numbers([row.episode.number for row in good[:10]], ",")
    chosen = "" if one else f" --episodes {numbers}"
    output = f"{source.episodes[0].name}.h5" if one else "runs/"
    prompt = "" if prompts else ' --prompt "…"'
    cameras = "" if is_mapped else ' --camera "exterior=NAME" --camera "wrist=NAME"'
    yield f"pi0-capture --checkpoint FOLDER {which}{chosen}{cameras}{prompt} --frames keyframes -o {output} --dry-run"


def _labelled(label: str, lines: Sequence[str] | Iterator[str]) -> list[str]:
    """Lines behind a label, each cleaned of what could steer a terminal."""
    shown = [clean(line, 2000) for line in lines]
    return [f"{'' if number else label:<9} {line}" for number, line in enumerate(shown)]
