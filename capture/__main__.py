"""Command line of pi0-capture."""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import FrameType
from typing import TYPE_CHECKING, Any, TextIO

from capture import schema
from capture.arguments import Parser, build_parser, joined_values
from capture.errors import UserError

if TYPE_CHECKING:
    import argparse

    from capture.observation import Observation
    from capture.run import Outcome, Plan

NAME = "pi0-capture"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run pi0-capture: 0 if all went well, 2 for what the user can mend, 130 if stopped."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):  # token pieces and paths hold what not every terminal can show
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        if given[:1] == ["info"]:
            return _info(given[1:])
        if given[:1] == ["sources"]:
            return _sources(given[1:])
        return _capture(build_parser(NAME).parse_args(joined_values(given)))
    except UserError as error:
        _tell(str(error))
        return 2
    except KeyboardInterrupt as stop:
        _tell("; ".join(["stopped", *getattr(stop, "__notes__", [])]))
        return 130
    except ModuleNotFoundError as error:
        package = (error.name or "").split(".")[0]
        if package in ("", "capture", "viewer", "resources"):
            raise
        _tell(f"the package {package} is missing; run pip install 'pi0-attention[capture]'")
        return 2


def _say(text: str) -> None:
    """Print on standard output at once: what cannot be written is told here, not by Python at its exit."""
    try:
        print(text, flush=True)
    except OSError as error:
        _silence(sys.stdout)
        if not isinstance(error, BrokenPipeError):  # `pi0-capture info … | head` is no fault
            raise UserError(f"standard output cannot be written ({os.strerror(error.errno or 0).lower()})") from error


def _tell(sentence: str) -> None:
    """Print one line on standard error; a reader that has gone away (`2>&1 | head`) must not end a run."""
    try:
        print(f"{NAME}: {sentence}", file=sys.stderr, flush=True)
    except OSError:
        _silence(sys.stderr)


def _silence(stream: TextIO) -> None:
    """Send a stream that cannot be written to nowhere, or Python would stumble over its buffer at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _info(given: Sequence[str]) -> int:
    from capture.info import describe

    parser = Parser(prog=f"{NAME} info", description="Say what a results file holds, and whether its checks are well.")
    parser.add_argument("file", metavar="FILE", type=Path)
    _say(describe(parser.parse_args(given).file))
    return 0


def _sources(given: Sequence[str]) -> int:
    from capture.episodes.listing import describe

    parser = Parser(prog=f"{NAME} sources", description="Say which episodes a path holds, and what a policy would get.")
    parser.add_argument("path", metavar="PATH", type=Path)
    _say(describe(parser.parse_args(given).path))
    return 0


def _capture(options: argparse.Namespace) -> int:
    signal.signal(signal.SIGTERM, _stop)  # what a cluster sends before it kills: end as on Ctrl-C
    _check(options)
    logging.basicConfig(format=f"{NAME}: %(levelname)s: %(message)s", level=logging.WARNING)
    logging.addLevelName(logging.WARNING, "warning")
    from capture.run import capture

    plan = _plan(options)
    if options.dry_run:
        from capture.report import describe

        _warn(plan)
        _say(describe(plan))
        return 0

    from capture.console import Console

    _warn(plan)
    with Console(plan.sizes.frames, plan.checkpoint.config.denoise_steps) as console:
        outcome = capture(plan, options.output, console)
    # Asked this way round, because NaN is beyond every limit.
    if not outcome.row_sum <= schema.ROW_SUM_LIMITS[str(plan.choices.dtype).removeprefix("torch.")]:
        _tell(
            f"warning: rows of attention sum to 1 only within {outcome.row_sum:.2g}; the weights of this "
            "checkpoint may be damaged, or overflow in this number type"
        )
    _say(_summary(plan, outcome, options.output))
    return 0


def _check(options: argparse.Namespace) -> None:
    """Options that do not go together."""
    if options.output is None and not options.dry_run:
        raise UserError("no results file was named; add -o FILE, such as -o duck.h5, or --dry-run")
    if options.output is not None and options.output.exists():
        files = [options.exterior, options.wrist, options.norm_stats, options.tokenizer, options.sizes]
        for file in [*files, *(file for _, file in options.camera)]:
            if file is not None and file.exists() and options.output.samefile(file):
                raise UserError(f"{options.output} is an input of this run; name another results file with -o")
    if options.demo:
        for name in (
            "exterior",
            "wrist",
            "camera",
            "state",
            "config",
            "horizon",
            "norm_stats",
            "asset",
            "tokenizer",
            "sizes",
            "cameras",
            "state_in_prompt",
            "turned",
            "lerobot_version",
        ):
            if getattr(options, name):
                raise UserError(
                    f"--demo brings its own pictures, state and policy; leave --{name.replace('_', '-')} out"
                )
        return
    if not options.prompt:
        raise UserError('no task was given; add --prompt "put the duck in the bowl"')
    if not (options.exterior or options.wrist or options.camera):
        raise UserError("no picture was given; add --exterior FILE and --wrist FILE")


def _plan(options: argparse.Namespace) -> Plan:
    import torch

    from capture.checkpoint import CheckpointOptions, open_checkpoint
    from capture.run import Choices, plan
    from capture.tokenizer import find_tokenizer

    source: str | Path = _demo_folder() if options.demo else options.checkpoint
    checkpoint = open_checkpoint(
        source,
        options=CheckpointOptions(
            horizon=options.horizon,
            denoise_steps=options.denoise_steps,
            norm_stats=options.norm_stats,
            asset_id=options.asset,
            config=options.config,
            sizes=options.sizes,
            cameras=options.cameras,
            state_in_prompt=None if options.state_in_prompt is None else options.state_in_prompt == "yes",
            turned=options.turned,
            lerobot_version=options.lerobot_version,
        ),
    )
    if options.time_grid:
        checkpoint = replace(checkpoint, preprocessing=replace(checkpoint.preprocessing, time_grid=options.time_grid))
    tokenizer = find_tokenizer(options.tokenizer, checkpoint.tokenizer_folder)
    dtype = options.dtype or ("float32" if checkpoint.kind == "demo" else "bfloat16")
    choices = Choices(
        device=_device(options.device),
        dtype=getattr(torch, dtype),
        seed=options.seed,
        layers=options.layers,
        steps=options.steps,
        full=options.full,
        check=options.check,
        store=options.store,
        compress=options.compress,
        overwrite=options.overwrite,
    )
    return plan(checkpoint, tokenizer, _observations(options), choices)


def _observations(options: argparse.Namespace) -> list[Observation]:
    import numpy as np

    from capture.observation import Observation

    if options.demo:
        from capture.episodes.folder import read_episodes

        shown = read_episodes(_demo_folder() / "episodes")
        if options.prompt:
            shown = [replace(one, prompt=prompt, truth=None) for one in shown for prompt in options.prompt]
        return shown

    from capture.picture_files import read_picture

    files: dict[str, Path] = {}
    for name, file in (("exterior", options.exterior), ("wrist", options.wrist), *options.camera):
        if name in files:
            raise UserError(f"the {name} picture is given twice; name one file for each camera")
        if file is not None:
            files[name] = file
    pictures = {name: read_picture(file) for name, file in files.items()}
    state = None if options.state is None else np.array(options.state, dtype=np.float64)
    return [Observation(pictures, prompt, state) for prompt in options.prompt]


def _demo_folder() -> Path:
    from importlib.resources import files

    return Path(str(files("resources"))) / "demo"


def _device(name: str | None) -> Any:
    import torch

    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"the device {name!r} cannot be used here; use cpu, or cuda where there is a GPU") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"the device {name!r} is not supported; use cpu or cuda")
    return device


def _warn(plan: Plan) -> None:
    for sentence in plan.warnings:
        _tell(f"warning: {sentence}")


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _summary(plan: Plan, outcome: Outcome, output: Path) -> str:
    frames, seconds = plan.sizes.frames, sum(outcome.seconds)
    lines = [
        f"{output}: {frames} frame{'s' * (frames != 1)} of {plan.checkpoint.name} in {seconds:.1f} s "
        f"({seconds / frames:.2f} s a frame), {output.stat().st_size / 1e6:.1f} MB",
        f"rows sum to 1 within {outcome.row_sum:.1g}",
    ]
    if outcome.action_difference is not None:
        recorded, plain = median(outcome.seconds), median(outcome.plain_seconds)
        lines[-1] += f"; actions differ from an unrecorded run by at most {outcome.action_difference:.1g}"
        lines.append(
            f"a recorded call takes {recorded:.3f} s, a plain one {plain:.3f} s: {recorded / plain:.3f} times as long"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
