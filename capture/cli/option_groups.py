"""Groups of options that several commands of pi0-capture have, and the values that they stand for."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Final, NoReturn

from capture.cli import option_values
from capture.errors import UserError

DTYPES: Final = ("float32", "bfloat16")
NO_GRAPHS_HELP: Final = "launch a GPU's work piece by piece, not as CUDA graphs: slower, less memory, the same numbers"
DEVICE_HELP: Final = "cpu, cuda, cuda:1 …; cuda where there is one"


class Parser(argparse.ArgumentParser):
    """Argument parser that reports an invalid option in one sentence."""

    def error(self, message: str) -> NoReturn:
        """Print the message and exit with code 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} -h\n")


def add_store_options(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """Add the options that say what of a recorded call is stored, and return their group."""
    kept = parser.add_argument_group("what to keep")
    kept.add_argument(
        "--layers", metavar="LIST", type=option_values.parse_numbers, help="layers, from 0: 4,10,15-17 (all)"
    )
    kept.add_argument(
        "--steps", metavar="LIST", type=option_values.parse_numbers, help="denoise steps, from 0: 0,5,9 (all)"
    )
    kept.add_argument("--full", action="store_true", help="also the rows of image patches (84 MB a frame more)")
    kept.add_argument(
        "--keep",
        metavar="WHAT",
        type=option_values.parse_kept_maps,
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
    policy.add_argument("--horizon", metavar="N", type=option_values.parse_size, help="actions in a chunk")
    policy.add_argument(
        "--denoise-steps", metavar="N", type=option_values.parse_size, help="denoise steps to take (10)"
    )
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
        type=option_values.parse_relative_actions,
        help="actions that are predicted relative to the state, as openpi's make_bool_mask counts them: 7,-1; or none",
    )
    policy.add_argument(
        "--base", metavar="FOLDER", help="the policy that a LoRA adapter was trained on, instead of the one it names"
    )
    policy.add_argument(
        "--lora-alpha",
        metavar="NUMBER",
        type=option_values.parse_alpha,
        help="alpha of LoRA adapters, whose scale is alpha / rank",
    )
    policy.add_argument("--asset", metavar="ID", help="which of the checkpoint's assets, where it has several")
    policy.add_argument("--tokenizer", metavar="FILE", type=Path, help="paligemma_tokenizer.model or tokenizer.json")
    policy.add_argument(
        "--sizes", metavar="FILE", type=Path, help="JSON with sizes that weights do not tell, such as SigLIP's heads"
    )
    policy.add_argument(
        "--cameras", metavar="NAMES", type=option_values.parse_names, help="names of its camera slots, in order"
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
        type=option_values.parse_camera,
        help="which of the source's cameras is the policy's NAME, such as exterior=ext2; may be repeated",
    )


def _add_turned(parser: argparse._ActionsContainer) -> None:
    parser.add_argument(
        "--turned",
        choices=("yes", "no"),
        help="whether to turn the pictures by 180 degrees first, as LIBERO's have to be (as the source says)",
    )
