"""Summary of a source of episodes for one terminal screen: `pi0-capture sources PATH`."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from capture.cli.dataset_location import open_dataset
from capture.cli.info.stored_values import clean
from capture.datasets.base import Episode, Source, SourceOptions
from capture.datasets.key_mapping import CAMERAS
from capture.datasets.registry import open_source
from capture.errors import UserError
from capture.number_ranges import format_numbers
from capture.observation import EXTERIOR, RIGHT_WRIST, WRIST
from capture.pipeline.planning.prompts import is_task

WIDTH: Final = 100
SHOWN: Final = 12
"""Episodes that get a line."""
READ: Final = 100
"""Episodes whose last frame is read from every camera; of the others only the headers are, unless all are asked for."""
SHOWN_BROKEN: Final = 8
SHOWN_PROMPTS: Final = 4
MOST_OUTCOMES: Final = 1000
"""Episodes up to which each is asked whether it ended well, for which some data sets have to open a file."""


@dataclass(frozen=True)
class SourceReport:
    """What a source holds, for the user."""

    text: str
    is_broken: bool
    """Whether an episode cannot be used or lacks files, or the pictures of one of its cameras cannot be read."""


def describe(
    path: Path, camera_overrides: Mapping[str, str] | None = None, *, turned: bool | None = None, read_all: bool = False
) -> SourceReport:
    """Say what is found at `path`, what a policy would get of it, what is broken and why, and what to type next.

    `camera_overrides` and `turned` are those of a run; `read_all` reads the last frame of every episode. Raises
    UserError where no reader knows the path, or none of its episodes can be used.
    """
    is_local = path.exists()
    slots = tuple(dict.fromkeys((EXTERIOR, WRIST, *(camera_overrides or {}))))
    options = SourceOptions(slots, 1, camera_overrides=camera_overrides or {}, turned=turned, has_files=is_local)
    try:
        source = open_dataset(path, options)
        if RIGHT_WRIST not in slots and any(camera.name in CAMERAS[RIGHT_WRIST] for camera in source.cameras):
            source = open_dataset(path, replace(options, cameras=(*slots, RIGHT_WRIST)))
        mapped, is_mapped = [decision.sentence for decision in source.decisions], True
    except UserError as error:
        source = open_dataset(path, SourceOptions((), 1, has_files=is_local))  # what it holds can still be said
        mapped, is_mapped = [str(error)], False
    findings = _inspect_episodes(source, read_all=read_all) if is_local else _list_episodes(source)
    used_cameras = (
        {decision.choice for decision in source.decisions if decision.subject.endswith(" camera")}
        if is_mapped
        else set()
    )
    damage = _find_unreadable_cameras(path, source, used_cameras, findings, read_all=read_all) if is_local else {}
    if not is_mapped:  # any of the cameras may be needed
        findings = replace(
            findings,
            good=tuple(row for row in findings.good if row.episode.name not in damage),
            broken={**findings.broken, **damage},
        )
        damage = {}
    lines = [f"{source.kind}: {source.path}"]
    lines += _label("episodes", _format_episodes(findings, damage))
    lines += _label("cameras", [_format_camera(camera.name, camera.width, camera.height) for camera in source.cameras])
    lines += _label("state", _format_parts(source.state_parts))
    lines += _label("actions", _format_parts(source.action_parts))
    lines += _label("prompts", _format_prompts(findings))
    lines += _label("mapped", mapped)
    lines += _label("noted", [f"{note}{_count_more(count)}" for note, count in findings.notes.items()][:SHOWN_BROKEN])
    lines += _label("broken", _format_broken({**findings.broken, **findings.incomplete, **damage}))
    lines += ["", *_format_table(findings), ""]
    chosen = options if is_mapped else None
    lines += _label("next", _format_commands(source, path, findings.good, chosen))
    return SourceReport("\n".join(lines), bool(findings.broken or findings.incomplete or damage))


@dataclass(frozen=True)
class _Row:
    """Summary of one episode."""

    episode: Episode
    length: int
    success: bool | None
    is_listed: bool
    """Whether it has a line in the table."""
    prompts: tuple[str, ...]
    """Those that name a task."""
    has_prompts: bool
    """Whether a run can take its prompts from it; a run refuses the blank ones."""


@dataclass(frozen=True)
class _Findings:
    """Results of inspecting all episodes."""

    good: tuple[_Row, ...]
    broken: Mapping[str, str]
    prompts: tuple[str, ...]
    """All that differ, in order."""
    notes: Mapping[str, int]
    """What is left out or assumed in an episode -> number of episodes of which the same is true."""
    has_outcomes: bool
    """Whether each was asked how it ended; otherwise only those that are shown were."""
    is_fetched: bool
    """Whether the files are on this machine; otherwise only the metadata are."""
    is_read: bool
    """Whether the last frame of each was read; otherwise those of the first ones and the headers of the others."""
    incomplete: Mapping[str, str] = field(default_factory=dict)
    """Episodes that lack files of some frames -> which."""


def _inspect_episodes(source: Source, *, read_all: bool) -> _Findings:
    good: list[_Row] = []
    broken = {name: error.reason for name, error in source.unusable.items()}
    prompts: dict[str, None] = {}
    notes: dict[str, list[str]] = {}
    incomplete: dict[str, str] = {}
    has_outcomes = len(source.episodes) <= MOST_OUTCOMES
    for number, episode in enumerate(source.episodes):
        shown = number < SHOWN
        try:
            row = _summarise(episode, success=episode.success if has_outcomes or shown else None, is_listed=shown)
            for sentence in _check_episode(episode, is_read=read_all or number < READ):
                notes.setdefault(sentence, []).append(episode.name)
        except UserError as error:
            broken[episode.name] = str(error)
        else:
            good.append(row)
            prompts.update(dict.fromkeys(row.prompts))
            try:
                episode.check_files()
            except UserError as error:
                incomplete[episode.name] = str(error)
    is_read = read_all or len(source.episodes) <= READ
    shared_sentences = {decision.sentence for decision in source.decisions}  # which are listed for all episodes
    counted = {f"{names[0]}: {note}": len(names) for note, names in notes.items() if note not in shared_sentences}
    return _Findings(
        tuple(good),
        broken,
        tuple(prompts),
        counted,
        has_outcomes,
        is_fetched=True,
        is_read=is_read,
        incomplete=incomplete,
    )


def _summarise(episode: Episode, *, success: bool | None, is_listed: bool) -> _Row:
    stored = episode.prompts
    prompts = tuple(prompt for prompt in stored if is_task(prompt))
    return _Row(episode, episode.length, success, is_listed, prompts, has_prompts=0 < len(prompts) == len(stored))


def _list_episodes(source: Source) -> _Findings:
    """Return what the metadata of a data set state that is not fetched."""
    rows = tuple(
        _summarise(episode, success=None, is_listed=number < SHOWN) for number, episode in enumerate(source.episodes)
    )
    prompts = dict.fromkeys(prompt for row in rows for prompt in row.prompts)
    return _Findings(rows, {}, tuple(prompts), {}, has_outcomes=False, is_read=False, is_fetched=False)


def _check_episode(episode: Episode, *, is_read: bool) -> Iterator[str]:
    """Read the last frame of an episode, or only its headers. Yields what is left out of it or not certain.

    Raises UserError where a picture or a number cannot be read.
    """
    if not is_read:
        _ = episode.shapes
        return
    last = [episode.length - 1]
    list(episode.read(last))
    list(episode.read_without_pictures(last))
    for decision in episode.frame_decisions(range(episode.length)):
        if not decision.is_certain:
            yield decision.sentence


def _find_unreadable_cameras(
    path: Path, source: Source, used: Collection[str], findings: _Findings, *, read_all: bool
) -> dict[str, str]:
    """Return why the pictures of cameras outside `used` cannot be read, by episode, for episodes that are else good."""
    damage: dict[str, str] = {}
    names = {row.episode.name for row in findings.good}
    for camera in source.cameras:
        if camera.name in used:
            continue
        try:
            opened = open_source(path, SourceOptions((camera.name,), 1, turned=False))
        except UserError as error:
            damage.update(dict.fromkeys(names - damage.keys(), str(error)))
            continue
        for name, unusable in opened.unusable.items():
            if name in names and not unusable.reason.startswith("there is no camera"):  # not every episode has each
                damage.setdefault(name, unusable.reason)
        for number, episode in enumerate(opened.episodes):
            if episode.name not in names or episode.name in damage:
                continue
            try:
                if read_all or number < READ:
                    list(episode.read([episode.length - 1]))
                else:
                    _ = episode.shapes
            except UserError as error:
                damage[episode.name] = str(error)
    return damage


def _format_episodes(findings: _Findings, damage: Mapping[str, str]) -> Iterator[str]:
    lengths = [row.length for row in findings.good]
    rates = {row.episode.rate for row in findings.good[:SHOWN]} - {None}
    if lengths:
        frames = f"{lengths[0]}" if len(set(lengths)) == 1 else f"{min(lengths)} to {max(lengths)}"
        each = "" if len(lengths) == 1 else f" each, {sum(lengths)} in all"
        rate = ", ".join(f"{rate:g}" for rate in sorted(rate for rate in rates if rate)) or "an unknown number of"
        yield f"{len(lengths)} of {frames} frame{'s' * (frames != '1')}{each}, at {rate} frames a second"
    marks = [row.success for row in findings.good if row.success is not None]
    if marks and len(lengths) == 1:
        yield "it ended well" if marks[0] else "it did not end well"
    elif marks:
        subset = "" if findings.has_outcomes else f" of the first {SHOWN}"
        yield f"{sum(marks)}{subset} ended well, {len(marks) - sum(marks)} did not"
    if not findings.is_fetched:
        yield "only the metadata were fetched; a run fetches the files of its episodes"
        return
    if findings.broken:
        yield f"{len(findings.broken)} cannot be used"
    if damage:
        yield f"{len(damage)} can only be used without a camera that cannot be read"
    if findings.incomplete:
        yield f"{len(findings.incomplete)} can only be used without frames whose files are missing (--frames)"
    coverage = (
        "the last frame of each was read"
        if findings.is_read
        else (f"the last frames of the first {READ} were read, the headers of the others; --all reads all")
    )
    if not (findings.broken or findings.incomplete or damage):
        yield f"no fault was found: {coverage}"
    elif not findings.is_read:
        yield coverage


def _format_camera(name: str, width: int, height: int) -> str:
    return f"{name}, {width} x {height}" if width and height else f"{name}, size not listed"


def _format_parts(parts: Mapping[str, int]) -> list[str]:
    listed = ", ".join(f"{name} ({dims})" for name, dims in parts.items()) or "none"
    return textwrap.wrap(listed, WIDTH - 10)


def _format_prompts(findings: _Findings) -> Iterator[str]:
    for prompt in findings.prompts[:SHOWN_PROMPTS]:
        yield f'"{clean(prompt, WIDTH - 12)}"'
    if len(findings.prompts) > SHOWN_PROMPTS:
        yield f"… and {len(findings.prompts) - SHOWN_PROMPTS} more"
    if not findings.prompts:
        yield "none; give one with --prompt"
        return
    without_prompts = [clean(row.episode.name, 48) for row in findings.good if not row.has_prompts]
    if without_prompts:
        more = f" and {len(without_prompts) - 1} more" if len(without_prompts) > 1 else ""
        yield f"none, or not in every frame: {without_prompts[0]}{more}; give one with --prompt"


def _format_broken(broken: Mapping[str, str]) -> Iterator[str]:
    for name, reason in list(broken.items())[:SHOWN_BROKEN]:
        yield f"{name}: {reason}"
    if len(broken) > SHOWN_BROKEN:
        yield f"… and {len(broken) - SHOWN_BROKEN} more"


def _count_more(count: int) -> str:
    return f" (and so in {count - 1} more)" if count > 1 else ""


def _format_table(findings: _Findings) -> Iterator[str]:
    """Yield a table of the first episodes, a line each."""
    shown = [row for row in findings.good if row.is_listed]
    if not shown:
        return
    names = [clean(row.episode.name, 48) for row in shown]
    width = max(len("name"), *(len(name) for name in names))
    digits = max(len("number"), *(len(str(row.episode.number)) for row in shown))
    yield f"{'number':>{digits}}  {'name':<{width}}  frames  seconds  ended     prompt"
    for row, name in zip(shown, names, strict=True):
        seconds = f"{row.length / row.episode.rate:.1f}" if row.episode.rate else "?"
        ended = {True: "well", False: "not well", None: "?"}[row.success]
        prompts = row.prompts
        more = f" (+{len(prompts) - 1})" if len(prompts) > 1 else ""
        start = f"{row.episode.number:>{digits}}  {name:<{width}}  {row.length:>6}  {seconds:>7}  {ended:<8}  "
        prompt = clean(prompts[0], max(16, WIDTH - len(start) - len(more))) if prompts else "none"
        yield f"{start}{prompt}{more}".rstrip()
    if len(findings.good) > len(shown):
        yield f"… and {len(findings.good) - len(shown)} more"


def _format_commands(source: Source, path: Path, good: Sequence[_Row], options: SourceOptions | None) -> Iterator[str]:
    """Yield a command that can be copied; `options` None where cameras have to be named."""
    if not good:
        yield "nothing can be captured from it as it is"
        return
    is_single = len(source.episodes) == 1
    source_option = f"--episode {shlex.quote(str(path))}" if is_single else f"--dataset {shlex.quote(str(path))}"
    rows_with_prompts = [row for row in good if row.has_prompts]
    numbers = format_numbers([row.episode.number for row in (rows_with_prompts or good)[:10]], ",")
    chosen = "" if is_single else f" --episodes {numbers}"
    output = f"{source.episodes[0].name}.h5" if is_single else "runs/"
    prompt = "" if rows_with_prompts else ' --prompt "…"'
    cameras = ' --camera "exterior=NAME" --camera "wrist=NAME"'
    if options is not None:
        chosen_cameras = (f"{slot}={name}" for slot, name in options.camera_overrides.items())
        cameras = "".join(f" --camera {shlex.quote(camera)}" for camera in chosen_cameras)
        cameras += "" if options.turned is None else f" --turned {'yes' if options.turned else 'no'}"
    choices = f"{source_option}{chosen}{cameras}{prompt}"
    yield f"pi0-capture --checkpoint FOLDER {choices} --frames keyframes -o {output} --dry-run"


def _label(label: str, lines: Sequence[str] | Iterator[str]) -> list[str]:
    """Return lines behind a label, each without what could control a terminal."""
    shown = [clean(line, 2000) for line in lines]
    return [f"{'' if number else label:<9} {line}" for number, line in enumerate(shown)]
