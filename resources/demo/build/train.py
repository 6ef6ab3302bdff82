"""Training of the demo policy with plain torch, through `capture.policies.pi05.model`'s own modules.

Two stages: most steps on a part of the patches, the last ones on all 256 a camera, as at inference. Stopped at any
moment it goes on where it last saved, with the same random numbers.
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from capture.policies.pi05.model import Pi05
from resources.demo.build.bundle import CONFIG
from resources.demo.build.dataset import BOX, TASKS, Arrays
from resources.demo.build.forward import PATCHES, fresh_model, run_prefix, velocity
from resources.demo.build.losses import Batch, ReadOuts, action_loss, draw_flow, noun_loss, read_out_losses

TRAINED: Final = "trained.pt"

LOSSES: Final = {"flow": 1.0, "shows": 0.2, "place": 0.2, "noun": 0.03, "action": 0.03}
"""Weight of each term; all but flow matching exist in training alone."""


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
        """Return a batch of `size` scenes, one task each."""
        scene = torch.randint(self.count, (size,), generator=self.generator, device=self.device)
        task = torch.randint(TASKS, (size,), generator=self.generator, device=self.device)
        return self.take(scene, task, augment=augment)

    def take(self, scene: Tensor, task: Tensor, *, augment: bool = False) -> Batch:
        """Return a batch of the given scenes and tasks, (B,) each."""
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
        """Return patch numbers (B, 2, n): all, or a random part that favours things and leaves out most of the bars."""
        batch, cameras = cover.shape[:2]
        if count >= PATCHES:
            return torch.arange(PATCHES, device=self.device).expand(batch, cameras, -1)
        chance = torch.rand(batch, cameras, PATCHES, generator=self.generator, device=self.device)
        chance += 0.7 * (cover.amax(dim=2) > 0.1)
        chance -= 0.9 * self.bars
        return chance.topk(count, dim=-1).indices.sort(dim=-1).values

    def _augment(self, raw: Tensor) -> Tensor:
        """Change the strength and colour of the light, and add sensor noise."""
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
        averages = list(self.weights.values())
        torch._foreach_lerp_(averages, [value.detach() for value in model.parameters()], 1 - decay)


class Run:
    """Everything about a training that changes: weights, optimiser, random numbers, position, and what it reported."""

    def __init__(self, arrays: Arrays, stages: list[Stage], seed: int, device: torch.device) -> None:
        self.stages, self.device = stages, device
        self.data = Data(arrays, device, seed)
        self.model = fresh_model(CONFIG, seed).to(device).train()
        self.heads = ReadOuts(CONFIG.vision.width, CONFIG.vlm.width).to(device)
        self.parameters = [*self.model.parameters(), *self.heads.parameters()]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=1.0, betas=(0.9, 0.98), weight_decay=1e-3, fused=device.type == "cuda"
        )
        self.average = Average(self.model, 0.999)
        self.stage = self.step = 0
        self.seconds = [0.0 for _ in stages]
        """Spent in each stage."""
        self.sums = torch.zeros(len(LOSSES), device=device)
        self.log: list[dict[str, float]] = []
        self.recipe = recipe(stages, seed, device, self.data.count)

    def state(self) -> dict[str, Any]:
        """Return the whole state, as `torch.save` takes it."""
        return {
            "recipe": self.recipe,
            "model": self.model.state_dict(),
            "heads": self.heads.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "average": self.average.weights,
            "averaged": self.average.steps,
            "chance": self.data.generator.get_state(),
            "place": [self.stage, self.step],
            "seconds": self.seconds,
            "sums": self.sums,
            "log": self.log,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up what `state` told, on this device."""
        self.model.load_state_dict(state["model"])
        self.heads.load_state_dict(state["heads"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.average.weights = {name: value.to(self.device) for name, value in state["average"].items()}
        self.average.steps = state["averaged"]
        self.data.generator.set_state(state["chance"])
        self.stage, self.step = state["place"]
        self.seconds, self.log = state["seconds"], state["log"]
        self.sums = state["sums"].to(self.device)

    def advance(self) -> None:
        """Run one step of the present stage."""
        stage = self.stages[self.stage]
        fall = stage.floor + (1 - stage.floor) * 0.5 * (1 + math.cos(math.pi * self.step / stage.steps))
        for group in self.optimizer.param_groups:
            group["lr"] = stage.rate * min(1, (self.step + 1) / stage.warm) * fall
        batch = self.data.batch(stage.batch)
        kept = self.data.keep(batch.cover, stage.patches)
        passed = run_prefix(self.model, batch.pictures, kept, batch.tokens)
        x, wish, moment = draw_flow(batch.actions, stage.repeats, self.data.generator)
        v, weights = velocity(self.model, x, moment, passed.prefix)
        shows, place = read_out_losses(self.heads, passed, batch, kept)
        terms = {
            "flow": (v - wish).square().mean(),
            "shows": shows,
            "place": place,
            "noun": noun_loss(passed, batch, kept),
            "action": action_loss(weights, batch, kept),
        }
        loss = torch.stack([LOSSES[name] * term for name, term in terms.items()]).sum()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.average.add(self.model)
        self.sums += torch.stack(list(terms.values())).detach()
        self.step += 1

    def report(self, spent: float) -> None:
        """Log and print the mean of every loss since the last report, `spent` seconds into the stage."""
        report = self.stages[self.stage].report
        mean = (self.sums / (self.step % report or report)).tolist()
        self.sums.zero_()
        losses = {name: round(value, 4) for name, value in zip(LOSSES, mean, strict=True)}
        self.log.append({"stage": self.stage, "step": self.step, "seconds": round(spent, 1), **losses})
        print(" ".join(f"{name} {value}" for name, value in self.log[-1].items()), flush=True)


def recipe(stages: list[Stage], seed: int, device: torch.device, scenes: int) -> str:
    """Return what must be the same for a training to be resumed."""
    settings = {"stages": [asdict(stage) for stage in stages], "seed": seed, "device": device.type, "scenes": scenes}
    return json.dumps(settings)


def train(
    arrays: Arrays,
    out: Path,
    stages: list[Stage],
    seed: int,
    device: torch.device,
    *,
    seconds: float = math.inf,
    save_every: float = 60,
) -> bool:
    """Train from nothing, or go on from `out`/training.pt; at the end `out`/trained.pt holds the averaged weights.

    Args:
        arrays: the training split.
        out: folder of both files.
        stages: the recipe.
        seed: of weights, batches and noise.
        device: where to train; a training goes on only on the kind of device that it began on.
        seconds: stop after this long, saved.
        save_every: seconds between two saves.

    Returns:
        Whether it is finished.

    Raises:
        ValueError: what lies in `out` comes from another recipe.
    """
    finished, halfway = out / TRAINED, out / "training.pt"
    wanted = recipe(stages, seed, device, len(arrays["goal"]))
    for path in (finished, halfway):
        if path.exists() and torch.load(path, map_location="cpu", weights_only=True)["recipe"] != wanted:
            raise ValueError(f"{path} was trained with other settings; remove it or choose another folder.")
    if finished.exists():
        return True
    torch.set_float32_matmul_precision("high")
    run = Run(arrays, stages, seed, device)
    if halfway.exists():
        run.restore(torch.load(halfway, map_location="cpu", weights_only=True))
        print(f"on from stage {run.stage}, step {run.step}", flush=True)
    began = saved = time.monotonic()
    while run.stage < len(stages):
        stage, stage_began, before = stages[run.stage], time.monotonic(), run.seconds[run.stage]
        while run.step < stage.steps:
            if time.monotonic() - began > seconds:
                _save(run.state(), halfway)
                return False
            run.advance()
            run.seconds[run.stage] = before + time.monotonic() - stage_began
            if run.step % stage.report == 0 or run.step == stage.steps:
                run.report(run.seconds[run.stage])
            if time.monotonic() - saved > save_every:
                saved = time.monotonic()
                _save(run.state(), halfway)
        run.stage, run.step = run.stage + 1, 0
        run.sums.zero_()
    _save({"recipe": wanted, "model": run.average.weights, "log": run.log, "seconds": run.seconds}, finished)
    halfway.unlink(missing_ok=True)
    return True


def _save(state: dict[str, Any], path: Path) -> None:
    """Write whole or not at all."""
    half = path.with_suffix(".half")
    torch.save(state, half)
    half.replace(path)
