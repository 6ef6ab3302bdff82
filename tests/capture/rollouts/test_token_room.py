"""A file that begins with the shortest state has room for the longest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from paths import DEMO
from synthetic_episodes import small_setup

from capture.checkpoints import Pi05Spec, open_checkpoint
from capture.policies.tokenizer import find_tokenizer
from capture.results import schema
from capture.rollouts.episode_file import add_room


def check_room(spec: Pi05Spec, low: np.ndarray, high: np.ndarray) -> None:
    draw = np.random.default_rng(0)
    states = [low, high, *draw.uniform(low, high, (50, len(low)))]
    tables = [spec.tokenise("put the duck in the bowl", state) for state in states]
    shortest = min(tables, key=len)
    sizes = schema.Sizes(
        frames=0, cameras=("exterior",), layers=(0,), steps=(0,), heads=1, tokens=len(shortest), horizon=1,
        denoise_steps=1, state_dim=len(low), robot_dim=1, model_dim=1, pictures=((2, 2),), full=False,
        text_bytes=len(shortest.text.encode()), is_rollout=True,
    )  # fmt: skip
    token_room = add_room(sizes, shortest)
    assert len({len(table) for table in tables}) > 1
    assert token_room.tokens >= max(len(table) for table in tables)
    assert token_room.text_bytes >= max(len(table.text.encode()) for table in tables)


def test_small_tokenizer_has_room_for_every_state(checkpoint: Path) -> None:
    check_room(small_setup(checkpoint).policy, np.array([-1.0, -2.0, 0.0, 0.5]), np.array([1.0, 2.0, 4.0, 0.9]))


def test_demo_tokenizer_has_room_for_every_state() -> None:
    checkpoint = open_checkpoint(DEMO)
    spec = Pi05Spec(checkpoint, find_tokenizer(None, checkpoint.tokenizer_folder))
    check_room(spec, np.full(8, -2.0), np.full(8, 2.0))
