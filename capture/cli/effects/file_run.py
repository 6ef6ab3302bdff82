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
from capture.cli.info.describe import describe
from capture.effects.description import describe_frame, describe_method
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
    """Outcome of one results file."""

    output: Path
    lines: tuple[str, ...] = ()
    """What was measured, in words."""
    is_skipped: bool = False
    """Whether its effects had been measured before, with the same settings."""


def measure_file(
    options: argparse.Namespace,
    path: Path,
    output: Path,
    source: PolicySource,
    console: Console,
    *,
    is_one_of_many: bool,
) -> FileReport:
    """Measure the effects of a results file, or with `dry_run` describe what would be run.

    Where the file is one of many, an effects file of the same settings is taken as measured already.
    Raises FileIsBeingWrittenError where another run measures it, UserError for what the user can mend.
    """
    describe(path)  # in a process that is ended where HDF5 hangs or crashes on the file
    with ResultsFrames(path) as frames:
        dtype = source.open(frames)
        batch = options.batch or BATCH[source.device.type]
        request = _make_request(options, frames, batch)
        chosen = tuple(range(frames.count)) if options.frames is None else options.frames
        missing_frames = [number for number in chosen if number >= frames.count]
        if missing_frames or not chosen:
            raise UserError(f"{path} has no frame {(missing_frames or [0])[0]}: it has {frames.count}, counted from 0")
        if options.fill and options.fill[1] is not None and options.fill[1] >= frames.count:
            raise UserError(
                f"{path} has no frame {options.fill[1]} to cover with: it has {frames.count}, counted from 0"
            )
        check_words([*options.words, *(word for word, _ in options.replace)], frames, chosen)
        _check_axes(options, source.spec.sizes)
        run = _make_run_attribute(options, frames, source, dtype, chosen)
        if is_one_of_many and not options.overwrite and is_finished(output, run):
            return FileReport(output, is_skipped=True)
        if options.dry_run:
            sizes = source.spec.sizes
            calls = [count_calls(request, frames, number, sizes) for number in chosen]
            sentence = forecast(calls, source.spec, source.device.type, dtype, request.batch)
            return FileReport(output, (f"{sentence}; would write {output}",))
        _check_output(
            output, path, overwrite=options.overwrite or is_one_of_many
        )  # another run may be about to finish it
        with FileLock(output):
            # Another run may have written it since.
            if is_one_of_many and not options.overwrite and is_finished(output, run):
                return FileReport(output, is_skipped=True)
            _check_output(output, path, overwrite=options.overwrite)
            for target in (output, output.with_name(output.name + PARTIAL_SUFFIX)):
                remove_leftovers(target)
            return _measure(options, request, frames, chosen, output, source, dtype, run, console)


def _measure(
    options: argparse.Namespace,
    request: EffectsRequest,
    frames: ResultsFrames,
    chosen: Sequence[int],
    output: Path,
    source: PolicySource,
    dtype: str,
    run: dict[str, Any],
    console: Console,
) -> FileReport:
    """Measure the frames that the effects file does not hold yet, and complete it."""
    file = _make_file(options, request, frames, output, run)
    if options.overwrite:
        file.partial.unlink(missing_ok=True)
    file.resume()
    missing = chosen[len(file.frames) :]
    if len(missing) < len(chosen):
        console.log(f"resuming {file.partial} after {len(file.frames)} of {len(chosen)} frames")
    totals = [count_calls(request, frames, number, source.spec.sizes) for number in missing]
    if totals:
        console.log(forecast(totals, source.spec, source.device.type, dtype, request.batch))
    policy = source.load(dtype)
    start_time = time.monotonic()
    progress = _Progress(options, source, console, [counts.total for counts in totals])
    for index, number in enumerate(missing):
        progress.start_frame(index)
        check_stop()
        file.frames.append(measure_frame(policy, frames, number, request, progress.interventions))
        file.write(complete=False)
        source.frames_run += 1
        console.step(source.frames_run)
    file.write(complete=True)
    method = describe_method(run)
    lines = [
        line
        for number, frame in zip(chosen, file.frames, strict=True)
        for line in describe_frame(number, frame, file.names, frames.cameras, frames.layers, method)
    ]
    seconds = time.monotonic() - start_time
    text = f"{len(missing)} frame{'s' * (len(missing) != 1)}"
    if len(missing) < len(chosen):
        text = f"{text} more, {len(chosen)} in all"
    count = progress.interventions.count
    return FileReport(output, (*lines, f"{output}: {text}, {count} interventions in {seconds:.1f} s"))


def _make_file(
    options: argparse.Namespace, request: EffectsRequest, frames: ResultsFrames, output: Path, run: dict[str, Any]
) -> EffectsFile:
    """Return the effects file of a run, without frames."""
    return EffectsFile(
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
        keep_existing=not options.overwrite,
    )  # fmt: skip


class _Progress:
    """Progress of one file on the console, and with `--progress-lines` on standard output.

    `totals`: number of interventions on each frame that is measured.
    """

    def __init__(
        self, options: argparse.Namespace, source: PolicySource, console: Console, totals: Sequence[int]
    ) -> None:
        self.interventions = Progress(self._report)
        self._has_lines, self._console, self._totals = options.progress_lines, console, totals
        self._frames_before, self._index, self._start = source.frames_run, 0, 0
        console.activity = "measuring effects on"
        console.expect(len(totals))
        console.step(self._frames_before)

    def start_frame(self, index: int) -> None:
        """Count the interventions that follow to the frame at this index of `totals`."""
        self._index, self._start = index, self.interventions.count

    def _report(self, count: int) -> None:
        share = (count - self._start) / max(1, self._totals[self._index])
        self._console.step(self._frames_before + self._index + min(share, 1.0))
        if self._has_lines:
            total = sum(self._totals)
            sys.stdout.write(json.dumps({"done": min(count, total), "total": total}) + "\n")
            sys.stdout.flush()


def _make_request(options: argparse.Namespace, frames: ResultsFrames, batch: int) -> EffectsRequest:
    regions = [Target(box, "region", parse_box(box, frames.cameras, frames.grid)) for box in options.region]
    if options.regions:
        if options.regions.suffix == ".h5":
            regions += read_named_regions(options.regions, frames.uuid, frames.cameras, frames.grid, frames.count)
        else:
            regions += read_regions(options.regions, frames.cameras, frames.grid)
    names = [region.name for region in regions]
    repeated = next((name for name in names if names.count(name) > 1), None)
    if repeated is not None:
        raise UserError(f"the region {repeated!r} is given twice; name it once")
    intervention = Intervention(
        mode="knockout" if options.mode == "knockout" else "occlude",
        queries=options.queries or "actions",
        layers=options.layers,
        heads=options.in_heads,
        fill="mean" if options.fill is None else options.fill[0],
    )
    return EffectsRequest(
        intervention=intervention,
        regions=tuple(regions),
        words=tuple(options.words),
        replacements=tuple(options.replace),
        heads=tuple(options.heads),
        map_block=options.map,
        curves=options.curves,
        masks=options.masks,
        other_frame=options.fill[1] if options.fill else None,
        gradient=options.gradient,
        controls=options.controls,
        seeds=options.seeds,
        batch=batch,
    )


def _describe_regions(path: Path | None) -> str | None:
    """Return what identifies a file of regions: its text, or a digest of HDF5; None without one."""
    if path is None:
        return None
    if path.suffix == ".h5":
        return f"sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    return path.read_text(encoding="utf-8")


def _check_axes(options: argparse.Namespace, sizes: Any) -> None:
    for axis, numbers, count in (
        ("layer", options.layers, sizes.layers), ("head", options.in_heads, sizes.heads),
        ("action dimension", options.gradient, sizes.robot_dim),
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


def _make_run_attribute(
    options: argparse.Namespace, frames: ResultsFrames, source: PolicySource, dtype: str, chosen: Sequence[int]
) -> dict[str, Any]:
    """Return what defines the run, so that only the same command resumes it."""
    return {
        "results": frames.uuid,
        "frames": list(chosen),
        "region": options.region,
        "regions": _describe_regions(options.regions),
        "words": options.words,
        "replace": [list(pair) for pair in options.replace],
        "masks": options.masks,
        "map": options.map,
        "curves": options.curves,
        "gradient": list(options.gradient),
        "heads": options.heads,
        "mode": options.mode,
        "from": options.queries or "actions",
        "layers": options.layers,
        "in_heads": options.in_heads,
        "fill": fill_text(options.fill),
        "controls": options.controls,
        "seeds": options.seeds,
        "config": source.spec.config_hash,
        "dtype": dtype,
        "device": source.device.type,
    }
