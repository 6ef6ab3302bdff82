"""`pi0-capture recover`: complete recordings whose server or loop was killed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from capture.cli.parser import Parser
from capture.errors import UserError
from capture.stop_request import check_stop

DESCRIPTION = """\
Complete the recordings of serve and RolloutRecorder that were killed: NAME.h5.partial becomes NAME.h5, with the frames
that were finished, and the run's index lists it. Nothing is copied, no existing file is replaced, and files that are
still being written are left alone. Interrupted captures are not meant: the same command resumes them."""


def run(name: str, arguments: Sequence[str], tell: Callable[[str], None], say: Callable[[str], None]) -> int:
    """Complete recordings; return 1 where some of several could not be. Raises UserError for what the user can mend."""
    parser = Parser(
        prog=f"{name} recover", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "paths", metavar="PATH", type=Path, nargs="+", help="an unfinished recording (NAME.h5.partial), or their folder"
    )
    from capture.rollouts.recovery import find_unfinished, recover_file

    failed = 0
    for path in parser.parse_args(list(arguments)).paths:
        is_folder = path.is_dir()
        files = find_unfinished(path) if is_folder else [path]
        if not files:
            say(f"{path} holds no unfinished recording that nobody is writing")
        for file in files:
            check_stop()
            try:
                found = recover_file(file)
            except UserError as error:
                if not is_folder:
                    raise
                tell(str(error))
                failed += 1
            else:
                say(f"{found.path}: {found.frames} frame{'s' * (found.frames != 1)}")
                if found.problem:
                    tell(f"no file of regions is written beside it: {found.problem}")
    return int(failed > 0)
