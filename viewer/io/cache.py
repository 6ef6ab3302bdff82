"""What was read or computed last, as long as there is room for it; safe to be asked from two threads. No Qt."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class Cache:
    """Values by key, at most `most` bytes of them together; the one that was not used for longest goes first."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.bytes = 0
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._values

    def __len__(self) -> int:
        return len(self._values)

    def get(self, key: Hashable, make: Callable[[], T], size: Callable[[T], int]) -> T:
        """The value of `key`, made if need be; `size` says how many bytes it holds."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                found: T = self._values[key][0]
                return found
        value = make()  # without the lock: what is at hand must not wait for what is being read
        weight = size(value) + 64
        with self._lock:
            if key not in self._values:
                self._values[key] = value, weight
                self.bytes += weight
            while self.bytes > self.most and len(self._values) > 1:
                self.bytes -= self._values.popitem(last=False)[1][1]
        return value
