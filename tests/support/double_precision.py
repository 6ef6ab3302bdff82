"""Run the model in float64, and change attention weights as they are computed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode


class DoublePrecision(TorchFunctionMode):
    """Context manager in which float32 that code asks for by name becomes float64.

    `change` is called with the number of each softmax, from 0, and its result; what it returns takes its place.
    """

    def __init__(self, change: Callable[[int, Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self._change = change
        self._count = 0

    def __torch_function__(self, function: Any, types: Any, arguments: Any = (), kwargs: Any = None) -> Any:
        if function is torch.Tensor.float:
            return arguments[0].double()
        arguments = tuple(torch.float64 if argument is torch.float32 else argument for argument in arguments)
        kwargs = {
            name: torch.float64 if argument is torch.float32 else argument for name, argument in (kwargs or {}).items()
        }
        result = function(*arguments, **kwargs)
        if function in (torch.Tensor.softmax, torch.nn.functional.softmax) and self._change is not None:
            result = self._change(self._count, result)
            self._count += 1
        return result
