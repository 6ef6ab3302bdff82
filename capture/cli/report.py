"""Text of a dry run's plan and of a run's final report."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median

import numpy as np

from capture.cli.units import format_bytes, format_seconds
from capture.pipeline.planning.plan import Plan
from capture.pipeline.planning.setup import Setup
from capture.pipeline.types import RunOutcome
from capture.results import schema, scores_schema


def describe_plan(plan: Plan, *, one_of_many: bool = False) -> str:
    """Return sizes, cameras, each prompt's token table and what would be stored, as lines of text.

    `one_of_many`: whether the episode is to be named, since it is an example of others.
    """
    policy, sizes, choices = plan.setup.policy, plan.sizes, plan.setup.options
    axes = policy.sizes
    dtype = str(choices.dtype).removeprefix("torch.")
    weights = format_bytes(policy.parameter_bytes(choices.dtype))
    denoise_steps = f"{axes.denoise_steps} denoise step{'s' * (axes.denoise_steps != 1)}"
    lines = [
        f"{policy.name} ({policy.kind} checkpoint)",
        f"  model     {axes.layers} layers, {axes.heads} heads, horizon {axes.horizon}, "
        f"{denoise_steps}; {weights} of weights in {dtype} on {choices.device}",
    ]
    boxes = [policy.letterbox(height, width) for height, width in sizes.pictures]
    rows, cols = axes.picture
    for camera, (height, width), box in zip(sizes.cameras, sizes.pictures, boxes, strict=True):
        bars = 1 - box.rows * box.cols / (rows * cols)
        lines.append(
            f"  {camera:<9} {width} x {height} pixels, seen as {box.cols} x {box.rows} of {cols} x {rows} "
            f"({bars:.0%} letterbox bars)"
        )
    masked = [camera for camera in axes.cameras if camera not in sizes.cameras]
    if masked:
        lines.append(f"  masked    {', '.join(masked)} (no picture given)")
    lines.append(f"  tokenizer {policy.tokenizer_name}")
    lines += [f"  {decision.label:<9} {decision.sentence}" for decision in plan.decisions]
    listed_texts: set[str] = set()
    first = plan.tables[: int(plan.ends[0])]  # the first moment's, one for each prompt
    for table in first:
        if table.text in listed_texts:
            continue
        listed_texts.add(table.text)
        lines += [
            "",
            f"{len(table.ids)} tokens of {table.text!r}",
            "    #      id  piece           role      word  state",
        ]
        for number, piece in enumerate(table.pieces):
            role = schema.ROLES[int(table.role[number])]
            word, state = int(table.word[number]), int(table.state_index[number])
            lines.append(
                f"  {number:>3}  {int(table.ids[number]):>6}  {piece!r:<14}  {role:<8}  "
                f"{word if word >= 0 else '':>4}  {state if state >= 0 else '':>5}".rstrip()
            )
    if sizes.frames > len(first):
        more = sizes.frames - len(first)
        lines += ["", f"and {more} frame{'s' * (more != 1)} more"]
    name = f"{plan.episode.name}: " if one_of_many else ""
    return "\n".join([*lines, "", name + describe_storage(plan)])


def describe_storage(plan: Plan) -> str:
    """Return the planned contents and size of a results file, as text."""
    sizes = plan.sizes
    rows = "every row" if sizes.full else "rows of text and action tokens"
    return (
        f"{sizes.frames} frame{'s' * (sizes.frames != 1)} of {format_bytes(plan.frame_bytes)}: {len(sizes.layers)} "
        f"layer{'s' * (len(sizes.layers) != 1)}, {len(sizes.steps)} denoise step{'s' * (len(sizes.steps) != 1)}, "
        f"{sizes.heads} heads, {rows}, weights as {plan.setup.options.store}{_describe_summaries(sizes)}; "
        f"{format_bytes(plan.frame_bytes * sizes.frames)} in all"
    )


def _describe_summaries(sizes: schema.Sizes) -> str:
    """Return which frames keep their maps and which regions are scored, where that is not all and none."""
    every = sizes.maps_every
    maps = {scores_schema.ALL_MAPS: "", scores_schema.NO_MAPS: ", summaries without maps"}
    regions = f", scores of {', '.join(sizes.regions)}" if sizes.regions else ""
    return maps.get(every, f", maps of every frame whose number is a multiple of {every}") + regions


def describe_pace(outcome: RunOutcome) -> str:
    """Return frames per second of a run, and the shares of its time in which the policy waited, as text."""
    seconds, (pictures, writer) = max(outcome.seconds, 1e-9), outcome.waits
    return (
        f"{outcome.frames / seconds:.3g} frames a second; "
        f"the device was busy {outcome.busy_seconds / seconds:.0%} of the time "
        f"(waited for pictures {pictures / seconds:.0%}, for the writer {writer / seconds:.0%})"
    )


def summarise_run(setup: Setup, outcome: RunOutcome) -> str:
    """Return the final report of a run that wrote one results file."""
    [written] = outcome.files
    frames, seconds = written.frames, outcome.seconds
    lines = [
        f"{written.path}: {frames} frame{'s' * (frames != 1)} of {setup.policy.name} in {seconds:.1f} s "
        f"({seconds / frames:.2f} s a frame), {written.path.stat().st_size / 1e6:.1f} MB"
        if frames
        else f"{written.path}: all {written.total} frames were there already",
        f"rows sum to 1 within {written.row_sum:.1g}",
    ]
    if written.action_difference is not None:
        recorded, plain = median(outcome.recorded_seconds), median(outcome.plain_seconds)
        lines[-1] += f"; actions differ from an unrecorded run by at most {written.action_difference:.1g}"
        lines.append(
            f"a recorded call takes {recorded:.3f} s, a plain one {plain:.3f} s: {recorded / plain:.3f} times as long"
        )
    elif frames > 1:
        lines.append(describe_pace(outcome))
    return "\n".join(lines)


def summarise_dataset_run(outcomes: Sequence[RunOutcome], unusable: Mapping[str, str], folder: Path) -> str:
    """Return the final report of a run over episodes, made by one or several processes.

    It has the counts of files done, finished before and failed, the speed, and why some failed.
    """
    files = [written for outcome in outcomes for written in outcome.files]
    failures = {written.path.name: written.failure for written in files if written.failure is not None} | dict(unusable)
    skipped = sum(written.skipped for written in files)
    written_count = len(files) - skipped - sum(written.failure is not None for written in files)
    frames, seconds = sum(outcome.frames for outcome in outcomes), max(outcome.seconds for outcome in outcomes)
    size = sum(written.path.stat().st_size for written in files if written.path.is_file())
    parts = [f"{frames} frame{'s' * (frames != 1)} in {format_seconds(seconds)}"] if frames else []
    parts += [format_bytes(size)] if size else []
    counts = f"{folder}: {written_count} done, {skipped} finished before, {len(failures)} failed"
    lines = ["; ".join([counts, ", ".join(parts)]) if parts else counts]
    if frames:
        if len(outcomes) > 1:
            lines.append(f"{frames / seconds:.3g} frames a second on {len(outcomes)} processes")
        for number, rank_outcome in enumerate(outcomes, 1):
            if rank_outcome.frames:
                lines.append(
                    f"part {number}: {describe_pace(rank_outcome)}"
                    if len(outcomes) > 1
                    else describe_pace(rank_outcome)
                )
        worst = 0.0
        for written in files:
            worst = float(np.maximum(worst, written.row_sum))
        lines.append(f"rows sum to 1 within {worst:.1g}")
    lines += [f"failed: {name}: {reason}" for name, reason in sorted(failures.items())]
    return "\n".join(lines)


def suggest_command(path: Path) -> str:
    """Return the last line of a run: the command that shows its results file or folder, ready for a shell."""
    argument = str(path)
    if argument.startswith("-"):  # or it would be an option
        argument = f"./{argument}"
    return f"next  pi0-viewer {shlex.quote(argument)}"
