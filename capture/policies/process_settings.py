"""Process-wide settings that several threads may need at the same time, for instance with one policy each."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Final, Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class SharedContext(Generic[T]):
    """Reference-counted, thread-safe context manager.

    The first thread to enter enters the context manager that `hold` returns, the last one to leave exits it. All get
    the value that the first one got.
    """

    def __init__(self, hold: Callable[[], AbstractContextManager[T]]) -> None:
        self._hold = hold
        self._lock = threading.Lock()
        self._holders = 0
        self._held: AbstractContextManager[T]
        self._entered: T

    def __enter__(self) -> T:
        with self._lock:
            if not self._holders:
                self._held = self._hold()
                self._entered = self._held.__enter__()
            self._holders += 1
            return self._entered

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            self._holders -= 1
            if not self._holders:
                self._held.__exit__(None, None, None)


@contextlib.contextmanager
def _exactly() -> Iterator[None]:
    previous = torch.get_float32_matmul_precision()
    convolution = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(previous)
        torch.backends.cudnn.allow_tf32 = convolution


_exact: Final = SharedContext(_exactly)


def multiply_exactly(left: Tensor, right: Tensor) -> Tensor:
    """Return the matrix product of float32 tensors, computed in float32 at least, whatever the process has set.

    On a CPU the setting is left alone, since another thread's policy may run under it.
    """
    product: Tensor
    if left.device.type == "cuda":
        with exact_float32():
            product = left @ right
    elif torch.get_float32_matmul_precision() == "highest":
        product = left @ right
    else:
        product = (left.double() @ right.double()).float()
    return product


def exact_float32() -> AbstractContextManager[None]:
    """Return a context manager within which float32 products are computed in float32, without TF32."""
    return _exact
