"""Open a checkpoint of any kind: read its settings and headers, check them, and load the weights on request."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from capture.checkpoints.detect import (
    PARAMS,
    Kind,
    is_adapter_folder,
    pytorch_kind,
    read_config,
    recognise,
    refuse_options,
)
from capture.checkpoints.fingerprint import fingerprint
from capture.checkpoints.infer_config import (
    check_shapes,
    check_stated,
    describe_inferred,
    infer_config,
    parameter_shapes,
    read_stated,
)
from capture.checkpoints.lerobot.settings import lerobot_settings
from capture.checkpoints.locate import Source, find_source
from capture.checkpoints.lora import LoraScale
from capture.checkpoints.openpi import demo_settings, openpi_settings
from capture.checkpoints.options import CheckpointOptions
from capture.checkpoints.orbax import OrbaxWeights, is_orbax, open_orbax
from capture.checkpoints.pytorch import ADAPTERS, describe_merge, open_pytorch
from capture.checkpoints.settings import CameraNames, Settings, assume, conclude
from capture.checkpoints.weights import Progress, SafetensorsWeights, Weights, load_model, parameter_bytes
from capture.json_fields import JsonObject, read_json
from capture.policies.pi05.config import Pi05Config
from capture.policies.pi05.preprocessing import Normaliser, Preprocessing
from capture.provenance import Decision

if TYPE_CHECKING:
    from capture.policies.pi05.model import Pi05

_USUAL_ACTION_DIM = 32
"""Width of Pi0.5's actions, before the weights tell it."""

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "paligemma_tokenizer.model")


@dataclass(frozen=True)
class Checkpoint:
    """A policy on disk: its settings, known without reading weights, and access to its weights."""

    kind: Kind
    name: str
    """Short name of the folder or repository."""
    path: Path
    """The folder that holds it."""
    config: Pi05Config
    preprocessing: Preprocessing
    tokenizer_folder: Path | None
    """The checkpoint's folder if it or its `tokenizer/` contains a tokenizer, or else its base policy's; else None."""
    config_hash: str
    """SHA-256 of sizes, preprocessing and statistics: equal for equal settings, whatever the weights."""
    decisions: tuple[Decision, ...]
    """Where each setting that changes the model's input or the meaning of its actions comes from."""
    weights: Weights = field(repr=False, compare=False)
    weight_folders: tuple[Path, ...] = ()
    """The folders that hold the weights: two for an adapter and its base policy."""
    cameras: CameraNames = field(default_factory=CameraNames)
    """The checkpoint's own names of its cameras."""

    def fingerprint(self) -> str:
        """Return a SHA-256 (hex) of samples of the weights. Raises OSError if a file cannot be read."""
        digests = [fingerprint(folder) for folder in self.weight_folders or (self.path,)]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    def load(self, device: torch.device | str, dtype: torch.dtype, progress: Progress | None = None) -> Pi05:
        """Return the model on `device`, ready to run in `dtype` (float32 or bfloat16).

        Needs little more memory than the model itself. `progress` is called with the bytes loaded so far and the
        total. Raises UserError, and frees its memory, if weights cannot be read or do not fit.
        """
        return load_model(self.weights, self.config, device, dtype, progress)

    def parameter_bytes(self, dtype: torch.dtype) -> int:
        """Return the size of the policy's parameters in `dtype`, in bytes."""
        return parameter_bytes(parameter_shapes(self.config), dtype)


def open_checkpoint(source: str | Path, *, options: CheckpointOptions | None = None) -> Checkpoint:
    """Return the checkpoint at a path, or in a Hugging Face repository `owner/name` or `owner/name@revision`.

    Accepts openpi's converted PyTorch folder, lerobot's folder, openpi's JAX folder (the one that holds `params/`, or
    `params/` itself), and the demo policy's. Reads headers only, and checks the name and shape of every tensor.
    Raises UserError with one sentence for anything that is not a complete Pi0.5 checkpoint.
    """
    options = options or CheckpointOptions()
    sizes = _read_sizes(options)
    located = find_source(
        source, offline=options.offline, check=lambda candidate: _check_settings(candidate, sizes, options)
    )
    folder, name = located.folder, located.name
    kind, config = recognise(folder)
    weights: OrbaxWeights | SafetensorsWeights
    folders: tuple[Path, ...]
    if kind == "jax":
        refuse_options(kind, options)
        weights = open_orbax(folder / PARAMS if is_orbax(folder / PARAMS) else folder, LoraScale(options.lora_alpha))
        folder = weights.folder.parent if weights.folder.name == PARAMS else folder  # where assets/ lies
        stated, tied, folders = weights.stated.over(read_stated(sizes)), False, (folder,)
        decisions = _describe_jax_adapters(weights, options)
    else:
        opened = open_pytorch(folder, config, options)
        weights, tied, decisions = opened.weights, opened.tied_by_lerobot, list(opened.decisions)
        folders = tuple(dict.fromkeys((folder, opened.folder)))
        if not config.values and opened.folder != folder:  # an adapter without a configuration of its own
            kind, config = recognise(opened.folder)
            folder = opened.folder
        refuse_options(kind, options)
        stated = read_stated(sizes).over(read_stated(config))
    # Horizon and steps do not affect shapes and are read below; until then they are 1.
    model = infer_config(weights.shapes, stated, weights.where, horizon=1, denoise_steps=1)
    check_stated(model, read_stated(sizes), weights.where)
    check_shapes(weights.shapes, parameter_shapes(model), weights.where)
    decisions += describe_inferred(model, stated)

    config = JsonObject({**config.values, **sizes.values}, config.where or sizes.where)
    settings = _read_settings(kind, folder, located.parts, config, options, tied=tied, action_dim=model.action_dim)
    if kind == "demo":
        name = config.text("name") or kind
    model = replace(model, horizon=settings.horizon, denoise_steps=settings.denoise_steps)
    return Checkpoint(
        kind=kind,
        name=name,
        path=folder,
        config=model,
        preprocessing=settings.preprocessing,
        tokenizer_folder=next(filter(None, map(_find_tokenizer_folder, (folder, *folders))), None),
        config_hash=_hash(model, settings.preprocessing, weights.scales),
        decisions=(*settings.decisions, *decisions),
        weights=weights,
        weight_folders=folders,
        cameras=settings.cameras,
    )


def _read_settings(
    kind: Kind,
    folder: Path,
    parts: Sequence[str],
    config: JsonObject,
    options: CheckpointOptions,
    *,
    tied: bool,
    action_dim: int,
) -> Settings:
    if kind == "lerobot":
        return lerobot_settings(folder, config, options, tied=tied, action_dim=action_dim)
    if kind == "demo":
        return demo_settings(folder, config, options, action_dim=action_dim)
    return openpi_settings(folder, parts, config, options, action_dim=action_dim)


def _check_settings(source: Source, sizes: JsonObject, options: CheckpointOptions) -> None:
    """Raise UserError for settings that cannot be read, before weights are downloaded."""
    config = read_config(source.folder)
    if is_adapter_folder(source.folder, config) and not config.values:
        return  # its base policy has the settings
    merged = JsonObject({**config.values, **sizes.values}, config.where or sizes.where)
    kind = pytorch_kind(config)
    _read_settings(kind, source.folder, source.parts, merged, options, tied=False, action_dim=_USUAL_ACTION_DIM)


def _describe_jax_adapters(weights: OrbaxWeights, options: CheckpointOptions) -> list[Decision]:
    if not weights.adapted:
        return []
    merged = describe_merge(len(weights.adapted), {kind for kind in weights.scales.values() if kind})
    if options.lora_alpha is not None:
        return [conclude(ADAPTERS, merged, "alpha by --lora-alpha")]
    reason = "alpha is taken as the rank, as in openpi's LoRA variants; --lora-alpha sets another"
    return [assume(ADAPTERS, merged, reason)]


def _read_sizes(options: CheckpointOptions) -> JsonObject:
    if options.sizes is None:
        return JsonObject({}, "")
    if isinstance(options.sizes, Mapping):
        return JsonObject(options.sizes, "the sizes given")
    return read_json(options.sizes)


def _find_tokenizer_folder(folder: Path) -> Path | None:
    folders = (folder / "tokenizer", folder)
    return folder if any((parent / name).is_file() for parent in folders for name in _TOKENIZER_FILES) else None


def _hash(config: Pi05Config, preprocessing: Preprocessing, adapters: Mapping[str, tuple[int, float]]) -> str:
    """Return the SHA-256 of sizes and preprocessing.

    It must stay the same for the same settings, or files of earlier versions can neither be resumed nor measured: leave
    a new field out where it has the value that earlier versions implied.
    """
    settings: dict[str, Any] = {"config": asdict(config)}
    if adapters:
        settings["adapters"] = dict(adapters)
    for name, value in vars(preprocessing).items():
        settings[name] = _to_plain(value) if isinstance(value, Normaliser) else value
    del settings["max_state_dim"]  # of states that were not checked
    relative = settings.pop("relative")
    settings["delta_dims"] = len(relative) if all(relative) else relative  # was a number
    if settings["has_robot_units"]:
        del settings["has_robot_units"]
    settings["turned"] = bool(preprocessing.turned)  # None, which leaves it to the source, was False
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _to_plain(normaliser: Normaliser) -> dict[str, Any]:
    stats = {name: [float(number) for number in vector] for name, vector in normaliser.stats.items()}
    return {"mode": normaliser.mode, "stats": stats}
