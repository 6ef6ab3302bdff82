"""`pi0-capture serve`: answer openpi's clients with the actions of a policy, and record its calls."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from capture.cli.option_groups import (
    DEVICE_HELP,
    DTYPES,
    NO_GRAPHS_HELP,
    Parser,
    add_camera_option,
    add_policy_options,
    add_store_options,
    chosen_cameras,
)
from capture.cli.option_values import parse_names, parse_seconds, parse_seed, parse_whole_number
from capture.errors import UserError
from capture.stop_request import check_stop, stop_signals

if TYPE_CHECKING:
    from capture.cli.progress import Console
    from capture.pipeline.planning.setup import Setup
    from capture.policies.base import Policy
    from capture.rollouts.writer import RolloutCounts, RolloutWriter
    from capture.serve.service import PolicyService, ServeOptions

EXAMPLES: Final = """\
examples:
  pi0-capture serve --checkpoint pi05_droid/ -o runs/                     # record every call, on 127.0.0.1 port 8000
  pi0-capture serve --checkpoint pi05_libero/ -o runs/ --every 4 --episode-timeout 2
  pi0-capture serve --checkpoint pi05_droid/ -o runs/ --host 0.0.0.0 --api-key "$KEY"
  pi0-capture serve --demo -o runs/                                       # the small bundled policy

Clients of openpi connect as they are: WebsocketClientPolicy(host, port). pi0-viewer runs/ follows while it records.
Where an episode cannot be recorded (a full disk), answers go on and the next episode is tried; exit code 1 says so.
An episode ends when the client disconnects, changes its prompt or is silent; a client may also say so itself:
  policy.infer({"pi0-capture": {"end": True, "success": True}})
and with an observation {"pi0-capture": {"record": True, "new_episode": True, "seed": 7}, ...}, each key optional.

In simulation, a client may send masks of objects, in the pixels of the pictures that it sends: of each object, or
labels (whole numbers, as simulators draw a segmentation) and which of them are which object:
  {"pi0-capture": {"masks": {"observation/image": {"duck": mask}}}, "observation/image": ..., ...}
  {"pi0-capture": {"masks": {"observation/image": labels}, "mask_values": {"duck": 3, "bowl": [5, 6]}}, ...}
The objects are scored as regions (mass, lift, hit, IoU90) while recording, also with --keep summaries, and are the
regions of the finished file. An object that is not seen has an empty mask; one that is left out is not known in that
call. Name all in an episode's first call: one that is named later begins another file.
Without masks: keep maps, give the finished files theirs with pi0-regions import, then pi0-export table --region.
"""
KEY_VARIABLE: Final = "PI0_CAPTURE_API_KEY"
"""Environment variable of the API key, which a command line would show to every user of the machine."""
STATUS_SECONDS: Final = 1.0
LOG_SECONDS: Final = 60.0
"""Time between two lines about the server in a log file."""


def run(name: str, arguments: Sequence[str], log: Callable[[str], None], print_output: Callable[[str], None]) -> int:
    """Run the server until it is stopped; return the exit code. Raises UserError for what the user can mend."""
    options = _build_parser(name).parse_args(list(arguments))
    key = options.api_key if options.api_key is not None else os.environ.get(KEY_VARIABLE)
    _check_options(options, key)
    from capture.cli.progress import Console

    with Console(log, verbose=options.verbose) as console:
        setup, policy = _load_policy(options, console)
        from capture.serve.service import PolicyService

        with contextlib.ExitStack() as stack:
            writer = None if options.no_recording else _open_writer(options, setup, console)
            if writer is not None:
                stack.callback(writer.close, "the server ended")
            console.stage("running the policy once")
            service = PolicyService(setup, policy, writer, _make_serve_options(options, setup, key), console)
            check_stop()
            handlers = {number: signal.getsignal(number) for number in stop_signals()}
            try:
                asyncio.run(_serve(service, console))
            finally:  # asyncio leaves the system's own, which would end the process amid the last files
                for number, handler in handlers.items():
                    signal.signal(number, handler)
        console.close()
        print_output(_describe(service, options))
    return choose_exit_code(service.recorded)


async def _serve(service: PolicyService, console: Console) -> None:
    """Serve until a signal asks for the end, and show the state. Raises UserError where it cannot listen."""
    loop = asyncio.get_running_loop()
    was_asked_to_stop = False

    def stop() -> None:
        nonlocal was_asked_to_stop
        if was_asked_to_stop:  # the files take too long for the user
            raise KeyboardInterrupt
        was_asked_to_stop = True
        service.stop()

    for number in stop_signals():
        loop.add_signal_handler(number, stop)
    progress = asyncio.create_task(_show_progress(service, console))
    try:
        await service.serve(lambda address: _report_ready(service, console, address))
    finally:
        progress.cancel()
        console.stage("finishing the results files")


def _report_ready(service: PolicyService, console: Console, address: str) -> None:
    recording = "nothing is recorded" if service.folder is None else f"recording to {service.folder}"
    console.clear_stage()
    console.log(f"serving {service.name} on {address}, {recording}; Ctrl-C ends it")


async def _show_progress(service: PolicyService, console: Console) -> None:
    is_terminal = sys.stderr.isatty()
    previous_line = service.progress
    while True:
        await asyncio.sleep(STATUS_SECONDS if is_terminal else LOG_SECONDS)
        line = service.progress
        if is_terminal:
            console.status(line)
        elif line != previous_line:
            console.log(line)
        previous_line = line


def choose_exit_code(recorded: RolloutCounts | None) -> int:
    """Return 1 where an episode could not be recorded, which calls that were dropped for a late disk are not."""
    return 1 if recorded is not None and recorded.failures else 0


def _describe(service: PolicyService, options: argparse.Namespace) -> str:
    """Return what was done, for the end of the command."""
    lines = [f"answered {service.calls} call{'s' * (service.calls != 1)}"]
    if service.recorded is not None:
        lines[0] += f"; {service.recorded.sentence}"
        lines += service.recorded.failures
        if service.recorded.files:
            lines.append(f"look at them with: pi0-viewer {options.output}")
    return "\n".join(lines)


def _build_parser(name: str) -> Parser:
    parser = Parser(
        prog=f"{name} serve",
        usage=f"{name} serve (--demo | --checkpoint FOLDER) -o FOLDER [options]",
        description="Serve a Pi0.5 policy to openpi's clients (robots, simulators), which stay as they are, and write\n"
        "the attention of its calls to a results file an episode. Actions are answered before anything is written.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    source = parser.add_argument_group("what to serve").add_mutually_exclusive_group(required=True)
    source.add_argument("--demo", action="store_true", help="the small bundled policy; no GPU, no download")
    source.add_argument("--checkpoint", metavar="FOLDER", help="a Pi0.5 checkpoint, as for a capture")
    where = parser.add_argument_group("to whom")
    where.add_argument("--host", metavar="ADDRESS", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    where.add_argument("--port", metavar="N", type=_parse_port, default=8000, help="port; 0 takes a free one (8000)")
    where.add_argument(
        "--api-key", metavar="KEY", help=f"key that clients have to send; or set {KEY_VARIABLE}, which ps does not show"
    )
    where.add_argument("--allow-anyone", action="store_true", help="let in everybody who reaches --host, without a key")
    what = parser.add_argument_group("what to record")
    recorded = what.add_mutually_exclusive_group()
    recorded.add_argument(
        "--every", metavar="N", type=_parse_every, default=1, help="every N-th call of an episode (1)"
    )
    recorded.add_argument(
        "--on-request", action="store_true", help='only calls whose observation has {"pi0-capture": {"record": true}}'
    )
    recorded.add_argument("--no-recording", action="store_true", help="only answer")
    what.add_argument(
        "--episode-timeout", metavar="SECONDS", type=parse_seconds, default=10.0,
        help="silence of a client that ends its episode (10); openpi's clients do not tell when they reset",
    )  # fmt: skip
    add_store_options(parser)
    how = parser.add_argument_group("how to read observations and run the policy")
    add_camera_option(how)
    how.add_argument(
        "--state-keys", metavar="NAMES", type=parse_names, help="the client's parts of the state, in order"
    )
    how.add_argument("--prompt", metavar="TEXT", help="the task of observations that bring none")
    how.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    how.add_argument("--dtype", choices=DTYPES, help="number type of the policy (bfloat16; the demo float32)")
    how.add_argument(
        "--seed", metavar="N", type=parse_seed, default=0,
        help="seed of the noise (0): call i of the k-th episode has N + 1,000,000 k + i, counted from 0",
    )  # fmt: skip
    how.add_argument("--no-graphs", action="store_true", help=NO_GRAPHS_HELP)
    add_policy_options(parser)
    out = parser.add_argument_group("where to")
    out.add_argument(
        "-o", "--output", metavar="FOLDER", type=Path, help="folder of the results; takes further episodes"
    )
    out.add_argument("-v", "--verbose", action="store_true", help="also print what decides about the input for certain")
    parser.set_defaults(check=False, overwrite=False, batch=1, workers=0, dry_run=False)
    return parser


def _check_options(options: argparse.Namespace, key: str | None) -> None:
    """Raise UserError for options that do not go together."""
    from capture.cli.validation import check_kept
    from capture.serve.access import check_address, check_port

    if options.output is None and not options.no_recording:
        raise UserError("no folder was named for the recordings; add -o FOLDER, such as -o runs/, or --no-recording")
    if options.output is not None and options.no_recording:
        raise UserError("--no-recording writes nothing; leave -o out")
    check_kept(options)
    if options.no_recording and options.keep != 1:
        raise UserError("--no-recording keeps nothing; leave --keep out")
    if key is not None and not (key.strip() and key.isascii() and key.isprintable()):
        raise UserError(f"the API key is empty or no plain text; check --api-key and {KEY_VARIABLE}")
    if key is not None and options.allow_anyone:
        raise UserError("--allow-anyone and an API key contradict each other; leave one out")
    if options.prompt is not None and not options.prompt.strip():
        raise UserError("--prompt is empty, perhaps from a shell variable that is not set; give the task")
    check_address(options.host, has_key=key is not None, is_open=options.allow_anyone)
    check_port(options.host, options.port)
    import msgpack  # noqa: F401 - that it is missing is said now
    import websockets.asyncio.server  # noqa: F401 - likewise


def _load_policy(options: argparse.Namespace, console: Console) -> tuple[Setup, Policy]:
    """Return the policy, loaded, and what is stored of its calls. Raises UserError."""
    console.stage("loading PyTorch")
    from capture.cli.setup import make_setup
    from capture.pipeline.planning.frame_selection import ALL_FRAMES
    from capture.pipeline.planning.prompts import Prompts
    from capture.sharding import Shard

    console.stage("opening the checkpoint")
    setup = make_setup(options, Shard(), ALL_FRAMES, Prompts(()))
    if warning := setup.policy.check_tokenizer():
        console.log(f"warning: {warning}")
    from capture.serve.aloha_units import explain_units

    for decision in explain_units(setup.policy.decisions):
        console.decided(decision)
    console.stage("loading transformers")
    policy = setup.policy.load(setup.options.device, setup.options.dtype, console.loading)
    return setup, policy


def _open_writer(options: argparse.Namespace, setup: Setup, console: Console) -> RolloutWriter:
    from capture.rollouts.writer import RolloutWriter
    from capture.serve.service import describe_run

    return RolloutWriter(options.output, describe_run(setup, options.every), log=console.log)


def _make_serve_options(options: argparse.Namespace, setup: Setup, key: str | None) -> ServeOptions:
    from dataclasses import replace

    from capture.serve.service import ServeOptions

    chosen = replace(
        setup.policy.source_options,
        camera_overrides=chosen_cameras(options),
        state_keys=options.state_keys or (),
    )
    return ServeOptions(
        chosen, options.host, options.port, key, options.prompt, options.seed, options.episode_timeout,
        on_request=options.on_request,
    )  # fmt: skip


def _parse_port(text: str) -> int:
    return parse_whole_number(text, 0, 65_535)


def _parse_every(text: str) -> int:
    return parse_whole_number(text, 1, 1_000_000)
