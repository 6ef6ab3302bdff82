"""Questions over a run of 1,000 episodes × 100 frames × 18 layers × 8 heads × 10 denoise steps: time and memory.

python tests/bench/run_queries.py                       # makes the summary (about 1 GB in a temporary folder), asks it
python tests/bench/run_queries.py --folder FOLDER       # keeps it there, and uses it again
python tests/bench/run_queries.py --episodes 200

The summary is written directly, with planted scores, for the results files of such a run would take 4 TB. Times are
medians of wall time and of processor time; memory is what this process has at most, with numpy and DuckDB.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

FRAMES, LAYERS, HEADS, STEPS = 100, 18, 8, 10
SUBJECT_ACTIONS = "all"
SEED = 20


def write_summary(folder: Path, episodes: int) -> None:
    """Write the index of a run and a summary of it."""
    import make_run

    from viewer.export.runs.build_summary import EPISODES_OF_FILE, EpisodeTask, SummaryBuilder, make_stamp
    from viewer.io import run_index
    from viewer.runs.summary_files import choose_folder

    entries = [make_run.make_entry(number, frames=FRAMES, success=number % 2 == 0) for number in range(episodes)]
    make_run.write_index(folder, entries)
    for entry in entries:
        (folder / entry["file"]).touch()
    run = run_index.read_run(folder)
    subject = query().subject
    builder = SummaryBuilder(choose_folder(run, subject), subject)
    rng = np.random.default_rng(SEED)
    started = time.perf_counter()
    for number, episode in enumerate(run.episodes):
        stamp = make_stamp(folder / episode.file)
        task = EpisodeTask(folder / episode.file, episode.file, stamp, (subject,))
        builder.add(task, make_parts(rng, episode.prompts[0], number))
        if number % EPISODES_OF_FILE == EPISODES_OF_FILE - 1:
            print(f"\r{number + 1} episodes written", end="", file=sys.stderr)
    builder.write()
    print(f"\rwritten in {time.perf_counter() - started:.0f} s", file=sys.stderr)


def make_parts(rng: np.random.Generator, prompt: str, number: int):
    """Return the sums of one episode: heads 0 of layers 9 to 11 follow the object, less so when the robot fails."""
    from viewer.export.runs.episode_parts import EpisodeParts, PromptParts
    from viewer.runs.episode_scores import find_scores
    from viewer.runs.summary_files import PARTS

    each = FRAMES // PARTS
    shape = (PARTS, 1 + STEPS, LAYERS, HEADS)
    total, frames = {}, {}
    for score in find_scores(query().subject):
        values = rng.normal(1, 0.1, shape) + rng.normal(0, 0.2, (LAYERS, HEADS))
        values[..., 9:12, 0] += 1 if number % 2 == 0 else 0.5
        total[score.name], frames[score.name] = values * each, np.full(shape, each, np.int32)
    first = np.arange(PARTS) * each
    kept = PromptParts(prompt, first, first + each - 1, total, frames)
    return EpisodeParts(tuple(range(LAYERS)), HEADS, tuple(range(STEPS)), FRAMES, (kept,))


def query():
    """Return the question that the page starts with."""
    from viewer.runs.query import RunQuery

    return RunQuery(score="lift", words="", actions=SUBJECT_ACTIONS, region="duck", step=9)


def ask(folder: Path) -> dict[str, object]:
    """Ask an existing summary, as the page does, and return what it took."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    wall, work = time.perf_counter(), time.process_time()

    def lap() -> tuple[float, float]:
        nonlocal wall, work
        took = round(1000 * (time.perf_counter() - wall)), round(1000 * (time.process_time() - work))
        wall, work = time.perf_counter(), time.process_time()
        return took

    from viewer.io import run_index
    from viewer.runs.summary import RunSummary

    results: dict[str, object] = {"import": lap()}
    run = run_index.read_run(folder)
    results["read the index"] = lap()
    summary = RunSummary.open(run, query().subject)
    results["open the summary"] = lap()
    atlas = summary.atlas(query())
    results["first atlas, with the import of DuckDB"] = lap()
    results["memory above the start, MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    success = replace(query(), group="outcome")
    changes = {
        "success against failure": success,
        "one prompt": replace(success, prompts=(summary.prompts[1],)),
        "failures alone": replace(query(), outcomes=("failure",)),
        "second half, before its parts are read ahead": replace(success, times=(0.5, 1.0)),
        "read the parts ahead": None,
        "first half": replace(success, times=(0.0, 0.5)),
        "second half, one prompt": replace(success, times=(0.5, 1.0), prompts=(summary.prompts[0],)),
        "frames 10 to 39": replace(success, frames=(10, 39)),
        "another step": replace(success, step=3),
        "mean of the steps": replace(success, step=None),
        "another score": replace(success, score="entropy"),
        "three prompts": replace(query(), group="prompt"),
    }
    for name, changed_query in changes.items():
        lap()
        if changed_query is None:
            summary.read_parts_ahead(success)
            results[name] = lap()
            continue
        summary.atlas(changed_query)
        results[f"change to: {name}"] = lap()
    lap()
    summary.distribution(success, 9, 0)
    results["distribution of a head"] = lap()
    summary.curve(success, 9, 0)
    results["curves of a head"] = lap()
    summary.curve(success, 10, 0)
    results["curves of the next head"] = lap()
    results["peak memory, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    contrast = summary.atlas(success).contrast
    results["marked heads"] = [
        f"layer {layer} head {head}" for layer, head in np.argwhere(contrast.q <= 0.05).tolist()
    ][:5]
    results["episodes"] = int(atlas.all.episodes.max())
    return results


def main() -> None:
    """Make the summary if it is not there, ask it in a process of its own, and print what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--episodes", type=int, default=1000)
    parser.add_argument("--ask", action="store_true", help="only ask, in this process")
    arguments = parser.parse_args()
    if arguments.ask:
        print(json.dumps(ask(arguments.folder)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary) / "runs"
        if not (folder / "index.json").exists():
            write_summary(folder, arguments.episodes)
        import subprocess

        command = [sys.executable, __file__, "--ask", "--folder", str(folder)]
        for name, value in json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout).items():
            shown = (
                f"{value[0]} ms ({value[1]} ms of processor time)"
                if isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value)
                else value
            )
            print(f"{name}: {shown}")


if __name__ == "__main__":
    main()
