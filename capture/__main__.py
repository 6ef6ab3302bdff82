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

    from capture.episodes.source import Episode, Source
    from capture.observation import Observation
    from capture.outcome import Outcome
    from capture.plan import Setup
    from capture.prompts import Prompts
    from capture.selection import Selection
    from capture.share import Share

NAME = "pi0-capture"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run pi0-capture: 0 if all went well, 1 if some episodes failed, 2 for what the user can mend, 130 if stopped."""
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
    from capture.prompts import Prompts, read_prompts
    from capture.selection import ALL, read_selection
    from capture.share import read_share

    share = read_share(os.environ, options.share)
    _check(options, share)
    frames = ALL if options.frames is None else read_selection(options.frames)
    prompts = read_prompts(options.prompts) if options.prompts else Prompts(tuple(options.prompt or ()))
    logging.basicConfig(format=f"{NAME}: %(levelname)s: %(message)s", level=logging.WARNING)
    logging.addLevelName(logging.WARNING, "warning")
    setup = _setup(options, share, frames, prompts)
    if options.dataset is not None:
        return _series(options, setup, share)
    return _one(options, setup)


def _one(options: argparse.Namespace, setup: Setup) -> int:
    """One results file."""
    from capture.outcome import Job
    from capture.plan import plan
    from capture.run import capture
    from capture.target import check_target

    if options.output is not None:
        check_target(options.output, overwrite=options.overwrite)
    episode = _episode(options, setup)
    if options.dry_run:
        from capture.estimate import time_sentence
        from capture.report import describe

        made = plan(setup, episode)
        for sentence in made.warnings:
            _tell(f"warning: {sentence}")
        near = [] if options.output is None else [options.output.parent]
        _say("\n".join([describe(made), time_sentence(setup, made.sizes.frames, near)]))
        return 0

    from capture.console import Console

    with Console(_tell) as console:
        outcome = capture(setup, [Job(options.output, episode)], console)
    [written] = outcome.files
    if written.failure is not None:
        raise UserError(written.failure)
    if written.skipped:
        return 0
    _doubt(setup, outcome)
    _say(_summary(setup, outcome))
    return 0


def _series(options: argparse.Namespace, setup: Setup, share: Share) -> int:
    """A folder of results files, one an episode."""
    from capture.series import Series, begin, choose, run_series
    from capture.share import gathered

    source = _source(options, setup, options.dataset)
    episodes, broken = choose(source, options.episodes)
    output = options.output or Path()
    series = Series(setup, source, output, episodes, broken)
    if share.first:
        _tell("; ".join(source.mapped))
    if options.dry_run:
        from capture.forecast import forecast

        _say(forecast(series, share, named=options.output is not None))
        return 0

    from capture.console import Console

    begin(series)
    if share.count > 1:
        mine = len(series.jobs(share))
        _tell(f"part {share.number + 1} of {share.count} ({share.said_by}): {mine} of {len(episodes)} episodes")
    with Console(_tell, quiet=not share.first) as console:
        outcome = run_series(series, share, console)
    _doubt(setup, outcome)
    from capture.report import closing

    together = gathered(share, outcome)
    unusable = {f"{name}.h5": why for name, why in broken.items()}
    if share.first:
        _say(closing(together, unusable, output))
    files = [written for one in together for written in one.files]
    bad = sum(written.failure is not None for written in files) + len(unusable)
    if not bad:
        return 0
    return 1 if any(written.failure is None for written in files) else 2


def _check(options: argparse.Namespace, share: Share) -> None:
    """Options that do not go together."""
    if options.output is None and not options.dry_run:
        where = "-o FOLDER, such as -o runs/" if options.dataset else "-o FILE, such as -o duck.h5"
        what = "folder" if options.dataset else "file"
        raise UserError(f"no results {what} was named; add {where}, or --dry-run")
    if options.output is not None and options.output.exists():
        files = [options.exterior, options.wrist, options.norm_stats, options.tokenizer, options.sizes]
        files += [options.prompts, options.episode, options.dataset]
        if not (options.episode or options.dataset):
            files += [Path(file) for _, file in options.camera]
        for file in files:
            if file is not None and file.exists() and options.output.samefile(file):
                raise UserError(f"{options.output} is an input of this run; name another results file with -o")
    if options.prompt and options.prompts:
        raise UserError("--prompt and --prompts both say what to ask; give one of them")
    if options.dataset is None:
        if options.episodes is not None:
            raise UserError("--episodes chooses episodes of a data set; name it with --dataset")
        if share.count > 1:
            raise UserError(
                f"{share.said_by} started {share.count} processes, but one results file is written by one process; "
                "give a --dataset to share out, or start one process"
            )
    if options.demo:
        for name in (
            *("exterior", "wrist", "camera", "state", "config", "horizon", "norm_stats", "asset", "tokenizer"),
            *("sizes", "cameras", "state_in_prompt", "turned", "lerobot_version"),
            *("episode", "dataset", "frames", "state_keys", "action_keys"),
        ):
            if getattr(options, name):
                raise UserError(
                    f"--demo brings its own pictures, state and policy; leave --{name.replace('_', '-')} out"
                )
        return
    if options.episode or options.dataset:
        for name in ("exterior", "wrist", "state"):
            if getattr(options, name):
                raise UserError(f"an episode brings its own pictures and states; leave --{name} out")
        return
    for name in ("frames", "state_keys", "action_keys"):
        if getattr(options, name):
            raise UserError(f"--{name.replace('_', '-')} is about episodes; name one with --episode or --dataset")
    if not (options.prompt or options.prompts):
        raise UserError('no task was given; add --prompt "put the duck in the bowl"')
    if not (options.exterior or options.wrist or options.camera):
        raise UserError("no picture was given; add --exterior FILE and --wrist FILE")


def _setup(options: argparse.Namespace, share: Share, frames: Selection, prompts: Prompts) -> Setup:
    import torch

    from capture.checkpoint import CheckpointOptions, open_checkpoint
    from capture.checkpoint.fingerprint import fingerprint
    from capture.plan import Choices, Setup
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
        device=_device(options.device, share),
        dtype=getattr(torch, dtype),
        seed=options.seed,
        layers=options.layers,
        steps=options.steps,
        full=options.full,
        check=options.check,
        store=options.store,
        compress=options.compress,
        overwrite=options.overwrite,
        batch=options.batch,
        frames=frames,
        prompts=prompts,
    )
    try:
        weights = "" if options.dry_run else fingerprint(checkpoint.path)  # a dry run touches no weights
    except OSError as error:
        raise UserError(f"the weights in {checkpoint.path} cannot be read ({error.strerror or error})") from None
    return Setup(checkpoint, tokenizer, choices, weights)


def _episode(options: argparse.Namespace, setup: Setup) -> Episode:
    """What is to be shown to the policy, as one episode."""
    from capture.episodes.given import Given

    if options.episode is None:
        return Given(_observations(options))
    source = _source(options, setup, options.episode)
    if len(source.episodes) != 1 or source.broken:
        if not source.episodes and len(source.broken) == 1:
            raise UserError(next(iter(source.broken.values())))
        raise UserError(
            f"{options.episode} holds {len(source.episodes) + len(source.broken)} episodes; "
            "give --dataset instead, with --episodes for some of them and -o for a folder"
        )
    _tell("; ".join(source.mapped))
    return source.episodes[0]


def _source(options: argparse.Namespace, setup: Setup, path: Path) -> Source:
    from capture.episodes.registry import open_source
    from capture.episodes.source import Wanted

    preprocessing = setup.checkpoint.preprocessing
    lengths = preprocessing.state_lengths
    return open_source(
        path,
        Wanted(
            cameras=preprocessing.slots,
            horizon=setup.checkpoint.config.horizon,
            state_dim=lengths[0] if lengths else None,
            robot_dim=min(preprocessing.robot_dim, setup.checkpoint.config.action_dim),
            chosen_cameras=_chosen_cameras(options),
            state_keys=options.state_keys or (),
            action_keys=options.action_keys or (),
        ),
    )


def _chosen_cameras(options: argparse.Namespace) -> dict[str, str]:
    chosen: dict[str, str] = {}
    for name, camera in options.camera:
        if name in chosen:
            raise UserError(f"the {name} camera is given twice; name one of the source's cameras for it")
        chosen[name] = camera
    return chosen


def _observations(options: argparse.Namespace) -> list[Observation]:
    import numpy as np

    from capture.observation import Observation

    if options.demo:
        from capture.episodes.folder import read_episodes

        return read_episodes(_demo_folder() / "episodes")

    from capture.picture_files import read_picture

    files: dict[str, Path] = {}
    given = [("exterior", options.exterior), ("wrist", options.wrist)]
    for name, file in (*given, *((name, Path(file)) for name, file in options.camera)):
        if name in files:
            raise UserError(f"the {name} picture is given twice; name one file for each camera")
        if file is not None:
            files[name] = file
    pictures = {name: read_picture(file) for name, file in files.items()}
    state = None if options.state is None else np.array(options.state, dtype=np.float64)
    return [Observation(pictures, "", state)]


def _demo_folder() -> Path:
    from importlib.resources import files

    return Path(str(files("resources"))) / "demo"


def _device(name: str | None, share: Share) -> Any:
    import torch

    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device: Any = torch.device(name)
        if device.type == "cuda" and device.index is None and share.local is not None:
            if share.local >= torch.cuda.device_count():
                raise UserError(
                    f"process {share.local} of this machine has no GPU of its own: there are "
                    f"{torch.cuda.device_count()}; start no more processes than that, or say --device cpu"
                )
            device = torch.device("cuda", share.local)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"the device {name!r} cannot be used here; use cpu, or cuda where there is a GPU") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"the device {name!r} is not supported; use cpu or cuda")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device


def _doubt(setup: Setup, outcome: Outcome) -> None:
    """Warn where rows of attention do not sum to 1."""
    worst = float("-inf")
    for written in outcome.files:
        worst = written.row_sum if not written.row_sum <= worst else worst
    # Asked this way round, because NaN is beyond every limit.
    if outcome.frames and not worst <= schema.ROW_SUM_LIMITS[str(setup.choices.dtype).removeprefix("torch.")]:
        _tell(
            f"warning: rows of attention sum to 1 only within {worst:.2g}; the weights of this "
            "checkpoint may be damaged, or overflow in this number type"
        )


def _stop(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _summary(setup: Setup, outcome: Outcome) -> str:
    from capture.report import pace

    [written] = outcome.files
    frames, seconds = written.frames, outcome.seconds
    lines = [
        f"{written.path}: {frames} frame{'s' * (frames != 1)} of {setup.checkpoint.name} in {seconds:.1f} s "
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
        lines.append(pace(outcome))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
