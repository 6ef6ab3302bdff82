"""Measure the effects of one results file: check, lock, resume, measure, write."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from capture.cli.effects.forecast import forecast
from capture.cli.effects.options import fill_text
from capture.cli.info import describe
from capture.effects.description import describe_method, frame_lines
from capture.effects.effects_file import EffectsFile, is_finished
from capture.effects.engine import Intervention
from capture.effects.file_lock import FileLock
from capture.effects.frame_calls import EffectsRequest, Progress
from capture.effects.named_regions import read_named_regions
from capture.effects.results_frames import ResultsFrames
from capture.effects.run import check_words, measure_frame
from capture.effects.targets import Target, parse_box, read_regions
from capture.effects.workload import count_calls
from capture.errors import UserError
from capture.results.atomic_write import remove_leftovers
from capture.results.schema import PARTIAL_SUFFIX
from capture.stop_request import check_stop

if TYPE_CHECKING:
    import argparse

    from capture.cli.effects.policy_source import PolicySource
    from capture.cli.progress import Console


BATCH: Final = {"cpu": 16, "cuda": 64}
"""Interventions that are run at once: on a GPU, small calls wait for their launches."""


@dataclass(frozen=True)
class FileReport:
    """What became of one results file."""

    output: Path
    lines: tuple[str, ...] = ()
    """What was measured, in words."""
    is_skipped: bool = False
    """Whether its effects had been measured before, with the same settings."""


def measure_file(
    own: argparse.Namespace, path: Path, output: Path, source: PolicySource, console: Console, *, is_one_of_many: bool
) -> FileReport:
    """Measure the effects of a results file, or with `dry_run` say what would be run.

    Where the file is one of many, an effects file of the same settings is taken as measured already.
    Raises FileIsBeingWrittenError where another run measures it, UserError for what the user can mend.
    """
    describe(path)  # in a process that is ended where HDF5 hangs or crashes on the file
    with ResultsFrames(path) as frames:
        dtype = source.open(frames)
        batch = own.batch or BATCH[source.device.type]
        request = _request(own, frames, batch)
        chosen = tuple(range(frames.count)) if own.frames is None else own.frames
        beyond = [number for number in chosen if number >= frames.count]
        if beyond or not chosen:
            raise UserError(f"{path} has no frame {(beyond or [0])[0]}: it has {frames.count}, counted from 0")
        if own.fill and own.fill[1] is not None and own.fill[1] >= frames.count:
            raise UserError(f"{path} has no frame {own.fill[1]} to cover with: it has {frames.count}, counted from 0")
        check_words([*own.words, *(word for word, _ in own.replace)], frames, chosen)
        _check_axes(own, source.spec.sizes)
        run = _run_attribute(own, frames, source, dtype, chosen)
        if is_one_of_many and not own.overwrite and is_finished(output, run):
            return FileReport(output, is_skipped=True)
        if own.dry_run:
            sizes = source.spec.sizes
            calls = [count_calls(request, frames, number, sizes) for number in chosen]
            sentence = forecast(calls, source.spec, source.device.type, dtype, request.batch)
            return FileReport(output, (f"{sentence}; would write {output}",))
        _check_output(output, path, overwrite=own.overwrite or is_one_of_many)  # another run may be about to finish it
        with FileLock(output):
            # Another run may have written it since.
            if is_one_of_many and not own.overwrite and is_finished(output, run):
                return FileReport(output, is_skipped=True)
            _check_output(output, path, overwrite=own.overwrite)
            for target in (output, output.with_name(output.name + PARTIAL_SUFFIX)):
                remove_leftovers(target)
            return _measure(own, request, frames, chosen, output, source, dtype, run, console)


def _measure(
    own: argparse.Namespace,
    request: EffectsRequest,
    frames: ResultsFrames,
    chosen: Sequence[int],
    output: Path,
    source: PolicySource,
    dtype: str,
    run: dict[str, Any],
    console: Console,
) -> FileReport:
    file = EffectsFile(
        output, run,
        {
            "results": json.dumps({"name": frames.path.name, "uuid": frames.uuid}), "model": json.dumps(frames.model),
            "cameras": list(frames.cameras), "layers": list(frames.layers), "steps": list(frames.steps),
        },
        (
            *(region.name for region in request.regions), *request.words,
            *(f"{word} -> {other}" for word, other in request.replacements),
        ),
        ("region",) * len(request.regions) + ("word",) * len(request.words)
        + ("replacement",) * len(request.replacements),
        keep_existing=not own.overwrite,
    )  # fmt: skip
    if own.overwrite:
        file.partial.unlink(missing_ok=True)
    file.resume()
    todo = chosen[len(file.frames) :]
    if len(todo) < len(chosen):
        console.tell(f"resuming {file.partial} after {len(file.frames)} of {len(chosen)} frames")
    calls = [count_calls(request, frames, number, source.spec.sizes) for number in todo]
    if calls:
        console.tell(forecast(calls, source.spec, source.device.type, dtype, request.batch))
    policy = source.load(dtype)
    console.activity = "measuring effects on"
    before = source.frames_run
    console.expect(len(todo))
    begun = time.monotonic()
    progress, total = Progress(), sum(count.total for count in calls)
    console.step(before)
    for place, number in enumerate(todo):
        whole, start = max(1, calls[place].total), progress.done

        def tell(done: int, place: int = place, whole: int = whole, start: int = start) -> None:
            console.step(before + place + min((done - start) / whole, 1.0))
            if own.progress_lines:
                sys.stdout.write(json.dumps({"done": min(done, total), "total": total}) + "\n")
                sys.stdout.flush()

        progress.tell = tell
        check_stop()
        file.frames.append(measure_frame(policy, frames, number, request, progress))
        file.write(complete=False)
        source.frames_run += 1
        console.step(source.frames_run)
    file.write(complete=True)
    lines = [
        line
        for place, frame in enumerate(file.frames)
        for line in frame_lines(chosen[place], frame, file.names, frames.cameras, frames.layers, describe_method(run))
    ]
    seconds = time.monotonic() - begun
    text = f"{len(todo)} frame{'s' * (len(todo) != 1)}"
    if len(todo) < len(chosen):
        text = f"{text} more, {len(chosen)} in all"
    return FileReport(output, (*lines, f"{output}: {text}, {progress.done} interventions in {seconds:.1f} s"))


def _request(own: argparse.Namespace, frames: ResultsFrames, batch: int) -> EffectsRequest:
    regions = [Target(box, "region", parse_box(box, frames.cameras, frames.grid)) for box in own.region]
    if own.regions:
        if own.regions.suffix == ".h5":
            regions += read_named_regions(own.regions, frames.uuid, frames.cameras, frames.grid, frames.count)
        else:
            regions += read_regions(own.regions, frames.cameras, frames.grid)
    names = [region.name for region in regions]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise UserError(f"the region {twice!r} is given twice; name it once")
    how = Intervention(
        mode="knockout" if own.mode == "knockout" else "occlude", queries=own.queries or "actions", layers=own.layers,
        heads=own.in_heads, fill="mean" if own.fill is None else own.fill[0],
    )  # fmt: skip
    return EffectsRequest(
        how=how, regions=tuple(regions), words=tuple(own.words), replacements=tuple(own.replace),
        heads=tuple(own.heads), map_block=own.map, curves=own.curves, masks=own.masks,
        other_frame=own.fill[1] if own.fill else None, gradient=own.gradient,
        controls=own.controls, seeds=own.seeds, batch=batch,
    )  # fmt: skip


def _describe_regions(path: Path | None) -> str | None:
    """Return what identifies a file of regions: its text, or a digest of HDF5; None without one."""
    if path is None:
        return None
    if path.suffix == ".h5":
        return f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return path.read_text(encoding="utf-8")


def _check_axes(own: argparse.Namespace, sizes: Any) -> None:
    for axis, numbers, count in (
        ("layer", own.layers, sizes.layers), ("head", own.in_heads, sizes.heads),
        ("action dimension", own.gradient, sizes.robot_dim),
    ):  # fmt: skip
        if numbers and max(numbers) >= count:
            raise UserError(f"the policy has no {axis} {max(numbers)}: it has {count} {axis}s, counted from 0")


def _check_output(output: Path, results: Path, *, overwrite: bool) -> None:
    """Raise UserError where the effects file cannot be written, or one is there."""
    if output.exists():
        if output.samefile(results):
            raise UserError(f"{output} is the results file; name another file with -o")
        if not overwrite:
            raise UserError(f"{output} exists; name another file with -o, or add --overwrite")
    if output.is_dir():
        raise UserError(f"{output} is a folder; name the effects file with -o")
    if not output.parent.is_dir():
        raise UserError(f"the folder {output.parent} does not exist; make it first")
    if not os.access(output.parent, os.W_OK):
        raise UserError(f"the folder {output.parent} cannot be written")


def _run_attribute(
    own: argparse.Namespace, frames: ResultsFrames, source: PolicySource, dtype: str, chosen: Sequence[int]
) -> dict[str, Any]:
    """Return what defines the run, so that only the same command resumes it."""
    return {
        "results": frames.uuid, "frames": list(chosen), "region": own.region,
        "regions": _describe_regions(own.regions), "words": own.words,
        "replace": [list(pair) for pair in own.replace], "masks": own.masks, "map": own.map, "curves": own.curves,
        "gradient": list(own.gradient), "heads": own.heads, "mode": own.mode, "from": own.queries or "actions",
        "layers": own.layers, "in_heads": own.in_heads, "fill": fill_text(own.fill), "controls": own.controls,
        "seeds": own.seeds, "config": source.spec.config_hash, "dtype": dtype, "device": source.device.type,
    }  # fmt: skip
