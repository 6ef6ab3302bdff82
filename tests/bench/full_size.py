"""A full-size Pi0.5 (2B + 300M) with random weights in openpi's layout, and what capturing with it costs.

    python tests/bench/full_size.py make /tmp/full --shards 4     # 6.7 GB of bfloat16
    python tests/bench/full_size.py run /tmp/full --prompts 2     # seconds, peak memory, file size, cost of recording

Weights are drawn at the scale of a fresh initialisation: attention is then spread and the actions mean nothing, but
every shape, byte and second is that of the real policy.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import save_file

from capture.checkpoints.key_names import openpi_name
from capture.policies.pi05.config import Pi05Config, StackConfig, VisionConfig
from capture.policies.pi05.model import Pi05

FULL = Pi05Config(
    vision=VisionConfig(width=1152, depth=27, heads=16, mlp=4304),
    vlm=StackConfig(width=2048, depth=18, heads=8, kv_heads=1, head_dim=256, mlp=16384),
    expert=StackConfig(width=1024, depth=18, heads=8, kv_heads=1, head_dim=256, mlp=4096),
    vocabulary=257152,
)
STATE = "0.1,-0.4,0.05,-2.1,0.02,1.7,0.2,0.0"


def write_checkpoint(folder: Path, shards: int, seed: int = 0) -> None:
    """Write the checkpoint, shard by shard, so that making it needs little memory."""
    folder.mkdir(parents=True, exist_ok=True)
    with torch.device("meta"):
        model = Pi05(FULL)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(seed)
    parameters = list(model.named_parameters())
    total = sum(parameter.numel() for _, parameter in parameters)
    index: dict[str, str] = {}
    shard: dict[str, torch.Tensor] = {}
    written, number = 0, 1

    def flush() -> None:
        name = "model.safetensors" if shards == 1 else f"model-{number:05d}-of-{shards:05d}.safetensors"
        save_file(shard, folder / name)
        index.update(dict.fromkeys(shard, name))
        shard.clear()

    for name, parameter in parameters:
        stored = openpi_name(name).replace(".vision_tower.", ".vision_tower.vision_model.")
        stored = stored.replace("paligemma.model.language_model.embed_tokens", "paligemma.lm_head")
        std = 0.02 if parameter.ndim == 1 or "embed" in name else parameter[0].numel() ** -0.5
        weights = torch.empty(parameter.shape, dtype=torch.bfloat16, device=device).normal_(
            std=std, generator=generator
        )
        if name.endswith((".layer_norm1.weight", ".layer_norm2.weight", ".post_layernorm.weight")):
            weights += 1  # SigLIP's norms multiply by the weight itself
        shard[stored] = weights.cpu()
        written += parameter.numel()
        if written >= total * number / shards or name == parameters[-1][0]:
            flush()
            number += 1
        print(f"\r{written / total:.0%}", end="", file=sys.stderr, flush=True)
    print(file=sys.stderr)
    if shards > 1:
        (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    config = {
        "action_dim": 32,
        "action_horizon": 15,
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "precision": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    statistics = {"mean": [0.0] * 8, "std": [1.0] * 8, "q01": [-3.0] * 8, "q99": [3.0] * 8}
    assets = folder / "assets/droid"
    assets.mkdir(parents=True, exist_ok=True)
    (assets / "norm_stats.json").write_text(json.dumps({"norm_stats": {"state": statistics, "actions": statistics}}))
    pictures = np.random.default_rng(seed)
    for camera in ("exterior", "wrist"):
        rough = pictures.integers(0, 255, (18, 32, 3), dtype=np.uint8)
        Image.fromarray(rough).resize((1280, 720), Image.Resampling.BICUBIC).save(folder / f"{camera}.png")


def capture_and_report(folder: Path, prompts: int, tokenizer: Path, extra: list[str]) -> None:
    """Capture through the command line with --check and print what it cost."""
    from capture.__main__ import main

    output = folder / "full.h5"
    tasks = ["put the yellow rubber duck in the bowl", "put the red block in the mug", "open the drawer", "close it"]
    arguments = ["--checkpoint", str(folder), "--tokenizer", str(tokenizer), "--state", STATE, "--check", "--overwrite"]
    arguments += ["--exterior", str(folder / "exterior.png"), "--wrist", str(folder / "wrist.png"), "-o", str(output)]
    for number in range(prompts):
        arguments += ["--prompt", tasks[number % len(tasks)]]
    start = time.perf_counter()
    code = main(arguments + extra)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"exit {code}, {time.perf_counter() - start:.0f} s in all, peak memory {peak:.2f} GB (host)")
    if torch.cuda.is_available():
        print(f"peak memory {torch.cuda.max_memory_allocated() / 1e9:.2f} GB (GPU)")
    if code == 0:
        print(f"{output.stat().st_size / prompts / 1e6:.1f} MB a frame")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("make", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=1)
    parser.add_argument("--tokenizer", type=Path)
    options, rest = parser.parse_known_args()
    if options.verb == "make":
        write_checkpoint(options.folder, options.shards)
    else:
        capture_and_report(options.folder, options.prompts, options.tokenizer, rest)
