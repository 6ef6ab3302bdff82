"""Options of `pi0-capture effects`, and of `--effects` on a capture."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path
from typing import Final

from capture.cli.option_groups import DEVICE_HELP, DTYPES, Parser, add_policy_options
from capture.cli.option_values import parse_numbers, parse_whole_number
from capture.errors import UserError

MODES: Final = ("knockout", "occlude", "random-masks")
FILLS: Final = ("mean", "grey", "blur", "inpaint")

EXAMPLES = """\
examples:
  pi0-capture effects demo.h5 --frames 6 --region exterior:7-8,8-11 --words duck
  pi0-capture effects duck.h5 --checkpoint pi05_droid/ --frames 0,8 --map 2 --layers 0-8
  pi0-capture effects duck.h5 --checkpoint pi05_droid/ --regions regions.json --mode occlude --fill inpaint
  pi0-capture effects duck.h5 --checkpoint pi05_droid/ --map 2 --curves --heads actions words

Give the options for the policy that the capture had. Frames, layers, heads, rows and columns are counted from 0.
Of the folder of a run, files that were measured before are skipped, and those that another run is writing are left to
it: exit code 1 then says that the command has to be repeated.
"""


def build_parser(name: str) -> argparse.ArgumentParser:
    """Return the parser of `pi0-capture effects`."""
    parser = Parser(
        prog=f"{name} effects",
        usage=f"{name} effects FILE [--checkpoint FOLDER] (--region … | --words … | --map N | --heads …) [options]",
        description="Repeat calls of a results file with something taken away, and write how much the actions change:\n"
        "for regions, words, heads, or every patch, as multiples of the sampler's noise, beside random controls.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a results file of pi0-capture, or the folder of a run")
    parser.add_argument("--checkpoint", metavar="FOLDER", help="its policy; a file of the demo policy needs none")
    add_measures(parser)
    add_policy_options(parser)
    run = parser.add_argument_group("where to")
    run.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    run.add_argument("--dtype", choices=DTYPES, help="number type of the policy (the file's)")
    run.add_argument("-o", "--output", metavar="FILE", type=Path, help="the effects file (FILE.effects.h5 beside FILE)")
    run.add_argument("--share", metavar="I/N", help="of a folder's files, those of part I of N, from 1; torchrun, srun "
        "and SLURM arrays say it themselves",
    )  # fmt: skip
    run.add_argument("--overwrite", action="store_true", help="begin anew and replace an effects file that there is")
    run.add_argument("--dry-run", action="store_true", help="say what would be run and about how long, and stop")
    run.add_argument("--progress-lines", action="store_true", help="write progress as lines of JSON, for programs")
    return parser


def add_measures(parser: argparse.ArgumentParser) -> None:
    """Add the options for what is measured, and how."""
    _add_target_options(parser.add_argument_group("what to take away"))
    _add_method_options(parser.add_argument_group("how to take it away"))


def _add_target_options(group: argparse._ArgumentGroup) -> None:
    """Add the options that name targets of interventions, or what else is measured."""
    group.add_argument(
        "--region", metavar="CAMERA:ROWS,COLS", action="append", default=[],
        help="a box of patches, such as exterior:7-8,8-11; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--regions",
        metavar="FILE",
        type=Path,
        help='named regions: JSON, {"duck": ["exterior:7-8,8-11", …], …}, or what pi0-regions made (duck.regions.h5), '
        "where they are in each frame",
    )
    group.add_argument(
        "--words", metavar="WORD", nargs="+", default=[],
        help="words of the prompt; with --from all as if left out, with all other words in their places",
    )  # fmt: skip
    group.add_argument(
        "--replace", metavar="WORD=OTHER", action="append", default=[], type=_parse_replacement,
        help="another word in the place of one of the prompt's; may be repeated",
    )  # fmt: skip
    group.add_argument(
        "--map",
        metavar="N",
        type=_parse_block,
        help="every block of N x N patches in turn: an effect map, and how far each head's attention agrees with it",
    )
    group.add_argument(
        "--curves",
        metavar="N",
        nargs="?",
        type=_parse_curves,
        const=8,
        help="with --map: deletion and insertion of blocks "
        "in the order of each head's attention, in N steps (8), against random orders",
    )
    group.add_argument(
        "--heads", choices=("actions", "words"), nargs="+", default=[],
        help="every head as a whole, one at a time: of the action expert, of the language model, or of both",
    )  # fmt: skip
    group.add_argument(
        "--gradient",
        metavar="LIST",
        type=parse_numbers,
        default=(),
        help="attention weighted by the gradient of these "
        "action dimensions, such as 0,2 (takes nothing away; with --map its agreement with the effects)",
    )


def _add_method_options(group: argparse._ArgumentGroup) -> None:
    """Add the options for the intervention, what it is compared with, and on which frames."""
    group.add_argument(
        "--mode", choices=MODES, default="knockout",
        help="cut attention edges to it, cover it in the picture before the vision tower, or, for a map, cover random "
        "halves of the blocks and regress the effects on them (knockout)",
    )  # fmt: skip
    group.add_argument(
        "--from", dest="queries", choices=("actions", "words", "patches", "all"),
        help="knockout: whose edges to it are cut (actions, to which the words then still pass on what they see)",
    )  # fmt: skip
    group.add_argument("--layers", metavar="LIST", type=parse_numbers, help="knockout: in these layers (all)")
    group.add_argument("--in-heads", metavar="LIST", type=parse_numbers, help="knockout: in these heads (all)")
    group.add_argument(
        "--fill", metavar="|".join((*FILLS, "frame:N")), type=_parse_fill,
        help="what covers it: the mean colour of the rest, grey, the blurred picture, what is inpainted from around "
        "it, or the pixels of frame N of the file (mean)",
    )  # fmt: skip
    group.add_argument("--masks", metavar="N", type=_parse_masks, help="random masks (256)")
    group.add_argument(
        "--controls", metavar="N", type=_parse_controls, help="random regions to compare with a region, and random "
        "orders to compare curves with (20)",
    )  # fmt: skip
    group.add_argument(
        "--seeds", metavar="N", type=_parse_seeds, default=16, help="other noises, for the noise floor (16)"
    )
    group.add_argument("--frames", metavar="LIST", type=parse_numbers, help="frames of the file, from 0 (all)")
    group.add_argument("--batch", metavar="N", type=_parse_block, help="interventions to run at once (16; 64 on a GPU)")


def check_measures(options: argparse.Namespace) -> None:
    """Raise UserError where nothing is to be measured, and for options that do nothing together; fill in defaults."""
    if not (
        options.region
        or options.regions
        or options.words
        or options.replace
        or options.map
        or options.heads
        or options.gradient
    ):
        raise UserError(
            "nothing to measure was named; give --region, --regions, --words, --replace, --map, --heads or --gradient"
        )
    if options.mode != "knockout":
        for option, value in (("from", options.queries), ("layers", options.layers), ("in-heads", options.in_heads)):
            if value is not None:
                raise UserError(f"--{option} is about attention edges; leave it out with --mode {options.mode}")
        if options.words:
            raise UserError(f"a word cannot be covered in a picture; leave --mode {options.mode} out for --words")
    elif options.fill is not None:
        raise UserError("--fill says what covers a picture; it needs --mode occlude or random-masks")
    if options.mode == "random-masks":
        if options.map is None or options.region or options.regions:
            raise UserError("--mode random-masks makes a map; it needs --map, and neither --region nor --regions")
        options.masks = 256 if options.masks is None else options.masks
    elif options.masks is not None:
        raise UserError("--masks is the number of random masks; it needs --mode random-masks")
    if options.curves is not None and options.map is None:
        raise UserError("--curves takes away the blocks of a map; it needs --map")
    if options.controls is not None and not (options.region or options.regions or options.curves):
        raise UserError(
            "--controls are random regions, or random orders, to compare with; it needs --region, --regions or --curves"
        )
    options.controls = 20 if options.controls is None else options.controls
    options.heads = sorted(set(options.heads))
    if options.heads and not (options.region or options.regions or options.words or options.map):
        for option, value in (("from", options.queries), ("layers", options.layers), ("in-heads", options.in_heads)):
            if value is not None:
                raise UserError(f"--heads silences every head, one at a time; leave --{option} out")


def parse_measures(text: str) -> argparse.Namespace:
    """Return the measures of `--effects "--map 2 --words duck"`. Raises UserError for what they cannot be."""
    parser = Parser(prog="--effects", add_help=False, allow_abbrev=False, exit_on_error=False)
    add_measures(parser)
    try:
        words = shlex.split(text)
        options, unknown = parser.parse_known_args(words)
    except (ValueError, argparse.ArgumentError) as error:
        raise UserError(f"--effects: {error}; see pi0-capture effects -h") from None
    if unknown:
        raise UserError(f"--effects {unknown[0]!r} says nothing about what to measure; see pi0-capture effects -h")
    check_measures(options)
    return options


def _parse_block(text: str) -> int:
    return parse_whole_number(text, 1, 1_024)


def _parse_controls(text: str) -> int:
    return parse_whole_number(text, 0, 10_000)


def _parse_seeds(text: str) -> int:
    return parse_whole_number(text, 3, 10_000)


def _parse_curves(text: str) -> int:
    return parse_whole_number(text, 2, 1_000)


def _parse_masks(text: str) -> int:
    return parse_whole_number(text, 8, 100_000)


def _parse_fill(text: str) -> tuple[str, int | None]:
    """Return a filling and its frame: (`blur`, None) for `blur`, (`frame`, 3) for `frame:3`."""
    if text in FILLS:
        return text, None
    name, colon, number = text.partition(":")
    if name != "frame" or not colon:
        raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(FILLS)} and frame:N, such as frame:3")
    return name, parse_whole_number(number, 0, 999_999)


def fill_text(fill: tuple[str, int | None] | None) -> str:
    """Return a fill as it is written on the command line."""
    if fill is None:
        return "mean"
    return fill[0] if fill[1] is None else f"{fill[0]}:{fill[1]}"


def _parse_replacement(text: str) -> tuple[str, str]:
    word, equals, other = (part.strip() for part in text.partition("="))
    if not (word and equals and other):
        raise argparse.ArgumentTypeError(f"{text!r} is not WORD=OTHER, such as duck=mug")
    return word, other
