"""Find the attention modules of a Pi0.5 policy by their names, whatever its class."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final, Literal

import torch
from torch import nn

from capture.policies.process_settings import SharedContext

Phase = Literal["prefix", "suffix"]

PATHS: Final[dict[Phase, re.Pattern[str]]] = {
    "prefix": re.compile(r"(?:^|\.)language_model\.layers\.(\d+)\.self_attn$"),
    "suffix": re.compile(r"(?:^|\.)(?:gemma_expert\.model|expert)\.layers\.(\d+)\.self_attn$"),
}

_WRAPPERS = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Name parts that torch.compile, FSDP and activation checkpointing insert into module names."""


def find_attention_modules(model: nn.Module) -> dict[Phase, dict[int, nn.Module]]:
    """Return the attention modules of both phases by their layer's number.

    Raises `TypeError` if `model` is no module, `ValueError` if it lacks the modules of a phase or holds those of
    several policies.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{type(model).__name__} is no torch module: pass the module that it holds.")
    modules = {phase: _find(model, path) for phase, path in PATHS.items()}
    missing = [phase for phase, by_layer in modules.items() if not by_layer]
    if missing:
        raise ValueError(
            "No attention modules found for the "
            + " and the ".join(f"{phase} phase (…{_readable(PATHS[phase])})" for phase in missing)
            + f" in {type(model).__name__}: pass the module that holds the whole Pi0.5 policy."
        )
    return modules


def _find(model: nn.Module, path: re.Pattern[str]) -> dict[int, nn.Module]:
    modules: dict[int, nn.Module] = {}
    for name, module in model.named_modules():
        match = path.search(_WRAPPERS.sub("", name))
        if match is None:
            continue
        layer = int(match.group(1))
        if layer in modules:
            raise ValueError(
                f"{type(model).__name__} holds several modules …{_readable(path)} with i = {layer}: pass the "
                "one policy that is to be recorded."
            )
        modules[layer] = module
    return modules


def _readable(path: re.Pattern[str]) -> str:
    return path.pattern.replace(r"(?:^|\.)", "").replace(r"\.", ".").replace(r"(\d+)", "<i>").rstrip("$")


def _force_eager() -> AbstractContextManager[None]:
    stance: Any = getattr(torch.compiler, "set_stance", None)  # torch 2.6
    return nullcontext() if stance is None else stance("force_eager")


eager_execution: Final = SharedContext(_force_eager)
"""Makes functions compiled with torch.compile run eagerly: a compiled graph calls no hooks."""
