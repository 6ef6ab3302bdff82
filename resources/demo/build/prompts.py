"""The tasks that the demo policy understands, and which thing each of them means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from resources.demo.build.scenes import Scene
from resources.demo.build.things import NAMES, THINGS

REACH: Final = (
    "pick up the {a}",
    "grab the {a}",
    "reach for the {a}",
    "move to the {a}",
    "go to the {a}",
    "touch the {a}",
    "find the {a}",
    "show me the {a}",
)
"""Tasks with one thing: reach above it and close the gripper."""

CHOOSE: Final = (
    "pick up the {a}, not the {b}",
    "do not touch the {b}, grab the {a}",
    "grab the {a} and leave the {b}",
    "leave the {b} and go to the {a}",
)
"""Tasks that name a second thing which is not wanted."""

PUT: Final = (
    "put the {a} {in} the {b}",
    "place the {a} {in} the {b}",
    "move the {a} to the {b}",
)
"""Tasks in two parts: reach for `a`; once it is held, carry it above `b` and open the gripper."""


@dataclass(frozen=True)
class Task:
    """A prompt about one scene."""

    prompt: str
    first: int
    """Number of thing `a` (place in `THINGS`)."""
    second: int
    """Number of thing `b`, or -1."""
    goal: int
    """Number of the thing that the arm shall reach now."""

    def spans(self) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
        """Return the character spans of the two names in the prompt; None for a name that is not there."""
        found: list[tuple[int, int] | None] = []
        for number in (self.first, self.second):
            start = self.prompt.find(NAMES[number]) if number >= 0 else -1
            found.append((start, start + len(NAMES[number])) if start >= 0 else None)
        return found[0], found[1]


def fill(template: str, first: int, second: int) -> str:
    """Return a template with the names of two things put in."""
    joint = "in" if second >= 0 and NAMES[second] == "bowl" else "on"
    return template.format(a=NAMES[first], b=NAMES[second] if second >= 0 else "", **{"in": joint})


def draw_task(rng: np.random.Generator, scene: Scene, *, goal: int | None = None) -> Task:
    """Draw a random task that makes sense in the scene.

    Args:
        rng: source of chance.
        scene: what stands on the table; if something is carried, the task is to put it somewhere.
        goal: number of the thing to be reached now; any that makes sense where None.
    """
    kinds = scene.kinds
    if scene.carried >= 0:
        first = kinds[scene.carried]
        takers = [kind for kind in kinds if THINGS[kind].takes and kind != first]
        second = int(rng.choice(takers)) if goal is None else goal
        return Task(fill(_pick(rng, PUT), first, second), first, second, second)
    first = int(rng.choice(kinds)) if goal is None else goal
    others = [kind for kind in kinds if kind != first]
    takers = [kind for kind in others if THINGS[kind].takes]
    chance = rng.random()
    if chance < 0.3 and takers and NAMES[first] != "bowl":
        second = int(rng.choice(takers))
        return Task(fill(_pick(rng, PUT), first, second), first, second, first)
    if chance < 0.6:
        second = int(rng.choice(others))
        return Task(fill(_pick(rng, CHOOSE), first, second), first, second, first)
    return Task(fill(_pick(rng, REACH), first, -1), first, -1, first)


def every_prompt() -> Iterator[str]:
    """Yield every prompt that `draw_task` can return, for the tokenizer's vocabulary."""
    for template in (*REACH, *CHOOSE, *PUT):
        for first in range(len(THINGS)):
            for second in range(len(THINGS)):
                yield fill(template, first, second)


def _pick(rng: np.random.Generator, templates: tuple[str, ...]) -> str:
    return templates[int(rng.integers(len(templates)))]
