"""Parser of the command line of pi0-export. No Qt."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, get_args

from capture import __version__
from viewer.analysis.heads_wall import MOST_HEADS
from viewer.analysis.initial_view import parse_view
from viewer.analysis.scores import SCORES, find_score
from viewer.errors import UserError
from viewer.export import metadata
from viewer.export.arguments import ExportArguments
from viewer.export.request import FORMATS, KINDS, NUMBERS, OVER, SIZES, Phase, TableUnit
from viewer.export.runs import run_command
from viewer.file_argument import file_location
from viewer.model.view_state import FROM_EFFECTS, SHARED_RANGES, ColorMap, Measure, Picture, Reduction, Scale, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST_DIGITS: Final = 9
"""Of the number of an action dimension."""
TITLES = {
    "summary": "pictures beside their heatmaps, heads combined: one figure per layer",
    "heads": "each head alone, beside the pictures: one figure per head",
    "wall": "every head of a layer, or the best of all, as overlays on one scale, sorted by a score",
    "atlas": "every layer and head with its score",
    "film": "thumbnails over layers, layers x denoise steps, frames, or layers x frames",
    "curves": "attention mass of groups of keys over layers, denoise steps or frames",
    "difference": "two views and their difference",
    "video": "a sweep over frames, layers or denoise steps",
    "table": "attention masses and scores of each head, or all maps, one line each",
    "arrays": "maps, attention masses, entropies and measured effects as numpy arrays with named axes",
}
PANES = frozenset({"summary", "heads", "difference", "video"})
"""Kinds that show what the window's camera panes show."""
RANGES = {
    "uniform": "one for all maps, from 1 x uniform, the default",
    "shared": "one for all maps, from 0",
    "map": "one per camera",
    "set": "one for all figures",
}
OVERVIEW = """\
pi0-export KIND -h lists the options of a kind. Most kinds have these:
  --words TEXT, --actions N    whose attention is shown; all of the prompt, and all actions, without
  --frames N, --layers N, --steps N, --heads N
                               numbers of the file, from 0: 4,10,15-17 or all or last
  --view JSON                  start from a view: “Copy view as command” in the window, or a figure’s file
  --format FORMAT              png, jpg, pdf or svg for figures; mp4, gif or webp; csv or parquet
  -o FOLDER, --overwrite       where to write; nothing is replaced without --overwrite

examples:
  pi0-export summary demo.h5 -o figures/ --words ball
  pi0-export wall demo.h5 -o figures/ --words ball --heads-of best --format pdf
  pi0-export video demo.h5 -o figures/ --over frames --actions 0
  pi0-export table demo.h5 -o figures/ --frames all --words ball"""
EPILOG = """Frames, actions, layers, heads and denoise steps carry their numbers in the file, from 0, here as in the
window and in every file written: --frames 0 is the first frame. Lists are written 4,10,15-17 or all or last. Each word
or list after --words, --actions and --tokens is a query of its own; “yellow duck” in quotes is one query of two
words."""


class ExportParser(argparse.ArgumentParser):
    """A parser that raises UserError with one sentence instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        """Raise UserError."""
        raise UserError(f"{message}; {self.prog} -h lists the options.")

    def format_help(self) -> str:
        """Return the help, which explains each column of a table and each array too."""
        kind = self.prog.rpartition(" ")[2]
        if kind not in NUMBERS:
            return super().format_help()
        from viewer.export import arrays, tables  # here, for they take long to import

        columns = self._get_formatter()
        columns.start_section(
            "columns; nan is null in Parquet"
            if kind == "table"
            else "arrays; those of effects where some were measured"
        )
        described = tables.describe_columns() if kind == "table" else arrays.describe_arrays()
        for name, description in described.items():
            columns.add_argument(argparse.Action((), "", metavar=name, help=description.replace("%", "%%")))
        columns.end_section()
        return f"{super().format_help()}\n{columns.format_help()}"


def create_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = ExportParser("pi0-export", description="Figures, video and tables out of a results file.",
                          epilog=OVERVIEW, formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("--version", action="version", version=f"pi0-export {__version__}")
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind in KINDS:
        # No abbreviations: a summary would take --over, which it lacks, for --overwrite.
        sub = kinds.add_parser(kind, help=TITLES[kind], description=TITLES[kind].capitalize() + ".", epilog=EPILOG,
                               allow_abbrev=False)  # fmt: skip
        run = ", or a run: a folder of them or its index.json" if kind == "table" else ""
        sub.add_argument(
            "file", type=file_location, help=f"results file (.h5) that pi0-capture wrote, or its address{run}"
        )
        sub.add_argument("-o", dest="folder", type=Path, default=Path("results"), metavar="FOLDER",
                         help="where to write; a folder named after the file is made in it (results)")  # fmt: skip
        sub.add_argument("--overwrite", action="store_true", help="replace files that exist")
        _add_selection(sub, kind)
        if kind in FORMATS and len(FORMATS[kind]) > 1:
            sub.add_argument("--format", choices=FORMATS[kind], default="", help=f"{FORMATS[kind][0]} by default")
        if kind == "table":
            sub.add_argument("--of", dest="table_of", choices=get_args(TableUnit), default="rows",
                             help="a line for each head's row of attention (rows), for each patch of its maps (maps), "
                             "or for each patch, word and target whose effect was measured, with all action dimensions "
                             "together and each by itself (effects)")  # fmt: skip
            sub.add_argument("--dim", type=_parse_dim, default=None, metavar="N|all",
                             help="of --of maps and effects: the one action dimension whose effect and gradient are "
                             "written")  # fmt: skip
        if kind not in NUMBERS:
            _add_appearance(sub, kind)
    answers = kinds.add_parser(
        run_command.KIND,
        help=run_command.TITLE,
        description=run_command.TITLE.capitalize() + ".",
        epilog=run_command.EPILOG,
        allow_abbrev=False,
    )
    run_command.add_arguments(answers)
    return parser


def _add_selection(sub: argparse.ArgumentParser, kind: str) -> None:
    """Add the options that choose what is exported; their order is that of the help."""
    group = sub.add_argument_group("selection", "the default stands after the semicolon")
    group.add_argument("--view", default="", metavar="JSON",
                       help="start from a view: “Copy view as command” in the window, or a figure’s file")  # fmt: skip
    group.add_argument("--effects", nargs="+", type=Path, default=(), metavar="FILE",
                       help="effects files about it; those beside it (NAME.effects.h5) are found")  # fmt: skip
    _add_queries(group, kind)
    _add_axes(group, kind)
    _add_measure(group, kind)
    if kind in OVER:
        group.add_argument("--over", choices=OVER[kind], default="", help=f"the axis; {OVER[kind][0]} by default"
                           + ("; steps have every layer too" if kind == "film" else ""))  # fmt: skip
    _add_score(group, kind)
    if kind == "table":
        _add_run(group)
    if kind in {"difference", "video", "summary"}:
        group.add_argument("--against", nargs="+", default=(), metavar="FIELD=VALUE",
                           help="subtract the same view with another frame=, word=, action=, step=, layer=, "
                           "head= or reduce=; of effects frame=, action= or dim=")  # fmt: skip
        group.add_argument("--other", type=file_location, metavar="FILE", help="subtract the same view of another file")


def _add_queries(group: argparse._ArgumentGroup, kind: str) -> None:
    """Add the options that choose words and actions."""
    group.add_argument("--phase", dest="phases", nargs="+", choices=get_args(Phase), default=(),
                       help="words (prefix) or actions (suffix); both by default")  # fmt: skip
    is_numbers = kind in NUMBERS
    words = "each word of the text" if is_numbers else "all of the prompt together"
    actions = "each action" if is_numbers else "all of them together"
    group.add_argument("--words", nargs="+", default=(), metavar="TEXT", help=f"queries: words; {words}")
    group.add_argument(
        "--tokens", nargs="+", default=(), metavar="N", help="the same by the file’s text tokens, from 0"
    )
    group.add_argument("--actions", nargs="+", default=(), metavar="N", help=f"queries: actions; {actions}")


def _add_axes(group: argparse._ArgumentGroup, kind: str) -> None:
    """Add the options that choose frames, denoise steps, layers and heads."""
    is_numbers, along = kind in NUMBERS, OVER.get(kind, ("",))[0]
    frames = "all" if along == "frames" else "the first"
    steps = "all" if is_numbers or along == "steps" else "the last"
    group.add_argument("--frames", "--frame", default="", metavar="N", help=f"frames; {frames}")
    group.add_argument("--steps", "--step", default="", metavar="N", help=f"denoise steps; {steps}")
    if kind != "atlas":
        has_all_layers = is_numbers or kind in {"summary", "heads"} or along == "layers"
        layers = "all" if has_all_layers else "the one at two thirds of the depth"
        group.add_argument("--layers", "--layer", default="", metavar="N", help=f"layers; {layers}")
        if kind != "wall":
            group.add_argument("--heads", "--head", default="", metavar="N", help="heads; all of them")
    if kind not in {"heads", "wall", "atlas", "curves", "table", "arrays"}:
        group.add_argument("--reduce", nargs="+", choices=get_args(Reduction), default=(), help="mean or max of heads")


def _add_measure(group: argparse._ArgumentGroup, kind: str) -> None:
    """Add the options that choose the measure, its unit and the keys that are left out."""
    if kind in {*PANES, "wall", "film"}:
        measured = ("; over frames also the effect or gradient, where an effects file has maps" if kind in OVER else
                    "" if kind in {"heads", "wall"} else
                    ", or the effect or gradient where an effects file has maps")  # fmt: skip
        group.add_argument("--measure", choices=get_args(Measure), default=None,
                           metavar="{weight,contribution}" if kind in {"heads", "wall"} else None,
                           help=f"the weight, or weight x value norm where the file has norms{measured}")  # fmt: skip
        if kind not in {"heads", "wall"}:
            group.add_argument("--dim", type=_parse_dim, default=None, metavar="N|all",
                               help="the action dimension whose effect or gradient is shown; all: the root mean square "
                               "of the effects, or the mean of the gradients that were measured")  # fmt: skip
    if kind in {*PANES, "wall"}:
        group.add_argument("--unit", choices=get_args(Unit), default=None, help="the weight, or times uniform")
        group.add_argument("--leave-out", dest="left_out", nargs="+", default=(), metavar="GROUP",
                           help="groups of keys that are left out before the row is normalised again: bos, prompt, "
                           "state, bars, a camera’s name ...; sinks for bos, newline and bars; none")  # fmt: skip


def _add_score(group: argparse._ArgumentGroup, kind: str) -> None:
    """Add the options that choose the score of the heads, and the region that it is of."""
    if kind == "wall":
        group.add_argument("--heads-of", dest="wall", choices=("layer", "best"), default=None,
                           help=f"the heads of the layer, or the best {MOST_HEADS} of all; layer")  # fmt: skip
    if kind in {"wall", "atlas"}:
        purpose = "what a cell shows" if kind == "atlas" else "what the heads are sorted by"
        group.add_argument("--score", choices=tuple(SCORES), default=None, help=f"{purpose}; picture mass, or "
                           "lift where there is a --region")  # fmt: skip
    if kind == "atlas":
        group.add_argument("--thumbnails", action=argparse.BooleanOptionalAction, default=None,
                           help="a thumbnail in each cell instead of a number")  # fmt: skip
    if kind in {"wall", "atlas", "table"}:
        group.add_argument("--region", nargs="+", default=(), metavar="BOX|NAME",
                           help="what is scored: boxes of patches, such as exterior:4-7,8-11 (rows, then columns, from "
                           "0 at the top left), or regions that pi0-regions made, such as duck, wherever they are in "
                           "each frame")  # fmt: skip
        group.add_argument("--regions", type=Path, metavar="FILE", default=None,
                           help="where named regions are looked up (default: RESULTS.regions.h5)")  # fmt: skip


def _add_run(group: argparse._ArgumentGroup) -> None:
    """Add the options of the tables of a run."""
    group.add_argument("--objects", type=Path, metavar="FILE", default=None,
                       help='what "{object}" in --words and --region stands for: JSON or YAML that maps a prompt '
                       "to words of it (default: the named region that the prompt mentions)")  # fmt: skip
    group.add_argument("--share", default="", metavar="3/8",
                       help="of a run: export every eighth episode, from the third; torchrun, srun and SLURM "
                       "arrays are heeded without it")  # fmt: skip
    group.add_argument("--processes", type=int, default=0, metavar="N",
                       help="of a run: how many export at once; one per core")  # fmt: skip


def _add_appearance(sub: argparse.ArgumentParser, kind: str) -> None:
    group = sub.add_argument_group("appearance")
    if kind != "curves":
        group.add_argument("--colours", choices=get_args(ColorMap), default=None, help="colour map")
    if kind not in {"curves", "atlas"}:
        ranges = ", ".join(f"{name} ({RANGES[name]})" for name in color_ranges(kind))
        group.add_argument("--range", default="", metavar="RANGE", help=f"of the colours: {ranges}, or LOW:HIGH")
    if kind in {*PANES, "wall"}:
        group.add_argument("--colour-scale", choices=get_args(Scale), default=None,
                           help="from weights to colours: linear, over three decades, or by rank")  # fmt: skip
    if kind in {"summary", "wall", "difference", "video"}:
        group.add_argument("--opacity", type=float, default=None, metavar="PART", help="of the heat, 0 to 1")
    if kind in {"summary", "difference", "video"}:
        group.add_argument("--grid", action=argparse.BooleanOptionalAction, default=None, help="edges of patches")
    if kind in {*PANES, "wall"}:
        group.add_argument("--picture", choices=get_args(Picture), default=None,
                           help="the camera's own, or what the model saw")  # fmt: skip
    if kind in PANES:
        group.add_argument(
            "--smooth", action=argparse.BooleanOptionalAction, default=None, help="bilinear, not nearest"
        )
    group.add_argument("--size", type=int, default=0, metavar="PX",
                       help=f"width of a picture, cell, thumbnail or plot ({SIZES[kind]})")  # fmt: skip
    group.add_argument("--scale", type=float, default=0.0, metavar="N", help="pixels per px, for PNG, JPG and video")
    group.add_argument("--theme", choices=("light", "dark"), default="light", help="colours of the page")
    group.add_argument("--caption", action=argparse.BooleanOptionalAction, default=True,
                       help="caption and colour bar under a figure")  # fmt: skip
    if kind == "video":
        group.add_argument("--rate", type=float, default=4.0, metavar="FPS", help="pictures per second (4)")
    else:
        group.add_argument("--processes", type=int, default=0, metavar="N", help="how many paint at once; one per core")


def _parse_dim(text: str) -> int | Literal["all"]:
    """Return the number of an action dimension, or `all`."""
    if text == "all":
        return "all"
    if text.isascii() and text.isdigit() and len(text) < MOST_DIGITS:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no action dimension; take a number from 0, or all")


def parse_arguments(words: Sequence[str]) -> ExportArguments:
    """Read a command line.

    Raises:
        UserError: It cannot be read.
    """
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value
        for name, value in vars(create_parser().parse_args(words)).items()
    }
    values["format"] = values.get("format") or FORMATS[values["kind"]][0]
    view_text = values.pop("view")
    if view_text:
        view_text = metadata.read_view_json(view_text)
        values["view"] = parse_view(view_text)
    arguments = ExportArguments(**values)
    check_values(arguments)
    return _add_file_of_view(arguments, view_text)


def _add_file_of_view(arguments: ExportArguments, view_text: str) -> ExportArguments:
    """Return the arguments with the file that their view subtracts, unless another comparison is named."""
    if not view_text or arguments.other or arguments.against:
        return arguments
    name = metadata.read_second_file(view_text)
    if not name or arguments.kind not in {"summary", "difference", "video"}:
        return arguments
    other = metadata.find_second_file(arguments.file, name, "add --other and where it is")
    return replace(arguments, other=other)


def color_ranges(kind: str) -> tuple[str, ...]:
    """Return the choices of --range that a kind has, besides numbers."""
    ranges_by_kind = {"film": ("shared",), "video": (*SHARED_RANGES, "map"), "wall": SHARED_RANGES}
    return ranges_by_kind.get(kind, tuple(RANGES))


def check_values(arguments: ExportArguments) -> None:
    """Raise UserError for values that no file can make sense of."""
    if arguments.range in RANGES and arguments.range not in color_ranges(arguments.kind):
        raise UserError(
            f"--range {arguments.range} is nothing for a {arguments.kind}; take "
            f"{' or '.join(color_ranges(arguments.kind))}, or numbers as in 0:0.03."
        )
    if arguments.region and arguments.thumbnails:
        raise UserError("Small maps are not about a region; drop --thumbnails or --region.")
    if arguments.region and arguments.score is not None and not find_score(arguments.score).needs_region:
        *names, last = (score.name for score in SCORES.values() if score.needs_region)
        raise UserError(f"The score “{arguments.score}” is not about a region; take {', '.join(names)} or {last}, or "
                        "drop --region.")  # fmt: skip
    if arguments.kind == "table":
        _check_table(arguments)
    is_shown = (
        arguments.kind == "table"
        or arguments.measure in FROM_EFFECTS
        or (arguments.measure is None and arguments.view is not None and arguments.view.measure in FROM_EFFECTS)
    )
    if arguments.dim is not None and not is_shown:
        raise UserError(f"--dim {arguments.dim} is a dimension of effects or gradients; add --measure effect or "
                        "--measure gradient.")  # fmt: skip
    if arguments.size and not 8 <= arguments.size <= 8000:
        raise UserError(f"--size {arguments.size} cannot be; take a width between 8 and 8000 px.")
    if arguments.scale and not 0.1 <= arguments.scale <= 16:
        raise UserError(f"--scale {arguments.scale:g} cannot be; take a number between 0.1 and 16.")
    if arguments.opacity is not None and not 0 <= arguments.opacity <= 1:
        raise UserError(f"--opacity {arguments.opacity:g} cannot be; take a number between 0 and 1.")
    if not 0.1 <= arguments.rate <= 120:
        raise UserError(f"--rate {arguments.rate:g} cannot be; take between 0.1 and 120 pictures a second.")
    if not 0 <= arguments.processes <= 256:
        raise UserError(f"--processes {arguments.processes} cannot be; take between 1 and 256.")


def _check_table(arguments: ExportArguments) -> None:
    """Raise UserError for options that a table does not have."""
    if arguments.dim is not None and arguments.table_of == "rows":
        raise UserError(f"--dim {arguments.dim} is a dimension of effects or gradients, and no head’s row has one; add "
                        "--of effects or --of maps.")  # fmt: skip
    if not arguments.is_table_of_effects:
        return
    for name in ("layers", "steps", "heads", "words", "tokens"):
        if getattr(arguments, name):
            scope = "of actions" if name in {"words", "tokens"} else f"of no {name.removesuffix('s')}"
            raise UserError(f"Effects are {scope}; leave out --{name}, or take --of rows or maps.")
    if "prefix" in arguments.phases:
        raise UserError("Effects are of actions; leave out --phase prefix, or take --of rows or maps.")
