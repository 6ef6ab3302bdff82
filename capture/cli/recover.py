"""`pi0-capture recover`: complete recordings whose server or loop was killed."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from capture.cli.option_groups import Parser
from capture.errors import UserError
from capture.stop_request import check_stop

DESCRIPTION = """\
Complete the recordings of serve and RolloutRecorder that were killed: NAME.h5.partial becomes NAME.h5, with the frames
that were finished, and the run's index lists it. Nothing is copied, no existing file is replaced, and files that are
still being written are left alone. Interrupted captures are not meant: the same command resumes them."""


def run(name: str, arguments: Sequence[str], log: Callable[[str], None], print_output: Callable[[str], None]) -> int:
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
            print_output(f"{path} holds no unfinished recording that nobody is writing")
        for file in files:
            check_stop()
            try:
                recovered = recover_file(file)
            except UserError as error:
                if not is_folder:
                    raise
                log(str(error))
                failed += 1
            else:
                print_output(f"{recovered.path}: {recovered.frames} frame{'s' * (recovered.frames != 1)}")
                if recovered.problem:
                    log(f"no file of regions is written beside it: {recovered.problem}")
    return int(failed > 0)
