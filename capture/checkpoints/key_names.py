"""Map openpi's and lerobot's PyTorch parameter names to ours, and recognise other models by their names.

Ours are openpi's without `vision_model.` and without output heads, which Pi0.5 never uses at inference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from capture.checkpoints.infer_config import EMBEDDING, EXPERT, LANGUAGE, PROJECTOR, VISION, list_tensors
from capture.checkpoints.lora import Adapter, split_adapters
from capture.errors import UserError

Stored = TypeVar("Stored")

_LEROBOT_PREFIX = "model."
_ACTION_ROOTS = ("action_in_proj.", "action_out_proj.", "time_mlp_", "params.action_in_proj.")
_TIED_EMBEDDING = "paligemma_with_expert.paligemma.lm_head.weight"
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|module|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""Name parts that torch.compile, DDP, FSDP and activation checkpointing insert, at any depth and in any order."""
_ROOT = re.compile(r"(.*?)(?:(?<=\.)|^)(?:paligemma_with_expert|action_(?:in|out)_proj|time_mlp_(?:in|out))\.")
"""Prefix of the modules of a Pi0.5 in a name: "", `model.`, `base_model.model.model.` and others."""
_OUTPUT_HEADS = (_TIED_EMBEDDING, "paligemma_with_expert.gemma_expert.lm_head.weight")

_MODULES = (
    ("vision_tower.", VISION),
    ("projector.", f"{PROJECTOR}."),
    ("language_model.", LANGUAGE),
    ("expert.", EXPERT),
)
"""Modules of `Pi05` -> their names in openpi's PyTorch model; all other names are the same."""


def openpi_name(parameter: str) -> str:
    """Return openpi's name of a parameter of `capture.policies.pi05.model.Pi05`, the one that checkpoints store."""
    for our_prefix, openpi_prefix in _MODULES:
        if parameter.startswith(our_prefix):
            return openpi_prefix + parameter.removeprefix(our_prefix)
    return parameter


def parameter_name(stored: str) -> str:
    """Return the name in `Pi05` of a parameter that openpi's PyTorch model calls `stored`."""
    for our_prefix, openpi_prefix in _MODULES:
        if stored.startswith(openpi_prefix):
            return our_prefix + stored.removeprefix(openpi_prefix)
    return stored


@dataclass(frozen=True)
class Renamed(Generic[Stored]):
    """Stored tensors under our names."""

    tensors: Mapping[str, Stored]
    adapters: Mapping[str, Adapter[Stored]]
    """LoRA adapters by the parameter that they change."""
    tied_by_lerobot: bool
    """Every name began with `model.`, and the text embedding was stored only as the output head tied to it."""
    removed: tuple[str, ...]
    """Parts of names that were removed because a wrapper of the model inserted them, such as `_orig_mod.`."""


def to_our_names(stored: Mapping[str, Stored], where: str) -> Renamed[Stored]:
    """Return PyTorch tensors of openpi or lerobot under our names, with LoRA adapters apart.

    Prefixes such as `model.` and the parts that wrappers insert are removed. The text embedding is `embed_tokens` if
    present, since training may have separated it from the output head, else that head; other output heads are dropped.
    Raises UserError if the names belong to another model, or two tensors get the same name.
    """
    bare = remove_prefixes(stored, where)
    plain, adapters = split_adapters(bare.tensors, where)
    if description := other_model(plain):
        raise UserError(f"{where} holds {description}")
    tied = EMBEDDING not in plain and _TIED_EMBEDDING in plain
    if tied:
        plain[EMBEDDING] = plain[_TIED_EMBEDDING]
    for head in _OUTPUT_HEADS:
        plain.pop(head, None)
        adapters.pop(head, None)
    return Renamed(plain, adapters, tied and bare.roots == (_LEROBOT_PREFIX,), bare.removed)


@dataclass(frozen=True)
class BareNames(Generic[Stored]):
    """Stored tensors under names without the prefixes and wrappers of a Pi0.5's modules."""

    tensors: Mapping[str, Stored]
    roots: tuple[str, ...]
    """Prefixes of the names: "" or `model.`, or several of these."""
    removed: tuple[str, ...]
    """Unusual parts that were removed."""


def remove_prefixes(stored: Mapping[str, Stored], where: str) -> BareNames[Stored]:
    """Remove prefixes and the parts that wrappers insert. Raises UserError if two tensors get the same name."""
    removed: dict[str, None] = {}
    roots: dict[str, None] = {}
    bare: dict[str, Stored] = {}
    for stored_name, tensor in stored.items():
        name = _WRAPPERS.sub("", stored_name)
        removed.update(dict.fromkeys(_WRAPPERS.findall(stored_name)))
        root = match[1] if (match := _ROOT.match(name)) else ""
        roots[root] = None
        name = name.removeprefix(root).replace(VISION + "vision_model.", VISION)
        if name in bare:
            raise UserError(
                f"{where} holds {name!r} twice, with different prefixes ({', '.join(repr(root) for root in roots)}); "
                "give a file with one policy"
            )
        bare[name] = tensor
    unusual = [root for root in roots if root not in ("", _LEROBOT_PREFIX)]
    return BareNames(bare, tuple(roots), (*removed, *unusual))


_PI0 = "a Pi0 policy, not a Pi0.5 one ({}); this program runs Pi0.5 only, such as openpi's pi05_droid"
_MEMORY = "a memory (MEM) variant of Pi0.5 ({}); this program runs Pi0.5 without memory only"

_OTHER_MODELS: tuple[tuple[str, str], ...] = (
    (r"(^|\.)(proprio_history_proj|proprio_history)\.", _MEMORY),
    (r"(^|\.)(state_proj|action_time_mlp_in|action_time_mlp_out)\.", _PI0),
    # Pi0's expert has norms with a weight of their own; Pi0.5's are conditioned on time.
    (r"gemma_expert\.model\.(layers\.\d+\.\w*layernorm|norm)\.weight$", _PI0),
    (r"PaliGemma\.llm\.(layers\.\w+_norm_1|final_norm_1)\.scale$", _PI0),
    (r"\.(SCB|weight_scale|qweight|absmax)$", "quantised weights ({}); give the checkpoint that they were made from"),
)


def other_model(names: Iterable[str]) -> str | None:
    """Return a phrase that describes the model with these tensor names; None if they may be Pi0.5's.

    Accepts PyTorch and JAX names.
    """
    unwrapped = [_WRAPPERS.sub("", name) for name in names]
    for pattern, description in _OTHER_MODELS:
        if match := next((name for name in unwrapped if re.search(pattern, name)), None):
            return description.format(f"it has {match!r}")
    bare = [name.removeprefix(root[1]) if (root := _ROOT.match(name)) else name for name in unwrapped]
    if any("gemma_expert." in name or "_einsum_1." in name or name.startswith(_ACTION_ROOTS) for name in bare):
        return None
    if any("language_model." in name or name.startswith(("params.PaliGemma.", "params.llm.")) for name in unwrapped):
        return "no action expert (PaliGemma alone, or Pi0-FAST); this program needs a whole Pi0.5 policy"
    return f"none of Pi0.5's weights, but {list_tensors(unwrapped)}; give a Pi0.5 checkpoint"
