"""Check the options of pi0-capture for conflicts and missing ones, before any file is opened."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from capture.checkpoints.state_need import is_state_required
from capture.cli.preview.target import check_preview_target
from capture.errors import UserError
from capture.pipeline.worker_process import can_start_workers

if TYPE_CHECKING:
    import argparse

    from capture.sharding import Shard


def make_preview(options: argparse.Namespace) -> None:
    """Turn the options of `pi0-capture preview` into those of a dry run whose preview goes to `-o`.

    Raises UserError for a missing or unsuitable name of the PNG.
    """
    if options.preview is not None:
        raise UserError("pi0-capture preview writes its PNG to -o; leave --preview out")
    if options.output is None:
        raise UserError("no picture was named; add -o PNG, such as -o preview.png")
    options.preview, options.output = options.output, None
    options.dry_run = options.only_preview = True


def _refuse_inputs_as_target(options: argparse.Namespace) -> None:
    """Raise UserError where the results or the preview would replace what is read."""
    files = [options.exterior, options.wrist, options.norm_stats, options.tokenizer, options.sizes]
    files += [options.prompts, options.episode, options.dataset]
    if not (options.episode or options.dataset):
        files += [Path(file) for _, file in options.camera]
    results = "results folder" if options.dataset else "results file"
    for target, noun, option in ((options.output, results, "-o"), (options.preview, "PNG", "-o or --preview")):
        if target is None or not target.exists():
            continue
        for file in files:
            if file is not None and file.exists() and target.samefile(file):
                raise UserError(f"{target} is an input of this run; name another {noun} with {option}")


def check_options(options: argparse.Namespace, share: Shard) -> None:
    """Raise UserError for conflicting and for missing options."""
    _check_outputs(options)
    check_kept(options)
    if options.region_names and options.regions != "dataset":
        raise UserError("--region-names says what the labels of --regions dataset stand for; add that, or leave it out")
    if options.workers and not can_start_workers():
        raise UserError("--workers needs memory that processes share by Linux's /proc; leave it out here")
    _check_prompts(options)
    if options.dataset is None:
        _check_single_file(options, share)
    if options.demo:
        _check_demo(options)
    elif options.episode or options.dataset:
        for name in ("exterior", "wrist", "state"):
            if getattr(options, name):
                raise UserError(f"an episode brings its own pictures and states; leave --{name} out")
    else:
        _check_pictures(options)


def _check_outputs(options: argparse.Namespace) -> None:
    """Raise UserError for missing or unsuitable names of the results, the preview and the effects."""
    if options.output is None and not options.dry_run:
        kind = "folder" if options.dataset else "file"
        example = "-o FOLDER, such as -o runs/" if options.dataset else "-o FILE, such as -o duck.h5"
        raise UserError(f"no results {kind} was named; add {example}, or --dry-run")
    _refuse_inputs_as_target(options)
    if options.preview is not None:
        if not options.dry_run:
            raise UserError(
                "--preview draws what would be captured and captures nothing; add --dry-run, or run pi0-capture "
                f"preview … -o {options.preview}"
            )
        check_preview_target(options.preview, overwrite=options.overwrite)
    if options.effects is not None and options.dry_run:
        raise UserError(
            "--effects measures files that a capture writes; leave it out with --dry-run, and estimate it "
            "with pi0-capture effects FILE … --dry-run"
        )


def _check_prompts(options: argparse.Namespace) -> None:
    if options.prompt and not all(prompt.strip() for prompt in options.prompt):
        raise UserError(
            "--prompt is empty, perhaps from a shell variable that is not set; give the task, or --prompts with a file "
            "of prompts, which may hold an empty one"
        )
    if options.prompt and options.prompts:
        raise UserError("--prompt and --prompts both say what to ask; give one of them")


def _check_single_file(options: argparse.Namespace, share: Shard) -> None:
    """Raise UserError for options and processes that only a data set can have."""
    if options.episodes is not None:
        raise UserError("--episodes chooses episodes of a data set; name it with --dataset")
    if share.count > 1:
        raise UserError(
            f"{share.origin} started {share.count} processes, but one results file is written by one process; "
            "give a --dataset to share out, or start one process"
        )


_SET_BY_DEMO: Final = (
    *("exterior", "wrist", "camera", "state", "config", "horizon", "norm_stats", "asset", "tokenizer"),
    *("sizes", "cameras", "state_in_prompt", "turned", "lerobot_version"),
    *("normalisation", "relative_actions", "base", "lora_alpha"),
    *("state_keys", "action_keys", "tolerance"),
)
"""Options that `--demo` and `--demo-run` exclude."""


def _check_demo(options: argparse.Namespace) -> None:
    option = "--demo-run" if options.demo_run else "--demo"
    for name in (*_SET_BY_DEMO, *(() if options.demo_run else ("episode", "dataset", "frames"))):
        if getattr(options, name):
            raise UserError(f"{option} brings its own pictures, state and policy; leave --{name.replace('_', '-')} out")


def _check_pictures(options: argparse.Namespace) -> None:
    """Raise UserError for missing options of a run on picture files, and for options of episodes."""
    for name in ("frames", "state_keys", "action_keys", "tolerance"):
        if getattr(options, name):
            raise UserError(f"--{name.replace('_', '-')} is about episodes; name one with --episode or --dataset")
    if not (options.prompt or options.prompts):
        raise UserError('no task was given; add --prompt "put the duck in the bowl"')
    if not (options.exterior or options.wrist or options.camera):
        raise UserError("no picture was given; add --exterior FILE and --wrist FILE")
    _check_state(options)


def check_kept(options: argparse.Namespace) -> None:
    """Raise UserError where --keep contradicts other options about what is stored."""
    if options.full and not options.keep:
        raise UserError("--full keeps the maps of image patches, and --keep summaries no maps; leave one of them out")


def _check_state(options: argparse.Namespace) -> None:
    """Raise UserError where a policy needs a state that is not given, as far as this can be told without PyTorch."""
    if options.state is not None or options.state_in_prompt == "no":
        return
    if options.state_in_prompt == "yes" or is_state_required(Path(options.checkpoint), options.config, options.asset):
        raise UserError(
            "no state was given, and this policy reads the robot's state in its prompt; add --state with its numbers, "
            "such as --state 0.1,-0.4,0.0, or --state-in-prompt no if the policy was trained without"
        )
