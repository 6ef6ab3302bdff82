"""About how long effects take, from the operations of the calls and the speed of captures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from capture.cli.units import format_seconds
from capture.effects.workload import CallCounts

TEXT_TOKENS: Final = 60
"""Tokens of a prompt with its state, about."""


@dataclass(frozen=True)
class Speed:
    """What a machine does in a second."""

    name: str
    operations: float
    """Floating-point operations a second of large batches."""
    call_seconds: float
    """Seconds that a batched call takes however small it is: it launches thousands of kernels."""
    is_measured: bool


SPEEDS: Final = {
    ("cpu", "float32"): Speed("two cores of a server", 4e10, 0.03, is_measured=True),
    ("cpu", "bfloat16"): Speed("two cores of a server", 2.5e11, 0.1, is_measured=True),
    ("cuda", "float32"): Speed("an NVIDIA H100", 3e13, 0.2, is_measured=False),
    ("cuda", "bfloat16"): Speed("an NVIDIA H100", 1e14, 0.2, is_measured=False),
}
"""By device and number type. On the CPU from effects of the demo policy and captures of the full-size one
(tests/bench/throughput.py); on the GPU derived from captures, whose calls of 16 frames take 0.4 s."""


def forecast(counts: Sequence[CallCounts], spec: Any, device: str, dtype: str, batch: int) -> str:
    """Return a sentence on the interventions of some frames and about how long they take."""
    total = sum(count.total for count in counts)
    text = f"{len(counts)} frame{'s' * (len(counts) != 1)}, at most {total} interventions"
    speed, config = SPEEDS.get((device, dtype)), getattr(getattr(spec, "checkpoint", None), "config", None)
    if speed is None or config is None:
        return f"{text}; how long they take is not known for this device"
    expert, language, vision = operations(config, len(spec.sizes.cameras))
    seconds = 0.0
    for count in counts:
        for calls, operations_per_call in (
            (count.actions, expert), (count.prefix, expert + language), (count.pictures, expert + language + vision),
            (3 * count.backward, expert + language),  # a backward pass costs twice a forward one
        ):  # fmt: skip
            seconds += calls * operations_per_call / speed.operations + -(-calls // batch) * speed.call_seconds
    basis = "by earlier runs there" if speed.is_measured else "computed from the speed of captures there, not measured"
    return f"{text}, about {format_seconds(seconds)} on {speed.name} ({basis}; your machine will differ)"


def operations(config: Any, cameras: int) -> tuple[float, float, float]:
    """Return the floating-point operations of one call: of the action expert, the language model, the vision tower."""
    vision = config.vision
    patches = (vision.image_size // vision.patch_size) ** 2
    keys = cameras * patches + TEXT_TOKENS

    def stack(config: Any, tokens: int, keys_per_query: int) -> float:
        inner = config.heads * config.head_dim
        weights = config.width * (2 * inner + 2 * config.kv_heads * config.head_dim + 3 * config.mlp)
        return float(config.depth * (2 * weights * tokens + 4 * tokens * keys_per_query * inner))

    tower = vision.depth * (
        2 * (4 * vision.width**2 + 2 * vision.width * vision.mlp) * patches + 4 * patches**2 * vision.width
    )
    expert = config.denoise_steps * stack(config.expert, config.horizon, keys + config.horizon)
    return expert, stack(config.vlm, keys, keys), float(cameras * tower)
