"""Command-line parser of pi0-capture: options, help texts and conversion of values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from capture import __version__
from capture.cli import option_values
from capture.errors import UserError

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


DTYPES: Final = ("float32", "bfloat16")
NO_GRAPHS_HELP: Final = "launch a GPU's work piece by piece, not as CUDA graphs: slower, less memory, the same numbers"
DEVICE_HELP: Final = "cpu, cuda, cuda:1 …; cuda where there is one"


class Parser(argparse.ArgumentParser):
    """Argument parser that reports an invalid option in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} -h\n")


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

    shown = parser.add_argument_group("what to show it")
    shown.add_argument("--exterior", metavar="FILE", type=Path, help="picture of the exterior camera")
    shown.add_argument("--wrist", metavar="FILE", type=Path, help="picture of the wrist camera")
    shown.add_argument(
        "--camera",
        metavar="NAME=FILE",
        action="append",
        default=[],
        type=option_values.camera,
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
        type=option_values.episodes,
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
        type=option_values.names,
        help="the source's parts of the state, in the policy's order",
    )
    episodes.add_argument(
        "--action-keys",
        metavar="NAMES",
        type=option_values.names,
        help="the same for the true actions; none goes without them",
    )
    episodes.add_argument(
        "--tolerance",
        metavar="SECONDS",
        type=option_values.seconds,
        help="largest distance of a LeRobot video's picture from its row's time; left out, what is beyond lerobot's "
        "0.0001 is taken only where the order of the pictures agrees",
    )

    add_policy_options(parser)

    run = parser.add_argument_group("how to run it")
    run.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    run.add_argument("--dtype", choices=DTYPES, help="number type of the policy (bfloat16; the demo float32)")
    run.add_argument("--batch", metavar="N", type=option_values.batch, default=1, help="frames to run at once (1)")
    run.add_argument(
        "--workers",
        metavar="N",
        type=option_values.workers,
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
        "--seed", metavar="N", type=option_values.seed, default=0, help="seed of the noise (0); a frame adds its index"
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

    regions = add_store_options(parser)
    regions.add_argument(
        "--regions",
        metavar="FILE",
        help="score named regions too (mass, lift, hit, IoU90): a file of pi0-regions, a folder with NAME.regions.h5 "
        "for each episode NAME, or dataset: the masks of an episode.json, and the labels in HDF5 of LIBERO, robosuite "
        "and robomimic",
    )
    regions.add_argument(
        "--region-names",
        metavar="3=duck",
        type=option_values.region_names,
        help="with --regions dataset: labels that are scored and what they stand for, where the data set does not say",
    )

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
    parser.set_defaults(only_preview=False)
    return parser


def add_store_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that say what of a recorded call is stored, and return their group."""
    kept = parser.add_argument_group("what to keep")
    kept.add_argument("--layers", metavar="LIST", type=option_values.numbers, help="layers, from 0: 4,10,15-17 (all)")
    kept.add_argument("--steps", metavar="LIST", type=option_values.numbers, help="denoise steps, from 0: 0,5,9 (all)")
    kept.add_argument("--full", action="store_true", help="also the rows of image patches (84 MB a frame more)")
    kept.add_argument(
        "--keep",
        metavar="WHAT",
        type=option_values.keep,
        default=1,
        help="maps: the attention maps of every frame (default); summaries: no maps, but masses, entropies and scores "
        "of every word, action token, layer, head and step, below 1 MB a frame instead of 40; maps::8: summaries of "
        "every frame, and the maps of every 8th",
    )
    kept.add_argument(
        "--store", choices=("bfloat16", "float32"), default="bfloat16", help="number type of stored weights (bfloat16)"
    )
    kept.add_argument(
        "--compress", action="store_true", help="bitshuffle-lz4; needs the extra [compress] to write and to read"
    )
    return kept


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what a checkpoint does not: sizes, statistics, preprocessing."""
    policy = parser.add_argument_group("the policy, where the checkpoint does not say")
    policy.add_argument(
        "--config", metavar="NAME", help="openpi's name for the policy, such as pi05_droid or pi05_libero"
    )
    policy.add_argument("--horizon", metavar="N", type=option_values.positive, help="actions in a chunk")
    policy.add_argument("--denoise-steps", metavar="N", type=option_values.positive, help="denoise steps to take (10)")
    policy.add_argument(
        "--norm-stats", metavar="FILE", type=Path, help="normalisation statistics (norm_stats.json or its folder)"
    )
    policy.add_argument(
        "--normalisation",
        choices=("quantile", "mean-std", "none"),
        help="how states and actions were normalised (quantile in openpi; lerobot's files say); none needs no "
        "statistics: attention can be looked at, but actions are not in robot units",
    )
    policy.add_argument(
        "--relative-actions",
        metavar="DIMS",
        type=option_values.relative_actions,
        help="actions that are predicted relative to the state, as openpi's make_bool_mask counts them: 7,-1; or none",
    )
    policy.add_argument(
        "--base", metavar="FOLDER", help="the policy that a LoRA adapter was trained on, instead of the one it names"
    )
    policy.add_argument(
        "--lora-alpha",
        metavar="NUMBER",
        type=option_values.alpha,
        help="alpha of LoRA adapters, whose scale is alpha / rank",
    )
    policy.add_argument("--asset", metavar="ID", help="which of the checkpoint's assets, where it has several")
    policy.add_argument("--tokenizer", metavar="FILE", type=Path, help="paligemma_tokenizer.model or tokenizer.json")
    policy.add_argument(
        "--sizes", metavar="FILE", type=Path, help="JSON with sizes that weights do not tell, such as SigLIP's heads"
    )
    policy.add_argument(
        "--cameras", metavar="NAMES", type=option_values.names, help="names of its camera slots, in order"
    )
    policy.add_argument("--state-in-prompt", choices=("yes", "no"), help="whether it reads the state in its prompt")
    _add_turned(policy)
    policy.add_argument(
        "--lerobot-version",
        choices=("0.4", "current"),
        help="whose preprocessing a lerobot checkpoint was trained with",
    )
    policy.add_argument(
        "--time-grid",
        choices=("openpi", "lerobot"),
        help="how denoise times are rounded; the checkpoint's own code's if left out",
    )


def is_turned(options: argparse.Namespace) -> bool | None:
    """Return the user's choice to turn pictures; None to decide by the source."""
    return None if options.turned is None else options.turned == "yes"


def chosen_cameras(options: argparse.Namespace) -> dict[str, str]:
    """Return policy camera -> camera of the source as chosen. Raises UserError where one is chosen twice."""
    chosen: dict[str, str] = {}
    for name, camera in options.camera:
        if name in chosen:
            raise UserError(f"the {name} camera is given twice; name one of the source's cameras for it")
        chosen[name] = camera
    return chosen


def add_source_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `sources` that decide what a run would read."""
    add_camera_option(parser)
    _add_turned(parser)


def add_camera_option(parser: argparse._ActionsContainer) -> None:
    """Add the option that names the source's camera for a slot of the policy."""
    parser.add_argument(
        "--camera",
        metavar="NAME=SOURCE",
        action="append",
        default=[],
        type=option_values.camera,
        help="which of the source's cameras is the policy's NAME, such as exterior=ext2; may be repeated",
    )


def _add_turned(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--turned",
        choices=("yes", "no"),
        help="whether to turn the pictures by 180 degrees first, as LIBERO's have to be (as the source says)",
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
