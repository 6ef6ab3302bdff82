"""LoRA adapters: recognise them by name, know their scale, and merge them into the weights as these are read.

A layer with weight W (out, in) and an adapter A (rank, in), B (out, rank) computes (W + scale * B A) x, so that the sum
is a plain weight. The scale is alpha / rank, or alpha / sqrt(rank) where it is rank-stabilised (arXiv:2312.03732); DoRA
(arXiv:2402.09353) scales each row of the sum to a stored length. Sums are computed in float32 whatever the dtypes.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Generic, TypeVar

import torch
from torch import Tensor

from capture.checkpoints.safetensors_reader import StoredTensor, read_header, read_into
from capture.errors import UserError
from capture.json_fields import JsonObject, read_json

Stored = TypeVar("Stored")

ADAPTER_CONFIG: Final = "adapter_config.json"
ADAPTER_WEIGHTS: Final = "adapter_model.safetensors"
PEFT_PREFIX: Final = "base_model.model."
"""What PEFT puts before every name in an adapter's file."""

_PART = re.compile(
    r"(?P<module>.+)\.(?P<part>lora_[aAbB]|lora_magnitude_vector)(?:\.(?!weight$)(?P<adapter>[^.]+))?(?:\.weight)?"
)
_FOREIGN_PART = re.compile(r"(^|[._])(lora_|vera_|hada_|lokr_|oft_)")
_WRAPPED: Final = ("base_layer", "base", "linear", "original")
"""Names under which LoRA layers keep the layer that they wrap; PEFT's is the first one."""


@dataclass(frozen=True)
class LoraScale:
    """How strongly adapters count. `alpha` None stands for the rank, so that the scale is 1."""

    alpha: float | None = None
    is_rank_stabilised: bool = False
    alpha_by_module: Mapping[str, float] = field(default_factory=dict)
    """Pattern of the end of a module's name -> its own alpha (PEFT's `alpha_pattern`)."""

    def of(self, module: str, rank: int) -> float:
        """Return the factor of B A for a module of this name; patterns may name it with lerobot's `model.` too."""
        names = (module, f"model.{module}")
        matching_alphas = (
            alpha
            for key, alpha in self.alpha_by_module.items()
            if any(re.match(rf"(.*\.)?({key})$", name) for name in names)
        )
        alpha = next(matching_alphas, self.alpha)
        if alpha is None:
            return 1.0
        return alpha / math.sqrt(rank) if self.is_rank_stabilised else alpha / rank


@dataclass(frozen=True)
class Adapter(Generic[Stored]):
    """The adapter of one parameter."""

    module: str
    """Name of the adapted module."""
    a: Stored
    b: Stored
    magnitude: Stored | None = None
    """Length of each row of the merged weight (DoRA); None without."""


@dataclass(frozen=True)
class StoredAdapter:
    """An adapter in safetensors files, ready to be merged."""

    adapter: Adapter[StoredTensor]
    rank: int
    scale: float
    is_transposed: bool = False
    """A is stored as (in, rank) and B as (rank, out)."""

    @property
    def parts(self) -> tuple[StoredTensor, ...]:
        """Every tensor of the adapter."""
        adapter = self.adapter
        return (adapter.a, adapter.b) if adapter.magnitude is None else (adapter.a, adapter.b, adapter.magnitude)

    def merge(self, weight: StoredTensor, out: Tensor) -> None:
        """Fill `out` with the sum of `weight` and the adapter, computed in float32 on the CPU."""
        merged = _read(weight)  # (out, in)
        a, b = _read(self.adapter.a), _read(self.adapter.b)
        if self.is_transposed:
            a, b = a.T, b.T
        merged.addmm_(b, a, alpha=self.scale)  # (out, rank) x (rank, in)
        if self.adapter.magnitude is not None:
            lengths = torch.linalg.norm(merged, dim=1)  # (out,)
            merged.mul_((_read(self.adapter.magnitude) / lengths)[:, None])
        out.copy_(merged)


def _read(stored: StoredTensor) -> Tensor:
    tensor = torch.empty(stored.shape, dtype=torch.float32)
    read_into(stored, tensor)
    return tensor


def split_adapters(stored: Mapping[str, Stored], where: str) -> tuple[dict[str, Stored], dict[str, Adapter[Stored]]]:
    """Split tensors by name into those of the model and the adapters of its parameters.

    Layers that adapters wrap get their plain names back, and modules that were trained whole beside the adapters
    (PEFT's `modules_to_save`) replace the original ones. Raises UserError for an adapter that is not whole, several
    adapters of one module, and adapters other than LoRA.
    """
    parts: dict[str, dict[str, Stored]] = {}
    plain: dict[str, Stored] = {}
    adapter_names: set[str] = set()
    for name, tensor in stored.items():
        match = _PART.fullmatch(name)
        if match is None:
            if _FOREIGN_PART.search(name):
                raise UserError(
                    f"{where} holds an adapter that is not plain LoRA ({name!r}); merge it with PEFT's "
                    "merge_and_unload() and save the policy, then give the merged folder"
                )
            plain[name] = tensor
            continue
        adapter_names.add(match["adapter"] or "")
        parts.setdefault(match["module"], {})[match["part"].lower()] = tensor
    if len(adapter_names) > 1:
        raise UserError(
            f"{where} holds several LoRA adapters ({', '.join(sorted(adapter_names))}); give a file with one"
        )
    adapters_by_parameter: dict[str, Adapter[Stored]] = {}
    for module, tensors_by_part in parts.items():
        if "lora_a" not in tensors_by_part or "lora_b" not in tensors_by_part:
            raise UserError(f"the LoRA adapter of {module!r} in {where} lacks its A or its B; fetch it again")
        adapters_by_parameter[f"{module}.weight"] = Adapter(
            module, tensors_by_part["lora_a"], tensors_by_part["lora_b"], tensors_by_part.get("lora_magnitude_vector")
        )
    return _unwrap(plain, parts), adapters_by_parameter


def _unwrap(plain: Mapping[str, Stored], modules: Iterable[str]) -> dict[str, Stored]:
    """Return tensors under the names that they have in the model without adapters."""
    names = {f"{module}.{inner}": module for module in modules for inner in _WRAPPED}
    renamed: dict[str, Stored] = {}
    trained: dict[str, Stored] = {}
    for name, tensor in plain.items():
        module, _, last = name.rpartition(".")
        if match := re.fullmatch(r"(.+)\.modules_to_save\.[^.]+\.(.+)", name):
            trained[f"{match[1]}.{match[2]}"] = tensor
        elif module in names:
            renamed[f"{names[module]}.{last}"] = tensor
        else:
            renamed[name.replace(".original_module.", ".")] = tensor
    return {**renamed, **trained}


def fit_adapters(
    adapters: Mapping[str, Adapter[StoredTensor]], shapes: Mapping[str, tuple[int, ...]], scale: LoraScale, where: str
) -> dict[str, StoredAdapter]:
    """Return adapters, keyed by parameter, with their scale and layout. Raises UserError where shapes do not fit."""
    fitted = {}
    for name, adapter in adapters.items():
        if name not in shapes:
            raise UserError(
                f"{where} holds a LoRA adapter of {adapter.module!r}, but there is no weight of that name; it is the "
                "adapter of another model, or the weights are not complete"
            )
        a, b, weight = adapter.a.shape, adapter.b.shape, tuple(shapes[name])
        is_matrix = len(a) == len(b) == len(weight) == 2
        if is_matrix and (b[0], a[1]) == weight and a[0] == b[1]:
            fitted[name] = StoredAdapter(adapter, a[0], scale.of(adapter.module, a[0]))
        elif is_matrix and (b[1], a[0]) == weight and a[1] == b[0]:
            fitted[name] = StoredAdapter(adapter, a[1], scale.of(adapter.module, a[1]), is_transposed=True)
        else:
            raise UserError(
                f"the LoRA adapter of {adapter.module!r} in {where} has shapes {list(a)} and {list(b)}, which do not "
                f"fit the weight {list(weight)}; it is the adapter of another model"
            )
        if adapter.magnitude is not None and adapter.magnitude.shape != weight[:1]:
            raise UserError(
                f"the DoRA magnitudes of {adapter.module!r} in {where} have shape {list(adapter.magnitude.shape)}, "
                f"which does not fit the weight {list(weight)}; it is the adapter of another model"
            )
    return fitted


@dataclass(frozen=True)
class AdapterFolder:
    """A folder of PEFT's: an adapter and the name of the policy that it was trained on."""

    folder: Path
    base: str | None
    """`base_model_name_or_path`: a folder, or `owner/name` on Hugging Face."""
    revision: str | None
    scale: LoraScale
    tensors: Mapping[str, StoredTensor]
    """As stored, without PEFT's prefix."""


def read_adapter_folder(folder: Path, alpha: float | None) -> AdapterFolder:
    """Read the headers and the configuration of a PEFT folder; `alpha` overrides the one that it states.

    Raises UserError for methods other than LoRA and DoRA, and where a file is missing.
    """
    config = read_json(folder / ADAPTER_CONFIG)
    method = (config.text("peft_type") or "LORA").upper()
    unknown = [key for key in ("megatron_config", "layer_replication", "fan_in_fan_out") if config.values.get(key)]
    if method != "LORA" or unknown:
        raise UserError(
            f"{config.where} is of an adapter with {unknown[0] if unknown else method}, which is not merged here; "
            "merge it with PEFT's merge_and_unload() and save the policy, then give the merged folder"
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        pickled = next(iter(sorted(folder.glob("adapter_model.*"))), None)
        description = f"only {pickled.name}, a pickled file" if pickled else f"no {ADAPTER_WEIGHTS}"
        raise UserError(
            f"{folder} has {description}; save the adapter again with safe_serialization, or fetch the rest"
        )
    tensors = {
        name.removeprefix(PEFT_PREFIX).replace(".base_layer.", "."): stored
        for name, stored in read_header(folder / ADAPTER_WEIGHTS).items()
    }
    scale = read_scale(config, alpha)
    return AdapterFolder(folder, config.text("base_model_name_or_path"), config.text("revision"), scale, tensors)


def read_scale(config: JsonObject, alpha: float | None) -> LoraScale:
    """Return the scale that a PEFT configuration states, or the user's `alpha` for all modules.

    Raises UserError if neither gives an alpha.
    """
    is_rank_stabilised = bool(config.flag("use_rslora"))
    if alpha is not None:
        return LoraScale(alpha, is_rank_stabilised)
    stated = config.values.get("lora_alpha")
    if isinstance(stated, bool) or not isinstance(stated, (int, float)) or not math.isfinite(stated):
        raise UserError(f"{config.where} has no number 'lora_alpha', the scale of the adapter; give --lora-alpha")
    pattern = config.section("alpha_pattern") or JsonObject({}, config.where)
    alpha_by_module = {key: float(value) for key, value in pattern.values.items() if isinstance(value, (int, float))}
    for key in alpha_by_module:
        try:
            re.compile(key)
        except re.error as error:
            raise UserError(f"{key!r} in {pattern.where} is no pattern of names ({error}); mend the file") from error
    return LoraScale(float(stated), is_rank_stabilised, alpha_by_module)
