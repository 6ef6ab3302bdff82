"""Set up a run from the options of pi0-capture: policy, device and episodes."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from capture.checkpoints import CheckpointOptions, Pi05Spec, open_checkpoint
from capture.cli.demo_run import demo_folder
from capture.cli.option_groups import chosen_cameras, is_turned
from capture.datasets.in_memory import InMemoryEpisode
from capture.datasets.regions.region_files import RegionFiles
from capture.datasets.regions.segmentation import DatasetRegions
from capture.errors import UserError
from capture.observation import Observation
from capture.pipeline.planning.setup import RunOptions, Setup
from capture.policies.base import PolicySpec
from capture.policies.tokenizer import find_tokenizer
from capture.provenance import Decision

if TYPE_CHECKING:
    import argparse

    from capture.datasets.base import Episode, Source
    from capture.datasets.regions.source import RegionSource
    from capture.pipeline.planning.frame_selection import FrameSelection
    from capture.pipeline.planning.prompts import Prompts
    from capture.sharding import Shard


def open_policy(options: argparse.Namespace) -> PolicySpec:
    """Return the policy of `--demo` or `--checkpoint` and the options of `add_policy_options`. Reads no weights.

    Raises UserError for an unsuitable checkpoint or tokenizer.
    """
    source: str | Path = demo_folder() if options.demo else options.checkpoint
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
            turned=is_turned(options),
            normalisation=options.normalisation,
            relative_actions=options.relative_actions,
            lora_alpha=options.lora_alpha,
            base=options.base,
            lerobot_version=options.lerobot_version,
        ),
    )
    grid_decision = Decision(
        "time grid", checkpoint.preprocessing.time_grid, "as the checkpoint's own code", is_certain=True
    )
    if options.time_grid:
        checkpoint = replace(checkpoint, preprocessing=replace(checkpoint.preprocessing, time_grid=options.time_grid))
        grid_decision = replace(grid_decision, choice=options.time_grid, reason="by --time-grid")
    tokenizer = find_tokenizer(options.tokenizer, checkpoint.tokenizer_folder)
    reason = "PaliGemma's, which Pi0.5 is trained with, from a cache on this machine"
    if options.tokenizer or checkpoint.tokenizer_folder:
        reason = "by --tokenizer" if options.tokenizer else "the checkpoint's own"
    tokenizer_decision = Decision("tokenizer", tokenizer.name, reason, is_certain=True)
    checkpoint = replace(checkpoint, decisions=(*checkpoint.decisions, grid_decision, tokenizer_decision))
    return Pi05Spec(checkpoint, tokenizer)


def make_setup(options: argparse.Namespace, share: Shard, frames: FrameSelection, prompts: Prompts) -> Setup:
    """Return the policy and the options of the run. Reads weights for their fingerprint alone, in a dry run none.

    Raises UserError for an unsuitable checkpoint, tokenizer or device.
    """
    policy = open_policy(options)
    dtype = options.dtype or ("float32" if policy.kind == "demo" else "bfloat16")
    choices = RunOptions(
        device=choose_device(options.device, share.local),
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
        workers=options.workers,
        graphs=not options.no_graphs,
        frames=frames,
        prompts=prompts,
        maps_every=options.keep,
        regions=_choose_region_source(options),
    )
    weights = "" if options.dry_run else policy.fingerprint()  # a dry run touches no weights
    return Setup(policy, choices, weights)


def _choose_region_source(options: argparse.Namespace) -> RegionSource | None:
    """Return where the regions of `--regions` come from; None without."""
    text = getattr(options, "regions", None)  # a server has no such option
    if text is None:
        return None
    if text == "dataset":
        return DatasetRegions(options.region_names or {})
    if not Path(text).exists():
        raise UserError(f"--regions: there is no file or folder {text}; pi0-regions makes one beside a results file")
    return RegionFiles(Path(text))


def open_episode(options: argparse.Namespace, setup: Setup) -> tuple[Episode, tuple[Decision, ...]]:
    """Return what is to be shown to the policy, as one episode, and the decisions of its source."""
    if options.episode is None:
        return _make_given_episode(options), ()
    # One that is fetched is looked at first, since a data set may be large.
    is_local = options.episode.exists()
    source = open_chosen_source(options, setup, options.episode, has_files=is_local)
    if len(source.episodes) != 1 or source.unusable:
        if not source.episodes and len(source.unusable) == 1:
            raise UserError(next(iter(source.unusable.values())).reason)
        raise UserError(
            f"{options.episode} holds {len(source.episodes) + len(source.unusable)} episodes; "
            "give --dataset instead, with --episodes for some of them and -o for a folder"
        )
    if not is_local:
        source = open_chosen_source(options, setup, options.episode)
    return source.episodes[0], source.decisions


def open_chosen_source(options: argparse.Namespace, setup: Setup, path: Path, *, has_files: bool = True) -> Source:
    """Return the episodes at `path`, mapped to the policy's inputs. Raises UserError if they do not fit it.

    Without `has_files` only the metadata of a data set on Hugging Face are read.
    """
    from capture.cli.dataset_location import open_dataset

    requested = replace(
        setup.policy.source_options,
        camera_overrides=chosen_cameras(options),
        state_keys=options.state_keys or (),
        action_keys=options.action_keys or setup.policy.source_options.action_keys,
        turned=is_turned(options),
        tolerance=options.tolerance,
        has_files=has_files,
    )
    return open_dataset(path, requested, options.episodes)


def _make_given_episode(options: argparse.Namespace) -> InMemoryEpisode:
    """Return the demo's frames, or one frame of the pictures and the state on the command line."""
    if options.demo:
        from capture.datasets.folder.reader import read_episodes

        observations = read_episodes(demo_folder() / "episodes")
        cameras = {f"{name} camera": name for name in observations[0].pictures}
        return InMemoryEpisode(observations, decisions=_conclude(cameras, "the demo's own"))

    from capture.datasets.images import ORIENTATIONS, picture_outline, read_picture

    files: dict[str, Path] = {}
    named_options = [("exterior", options.exterior), ("wrist", options.wrist)]
    for name, file in (*named_options, *((name, Path(file)) for name, file in options.camera)):
        if name in files:
            raise UserError(f"the {name} picture is given twice; name one file for each camera")
        if file is not None:
            files[name] = file
    pictures = {name: read_picture(file) for name, file in files.items()}
    state = None if options.state is None else np.array(options.state, dtype=np.float64)
    choices = {f"{name} camera": str(file) for name, file in files.items()}
    choices["state"] = "none" if state is None else f"{state.size} number{'s' * (state.size != 1)}"
    turned = is_turned(options)
    reason = "taken as upright, without --turned" if turned is None else "by --turned"
    decisions = [
        *_conclude(choices, "on the command line"),
        *_conclude({"turn of the pictures": "by 180 degrees" if turned else "none"}, reason),
    ]
    for name, file in files.items():
        with contextlib.suppress(UserError):  # an array has no EXIF
            if (orientation := picture_outline(file, file)[2]) != 1:
                subject = f"orientation of the {name} pictures"
                decisions += _conclude({subject: ORIENTATIONS[orientation]}, f"by EXIF in {file.name}")
    return InMemoryEpisode([Observation(pictures, "", state)], decisions=tuple(decisions))


def _conclude(choices: Mapping[str, str], reason: str) -> tuple[Decision, ...]:
    """Return certain decisions of these subjects and choices."""
    return tuple(Decision(subject, choice, reason, is_certain=True) for subject, choice in choices.items())


def choose_device(name: str | None, local: int | None = None) -> Any:
    """Return the device of `--device`, or a GPU where there is one; `local` is this process's number on its machine.

    Raises UserError for a device that cannot be used.
    """
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device: Any = torch.device(name)
        if device.type == "cuda" and device.index is None and local is not None:
            if local >= torch.cuda.device_count():
                raise UserError(
                    f"process {local} of this machine has no GPU of its own: there are "
                    f"{torch.cuda.device_count()}; start no more processes than that, or say --device cpu"
                )
            device = torch.device("cuda", local)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"the device {name!r} cannot be used here; use cpu, or cuda where there is a GPU") from error
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"the device {name!r} is not supported; use cpu or cuda")
    if device.type == "cuda":
        if device.index is None:  # which `set_device` does not take
            device = torch.device("cuda", torch.cuda.current_device())
        torch.cuda.set_device(device)
    return device
