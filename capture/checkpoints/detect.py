"""Detection of a checkpoint's kind from the contents of its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from capture.checkpoints.options import CheckpointOptions
from capture.checkpoints.orbax import is_orbax
from capture.checkpoints.safetensors_reader import INDEX, SINGLE
from capture.errors import UserError
from capture.json_fields import JsonObject, read_json

Kind = Literal["openpi", "lerobot", "jax", "demo"]

PARAMS = "params"
"""Name of the weights folder in a JAX checkpoint."""


def recognise(folder: Path) -> tuple[Kind, JsonObject]:
    """Return the kind of checkpoint in a folder and its config.json (empty if there is none).

    If a folder holds both safetensors and JAX arrays, the safetensors are used, as in openpi. Raises UserError for
    other policies and models, and for a folder without weights.
    """
    try:
        names = sorted(entry.name for entry in folder.iterdir())
    except OSError as error:
        raise UserError(f"cannot read {folder}: {error.strerror or error}") from error
    config = read_json(folder / "config.json") if "config.json" in names else JsonObject({}, "")
    if SINGLE in names or INDEX in names:
        return _pytorch_kind(config), config
    if is_orbax(folder / PARAMS) or is_orbax(folder):
        return "jax", config
    raise UserError(_not_known(folder, names))


def _pytorch_kind(config: JsonObject) -> Kind:
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


def _not_known(folder: Path, names: list[str]) -> str:
    """Return one sentence that says why a folder is not a checkpoint."""
    needed = f"{SINGLE} or {PARAMS}/"
    steps = sorted((name for name in names if name.isdigit() and is_orbax(folder / name / PARAMS)), key=int)
    pickled = [name for name in names if Path(name).suffix in (".bin", ".pt", ".pth", ".ckpt")]
    shards = [name for name in names if name.startswith("model-") and name.endswith(".safetensors")]
    if not names:
        return f"{folder} is empty; give the folder that holds {needed}"
    if steps:
        return f"{folder} holds {len(steps)} training steps; give one of them, such as {folder / steps[-1]}"
    if (folder / "pretrained_model").is_dir():
        return f"{folder} is a training run's folder; give {folder / 'pretrained_model'}"
    if "adapter_config.json" in names:
        return (
            f"{folder} holds only LoRA adapters (adapter_config.json); merge them into the policy's weights with the "
            "code that trained them, then give the merged folder"
        )
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


def refuse_options(kind: Kind, options: CheckpointOptions) -> None:
    """Raise UserError for an option that has no effect on this kind of checkpoint."""
    given: dict[str, tuple[object, tuple[Kind, ...]]] = {
        "--config": (options.config, ("openpi", "jax")),
        "--asset": (options.asset_id, ("openpi", "jax", "demo")),
        "--lerobot-version": (options.lerobot_version, ("lerobot",)),
    }
    for flag, (value, kinds) in given.items():
        if value is not None and kind not in kinds:
            raise UserError(f"{flag} {value} says nothing about a checkpoint of kind {kind}; leave it out")
