"""Command line of pi0-export: from words to options. No Qt."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from capture import __version__
from viewer.analysis.initial_view import parse_view
from viewer.analysis.scores import SCORES, find_score
from viewer.errors import UserError
from viewer.export import metadata
from viewer.export.request import FORMATS, KINDS, LINES, OVER, SIZES, Options, Phase
from viewer.model.view_state import ColourMap, Measure, Picture, Reduction, Scale, Unit

if TYPE_CHECKING:
    from collections.abc import Sequence

TITLES = {
    "summary": "pictures beside their overlays, heads put together: one figure a layer",
    "heads": "each head by itself beside the pictures: one figure a head",
    "atlas": "every layer and head with its score",
    "film": "thumbnails over layers, layers x denoise steps, frames, or layers x frames",
    "curves": "where the weight goes, over layers, denoise steps or frames",
    "difference": "two views and what differs between them",
    "video": "a sweep over frames, layers or denoise steps",
    "table": "masses, entropies and scores, or all maps, a line each",
    "arrays": "maps, masses and entropies as numpy arrays with named axes",
}
PANES = frozenset({"summary", "heads", "difference", "video"})
"""Kinds that show what the window's camera panes show."""
RANGES = {"shared": "one for all maps, the usual", "map": "one a camera", "set": "one for all figures of this run"}
EPILOG = """Layers, heads and denoise steps carry the file's numbers, from 0; frames and actions are counted from 1, as
in the window. Lists are written 4,10,15-17 or all or last. Each word or list after --words, --actions and --tokens is a
query of its own; “yellow duck” in quotes is one query of two words."""


class Parser(argparse.ArgumentParser):
    """Says in one sentence what cannot be read, and lets the caller end the program."""

    def error(self, message: str) -> NoReturn:
        """UserError in place of the end of the program."""
        raise UserError(f"{message}; {self.prog} -h lists the options.")

    def format_help(self) -> str:
        """The options; for a table the meaning of each column too."""
        if not self.prog.endswith(" table"):
            return super().format_help()
        from viewer.export import tables  # not sooner: it takes its time

        made = self._get_formatter()
        made.start_section("columns")
        for name, about in tables.describe_columns().items():
            made.add_argument(argparse.Action((), "", metavar=name, help=about.replace("%", "%%")))
        made.end_section()
        return f"{super().format_help()}\n{made.format_help()}"


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = Parser("pi0-export", description="Figures, video and tables out of a results file.")
    made.add_argument("--version", action="version", version=f"pi0-export {__version__}")
    kinds = made.add_subparsers(dest="kind", required=True, metavar="KIND")
    for kind in KINDS:
        # Not abbreviated: --over, which a summary lacks, would be --overwrite.
        sub = kinds.add_parser(kind, help=TITLES[kind], description=TITLES[kind].capitalize() + ".", epilog=EPILOG,
                               allow_abbrev=False)  # fmt: skip
        sub.add_argument("file", type=Path, help="results file (.h5) that pi0-capture wrote")
        sub.add_argument("-o", dest="folder", type=Path, default=Path("results"), metavar="FOLDER",
                         help="where to write; a folder named after the file is made in it (results)")  # fmt: skip
        sub.add_argument("--overwrite", action="store_true", help="replace files that exist")
        _selection(sub, kind)
        if kind in FORMATS and len(FORMATS[kind]) > 1:
            sub.add_argument("--format", choices=FORMATS[kind], default="", help=f"{FORMATS[kind][0]} by default")
        if kind == "table":
            sub.add_argument("--of", dest="lines", choices=LINES, default="rows",
                             help="a line for each head's row of attention, or for each patch of its maps")  # fmt: skip
        if kind not in {"table", "arrays"}:
            _look(sub, kind)
    return made


def _selection(sub: argparse.ArgumentParser, kind: str) -> None:
    group = sub.add_argument_group("what", "where nothing is asked for, what stands after the semicolon is taken")
    along = OVER.get(kind, ("",))[0]
    group.add_argument("--view", default="", metavar="JSON",
                       help="start from a view: “Copy view as command” in the window, or a figure’s file")  # fmt: skip
    group.add_argument("--phase", dest="phases", nargs="+", choices=get_args(Phase), default=(),
                       help="words (prefix) or actions (suffix); both by default")  # fmt: skip
    numbers = kind in {"table", "arrays"}
    words = "each word of the text" if numbers else "all of the prompt together"
    actions = "each action" if numbers else "all of them together"
    group.add_argument("--words", nargs="+", default=(), metavar="TEXT", help=f"words that look; {words}")
    group.add_argument(
        "--tokens", nargs="+", default=(), metavar="N", help="the same by the file’s text tokens, from 0"
    )
    group.add_argument("--actions", nargs="+", default=(), metavar="N", help=f"actions that look; {actions}")
    usual = {
        axis: "all" if axis == along else first for axis, first in (("frames", "the first"), ("steps", "the last"))
    }
    group.add_argument("--frames", "--frame", default="", metavar="N", help=f"frames; {usual['frames']}")
    group.add_argument("--steps", "--step", default="", metavar="N",
                       help=f"denoise steps; {'all' if numbers else usual['steps']}")  # fmt: skip
    if kind != "atlas":
        every = numbers or kind in {"summary", "heads"} or along == "layers"
        layers = "all" if every else "the one at two thirds of the depth"
        group.add_argument("--layers", "--layer", default="", metavar="N", help=f"layers; {layers}")
        group.add_argument("--heads", "--head", default="", metavar="N", help="heads; all of them")
    if kind not in {"heads", "atlas", "curves", "table", "arrays"}:
        group.add_argument("--reduce", nargs="+", choices=get_args(Reduction), default=(), help="mean or max of heads")
    if kind in {*PANES, "film"}:
        group.add_argument("--measure", choices=get_args(Measure), default=None,
                           help="the weight, or weight x value norm where the file has norms")  # fmt: skip
    if kind in PANES:
        group.add_argument("--unit", choices=get_args(Unit), default=None, help="the weight, or times uniform")
        group.add_argument("--leave-out", dest="left_out", nargs="+", default=(), metavar="GROUP",
                           help="groups of keys that are taken out before the row is normalised again: bos, prompt, "
                           "state, bars, a camera’s name ...; sinks for bos, newline and bars; none")  # fmt: skip
    if kind in OVER:
        group.add_argument("--over", choices=OVER[kind], default="", help=f"the axis; {OVER[kind][0]} by default"
                           + ("; steps have every layer too" if kind == "film" else ""))  # fmt: skip
    if kind == "atlas":
        group.add_argument("--score", choices=tuple(SCORES), default=None, help="what a cell shows; picture mass, or "
                           "lift where there is a --region")  # fmt: skip
        group.add_argument("--thumbnails", action=argparse.BooleanOptionalAction, default=None,
                           help="a small map in each cell instead of a number")  # fmt: skip
    if kind in {"atlas", "table"}:
        group.add_argument("--region", nargs="+", default=(), metavar="CAMERA:ROWS,COLS",
                           help="boxes of patches that scores are about, such as exterior:4-7,8-11: rows 4 to 7 of 0 "
                           "to 15 from the top, columns 8 to 11 from the left")  # fmt: skip
    if kind in {"difference", "video", "summary"}:
        group.add_argument("--against", nargs="+", default=(), metavar="FIELD=VALUE",
                           help="what is subtracted: the same view but for frame=, word=, action=, step=, layer=, "
                           "head= or reduce=")  # fmt: skip
        group.add_argument("--other", type=Path, metavar="FILE", help="subtract the same view of another file")


def _look(sub: argparse.ArgumentParser, kind: str) -> None:
    group = sub.add_argument_group("look")
    if kind != "curves":
        group.add_argument("--colours", choices=get_args(ColourMap), default=None, help="colour map")
    if kind not in {"curves", "atlas"}:
        ranges = ", ".join(f"{name} ({RANGES[name]})" for name in ranges_of(kind))
        group.add_argument("--range", default="", metavar="RANGE", help=f"of the colours: {ranges}, or LOW:HIGH")
    if kind in PANES:
        group.add_argument("--colour-scale", choices=get_args(Scale), default=None,
                           help="from weights to colours: linear, over three decades, or by rank")  # fmt: skip
    if kind in {"summary", "difference", "video"}:
        group.add_argument("--opacity", type=float, default=None, metavar="PART", help="of the heat, 0 to 1")
        group.add_argument("--grid", action=argparse.BooleanOptionalAction, default=None, help="edges of patches")
    if kind in PANES:
        group.add_argument("--picture", choices=get_args(Picture), default=None,
                           help="the camera's own, or what the model saw")  # fmt: skip
        group.add_argument(
            "--smooth", action=argparse.BooleanOptionalAction, default=None, help="bilinear, not nearest"
        )
    group.add_argument("--size", type=int, default=0, metavar="PX",
                       help=f"width of a picture, cell, thumbnail or plot ({SIZES[kind]})")  # fmt: skip
    group.add_argument("--scale", type=float, default=0.0, metavar="N", help="pixels a px, for PNG, JPG and video")
    group.add_argument("--theme", choices=("light", "dark"), default="light", help="colours of the page")
    group.add_argument("--caption", action=argparse.BooleanOptionalAction, default=True,
                       help="the words and the colour bar under a figure")  # fmt: skip
    if kind == "video":
        group.add_argument("--rate", type=float, default=4.0, metavar="FPS", help="pictures a second (4)")
    else:
        group.add_argument("--processes", type=int, default=0, metavar="N", help="how many at once; one a core")


def options(arguments: Sequence[str]) -> Options:
    """Read a command line; UserError where it cannot be read."""
    given = vars(parser().parse_args(arguments))
    values: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
    made = Options(**values)
    check(made)
    return _as_its_view_says(made)


def _as_its_view_says(options: Options) -> Options:
    """The options with the axis of the view that was given and its second file, where no other was asked for."""
    if not options.view:
        return options
    text = metadata.json_of(options.view)
    view = parse_view(text)
    if options.kind in {"summary", "difference", "video"} and not options.other and not options.against:
        name = metadata.other_of(text)
        other = metadata.second_file(options.file, name, "add --other and where it is") if name else None
        return replace(options, other=other)
    if options.kind not in {"film", "curves"} or options.over:
        return options
    along = view.film if options.kind == "film" else view.curve
    if along == "steps":  # words have none
        worded = bool(options.words or options.tokens) or (view.query.kind == "text" and not options.actions)
        if "prefix" in options.phases or (worded and not options.phases):
            return options
    return replace(options, over=along)


def ranges_of(kind: str) -> tuple[str, ...]:
    """The ways of ranging colours that a kind has."""
    return {"film": ("shared",), "video": ("shared", "map")}.get(kind, tuple(RANGES))


def check(options: Options) -> None:
    """UserError for what cannot be meant."""
    if options.range in RANGES and options.range not in ranges_of(options.kind):
        raise UserError(
            f"--range {options.range} is nothing for a {options.kind}; take shared or numbers as in 0:0.03."
        )
    if options.region and options.thumbnails:
        raise UserError("Small maps are not about a region; drop --thumbnails or --region.")
    if options.region and options.score is not None and not find_score(options.score).needs_region:
        *names, last = (score.name for score in SCORES.values() if score.needs_region)
        raise UserError(f"The score “{options.score}” is not about a region; take {', '.join(names)} or {last}, or "
                        "drop --region.")  # fmt: skip
    if options.size and not 8 <= options.size <= 8000:
        raise UserError(f"--size {options.size} cannot be; take a width between 8 and 8000 px.")
    if options.scale and not 0.1 <= options.scale <= 16:
        raise UserError(f"--scale {options.scale:g} cannot be; take a number between 0.1 and 16.")
    if options.opacity is not None and not 0 <= options.opacity <= 1:
        raise UserError(f"--opacity {options.opacity:g} cannot be; take a number between 0 and 1.")
    if not 0.1 <= options.rate <= 120:
        raise UserError(f"--rate {options.rate:g} cannot be; take between 0.1 and 120 pictures a second.")
    if not 0 <= options.processes <= 256:
        raise UserError(f"--processes {options.processes} cannot be; take between 1 and 256.")
