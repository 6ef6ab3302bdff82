"""Text of the dry run over a data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from capture.cli.estimate import describe_time
from capture.cli.preview.preview import check_shown_pictures
from capture.cli.report import describe_plan
from capture.cli.units import format_bytes
from capture.errors import UserError
from capture.pipeline.dataset_run import DatasetRun
from capture.pipeline.planning.plan import Plan, make_plan
from capture.provenance import Decision
from capture.results.resume import ask_run_state
from capture.results.schema import PARTIAL_SUFFIX
from capture.sharding import Shard

SHOWN_DECISIONS: Final = 20
"""Assumptions about other episodes than the first that are listed."""


def plan_first(series: DatasetRun, log: Callable[[str], None]) -> Plan:
    """Return the plan of the first episode whose shown pictures can be read. Raises UserError where none can.

    `log` gets a sentence about the episodes before it that are passed over.
    """
    skipped = {name: (broken.number, broken.reason) for name, broken in series.broken.items()}
    for episode in series.episodes:
        try:
            plan = make_plan(series.setup, episode)
            check_shown_pictures(plan)
        except UserError as error:
            skipped[episode.name] = (episode.number, str(error))
            continue
        skipped_before = sorted(
            (number, name, reason) for name, (number, reason) in skipped.items() if number < episode.number
        )
        if skipped_before:
            _, name, reason = skipped_before[0]
            more = f" (and {len(skipped_before) - 1} more)" if len(skipped_before) > 1 else ""
            log(f"warning: episode {name} cannot be shown{more}, and {episode.name} is shown instead: {reason}")
        return plan
    reasons = [reason for _, reason in skipped.values()]
    raise UserError(f"none of the episodes in {series.source.path} can be used: {reasons[0] if reasons else 'none'}")


def forecast(series: DatasetRun, share: Shard, *, named: bool) -> str:
    """Return count, bytes and time of the whole run as lines of text; `named`: whether -o names the folder.

    Plans every episode: reads states and prompts, but no pictures or weights.
    """
    first: Plan | None = None
    assumed: dict[Decision, None] = {}  # in order of first appearance
    frames = size = finished_frames = 0
    finished_files = begun_files = 0
    failures = {name: broken.reason for name, broken in series.broken.items()}
    for episode in series.episodes:
        try:
            plan = make_plan(series.setup, episode)
        except UserError as error:
            failures[episode.name] = str(error)
            continue
        first = first or plan
        assumed |= dict.fromkeys(decision for decision in plan.decisions if not decision.is_certain)
        frames += plan.sizes.frames
        size += plan.frame_bytes * plan.sizes.frames
        if named and not series.setup.options.overwrite:
            path = series.path(episode)
            state = ask_run_state(path) if path.is_file() else None
            finished_files += state is not None
            partial = path.with_name(path.name + PARTIAL_SUFFIX)
            if state is None and partial.is_file():
                state = ask_run_state(partial)
                begun_files += state is not None and state.frames_done > 0
            finished_frames += min(state.frames_done, plan.sizes.frames) if state else 0
    if first is None:
        raise UserError(
            f"none of the episodes in {series.source.path} can be used: {next(iter(failures.values()), 'none')}"
        )
    count = len(series.episodes) + len(series.broken)
    counts = f"{count} episode{'s' * (count != 1)}, {frames} frame{'s' * (frames != 1)}, {format_bytes(size)} in all"
    lines = [describe_plan(first, one_of_many=True), "", f"{series.source.kind}: {counts}"]
    if finished_files or begun_files:
        lines.append(
            f"{finished_files} file{'s are' if finished_files != 1 else ' is'} finished and {begun_files} begun in "
            f"{series.folder}; {frames - finished_frames} frame{'s are' if frames - finished_frames != 1 else ' is'} "
            "left"
        )
    if others := [decision for decision in assumed if decision not in first.decisions]:
        lines.append("assumed in other episodes:")
        lines += [f"  {other.sentence}" for other in others[:SHOWN_DECISIONS]]
        lines += [f"  and {len(others) - SHOWN_DECISIONS} more"] if len(others) > SHOWN_DECISIONS else []
    if failures:
        lines.append(f"{len(failures)} episode{'s' * (len(failures) != 1)} cannot be used:")
        lines += [f"  {name}: {reason}" for name, reason in failures.items()]
    lines.append(describe_time(series.setup, frames - finished_frames, [series.folder] if named else [], share.count))
    return "\n".join(lines)
