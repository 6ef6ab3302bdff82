"""Rebuild the demo policy from nothing: scenes, tokenizer, training, figures, weights, episodes.

    python -m resources.demo.build --work /somewhere/with/10/GB

Needs the extra [capture] and the package mujoco. Rendered splits that lie complete in the work folder are used again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from pathlib import Path

import torch

from resources.demo.build import bundle, card, dataset, evaluate, held_out, results, scenes, train, words
from resources.demo.build.forward import fresh_model

DEMO = Path(__file__).parents[1]


def main() -> None:
    """Command line of the rebuild."""
    parser = argparse.ArgumentParser(prog="python -m resources.demo.build", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for rendered scenes and checkpoints")
    parser.add_argument("--demo", type=Path, default=DEMO, help="where to write the demo (default: in place)")
    parser.add_argument("--held-out", type=Path, default=DEMO.parents[1] / "tests" / "data" / "demo")
    parser.add_argument("--scenes", type=int, default=29000, help="training scenes")
    parser.add_argument("--tested", type=int, default=1000, help="test scenes; four tenths as many to choose heads on")
    parser.add_argument("--episodes", type=int, default=100, help="closed-loop episodes")
    parser.add_argument("--steps", type=int, nargs=2, default=(5600, 2600), help="on part of the patches, on all")
    parser.add_argument("--batch", type=int, nargs=2, default=(256, 96))
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 2, help="rendering processes")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    demo, work, device = options.demo, options.work, torch.device(options.device)
    work.mkdir(parents=True, exist_ok=True)

    vocabulary = words.build_tokenizer(demo / "tokenizer.json").get_vocab_size()
    if vocabulary != bundle.CONFIG.vocabulary:
        parser.error(f"the tokenizer has {vocabulary} pieces: write that number into bundle.CONFIG")
    dataset.write_statistics(demo / "assets" / "demo" / "norm_stats.json")
    for split, count in (("train", options.scenes), ("choose", options.tested * 2 // 5), ("test", options.tested)):
        there = work / split / "count"
        if not there.exists() or int(there.read_text()) < count:
            dataset.render(demo, work, split, count, options.workers)

    rates, floors = (1.5e-3, 6e-4), (0.2, 0.01)
    stages = [
        train.Stage(
            options.steps[index], options.batch[index], (64, 256)[index], 4, rates[index], floors[index], math.inf
        )
        for index in range(2)
    ]
    train.train(dataset.load(work, "train"), work, stages, options.seed, device)

    figures = {
        name: evaluate.evaluate(demo, work, weights, device, options.episodes, options.tested)
        for name, weights in (("trained", work / "trained.pt"), ("untrained", None))
    }
    (demo / "figures.json").write_text(json.dumps(figures, indent=1) + "\n")
    if (demo / "README.md").exists():
        card.write_figures(demo / "README.md", figures)

    model = fresh_model(bundle.CONFIG, 0)
    model.load_state_dict(torch.load(work / "trained.pt", map_location="cpu", weights_only=True)["model"], strict=False)
    bundle.write_config(demo, bundle.CONFIG, "demo")
    bundle.write_weights(demo, model)
    renderer = scenes.Renderer()
    bundle.write_episodes(demo / "episodes", renderer)
    held_out.write_held_out(options.held_out, 20, renderer)
    renderer.close()
    results.write_results(demo, demo / "results.h5")


if __name__ == "__main__":
    main()
