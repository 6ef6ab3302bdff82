"""Training of the demo policy with plain torch, through `capture.model`'s own modules.

Two stages: most steps on a part of the patches, the last ones on all 256 a camera, as at inference.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from capture.model import Pi05
from resources.demo.build.bundle import CONFIG
from resources.demo.build.dataset import BOX, TASKS, Arrays, load
from resources.demo.build.forward import PATCHES, fresh_model, run_prefix, velocity
from resources.demo.build.losses import Batch, ReadOuts, action_loss, draw_flow, noun_loss, read_out_losses


@dataclass(frozen=True)
class Stage:
    """One stretch of training."""

    steps: int
    batch: int
    patches: int
    """Patches kept a camera."""
    repeats: int
    """Noises and times a prefix."""
    rate: float
    """Learning rate at its start; it falls along a cosine to `floor` of it."""
    floor: float
    seconds: float
    """The stage is squeezed into this time where steps are slower than expected."""
    warm: int = 200
    """Steps over which the learning rate rises."""
    report: int = 200


class Data:
    """The training set on the device, batches drawn from it at random."""

    def __init__(self, arrays: Arrays, device: torch.device, seed: int) -> None:
        self.device = device
        self.generator = torch.Generator(device).manual_seed(seed)
        keep_pictures_on_host = device.type == "cpu"
        self.tensors = {
            name: torch.from_numpy(values if keep_pictures_on_host else np.ascontiguousarray(values)).to(device)
            for name, values in arrays.items()
        }
        self.count = len(arrays["goal"])
        self.bars = torch.from_numpy(BOX.bars.flatten()).to(device)  # (256,)

    def batch(self, size: int, *, augment: bool = True) -> Batch:
        """A batch of `size` scenes, one task each."""
        scene = torch.randint(self.count, (size,), generator=self.generator, device=self.device)
        task = torch.randint(TASKS, (size,), generator=self.generator, device=self.device)
        return self.take(scene, task, augment=augment)

    def take(self, scene: Tensor, task: Tensor, *, augment: bool = False) -> Batch:
        """Given scenes and tasks, (B,) each."""
        of = self.tensors
        raw = of["pictures"][scene].to(torch.float32).permute(0, 1, 4, 2, 3) / 255  # (B, 2, 3, rows, cols)
        if augment:
            raw = self._augment(raw)
        pictures = raw.new_full((*raw.shape[:3], 224, 224), -1.0)  # (B, 2, 3, 224, 224)
        pictures[..., BOX.top : BOX.top + BOX.rows, :] = raw * 2 - 1
        actions = of["actions"][scene, task]  # (B, H, 8)
        padded = actions.new_zeros(*actions.shape[:2], CONFIG.action_dim)  # (B, H, A)
        padded[..., : actions.shape[-1]] = actions
        tokens = of["ids"][scene, task].long()  # (B, T)
        return Batch(
            pictures=pictures,
            cover=of["cover"][scene].flatten(3).float() / 255,
            kinds=of["kinds"][scene].long(),
            places=of["places"][scene],
            tokens=tokens,
            names=of["names"][scene, task].long(),
            goal=of["goal"][scene, task].long(),
            actions=padded,
        )

    def keep(self, cover: Tensor, count: int) -> Tensor:
        """Patch numbers (B, 2, n): all, or a random part that favours things and leaves out most of the bars."""
        batch, cameras = cover.shape[:2]
        if count >= PATCHES:
            return torch.arange(PATCHES, device=self.device).expand(batch, cameras, -1)
        chance = torch.rand(batch, cameras, PATCHES, generator=self.generator, device=self.device)
        chance += 0.7 * (cover.amax(dim=2) > 0.1)
        chance -= 0.9 * self.bars
        return chance.topk(count, dim=-1).indices.sort(dim=-1).values

    def _augment(self, raw: Tensor) -> Tensor:
        """Light of another strength and colour, and sensor noise."""
        lead = (*raw.shape[:2], 3, 1, 1)
        draw = torch.rand(3, *lead, generator=self.generator, device=self.device) * 2 - 1
        raw = raw * (1 + 0.12 * draw[0][:, :, :1] + 0.04 * draw[1]) + 0.04 * draw[2][:, :, :1]
        noise = torch.randn(raw.shape, generator=self.generator, device=self.device)
        return (raw + 0.01 * noise).clamp(0, 1)


class Average:
    """Running mean of the weights, which is what ships."""

    def __init__(self, model: Pi05, decay: float) -> None:
        self.decay = decay
        self.steps = 0
        self.weights = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def add(self, model: Pi05) -> None:
        """Count the model's present weights in."""
        self.steps += 1
        decay = min(self.decay, self.steps / (self.steps + 10))
        mine = list(self.weights.values())
        torch._foreach_lerp_(mine, [value.detach() for value in model.parameters()], 1 - decay)


def train(
    arrays: Arrays,
    out: Path,
    stages: list[Stage],
    seed: int,
    device: torch.device,
    start: Path | None = None,
    save_every: float = 60,
) -> None:
    """Train from nothing, or on from `start`; write averaged weights to `out`/trained.pt at times and at the end."""
    torch.set_float32_matmul_precision("high")
    data = Data(arrays, device, seed)
    model = fresh_model(CONFIG, seed).to(device).train()
    heads = ReadOuts(CONFIG.vision.width, CONFIG.vlm.width).to(device)
    if start is not None:
        saved_state = torch.load(start, map_location=device, weights_only=True)
        model.load_state_dict(saved_state["model"], strict=False)
        heads.load_state_dict(saved_state["heads"])
    parameters = [*model.parameters(), *heads.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1.0, betas=(0.9, 0.98), weight_decay=1e-3, fused=device.type == "cuda")
    average = Average(model, 0.999)
    began = saved = time.monotonic()
    for number, stage in enumerate(stages):
        stage_began, step, sums = time.monotonic(), 0, torch.zeros(5, device=device)
        while True:
            done = 1.0 if not stage.steps else max(step / stage.steps, (time.monotonic() - stage_began) / stage.seconds)
            if done >= 1:
                break
            for group in optimizer.param_groups:
                fall = stage.floor + (1 - stage.floor) * 0.5 * (1 + math.cos(math.pi * done))
                group["lr"] = stage.rate * min(1, (step + 1) / stage.warm) * fall
            batch = data.batch(stage.batch)
            kept = data.keep(batch.cover, stage.patches)
            passed = run_prefix(model, batch.pictures, kept, batch.tokens)
            x, wish, moment = draw_flow(batch.actions, stage.repeats, data.generator)
            v, weights = velocity(model, x, moment, passed.prefix)
            flow = (v - wish).square().mean()
            shows, place = read_out_losses(heads, passed, batch, kept)
            noun, action = noun_loss(passed, batch, kept), action_loss(weights, batch, kept)
            loss = flow + 0.2 * shows + 0.2 * place + 0.03 * noun + 0.03 * action
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            average.add(model)
            sums += torch.stack([flow, shows, place, noun, action]).detach()
            step += 1
            if step % stage.report == 0:
                mean = (sums / stage.report).tolist()
                sums.zero_()
                print(
                    f"stage {number} step {step} at {time.monotonic() - began:.0f} s ({done:.2f}): flow {mean[0]:.4f}"
                    f" shows {mean[1]:.3f} place {mean[2]:.3f} noun {mean[3]:.3f} action {mean[4]:.3f}",
                    flush=True,
                )
            if time.monotonic() - saved > save_every:
                saved = time.monotonic()
                _save(out, average, heads)
        print(f"stage {number}: {step} steps of {stage.batch} in {time.monotonic() - stage_began:.0f} s", flush=True)
    _save(out, average, heads)


def _save(out: Path, average: Average, heads: ReadOuts) -> None:
    torch.save({"model": average.weights, "heads": heads.state_dict()}, out / "trained.pt")


def main() -> None:
    """Command line: train on a rendered set."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--steps", type=int, nargs=2, default=(8000, 1500))
    parser.add_argument("--batch", type=int, nargs=2, default=(256, 96))
    parser.add_argument("--seconds", type=float, nargs=2, default=(math.inf, math.inf))
    parser.add_argument("--rates", type=float, nargs=2, default=(1.5e-3, 6e-4))
    parser.add_argument("--start", type=Path)
    parser.add_argument("--warm", type=int, default=200)
    parser.add_argument("--report", type=int, default=200)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    stages = [
        Stage(
            options.steps[0],
            options.batch[0],
            64,
            4,
            options.rates[0],
            0.2,
            options.seconds[0],
            options.warm,
            options.report,
        ),
        Stage(
            options.steps[1],
            options.batch[1],
            256,
            4,
            options.rates[1],
            0.01,
            options.seconds[1],
            options.warm,
            options.report,
        ),
    ]
    train(load(options.data, "train"), options.out, stages, options.seed, torch.device(options.device), options.start)


if __name__ == "__main__":
    main()
