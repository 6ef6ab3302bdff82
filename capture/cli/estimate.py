"""Estimate of a run's duration, from earlier frames with the same settings or from stored measurements."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from capture.checkpoints import Pi05Spec
from capture.cli.units import format_seconds
from capture.pipeline.planning.setup import Setup
from capture.results import schema
from capture.results.resume import ask_run_state

LOOKED_AT: Final = 20
"""Maximum number of results files from which frame times are read."""
ALIKE: Final = ("device", "dtype", "config", "denoise_steps", "full", "check")
"""Keys of the attribute `run` that must agree for frames to take as long; `layers` and `steps` cost little."""

MEASURED: Final[dict[str, tuple[str, dict[int, float]]]] = {
    "cpu": ("two cores of a server", {1: 11.0}),
    "cuda": ("an NVIDIA H100", {1: 0.35, 4: 0.13, 8: 0.064, 16: 0.027}),
    "cuda, replayed": ("an NVIDIA H100", {1: 0.054, 16: 0.024}),
}
"""Device type, and whether calls are replayed -> what it was, and seconds a frame by --batch, of the full-size policy
in bfloat16 with 10 denoise steps and two cameras (tests/bench/throughput.py)."""


def describe_time(setup: Setup, frames: int, folders: Sequence[Path], processes: int = 1) -> str:
    """Return the estimated duration of so many frames, as a sentence that names the basis of the estimate."""
    if not frames:
        return "nothing is left to be run"
    shared = f" on {processes} processes" if processes > 1 else ""
    known_times = [seconds for folder in folders for seconds in frame_seconds(folder, setup.run)]
    if known_times:
        frame_time = median(known_times)
        return (
            f"about {format_seconds(frames * frame_time / processes)}{shared}, if frames take {frame_time:.3g} s each "
            f"as in {len(known_times)} file{'s' * (len(known_times) != 1)} that the same policy made there"
        )
    device = setup.options.device.type + ", replayed" * setup.options.replayed
    if device in MEASURED and _is_full_size(setup) and str(setup.options.dtype) == "torch.bfloat16":
        machine, by_batch = MEASURED[device]
        batch = max(known_batch for known_batch in by_batch if known_batch <= setup.options.batch)
        frame_time, check = by_batch[batch], setup.options.check
        check_note = ", and twice that with --check" * check
        return (
            f"about {format_seconds((1 + check) * frames * frame_time / processes)}{shared}, if frames take "
            f"{frame_time:.3g} s each as measured once on {machine} with --batch {batch}{check_note}; your machine "
            "will differ"
        )
    reason = "no file there was made by this policy" if folders else "no -o names a folder with files of this policy"
    return f"how long it will take is not known: {reason}; run one episode to know"


def frame_seconds(folder: Path, run: Mapping[str, object]) -> list[float]:
    """Return the seconds per frame of finished results files in `folder` with the same settings."""
    seconds_by_file = []
    for path in sorted(folder.glob("*.h5"))[:LOOKED_AT]:
        state = ask_run_state(path)
        if state is None:
            continue
        earlier_run, seconds = state.run or {}, state.checks.get(schema.CHECK_SECONDS)
        if isinstance(seconds, float) and all(earlier_run.get(key) == run.get(key) for key in ALIKE):
            seconds_by_file.append(seconds)
    return seconds_by_file


def _is_full_size(setup: Setup) -> bool:
    if not isinstance(setup.policy, Pi05Spec):
        return False
    config = setup.policy.checkpoint.config
    return (config.vlm.width, config.vlm.depth, config.expert.width, config.denoise_steps) == (2048, 18, 1024, 10)
