"""Command line of pi0-capture."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from capture.errors import UserError
from capture.stop_request import (
    Handlers,
    StopState,
    check_stop,
    exit_at_once,
    handle_stop_signals,
    ignore_stop_signals_at_exit,
    restore_handlers,
)
from capture.terminal_text import replace_control_characters

if TYPE_CHECKING:
    import argparse

    from capture.cli.progress import Console
    from capture.pipeline.planning.plan import Plan
    from capture.pipeline.planning.setup import Setup
    from capture.pipeline.types import RunOutcome
    from capture.policies.base import Policy
    from capture.sharding import Shard

NAME = "pi0-capture"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run pi0-capture: 0 if all went well, 1 if some episodes failed, 2 for what the user can mend, 130 if stopped."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # not every terminal can encode all token pieces and paths
        sys.stdout.reconfigure(errors="backslashreplace")
    handlers: Handlers = {}
    try:
        handlers = handle_stop_signals()
        if words[:1] == ["info"]:
            return _run_info(words[1:])
        if words[:1] == ["sources"]:
            return _run_sources(words[1:])
        if words[:1] == ["preview"]:
            return _run_capture(words[1:], is_preview=True)
        if words[:1] == ["effects"]:
            from capture.cli.effects.command import run as measure_effects

            return measure_effects(NAME, words[1:], _print_error, _print_output)
        if words[:1] == ["recover"]:
            from capture.cli.recover import run as recover_recordings

            return recover_recordings(NAME, words[1:], _print_error, _print_output)
        if words[:1] == ["serve"]:
            from capture.cli.serve import run as serve_clients

            return serve_clients(NAME, words[1:], _print_error, _print_output)
        return _run_capture(words)
    except UserError as error:
        StopState.has_ended = True
        _print_error(str(error))
        return 2
    except KeyboardInterrupt as stop:
        StopState.has_ended = True
        _print_error("; ".join(["stopped", *getattr(stop, "__notes__", [])]))
        if arguments is None:
            exit_at_once(130)
        return 130
    except ModuleNotFoundError as error:
        StopState.has_ended = True
        package = (error.name or "").split(".")[0]
        if package in ("", "capture", "viewer", "resources"):
            raise
        extra = "capture,serve" if package in ("websockets", "msgpack") else "capture"
        _print_error(f"the package {package} is missing; run pip install 'pi0-attention[{extra}]'")
        return 2
    finally:
        StopState.has_ended = True
        if arguments is None:  # only this process's exit follows, which takes torch a second: nothing is left to stop
            ignore_stop_signals_at_exit()
        else:
            restore_handlers(handlers)


def _print_output(text: str) -> None:
    """Print on standard output and flush, so that a write error is reported here, not by Python at its exit."""
    try:
        print(replace_control_characters(text, keep="\n\t"), flush=True)
    except OSError as error:
        _discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # `pi0-capture info … | head` is no fault
            raise UserError(f"standard output cannot be written ({os.strerror(error.errno or 0).lower()})") from error


def _print_error(sentence: str) -> None:
    """Print one line on standard error; a reader that has gone away (`2>&1 | head`) must not end a run."""
    try:
        line = replace_control_characters(f"{NAME}: {sentence}", keep="\n\t")
        print(line, file=sys.stderr, flush=True)
    except OSError:
        _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Send a stream that cannot be written to nowhere, or Python would stumble over its buffer at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _run_info(words: Sequence[str]) -> int:
    from capture.cli.info.describe import describe
    from capture.cli.option_groups import Parser
    from capture.remote.address import parse_location

    parser = Parser(prog=f"{NAME} info", description="Say what a results file holds, and whether its checks are well.")
    parser.add_argument("file", metavar="FILE", help="its path, or its address: ssh://, https://, s3://, hf://")
    parser.add_argument("-v", "--verbose", action="store_true", help="list every decision about the input")
    options = parser.parse_args(words)
    _print_output(describe(parse_location(options.file), verbose=options.verbose))
    return 0


def _run_sources(words: Sequence[str]) -> int:
    from capture.cli.option_groups import Parser, add_source_options, chosen_cameras, is_turned
    from capture.cli.sources import describe

    parser = Parser(prog=f"{NAME} sources", description="Say which episodes a path holds, and what a policy would get.")
    parser.add_argument("path", metavar="PATH", type=Path, help="an episode, a folder of episodes or a data set")
    add_source_options(parser)
    parser.add_argument("--all", action="store_true", help="read the last frame of every episode, not of the first 100")
    options = parser.parse_args(words)
    report = describe(options.path, chosen_cameras(options), turned=is_turned(options), read_all=options.all)
    _print_output(report.text)
    return 1 if report.is_broken else 0


def _run_capture(words: Sequence[str], *, is_preview: bool = False) -> int:
    """Capture, or only draw what the model would be shown (`is_preview`)."""
    from capture.cli.parser import build_parser, joined_values

    options = build_parser(NAME).parse_args(joined_values(words))
    from capture.cli.demo_run import expand_demo_run
    from capture.cli.validation import check_options, make_preview

    expand_demo_run(options)
    if is_preview:
        make_preview(options)
    from capture.pipeline.planning.frame_selection import ALL_FRAMES, parse_frames
    from capture.pipeline.planning.prompts import Prompts, read_prompts
    from capture.sharding import resolve_shard

    share = resolve_shard(os.environ, options.share)
    check_options(options, share)
    if options.effects is not None:
        from capture.cli.effects.options import parse_measures

        options.effects = parse_measures(options.effects)
    frames = ALL_FRAMES if options.frames is None else parse_frames(options.frames)
    prompts = read_prompts(options.prompts) if options.prompts else Prompts(tuple(options.prompt or ()))
    from capture.cli.progress import Console

    with Console(_print_error, quiet=not share.first, verbose=options.verbose) as console:
        console.stage("loading PyTorch")
        from capture.cli.setup import make_setup

        if not options.dry_run:  # which needs no model, and need not wait for transformers
            console.stage("loading transformers")
            import capture.policies.pi05.model  # noqa: F401 - here, where a stop that is lost in it is found
        check_stop()
        from capture.checkpoints.locate import is_local

        name = "demo" if options.demo else options.checkpoint
        # Hugging Face draws its own progress bars while it downloads a checkpoint.
        console.stage(f"opening checkpoint {name}", keep=not options.demo and not is_local(name))
        setup = make_setup(options, share, frames, prompts)
        if options.dataset is not None:
            return _capture_dataset(options, setup, share, console)
        return _capture_episode(options, setup, console)


def _capture_episode(options: argparse.Namespace, setup: Setup, console: Console) -> int:
    """Write one results file."""
    from capture.cli.setup import open_episode
    from capture.pipeline.dataset_run import write_regions_of
    from capture.pipeline.output_path import check_target, make_parent
    from capture.pipeline.planning.plan import make_plan
    from capture.pipeline.runner import run_jobs
    from capture.pipeline.types import Job
    from capture.sharding import Shard as Whole

    if options.output is not None:
        check_target(options.output, overwrite=options.overwrite)
    if options.episode is not None:
        console.stage(f"reading episode {options.episode}")
    episode, source_decisions = open_episode(options, setup)
    setup = replace(setup, source_decisions=source_decisions)
    if options.dry_run:
        from capture.cli.estimate import describe_time
        from capture.cli.report import describe_plan

        plan = make_plan(setup, episode)
        for sentence in plan.warnings:
            console.log(f"warning: {sentence}")
        near = [] if options.output is None else [options.output.parent]
        text = "\n".join([describe_plan(plan), describe_time(setup, plan.sizes.frames, near)])
        return _print_dry_run(options, plan, "" if options.only_preview else text, console)

    make_parent(options.output)
    loaded: list[Policy] = []
    job = Job(options.output, episode)
    outcome = run_jobs(setup, [job], console, loaded=loaded.append)
    write_regions_of([job], console, overwrite=options.overwrite)
    if options.effects is None:
        console.close()
    [written] = outcome.files
    if written.failure is not None:
        raise UserError(written.failure)
    from capture.cli.report import suggest_command, summarise_run

    if not written.skipped:
        _warn_of_row_sums(setup, outcome)
        _print_output(summarise_run(setup, outcome))
    code = _measure_effects(options, setup, [options.output], Whole(), loaded, console)
    _print_output(suggest_command(options.output))
    return code


def _print_dry_run(options: argparse.Namespace, plan: Plan | None, text: str, console: Console) -> int:
    """Print the text of a dry run, and draw the preview where one is asked for."""
    drawn = ""
    if options.preview is not None and plan is not None:
        from capture.cli.preview.preview import describe_source, write_preview

        if options.only_preview:
            for decision in plan.decisions:
                console.decided(decision)
        console.stage("drawing the preview")
        drawn = write_preview(plan, describe_source(options), options.preview, overwrite=options.overwrite)
    console.close()
    if report := "\n".join(part for part in (text, drawn) if part):
        _print_output(report)
    return 0


def _capture_dataset(options: argparse.Namespace, setup: Setup, share: Shard, console: Console) -> int:
    """Write a folder of results files, one per episode."""
    from capture.cli.setup import open_chosen_source
    from capture.pipeline.dataset_run import DatasetRun, prepare_run_folder, run_dataset, select_episodes
    from capture.pipeline.ranks import gather_from_ranks

    console.stage(f"reading data set {options.dataset}")
    source = open_chosen_source(options, setup, options.dataset)
    episodes, broken = select_episodes(source, options.episodes)
    output = options.output or Path()
    setup = replace(setup, source_decisions=source.decisions)
    series = DatasetRun(setup, source, output, episodes, broken)
    if not share.first:  # the first process prints what all share
        console.skip(setup.decisions)
    if options.dry_run:
        from capture.cli.dry_run import forecast, plan_first

        text = "" if options.only_preview else forecast(series, share, named=options.output is not None)
        shown = plan_first(series, console.log) if options.preview and share.first else None
        return _print_dry_run(options, shown, text, console)

    prepare_run_folder(series)
    job_count = len(series.jobs(share))
    console.work = f"{job_count} episode{'s' * (job_count != 1)}"
    if share.count > 1:
        console.log(
            f"part {share.number + 1} of {share.count} ({share.origin}): {job_count} of {len(episodes)} episodes"
        )
    loaded: list[Policy] = []
    outcome = run_dataset(series, share, console, loaded=loaded.append)
    if options.effects is None:
        console.close()
    _warn_of_row_sums(setup, outcome)
    from capture.cli.report import suggest_command, summarise_dataset_run

    outcomes = gather_from_ranks(share, outcome)
    unusable = {f"{name}.h5": error.reason for name, error in broken.items()}
    files = [written for outcome in outcomes for written in outcome.files]
    bad = sum(written.failure is not None for written in files) + len(unusable)
    code = 0 if not bad else 1 if any(written.failure is None for written in files) else 2
    if share.first:
        _print_output(summarise_dataset_run(outcomes, unusable, output))
    finished = [job.path for job in series.jobs(share) if job.path.is_file()]
    code = max(code, _measure_effects(options, setup, finished, share, loaded, console))
    if share.first and code != 2:
        _print_output(suggest_command(output))
    return code


def _measure_effects(
    options: argparse.Namespace,
    setup: Setup,
    files: Sequence[Path],
    share: Shard,
    loaded: Sequence[Policy],
    console: Console,
) -> int:
    """Measure the effects that `--effects` asks for, with the policy of the capture; return the exit code."""
    if options.effects is None:
        return 0
    from capture.cli.effects.command import measure_captured

    dtype = str(setup.options.dtype).removeprefix("torch.")
    policy = setup.policy, setup.options.device, (loaded[0] if loaded else None), dtype
    return measure_captured(options.effects, options, files, share, policy, console, _print_output)


def _warn_of_row_sums(setup: Setup, outcome: RunOutcome) -> None:
    """Warn where rows of attention do not sum to 1."""
    from capture.results import schema

    worst = float("-inf")
    for written in outcome.files:
        worst = written.row_sum if not written.row_sum <= worst else worst
    # Written in this form so that NaN counts as beyond the limit.
    if outcome.frames and not worst <= schema.ROW_SUM_LIMITS[str(setup.options.dtype).removeprefix("torch.")]:
        _print_error(
            f"warning: rows of attention sum to 1 only within {worst:.2g}; the weights of this "
            "checkpoint may be damaged, or overflow in this number type"
        )


if __name__ == "__main__":
    sys.exit(main())
