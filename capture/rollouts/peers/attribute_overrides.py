"""Replace methods of an object for a time: an attribute of the instance hides the class's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

MARK = "_is_rollout_recorder"
"""Attribute of the functions that this module sets, so that a second recorder finds the first."""


class AttributeOverrides:
    """Sets functions as attributes of objects, and removes them again in reverse order.

    The objects are then as before: what was an attribute of the instance (such as a function compiled by torch.compile)
    is set again, what was a method of the class is found there again.
    """

    def __init__(self) -> None:
        self._before: list[tuple[Any, str, Any]] = []

    def set(self, owner: Any, name: str, make: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        """Replace `owner.name` by `make(owner.name)`. Raises RuntimeError where a recorder has replaced it already."""
        present = getattr(owner, name)
        if getattr(present, MARK, False):
            raise RuntimeError(
                f"this {type(owner).__name__} is recorded already: leave the other recorder's `with` block first"
            )
        replacement = make(present)
        setattr(replacement, MARK, True)
        self._before.append((owner, name, vars(owner).get(name, self)))
        object.__setattr__(owner, name, replacement)

    def restore(self) -> None:
        """Undo all `set`. May be called again."""
        while self._before:
            owner, name, original = self._before.pop()
            if original is self:
                object.__delattr__(owner, name)
            else:
                object.__setattr__(owner, name, original)
