"""LRU cache bounded in bytes. No Qt."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")


class Cache:
    """LRU cache bounded in bytes; thread-safe. The value used last stays even if it is larger than `most`."""

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
        """Return the value of `key`, computed by `make` if it is absent; `size` returns how many bytes it takes."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                cached: T = self._values[key][0]
                return cached
        value = make()  # without the lock, so that other threads get cached values meanwhile
        weight = size(value) + 64
        with self._lock:
            if key not in self._values:
                self._values[key] = value, weight
                self.bytes += weight
            while self.bytes > self.most and len(self._values) > 1:
                self.bytes -= self._values.popitem(last=False)[1][1]
        return value
