"""Options of pi0-regions. No Qt."""

from __future__ import annotations

import argparse
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from capture import __version__
from viewer.errors import UserError
from viewer.export.masks.mask_export import FORMATS, MaskFormat

if TYPE_CHECKING:
    from collections.abc import Sequence

Verb = Literal["track", "import", "export", "list", "rename", "colour", "remove", "undo"]

_DESCRIPTION: Final = """\
Name regions of the cameras’ pictures, such as the duck, and say in each frame where they are. They are kept beside the
results file (duck.regions.h5 beside duck.h5), where pi0-export finds them: --region duck.
"""
_EXAMPLES: Final = """\
examples:
  pi0-regions track duck.h5 duck=exterior:7-8,8-11@0        follow a box of patches, drawn in frame 0
  pi0-regions track duck.h5 duck=exterior:6-8,9-11@40       correct it in frame 40 and go on from there, both ways
  pi0-regions import duck.h5 masks/                         label pictures: exterior/000012.png, labels.json
  pi0-regions import duck.h5 instances.json                 COCO: polygons or run lengths
  pi0-regions import duck.h5 demo.hdf5:data/demo_0/obs/agentview_segmentation_instance --camera agentview --names 3=duck
  pi0-regions list duck.h5                                  what is known of which region in which frames
  pi0-regions export duck.h5 --format coco -o duck.json
  pi0-regions rename duck.h5 duck "yellow duck"
  pi0-regions undo duck.h5                                  as before the last change
  pi0-regions remove duck.h5 duck=exterior@20-39            forget these frames; duck alone forgets the region

Rows, columns, frames and labels are counted from 0; label 0 is nothing.
Ctrl-C stops tracking and keeps what is tracked.
"""


@dataclass(frozen=True)
class DrawnBox:
    """A box of patches that a person drew: `duck=exterior:7-8,8-11@0`."""

    name: str
    box: str
    """`exterior:7-8,8-11`"""
    frame: int


@dataclass(frozen=True)
class RegionsArguments:
    """Options of the command line of pi0-regions."""

    verb: Verb
    file: Path
    regions: Path | None
    """The file of regions; None for the one beside the results file."""
    drawn: tuple[DrawnBox, ...] = ()
    track: tuple[str, ...] = ()
    """Names of regions to track again from masks that the file has."""
    source: str = ""
    camera: str = ""
    names: str = ""
    first_frame: int = 0
    form: MaskFormat = "coco"
    output: Path | None = None
    removed: tuple[str, ...] = ()
    name: str = ""
    """Of the region to rename or recolour."""
    new: str = ""
    """Its new name or colour."""
    frames: str = ""
    overwrite: bool = False
    progress_lines: bool = False
    """Write progress as lines of JSON, for the window."""


def parse_arguments(words: Sequence[str]) -> RegionsArguments:
    """Return the options; SystemExit for `-h`, UserError for what cannot be read."""
    options = _create_parser().parse_args(words)
    arguments = {
        key: value
        for key, value in vars(options).items()
        if key in RegionsArguments.__dataclass_fields__ and key != "what"
    }
    if options.verb == "track":
        boxes = [_parse_drawn(text) for text in options.what]
        arguments["drawn"] = tuple(box for box in boxes if isinstance(box, DrawnBox))
        arguments["track"] = tuple(box for box in boxes if isinstance(box, str))
    if options.verb == "remove":
        arguments["removed"] = tuple(options.what)
    return RegionsArguments(**arguments)


def _create_parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="pi0-regions",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"pi0-regions {__version__}")
    verbs = parser.add_subparsers(
        dest="verb", metavar="track|import|export|list|rename|colour|remove|undo", required=True
    )

    def add(verb: Verb, purpose: str) -> argparse.ArgumentParser:
        verb_parser: argparse.ArgumentParser = verbs.add_parser(
            verb, help=purpose, description=purpose.capitalize() + ".", allow_abbrev=False
        )
        verb_parser.add_argument("file", type=Path, metavar="RESULTS.h5")
        verb_parser.add_argument(
            "--regions",
            type=Path,
            metavar="FILE",
            help="file of regions (default: beside the results file, duck.regions.h5)",
        )
        verb_parser.add_argument("--progress-lines", action="store_true", help=argparse.SUPPRESS)
        return verb_parser

    _add_track(add("track", "follow regions through the frames with optical flow, until they are lost"))
    _add_import(add("import", "read masks that another program made"))
    _add_export(add("export", "write the masks for other programs"))
    add("list", "say in which frames each region is known, and where tracking stopped")
    renamed = add("rename", "give a region another name")
    renamed.add_argument("name", metavar="OLD")
    renamed.add_argument("new", metavar="NEW")
    colored = add("colour", "give a region another colour")
    colored.add_argument("name", metavar="NAME")
    colored.add_argument("new", metavar="#RRGGBB")
    removed = add("remove", "forget a region, or some of its frames")
    removed.add_argument("what", nargs="+", metavar="NAME[=CAMERA[@FRAMES]]")
    add("undo", "put the regions back as they were before the last change; again, to take that back")
    return parser


def _add_track(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what", nargs="+", metavar="NAME[=CAMERA:ROWS,COLUMNS@FRAME]",
        help="a box of patches and its frame; a name alone tracks anew from what is drawn or imported",
    )  # fmt: skip
    parser.add_argument("--frames", default="", metavar="A-B", help="frames to follow it in (default: all)")


def _add_import(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source", metavar="MASKS", help="COCO JSON, folder of label pictures, npz, or FILE.hdf5:DATASET"
    )
    parser.add_argument("--camera", default="", metavar="NAME", help="of masks whose names do not say it")
    parser.add_argument(
        "--names", default="", metavar="1=duck,2=mug", help="what labels stand for; others are left out"
    )
    parser.add_argument(
        "--first-frame", type=_whole_number, default=0, metavar="N",
        help="number in MASKS of the picture that is frame 0 of the results file (default: 0)",
    )  # fmt: skip


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=FORMATS, default="coco", dest="form", help="(default: coco)")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="PATH", help="file, or folder for labels")
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")


def _parse_drawn(text: str) -> DrawnBox | str:
    if "=" not in text:
        return text
    match = re.fullmatch(r"([^=]+)=(.+)@(\d{1,9})", text)
    if match is None:
        raise UserError(
            f"“{text[:80]}” cannot be read; write NAME=CAMERA:ROWS,COLUMNS@FRAME, such as duck=exterior:7-8,8-11@0."
        )
    return DrawnBox(match[1], match[2], int(match[3]))


def parse_names(text: str) -> dict[int, str] | None:
    """Return what labels stand for, of `1=duck,2=mug`; None for an empty text. UserError if it cannot be read."""
    if not text:
        return None
    names: dict[int, str] = {}
    for part in text.split(","):
        label, equals, name = part.partition("=")
        if not equals or not label.strip().isdecimal() or not name.strip() or not 0 < int(label) < 1 << 31:
            raise UserError(f"--names {text[:80]} cannot be read; write numbers above 0 and names: 1=duck,2=mug.")
        names[int(label)] = name.strip()
    return names


def _whole_number(text: str) -> int:
    if not text.isdecimal() or len(text) > 9:
        raise argparse.ArgumentTypeError(f"{text} is no whole number")
    return int(text)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}; `{self.prog} -h` shows what there is.")
