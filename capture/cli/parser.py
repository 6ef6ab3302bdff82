"""Command-line parser of pi0-capture: options, help texts and conversion of values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from capture import __version__
from capture.cli import option_values
from capture.cli.option_groups import DEVICE_HELP, DTYPES, NO_GRAPHS_HELP, Parser, add_policy_options, add_store_options

EXAMPLES = """\
examples:
  pi0-capture --demo -o demo.h5
  pi0-capture --demo-run -o run/
  pi0-capture --checkpoint pi05_droid/ --exterior ext.png --wrist wrist.png \\
              --prompt "put the duck in the bowl" --state 0.1,-0.4,0,-2,0.3,1.6,0,0 -o duck.h5
  pi0-capture --checkpoint pi05_droid/ --episode path/to/episode --frames ::8 -o duck.h5
  pi0-capture --checkpoint pi05_libero/ --dataset path/to/dataset --episodes 0-49 --frames keyframes -o runs/
  pi0-capture --checkpoint pi05_droid/ ... --dry-run
  torchrun --nproc-per-node 8 -m capture --checkpoint pi05_droid/ --dataset ... -o runs/
  pi0-capture preview --checkpoint pi05_droid/ --episode path/to/episode -o preview.png
  pi0-capture sources path/to/dataset
  pi0-capture info duck.h5

Frames, actions, layers, heads and denoise steps are numbered from 0, here as in the results file, in pi0-viewer and in
pi0-export.
"""


def build_parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of every command except `info`."""
    parser = Parser(
        prog=name,
        usage=f"{name} (--demo | --checkpoint FOLDER --exterior FILE --wrist FILE --prompt TEXT …) -o FILE [options]\n"
        f"       {name} --demo-run -o FOLDER [options]\n"
        f"       {name} --checkpoint FOLDER (--episode PATH -o FILE | --dataset PATH -o FOLDER) [options]\n"
        f"       {name} preview --checkpoint FOLDER (--episode PATH | --dataset PATH | --exterior FILE …) -o PNG\n"
        f"       {name} serve --checkpoint FOLDER -o FOLDER [options] (see {name} serve -h)\n"
        f"       {name} sources PATH [--camera NAME=SOURCE] [--turned yes|no] [--all]\n"
        f"       {name} info FILE\n"
        f"       {name} recover PATH … (recordings of serve that were killed)",
        description="Run a Pi0.5 policy offline and write its attention to one HDF5 file: what each word of the\n"
        "prompt looks at in the pictures, what each action token looks at in each step, for every layer and head.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"{name} {__version__}")

    _add_policy_choice(parser)
    _add_observation_options(parser)
    _add_episode_options(parser)
    add_policy_options(parser)
    _add_run_options(parser)
    _add_region_options(add_store_options(parser))
    _add_output_options(parser)
    parser.set_defaults(only_preview=False)
    return parser


def _add_policy_choice(parser: argparse.ArgumentParser) -> None:
    source = parser.add_argument_group("what to run").add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--demo", action="store_true", help="the small bundled policy on its bundled episodes; no GPU, no download"
    )
    source.add_argument(
        "--demo-run",
        action="store_true",
        help="the bundled policy on twenty bundled episodes in which it acted, half of them failures; makes a run in "
        "the folder -o, with the objects as regions; keeps the first and the last denoise step",
    )
    source.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="a Pi0.5 checkpoint: openpi's PyTorch or JAX folder, lerobot's folder, or owner/name on Hugging Face",
    )


def _add_observation_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that give pictures, prompts and a state."""
    shown = parser.add_argument_group("what to show it")
    shown.add_argument("--exterior", metavar="FILE", type=Path, help="picture of the exterior camera")
    shown.add_argument("--wrist", metavar="FILE", type=Path, help="picture of the wrist camera")
    shown.add_argument(
        "--camera",
        metavar="NAME=FILE",
        action="append",
        default=[],
        type=option_values.parse_camera,
        help="picture of any other camera of the policy; with --episode or --dataset, which of the source's cameras "
        "is the policy's NAME, such as exterior=ext2; may be repeated",
    )
    shown.add_argument(
        "--prompt",
        metavar="TEXT",
        action="append",
        help="the task, instead of an episode's own; repeated, each prompt makes a frame of its own from the same "
        "pictures and the same noise; {task} stands for the episode's own",
    )
    shown.add_argument(
        "--prompts",
        metavar="FILE",
        type=Path,
        help="prompts from a YAML file: a list for every frame, or a mapping from tasks to lists",
    )
    shown.add_argument(
        "--state",
        metavar="NUMBERS",
        type=option_values.parse_state,
        help="the robot's state in its own units, comma-separated, or a .npy or .json file with it",
    )


def _add_episode_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose episodes, their frames and their parts."""
    episodes = parser.add_argument_group("episodes instead of pictures")
    chosen = episodes.add_mutually_exclusive_group()
    chosen.add_argument("--episode", metavar="PATH", type=Path, help="one recorded episode; makes one results file")
    chosen.add_argument(
        "--dataset",
        metavar="PATH",
        type=Path,
        help="a data set, or owner/name on Hugging Face; makes a results file an episode in the folder -o",
    )
    episodes.add_argument(
        "--episodes",
        metavar="LIST",
        type=option_values.parse_episodes,
        help="episodes of the data set, by number: 0-49,72 (all)",
    )
    episodes.add_argument(
        "--frames",
        metavar="FRAMES",
        help="frames of each episode, from 0: a slice such as ::8 or 10:50:2, a list such as 0,3,9, or keyframes, "
        "every 8th, as DROID's robots ask the policy (all)",
    )
    episodes.add_argument(
        "--state-keys",
        metavar="NAMES",
        type=option_values.parse_names,
        help="the source's parts of the state, in the policy's order",
    )
    episodes.add_argument(
        "--action-keys",
        metavar="NAMES",
        type=option_values.parse_names,
        help="the same for the true actions; none goes without them",
    )
    episodes.add_argument(
        "--tolerance",
        metavar="SECONDS",
        type=option_values.parse_seconds,
        help="largest distance of a LeRobot video's picture from its row's time; left out, what is beyond lerobot's "
        "0.0001 is taken only where the order of the pictures agrees",
    )


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options for device, batch, processes, noise and checks of a run."""
    run = parser.add_argument_group("how to run it")
    run.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    run.add_argument("--dtype", choices=DTYPES, help="number type of the policy (bfloat16; the demo float32)")
    run.add_argument(
        "--batch", metavar="N", type=option_values.parse_batch, default=1, help="frames to run at once (1)"
    )
    run.add_argument(
        "--workers",
        metavar="N",
        type=option_values.parse_workers,
        help="files that are run at the same time, each read and written by two processes of its own; 0: one file, by "
        "this process (what fits the batch and the cores where there is a GPU, else 0)",
    )
    run.add_argument(
        "--no-graphs",
        action="store_true",
        help=NO_GRAPHS_HELP,
    )
    run.add_argument(
        "--share",
        metavar="I/N",
        help="run only the I-th of N parts of the episodes; torchrun, srun and SLURM arrays say so themselves",
    )
    run.add_argument(
        "--seed",
        metavar="N",
        type=option_values.parse_seed,
        default=0,
        help="seed of the noise (0); a frame adds its index",
    )
    run.add_argument(
        "--check",
        action="store_true",
        help="run each frame once more unrecorded with the same noise; "
        "store the largest action difference and the time ratio",
    )

    run.add_argument(
        "--effects",
        metavar="OPTIONS",
        help="measure effects of each finished file as well, as pi0-capture effects does with these options in quotes, "
        "such as '--map 2 --words duck'",
    )


def _add_region_options(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--regions",
        metavar="FILE",
        help="score named regions too (mass, lift, hit, IoU90): a file of pi0-regions, a folder with NAME.regions.h5 "
        "for each episode NAME, or dataset: the masks of an episode.json, and the labels in HDF5 of LIBERO, robosuite "
        "and robomimic",
    )
    group.add_argument(
        "--region-names",
        metavar="3=duck",
        type=option_values.parse_region_names,
        help="with --regions dataset: labels that are scored and what they stand for, where the data set does not say",
    )


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    out = parser.add_argument_group("where to")
    out.add_argument(
        "-o", "--output", metavar="FILE", type=Path, help="the results file, such as duck.h5; with --dataset, a folder"
    )
    out.add_argument(
        "--overwrite",
        action="store_true",
        help="begin anew: replace results that there are; without it, the same command goes on where it stopped",
    )
    out.add_argument(
        "--dry-run", action="store_true", help="say what would be run and stored, and stop; touches no weights"
    )
    out.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="also print what files and options decide about the input, not only what was assumed",
    )
    out.add_argument(
        "--preview",
        metavar="PNG",
        type=Path,
        help="with --dry-run: also draw what the model would be shown, as pi0-capture preview does alone",
    )


def joined_values(arguments: Sequence[str]) -> list[str]:
    """Return the arguments with `--state -0.1,0.2` and `--state -0.1 0.2` as `--state=-0.1,0.2`, one argument.

    What starts with a minus looks like an option otherwise.
    """
    joined: list[str] = []
    is_state = False
    for argument in arguments:
        if joined and joined[-1] in ("--state", "--frames", "--relative-actions"):
            is_state = joined[-1] == "--state"
            joined[-1] += f"={argument}"
        elif is_state and option_values.looks_like_numbers(argument):
            joined[-1] += f" {argument}"
        else:
            is_state = argument.startswith("--state=")
            joined.append(argument)
    return joined
