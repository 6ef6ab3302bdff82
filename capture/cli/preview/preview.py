"""Collect what a policy would be shown of a planned results file, and write it as a contact sheet. Reads no weights."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from capture.cli.preview.contact_sheet import Frame, Sheet, Slot, draw_sheet
from capture.cli.preview.target import check_preview_target, refuse_existing
from capture.datasets.in_memory import check_pictures
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.planning.plan import Plan
from capture.results.atomic_write import write_atomically

if TYPE_CHECKING:
    import argparse


def write_preview(plan: Plan, source: str, path: Path, *, overwrite: bool) -> str:
    """Write the contact sheet of a plan's first, middle and last frame; return a sentence about it.

    `source` names what the frames come from. The file is written whole or not at all. Raises UserError for pictures
    that cannot be read, and where the file cannot be written.
    """
    check_preview_target(path, overwrite=overwrite)
    sheet = collect_sheet(plan, source)
    encoded = io.BytesIO()
    draw_sheet(sheet).save(encoded, "PNG")
    try:
        if not write_atomically(path, encoded.getvalue(), keep_existing=not overwrite):
            raise refuse_existing(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({(error.strerror or str(error)).lower()})") from error
    return f"{path}: what {plan.setup.policy.name} would be shown in {_name_frames(sheet.frames)}"


def check_shown_pictures(plan: Plan) -> None:
    """Read the frames that a contact sheet of the plan shows. Raises UserError for what cannot be read."""
    for _ in _read_shown(plan):
        pass


def _read_shown(plan: Plan) -> Iterator[Observation]:
    """Yield the first, middle and last observation of a plan. Raises UserError for what cannot be read."""
    shapes = dict(zip(plan.sizes.cameras, plan.sizes.pictures, strict=True))
    for observation in plan.episode.read([plan.moments[number] for number in choose_moments(len(plan.moments))]):
        check_pictures(observation, shapes)
        yield observation


def _name_frames(frames: Sequence[Frame]) -> str:
    """Return the frames by number and episode: "frame 0 of episode bowl, frames 1 and 3 of episode mug"."""
    parts = []
    for episode, group in groupby(frames, key=lambda frame: frame.episode):
        numbers = [str(frame.number) for frame in group]
        listed = " and ".join([", ".join(numbers[:-1]), numbers[-1]] if len(numbers) > 1 else numbers)
        suffix = f" of {'' if episode.startswith('episode') else 'episode '}{episode}" if episode else ""
        parts.append(f"frame{'s' * (len(numbers) > 1)} {listed}{suffix}")
    return ", ".join(parts)


def collect_sheet(plan: Plan, source: str) -> Sheet:
    """Return the contents of the contact sheet of a plan. Raises UserError for pictures that cannot be read."""
    policy, sizes = plan.setup.policy, plan.sizes
    height, width = policy.sizes.picture
    numbers = choose_moments(len(plan.moments))
    frames = []
    for number, observation in zip(numbers, _read_shown(plan), strict=True):
        frames.append(_collect_frame(plan, observation, _describe_place(number, len(plan.moments))))
    count = f"{sizes.frames} frame{'s' * (sizes.frames != 1)}"
    return Sheet(
        title=f"What {policy.name} would be shown",
        details=f"{policy.kind} checkpoint; {source}; {count}; pictures of {width} x {height} pixels",
        frames=tuple(frames),
        decisions=plan.decisions,
        picture=(height, width),
    )


def describe_source(options: argparse.Namespace) -> str:
    """Return what the frames come from, as the user named it."""
    if options.demo:
        return "an episode of the demo's run" if options.demo_run else "the demo's episodes"
    if options.dataset is not None:
        return f"an episode of {options.dataset}"
    return str(options.episode or "pictures of the command line")


def choose_moments(count: int) -> list[int]:
    """Return the places of the first, the middle and the last of `count` moments, each once."""
    return sorted({0, count // 2, count - 1}) if count > 2 else list(range(count))


def _describe_place(number: int, count: int) -> str:
    if count == 1:
        return "the only one"
    return {0: "the first of the results file", count - 1: "the last of the results file"}.get(
        number, "in the middle of the results file"
    )


def _collect_frame(plan: Plan, observation: Observation, place: str) -> Frame:
    policy = plan.setup.policy
    prompts = plan.setup.options.prompts.of(observation.prompt)
    shown = policy.prepare_pictures(observation)
    by_subject = {decision.subject: decision for decision in plan.decisions}
    slots = []
    for name in policy.sizes.cameras:
        # Only an episode that lacks the usual camera has a decision of its own.
        own_decision = by_subject.get(f"{name} camera of {observation.episode}")
        decision = own_decision or by_subject.get(f"{name} camera")
        is_assumed = decision is not None and not decision.is_certain
        if name not in shown:
            reason = decision.reason if decision else "no picture was given for it"
            slots.append(Slot(name, reason, None, is_assumed=is_assumed))
            continue
        camera = observation.pictures[name].shape[:2]
        picture = shown[name]
        source = decision.choice if decision else name
        orientation = by_subject.get(f"orientation of the {name} pictures")
        turns = [orientation.choice] if orientation else []
        turns += ["turned by 180 degrees"] if picture.letterbox.turned else []
        slots.append(
            Slot(
                name,
                source,
                np.ascontiguousarray(picture.model_u8),
                " and ".join(turns),
                (camera[0], camera[1]),
                is_assumed,
            )
        )
    return Frame(
        episode=observation.episode,
        number=observation.index,
        details=f"{observation.time:.2f} s · {place}",
        prompt=prompts[0],
        other_prompts=len(prompts) - 1,
        slots=tuple(slots),
        tokens=policy.tokenise(prompts[0], observation.state),
        state=observation.state,
    )
