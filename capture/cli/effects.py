"""`pi0-capture effects`: measure what changes in the actions of a results file when something is taken away."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from capture.cli.option_values import numbers, whole_number
from capture.cli.parser import DEVICE_HELP, DTYPES, Parser, add_policy_options
from capture.errors import UserError
from capture.results.effects_schema import SUFFIX

if TYPE_CHECKING:
    from capture.cli.progress import Console
    from capture.effects.frame_calls import EffectsRequest
    from capture.effects.results_frames import ResultsFrames

EXAMPLES = """\
examples:
  pi0-capture effects demo.h5 --frames 6 --region exterior:7-8,8-11 --words duck
  pi0-capture effects duck.h5 --checkpoint pi05_droid/ --frames 0,8 --map 2 --layers 0-8
  pi0-capture effects duck.h5 --checkpoint pi05_droid/ --regions regions.json --mode occlude --fill inpaint
  pi0-capture effects duck.h5 --checkpoint pi05_droid/ --map 2 --curves --heads actions words

Give the options for the policy that the capture had. Frames, layers, heads, rows and columns are counted from 0.
"""


def run(name: str, given: Sequence[str], tell: Callable[[str], None], say: Callable[[str], None]) -> int:
    """Run the command; return its exit code. Raises UserError for what the user can mend."""
    own = _parser(name).parse_args(list(given))
    if not (own.region or own.regions or own.words or own.map or own.heads or own.gradient):
        raise UserError(
            "nothing to take away was named; give --region, --regions, --words, --map, --heads or --gradient"
        )
    _check(own)
    from capture.cli.info import describe
    from capture.cli.progress import Console
    from capture.effects.results_frames import ResultsFrames
    from capture.effects.run import check_words

    describe(own.file)  # in a process that is ended where HDF5 hangs or crashes on the file
    with ResultsFrames(own.file) as frames, Console(tell) as console:
        _choose_policy(own, frames)
        request = _request(own, frames)
        chosen = tuple(range(frames.count)) if own.frames is None else own.frames
        beyond = [number for number in chosen if number >= frames.count]
        if beyond or not chosen:
            raise UserError(f"{own.file} has no frame {(beyond or [0])[0]}: it has {frames.count}, counted from 0")
        output = own.output or own.file.with_name(f"{own.file.stem}{SUFFIX}")
        _check_output(output, own)
        check_words(own.words, frames, chosen)
        return _measure(own, request, frames, chosen, output, console, say)


def _parser(name: str) -> argparse.ArgumentParser:
    parser = Parser(
        prog=f"{name} effects",
        usage=f"{name} effects FILE [--checkpoint FOLDER] (--region … | --words … | --map N | --heads …) [options]",
        description="Repeat calls of a results file with something taken away, and write how much the actions change:\n"
        "for regions, words, heads, or every patch, as multiples of the sampler's noise, beside random controls.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE", type=Path, help="a results file of pi0-capture")
    parser.add_argument("--checkpoint", metavar="FOLDER", help="its policy; a file of the demo policy needs none")
    what = parser.add_argument_group("what to take away")
    what.add_argument(
        "--region", metavar="CAMERA:ROWS,COLS", action="append", default=[],
        help="a box of patches, such as exterior:7-8,8-11; may be repeated",
    )  # fmt: skip
    what.add_argument(
        "--regions", metavar="FILE", type=Path, help='named regions, JSON: {"duck": ["exterior:7-8,8-11", …], …}'
    )
    what.add_argument("--words", metavar="WORD", nargs="+", default=[], help="words of the prompt")
    what.add_argument(
        "--map", metavar="N", type=_block, help="every block of N x N patches in turn: an effect map, and how far each "
        "head's attention agrees with it",
    )  # fmt: skip
    what.add_argument(
        "--curves", metavar="N", nargs="?", type=_curves, const=8, help="with --map: deletion and insertion of blocks "
        "in the order of each head's attention, in N steps (8), against random orders",
    )  # fmt: skip
    what.add_argument(
        "--heads", choices=("actions", "words"), nargs="+", default=[],
        help="every head as a whole, one at a time: of the action expert, of the language model, or of both",
    )  # fmt: skip
    what.add_argument(
        "--gradient", metavar="LIST", type=numbers, default=(), help="attention weighted by the gradient of these "
        "action dimensions, such as 0,2 (takes nothing away; with --map its agreement with the effects)",
    )  # fmt: skip
    how = parser.add_argument_group("how to take it away")
    how.add_argument(
        "--mode", choices=("knockout", "occlude"), default="knockout",
        help="cut attention edges to it, or cover it in the picture before the vision tower (knockout)",
    )  # fmt: skip
    how.add_argument(
        "--from", dest="queries", choices=("actions", "words", "patches", "all"),
        help="knockout: whose edges to it are cut (actions, to which the words then still pass on what they see)",
    )  # fmt: skip
    how.add_argument("--layers", metavar="LIST", type=numbers, help="knockout: in these layers (all)")
    how.add_argument("--in-heads", metavar="LIST", type=numbers, help="knockout: in these heads (all)")
    how.add_argument(
        "--fill",
        choices=("mean", "grey", "blur", "inpaint"),
        help="occlude: what covers it (mean colour of the rest)",
    )
    how.add_argument(
        "--controls", metavar="N", type=_controls, help="random regions to compare with a region, and random "
        "orders to compare curves with (20)",
    )  # fmt: skip
    how.add_argument("--seeds", metavar="N", type=_seeds, default=16, help="other noises, for the noise floor (16)")
    add_policy_options(parser)
    run = parser.add_argument_group("on what, and where to")
    run.add_argument("--device", metavar="NAME", help=DEVICE_HELP)
    run.add_argument("--dtype", choices=DTYPES, help="number type of the policy (the file's)")
    run.add_argument("--frames", metavar="LIST", type=numbers, help="frames of the file, from 0 (all)")
    run.add_argument("--batch", metavar="N", type=_block, default=16, help="interventions to run at once (16)")
    run.add_argument("-o", "--output", metavar="FILE", type=Path, help="the effects file (FILE.effects.h5 beside FILE)")
    run.add_argument("--overwrite", action="store_true", help="begin anew and replace an effects file that there is")
    run.add_argument("--dry-run", action="store_true", help="say what would be run, and stop")
    return parser


def _check(own: argparse.Namespace) -> None:
    """Raise UserError for options that do nothing together."""
    if own.mode == "occlude":
        for option, value in (("from", own.queries), ("layers", own.layers), ("in-heads", own.in_heads)):
            if value is not None:
                raise UserError(f"--{option} is about attention edges; leave it out with --mode occlude")
        if own.words:
            raise UserError("a word cannot be covered in a picture; leave --mode occlude out for --words")
    elif own.fill is not None:
        raise UserError("--fill says what covers a picture; it needs --mode occlude")
    if own.curves is not None and own.map is None:
        raise UserError("--curves takes away the blocks of a map; it needs --map")
    if own.controls is not None and not (own.region or own.regions or own.curves):
        raise UserError(
            "--controls are random regions, or random orders, to compare with; it needs --region, --regions or --curves"
        )
    own.controls = 20 if own.controls is None else own.controls
    own.heads = sorted(set(own.heads))
    if own.heads and not (own.region or own.regions or own.words or own.map):
        for option, value in (("from", own.queries), ("layers", own.layers), ("in-heads", own.in_heads)):
            if value is not None:
                raise UserError(f"--heads silences every head, one at a time; leave --{option} out")


def _choose_policy(own: argparse.Namespace, frames: ResultsFrames) -> None:
    """Take the bundled policy for a file of the demo, and the file's number type, unless others were given."""
    own.demo = own.checkpoint is None
    if own.demo and frames.model.get("kind") != "demo":
        raise UserError(f"the file was made with {frames.model.get('name')!r}; name that checkpoint with --checkpoint")
    own.dtype = own.dtype or frames.model.get("dtype")
    if own.dtype not in DTYPES:
        raise UserError(f"{own.file} does not say in which number type its policy ran; give --dtype")


def _request(own: argparse.Namespace, frames: ResultsFrames) -> EffectsRequest:
    from capture.effects.engine import Intervention
    from capture.effects.frame_calls import EffectsRequest
    from capture.effects.targets import Target, parse_box, read_regions

    regions = [Target(box, "region", parse_box(box, frames.cameras, frames.grid)) for box in own.region]
    if own.regions:
        regions += read_regions(own.regions, frames.cameras, frames.grid)
    names = [region.name for region in regions]
    twice = next((one for one in names if names.count(one) > 1), None)
    if twice is not None:
        raise UserError(f"the region {twice!r} is given twice; name it once")
    how = Intervention(
        mode=own.mode, queries=own.queries or "actions", layers=own.layers, heads=own.in_heads, fill=own.fill or "mean",
    )  # fmt: skip
    return EffectsRequest(
        how=how, regions=tuple(regions), words=tuple(own.words), heads=tuple(own.heads),
        map_block=own.map, curves=own.curves, gradient=own.gradient,
        controls=own.controls, seeds=own.seeds, batch=own.batch,
    )  # fmt: skip


def _check_output(output: Path, own: argparse.Namespace) -> None:
    if own.dry_run:
        return
    if output.exists():
        if output.samefile(own.file):
            raise UserError(f"{output} is the results file; name another file with -o")
        if not own.overwrite:
            raise UserError(f"{output} exists; name another file with -o, or add --overwrite")
    if not output.parent.is_dir():
        raise UserError(f"the folder {output.parent} does not exist; make it first")
    if not os.access(output.parent, os.W_OK):
        raise UserError(f"the folder {output.parent} cannot be written")


def _measure(
    own: argparse.Namespace,
    request: EffectsRequest,
    frames: ResultsFrames,
    chosen: Sequence[int],
    output: Path,
    console: Console,
    say: Callable[[str], None],
) -> int:
    console.stage("loading PyTorch")
    import torch

    from capture.cli.setup import choose_device, open_policy
    from capture.effects.description import frame_lines
    from capture.effects.effects_file import EffectsFile
    from capture.effects.frame_calls import Progress
    from capture.effects.run import count_interventions, measure_frame

    console.stage("opening the checkpoint")
    spec = open_policy(own)
    device = choose_device(own.device)
    sizes = spec.sizes
    stored = frames.model.get("config_hash")
    if stored is not None and stored != spec.config_hash:
        raise UserError(
            f"{own.file} was made with another checkpoint, or with other options for the policy, than {spec.name}; "
            "give those of the capture"
        )
    for axis, numbers_, count in (
        ("layer", own.layers, sizes.layers), ("head", own.in_heads, sizes.heads),
        ("action dimension", own.gradient, sizes.robot_dim),
    ):  # fmt: skip
        if numbers_ and max(numbers_) >= count:
            raise UserError(f"the policy has no {axis} {max(numbers_)}: it has {count} {axis}s, counted from 0")
    calls = sum(count_interventions(request, frames, number, sizes) for number in chosen)
    if own.dry_run:
        console.close()
        say(f"{len(chosen)} frames, at most {calls} interventions; would write {output}")
        return 0

    file = EffectsFile(
        output, _run_attribute(own, frames, spec.config_hash, device.type, chosen),
        {
            "results": json.dumps({"name": own.file.name, "uuid": frames.uuid}), "model": json.dumps(frames.model),
            "cameras": list(frames.cameras), "layers": list(frames.layers), "steps": list(frames.steps),
        },
        tuple(one.name for one in request.regions) + request.words,
        ("region",) * len(request.regions) + ("word",) * len(request.words),
    )  # fmt: skip
    if own.overwrite:
        file.partial.unlink(missing_ok=True)
    file.resume()
    todo = chosen[len(file.frames) :]
    if len(todo) < len(chosen):
        console.tell(f"resuming {file.partial} after {len(file.frames)} of {len(chosen)} frames")
    console.stage("loading transformers")
    policy: Any = spec.load(device, getattr(torch, own.dtype), console.loading)
    console.activity = "measuring effects on"
    console.expect(len(todo))
    begun = time.monotonic()
    per_frame = max(1, calls // len(chosen))
    progress = Progress(lambda done: console.step(min(done / per_frame, len(todo))))
    for number in todo:
        file.frames.append(measure_frame(policy, frames, number, request, progress))
        file.write(complete=False)
    file.write(complete=True)
    console.close()
    for place, frame in enumerate(file.frames):
        say("\n".join(frame_lines(chosen[place], frame, file.names, frames.cameras, frames.layers)))
    seconds = time.monotonic() - begun
    frames_text = f"{len(todo)} frame{'s' * (len(todo) != 1)}"
    if len(todo) < len(chosen):
        frames_text = f"{frames_text} more, {len(chosen)} in all"
    say(f"{output}: {frames_text}, {progress.done} interventions in {seconds:.1f} s")
    return 0


def _run_attribute(
    own: argparse.Namespace, frames: ResultsFrames, config: str, device: str, chosen: Sequence[int]
) -> dict[str, Any]:
    """Return what defines the run, so that only the same command resumes it."""
    return {
        "results": frames.uuid, "frames": list(chosen), "region": own.region,
        "regions": own.regions.read_text(encoding="utf-8") if own.regions else None, "words": own.words, "map": own.map,
        "curves": own.curves, "gradient": own.gradient, "heads": own.heads, "mode": own.mode,
        "from": own.queries or "actions", "layers": own.layers, "in_heads": own.in_heads, "fill": own.fill or "mean",
        "controls": own.controls, "seeds": own.seeds, "config": config, "dtype": own.dtype, "device": device,
    }  # fmt: skip


def _block(text: str) -> int:
    return whole_number(text, 1, 1_024)


def _controls(text: str) -> int:
    return whole_number(text, 0, 10_000)


def _seeds(text: str) -> int:
    return whole_number(text, 3, 10_000)


def _curves(text: str) -> int:
    return whole_number(text, 2, 1_000)
