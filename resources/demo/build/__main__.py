"""Rebuild the demo policy from nothing: scenes, tokenizer, training, figures, weights, episodes, results file.

    python -m resources.demo.build --work /somewhere/with/10/GB

Needs the extra [capture] and the package mujoco. What is finished lies in the work folder: called again, the command
goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Final

import torch

from resources.demo.build import bundle, card, dataset, evaluate, held_out, journal, results, scenes, train, words
from resources.demo.build.forward import fresh_model

DEMO: Final = Path(__file__).parents[1]
STAGES: Final = ("render", "train", "evaluate", "bundle")
FIGURES: Final = "figures.json"


def main() -> int:
    """Run the command line of the rebuild; return 0 when all requested stages are finished, 1 when the time ran out."""
    parser = argparse.ArgumentParser(
        prog="python -m resources.demo.build",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for rendered scenes and checkpoints")
    parser.add_argument("--demo", type=Path, default=DEMO, help="where to write the demo (default: in place)")
    parser.add_argument("--held-out", type=Path, default=DEMO.parents[1] / "tests" / "data" / "demo")
    parser.add_argument("--stage", choices=STAGES, nargs="+", default=STAGES, help="only these (default: all)")
    parser.add_argument(
        "--seconds", type=float, default=math.inf, help="stop rendering and training in time; call again to go on"
    )
    parser.add_argument("--scenes", type=int, default=29000, help="training scenes")
    parser.add_argument("--tested", type=int, default=1000, help="test scenes; four tenths as many to choose heads on")
    parser.add_argument("--episodes", type=int, default=100, help="closed-loop episodes")
    parser.add_argument("--steps", type=int, nargs=2, default=(5600, 2600), help="on part of the patches, on all")
    parser.add_argument("--batch", type=int, nargs=2, default=(256, 96))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2, help="rendering processes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)

    ends = time.monotonic() + options.seconds
    try:
        for stage in STAGES:
            if stage in options.stage and not _STEPS[stage](options, ends - time.monotonic()):
                print("out of time; all is kept: the same command goes on from here", file=sys.stderr)
                return 1
    except ValueError as error:
        parser.error(str(error))
    return 0


def _render(options: argparse.Namespace, seconds: float) -> bool:
    vocabulary = words.build_tokenizer(options.demo / "tokenizer.json").get_vocab_size()
    if vocabulary != bundle.CONFIG.vocabulary:
        raise ValueError(f"the tokenizer has {vocabulary} pieces: write that number into bundle.CONFIG")
    statistics, assets = options.work / "norm_stats.json", options.demo / "assets" / "demo"
    if not statistics.exists():
        dataset.write_statistics(statistics)
    assets.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(statistics, assets / statistics.name)
    counts = {"train": options.scenes, "choose": options.tested * 2 // 5, "test": options.tested}
    began, finished = time.monotonic(), True
    for split, count in counts.items():
        left = began + seconds - time.monotonic()
        finished = finished and dataset.render(options.demo, options.work, split, count, options.workers, seconds=left)
    described = {"scenes": counts, "processes": options.workers}
    journal.note(options.work, "render", described, time.monotonic() - began, finished=finished)
    return finished


def _train(options: argparse.Namespace, seconds: float) -> bool:
    device = torch.device(options.device)
    stages = [
        train.Stage(options.steps[0], options.batch[0], patches=64, repeats=4, rate=1.5e-3, floor=0.2),
        train.Stage(options.steps[1], options.batch[1], patches=256, repeats=4, rate=6e-4, floor=0.01),
    ]
    began = time.monotonic()
    arrays = dataset.load(options.work, "train")
    if not train.train(arrays, options.work, stages, options.seed, device, seconds=seconds):
        journal.note(options.work, "train", {}, time.monotonic() - began, finished=False)
        return False
    trained = torch.load(options.work / train.TRAINED, map_location="cpu", weights_only=True)
    described = {
        **journal.machine(device),
        "seed": options.seed,
        "losses": train.LOSSES,
        "stages": [asdict(stage) for stage in stages],
        "stage_seconds": [round(each, 1) for each in trained["seconds"]],
        "log": trained["log"],
    }
    journal.note(options.work, "train", described, time.monotonic() - began)
    return True


def _evaluate(options: argparse.Namespace, _: float) -> bool:
    device, began = torch.device(options.device), time.monotonic()
    figures = {
        name: evaluate.evaluate(options.demo, options.work, weights, device, options.episodes)
        for name, weights in (("trained", options.work / train.TRAINED), ("untrained", None))
    }
    (options.work / FIGURES).write_text(json.dumps(figures, indent=1) + "\n")
    journal.note(options.work, "evaluate", journal.machine(device), time.monotonic() - began)
    return True


def _bundle(options: argparse.Namespace, _: float) -> bool:
    demo: Path = options.demo
    figures, run = json.loads((options.work / FIGURES).read_text()), journal.read(options.work)
    for name, content in ((FIGURES, figures), (journal.NAME, run)):
        (demo / name).write_text(json.dumps(content, indent=1) + "\n")
    if (demo / "README.md").exists():
        card.write_figures(demo / "README.md", figures)
        card.write_run(demo / "README.md", run)
    model = fresh_model(bundle.CONFIG, 0)
    trained = torch.load(options.work / train.TRAINED, map_location="cpu", weights_only=True)
    model.load_state_dict(trained["model"], strict=False)
    bundle.write_config(demo, bundle.CONFIG, "demo")
    bundle.write_weights(demo, model)
    renderer = scenes.Renderer()
    bundle.write_episodes(demo / "episodes", renderer)
    held_out.write_held_out(options.held_out, 20, renderer)
    renderer.close()
    results.write_results(demo, demo / "results.h5")
    return True


_STEPS: Final = {"render": _render, "train": _train, "evaluate": _evaluate, "bundle": _bundle}


if __name__ == "__main__":
    sys.exit(main())
