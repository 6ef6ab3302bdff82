"""Open the weights of a PyTorch checkpoint: plain, with LoRA adapters inside, or as an adapter and its base policy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from capture.checkpoints.detect import is_adapter_folder, recognise
from capture.checkpoints.key_names import remove_prefixes, to_our_names
from capture.checkpoints.locate import find_source
from capture.checkpoints.lora import (
    ADAPTER_CONFIG,
    AdapterFolder,
    LoraScale,
    StoredAdapter,
    fit_adapters,
    read_adapter_folder,
    read_scale,
    split_adapters,
)
from capture.checkpoints.options import CheckpointOptions
from capture.checkpoints.safetensors_reader import INDEX, SINGLE, read_folder
from capture.checkpoints.settings import assume, conclude
from capture.checkpoints.weights import SafetensorsWeights
from capture.errors import UserError
from capture.json_fields import JsonObject, read_json
from capture.provenance import Decision

ADAPTERS = "LoRA adapters"
"""Subject of the decisions about adapters."""


@dataclass(frozen=True)
class PytorchWeights:
    """The weights of a PyTorch checkpoint, and where they come from."""

    weights: SafetensorsWeights
    tied_by_lerobot: bool
    """See `key_names.Renamed`."""
    folder: Path
    """The folder of the whole weights: the checkpoint's own, or that of an adapter's base policy."""
    decisions: tuple[Decision, ...]


def open_pytorch(folder: Path, config: JsonObject, options: CheckpointOptions) -> PytorchWeights:
    """Return the weights in a folder with safetensors; reads headers only.

    Adapters are merged when the weights are read. Raises UserError where tensors are not those of a Pi0.5, adapters do
    not fit, or an adapter's base policy cannot be found.
    """
    decisions: list[Decision] = []
    adapter_folder = read_adapter_folder(folder, options.lora_alpha) if is_adapter_folder(folder, config) else None
    base = folder if adapter_folder is None else _find_base(adapter_folder, options, decisions)
    where = str(base / SINGLE if (base / SINGLE).is_file() else base / INDEX)
    renamed = to_our_names(read_folder(base), where)
    if renamed.removed:
        parts = ", ".join(repr(part) for part in renamed.removed)
        decisions.append(conclude("names of the weights", f"without {parts}", "which training inserted"))
    tensors, adapters, is_stated = dict(renamed.tensors), dict(renamed.adapters), True
    if adapter_folder is not None:
        if adapters:
            raise UserError(f"{where} holds LoRA adapters itself, below those of {folder}; merge them first")
        trained, adapters = split_adapters(remove_prefixes(adapter_folder.tensors, str(folder)).tensors, str(folder))
        tensors.update(trained)
        scale = adapter_folder.scale
    else:
        scale, is_stated = _read_scale(folder, config, options)
    fitted = fit_adapters(adapters, {name: tensor.shape for name, tensor in tensors.items()}, scale, where)
    decisions += _describe_adapters(fitted, config, adapter_folder, options, is_stated=is_stated)
    return PytorchWeights(SafetensorsWeights(tensors, where, fitted), renamed.tied_by_lerobot, base, tuple(decisions))


def _find_base(adapter: AdapterFolder, options: CheckpointOptions, decisions: list[Decision]) -> Path:
    """Return the folder of the policy that an adapter was trained on."""
    name = str(options.base) if options.base is not None else adapter.base
    if not name:
        raise UserError(f"{adapter.folder / ADAPTER_CONFIG} does not name its base policy; give its folder with --base")
    if options.base is None and not Path(name).expanduser().exists() and (adapter.folder / name).is_dir():
        name = str(adapter.folder / name)
    revision = f"@{adapter.revision}" if adapter.revision and not Path(name).exists() and "@" not in name else ""
    try:
        folder = find_source(name + revision, offline=options.offline).folder
        kind, config = recognise(folder)
    except UserError as error:
        raise UserError(
            f"the adapter in {adapter.folder} was trained on {name!r}, which cannot be used ({error}); give the folder "
            "of that policy with --base"
        ) from error
    if kind == "jax" or is_adapter_folder(folder, config):
        description = "a JAX checkpoint" if kind == "jax" else "an adapter itself"
        raise UserError(
            f"the adapter in {adapter.folder} was trained on {name!r}, but {folder} is {description}; give the whole "
            "PyTorch policy with --base"
        )
    reason = "by --base" if options.base is not None else f"by {ADAPTER_CONFIG}"
    decisions.append(conclude("base policy of the adapter", str(folder), reason))
    return folder


def _read_scale(folder: Path, config: JsonObject, options: CheckpointOptions) -> tuple[LoraScale, bool]:
    """Return the scale of adapters that lie in the checkpoint itself, and whether anything states it."""
    if (folder / ADAPTER_CONFIG).is_file():
        return read_scale(read_json(folder / ADAPTER_CONFIG), options.lora_alpha), True
    if options.lora_alpha is None and config.values.get("lora_alpha") is None:
        return LoraScale(), False
    return read_scale(config, options.lora_alpha), True


def _describe_adapters(
    fitted: dict[str, StoredAdapter],
    config: JsonObject,
    adapter_folder: AdapterFolder | None,
    options: CheckpointOptions,
    *,
    is_stated: bool,
) -> list[Decision]:
    if fitted:
        merged = describe_merge(len(fitted), {(adapter.rank, adapter.scale) for adapter in fitted.values()})
        if options.lora_alpha is not None:
            return [conclude(ADAPTERS, merged, "alpha by --lora-alpha")]
        if is_stated:
            return [conclude(ADAPTERS, merged, f"alpha by {ADAPTER_CONFIG if adapter_folder else 'its configuration'}")]
        return [assume(ADAPTERS, merged, "no file states alpha, so it is taken as the rank; --lora-alpha sets another")]
    variants = [config.values.get(key) for key in ("paligemma_variant", "action_expert_variant")]
    lora_variant = next(
        (variant for variant in variants if isinstance(variant, str) and variant.endswith("_lora")), None
    )
    if lora_variant is not None:
        reason = (
            f"although config.json names {lora_variant}: openpi's converter drops adapters, so that these may be the "
            "weights before training; give the JAX checkpoint itself"
        )
        return [assume(ADAPTERS, "none in the weights", reason)]
    if config.flag("use_peft"):
        return [assume(ADAPTERS, "none", "config.json sets use_peft, but the weights are whole and taken as merged")]
    return []


def describe_merge(count: int, kinds: set[tuple[int, float]]) -> str:
    """Return a phrase about adapters that were merged, with their ranks and scales."""
    listed = ", ".join(f"rank {rank} with scale {scale:g}" for rank, scale in sorted(kinds))
    return f"merged into {count} weight{'s' * (count != 1)} in float32 ({listed})"
