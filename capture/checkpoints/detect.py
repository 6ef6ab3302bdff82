"""Detection of a checkpoint's kind from the contents of its folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from capture.checkpoints.lora import ADAPTER_CONFIG
from capture.checkpoints.options import CheckpointOptions
from capture.checkpoints.orbax import is_orbax
from capture.checkpoints.safetensors_reader import INDEX, SINGLE
from capture.errors import UserError
from capture.json_fields import JsonObject, read_json

Kind = Literal["openpi", "lerobot", "jax", "demo"]

PARAMS = "params"
"""Name of the weights folder in a JAX checkpoint."""

_SHARDS: Final = ".distcp"
"""Suffix of the files of torch.distributed.checkpoint."""
_SEARCHED_DEPTH: Final = 5
_SEARCHED_FOLDERS: Final = 2000
_AVERAGED: Final = "_ema"
"""End of the name of lerobot's folder of averaged weights."""


def recognise(folder: Path) -> tuple[Kind, JsonObject]:
    """Return the kind of checkpoint in a folder and its config.json (empty if there is none).

    If a folder holds both safetensors and JAX arrays, the safetensors are used, as in openpi. Raises UserError for
    other policies and models, and for a folder without weights.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror or error}") from error
    config = read_config(folder)
    if SINGLE in names or INDEX in names or ADAPTER_CONFIG in names:
        return pytorch_kind(config), config
    if is_orbax(folder / PARAMS) or is_orbax(folder):
        return "jax", config
    raise UserError(_describe_unknown_folder(folder, names))


def read_config(folder: Path) -> JsonObject:
    """Return a folder's config.json; empty if there is none. Raises UserError for a damaged one."""
    file = folder / "config.json"
    return read_json(file) if file.exists() else JsonObject({}, "")


def is_adapter_folder(folder: Path, config: JsonObject) -> bool:
    """Return whether a folder holds a LoRA adapter of PEFT's instead of whole weights."""
    if not (folder / ADAPTER_CONFIG).is_file():
        return False
    return bool(config.flag("use_peft")) or not any((folder / name).is_file() for name in (SINGLE, INDEX))


def pytorch_kind(config: JsonObject) -> Kind:
    """Return the kind of a checkpoint without JAX arrays. Raises UserError for other policies and models."""
    if config.values.get("kind") == "demo":
        return "demo"
    policy, library = config.values.get("type"), config.values.get("model_type")
    if policy == "pi05":
        return "lerobot"
    if policy in ("pi0", "pi0_fast", "pi0fast"):
        raise UserError(f"{config.where} is of a {policy} policy; this program runs Pi0.5 ('pi05') only")
    if policy is not None:
        raise UserError(f"{config.where} is of a lerobot policy of type {policy!r}; this program runs 'pi05' only")
    if library is not None:
        raise UserError(
            f"{config.where} is of a transformers model of type {library!r}, not of a robot's policy; give a Pi0.5 "
            "checkpoint"
        )
    return "openpi"


def _describe_unknown_folder(folder: Path, names: list[str]) -> str:
    """Return one sentence that says why a folder is not a checkpoint."""
    needed = f"{SINGLE} or {PARAMS}/"
    pickled = [name for name in names if Path(name).suffix in (".bin", ".pt", ".pth", ".ckpt")]
    shards = [name for name in names if name.startswith("model-") and name.endswith(".safetensors")]
    if not names:
        return f"{folder} is empty; give the folder that holds {needed}"
    if sharded := _find_sharded(folder, names):
        return sharded
    if checkpoints := _find_checkpoints(folder):
        return _suggest(folder, checkpoints)
    if (folder / "pretrained_model").is_dir():
        return f"{folder} is a training run's folder; give {folder / 'pretrained_model'}"
    for nearby_folder in (folder.parent, folder.parent / "pretrained_model"):
        if any((nearby_folder / name).is_file() for name in (SINGLE, INDEX, ADAPTER_CONFIG)) or is_orbax(
            nearby_folder / PARAMS
        ):
            return f"{folder} is a part of a checkpoint without its weights; give {nearby_folder}"
    if shards:
        return f"{folder} holds {len(shards)} shards of weights, but no {INDEX} to say what is where; fetch that too"
    if pickled:
        return (
            f"{folder} holds weights only as a pickled file ({pickled[0]}), and opening one can run any program in it; "
            f"convert it to {SINGLE} first"
        )
    if PARAMS in names:
        return f"{folder / PARAMS} has no manifest.ocdbt: this JAX checkpoint is not complete; fetch it again"
    if "config.json" in names:
        return f"{folder} has a config.json but no weights ({needed}); fetch the rest"
    shown = ", ".join(names[:4]) + (", …" if len(names) > 4 else "")
    return f"{folder} is no checkpoint: it has neither {SINGLE} nor {PARAMS}/, but {shown}"


def _find_sharded(folder: Path, names: list[str]) -> str | None:
    """Return how to convert weights that a trainer saved in pieces, one per process; None where there are none."""
    model_files = (name for name in names if not name.startswith("optimizer"))
    inner_folder = next((name for name in model_files if any((folder / name).glob(f"*{_SHARDS}"))), None)
    if "zero_to_fp32.py" in names:
        return (
            f"{folder} holds DeepSpeed's pieces of the weights; merge them with `python {folder / 'zero_to_fp32.py'} "
            f"{folder} {folder / 'merged'} --safe_serialization`, then give the merged folder"
        )
    if inner_folder is None and not any(name.endswith(_SHARDS) for name in names):
        return None
    shard_folder = folder / inner_folder if inner_folder else folder
    checkpoint = folder if inner_folder else folder.parent
    description = f"{shard_folder} holds pieces of the weights as torch.distributed.checkpoint saves them (*{_SHARDS})"
    if read_config(checkpoint).values.get("type") is not None:
        return (
            f"{description}; merge them with `lerobot-convert-dcp --checkpoint_dir={checkpoint}`, then give "
            f"{checkpoint}"
        )
    return f"{description}; merge them with `accelerate merge-weights {shard_folder} MERGED`, then give that folder"


def _find_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints below a folder, the ones to try first at the front."""
    checkpoints: list[Path] = []
    for count, (walked_folder, subfolders, files) in enumerate(os.walk(folder, followlinks=True)):
        path = Path(walked_folder)
        if count >= _SEARCHED_FOLDERS:
            break
        is_params = path.name == PARAMS and is_orbax(path)
        if is_params or any(name in files for name in (SINGLE, INDEX, ADAPTER_CONFIG)) or _has_shards(files):
            checkpoints.append(path.parent if is_params or path.name.startswith("pytorch_model_fsdp") else path)
            subfolders.clear()
        elif len(path.relative_to(folder).parts) >= _SEARCHED_DEPTH:
            subfolders.clear()
        else:
            subfolders[:] = sorted(name for name in subfolders if not name.startswith(".") and name != "training_state")
    return sorted(dict.fromkeys(checkpoints), key=lambda path: _rank(path.relative_to(folder)))


def _has_shards(files: list[str]) -> bool:
    return any(name.endswith(_SHARDS) for name in files)


def _rank(path: Path) -> tuple[object, ...]:
    """Return a key that sorts trained weights before averaged ones, the last step first, then by name."""
    steps = [int(part) for part in path.parts if part.isdigit()]
    return path.name.endswith(_AVERAGED), "last" not in path.parts, [-step for step in steps], path.as_posix()


def _suggest(folder: Path, checkpoints: list[Path]) -> str:
    first_choice = checkpoints[0]
    trained = [path for path in checkpoints if not path.name.endswith(_AVERAGED) and "last" not in path.parts]
    averaged = first_choice.with_name(first_choice.name + _AVERAGED)
    alternative = f", or {averaged} for averaged weights" if averaged in checkpoints else ""
    if len(trained) <= 1:
        return f"{folder} is a training run's folder; give {first_choice}{alternative}"
    is_steps = all(path.parent == folder and path.name.isdigit() for path in trained)
    noun = "training steps" if is_steps else "checkpoints"
    return f"{folder} holds {len(trained)} {noun}; give one of them, such as {first_choice}{alternative}"


def refuse_options(kind: Kind, options: CheckpointOptions) -> None:
    """Raise UserError for an option that has no effect on this kind of checkpoint."""
    kinds_of_option: dict[str, tuple[object, tuple[Kind, ...]]] = {
        "--config": (options.config, ("openpi", "jax")),
        "--asset": (options.asset_id, ("openpi", "jax", "demo")),
        "--lerobot-version": (options.lerobot_version, ("lerobot",)),
    }
    for flag, (value, kinds) in kinds_of_option.items():
        if value is not None and kind not in kinds:
            raise UserError(f"{flag} {value} says nothing about a checkpoint of kind {kind}; leave it out")
