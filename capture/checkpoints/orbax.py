"""Read openpi's JAX checkpoints with tensorstore only, without JAX, flax or orbax.

A `params/` folder is an OCDBT key-value store with one zarr array a parameter; the layers of a stack lie in one array,
along axis 0.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from capture.checkpoints.infer_config import Shape, Stated, list_tensors
from capture.checkpoints.jax_keys import LORA_RULES, RULES, Layout, Rule
from capture.checkpoints.key_names import other_model
from capture.checkpoints.lora import LoraScale
from capture.checkpoints.safetensors_reader import BLOCK
from capture.errors import UserError
from capture.json_fields import JsonObject, parse_json, read_json

MANIFEST: Final = "manifest.ocdbt"
METADATA: Final = "_METADATA"

_FLOATS: Final = {"<f4": 4, "<f2": 2, "<f8": 8, "bfloat16": 2, "float32": 4, "float16": 2, "float64": 8}
"""Dtypes of weights in the notation of zarr 2 and zarr 3 -> bytes per number."""

_MAX_DEPTH: Final = 1000

_LISTING_SECONDS: Final = 120
"""Timeout, since tensorstore may wait for ever on a damaged store; listing an intact one takes milliseconds."""


@dataclass(frozen=True)
class StoredArray:
    """One array of a store, described by its metadata."""

    shape: Shape
    chunks: Shape
    dtype: str
    driver: str
    """`zarr` or `zarr3`."""
    key: str
    """Key of the array in the store, ending in `/`."""

    @property
    def slab_bytes(self) -> int:
        """Bytes of the chunks that hold one layer, the least that one read unpacks."""
        return math.prod((min(self.chunks[0], self.shape[0]), *self.shape[1:])) * _FLOATS.get(self.dtype, 8)


def is_orbax(folder: Path) -> bool:
    """Return whether a folder looks like openpi's `params/`."""
    return (folder / MANIFEST).is_file() or (folder / METADATA).is_file()


def open_orbax(folder: Path, lora: LoraScale | None = None) -> OrbaxWeights:
    """Return the arrays of a `params/` folder; reads no weights. `lora`: the scale of adapters, if there are any.

    Raises UserError where tensorstore is missing, the folder is incomplete or damaged, or its arrays are not those of
    a Pi0.5.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder} has no {MANIFEST}, so the download of this JAX checkpoint is not complete; fetch it again"
        )
    zarr3, full = False, False
    if (folder / METADATA).is_file():
        metadata = read_json(folder / METADATA)
        zarr3 = bool(metadata.flag("use_zarr3"))
        full = bool(metadata.flag("store_array_data_equal_to_fill_value"))
    store = _open_store(folder)
    keys = _list_keys(folder, store)
    ending = "/zarr.json" if zarr3 else "/.zarray"
    arrays = {}
    for key in keys:
        if key.endswith(ending):
            name = key.removesuffix(ending)
            arrays[name] = _describe(folder, store, name, key, zarr3=zarr3)
    if full:
        _check_chunks(folder, arrays, keys)
    # Training runs of openpi save nnx states, in which every leaf is named `value`.
    if arrays and all(name.endswith(".value") for name in arrays):
        arrays = {name.removesuffix(".value"): array for name, array in arrays.items()}
    if not arrays:
        raise UserError(f"{folder} holds no arrays, so it is no JAX checkpoint, or not a whole one; fetch it again")
    _check_names(arrays, str(folder))
    parameters = {name.removeprefix("params."): array for name, array in arrays.items()}
    _check_adapters(parameters, str(folder))
    return OrbaxWeights(folder, parameters, lora or LoraScale())


@dataclass(frozen=True)
class OrbaxWeights:
    """Parameters of a Pi0.5 in a `params/` folder, under our names."""

    folder: Path
    arrays: Mapping[str, StoredArray]
    """Arrays by their JAX name below `params.`, those of LoRA adapters included."""
    lora: LoraScale

    @property
    def adapted(self) -> tuple[str, ...]:
        """Names of the arrays into which a LoRA adapter is merged."""
        return tuple(array_name for array_name, rule in LORA_RULES.items() if rule.a in self.arrays)

    @property
    def scales(self) -> Mapping[str, tuple[int, float]]:
        """Rank and scale of every adapter, by array."""
        return {
            array_name: (self.arrays[LORA_RULES[array_name].a].shape[-1], self._scale(array_name))
            for array_name in self.adapted
        }

    def _scale(self, array_name: str) -> float:
        rule = LORA_RULES[array_name]
        return self.lora.of(array_name, self.arrays[rule.a].shape[-1]) if rule.is_scaled else 1.0

    @property
    def where(self) -> str:
        """The folder, for messages."""
        return str(self.folder)

    @cached_property
    def shapes(self) -> Mapping[str, Shape]:
        """Shape of every parameter. Raises UserError if an array has the wrong number of axes."""
        shapes = {}
        for rule in RULES:
            array = self.arrays[rule.array].shape
            axes = rule.stacked + (rule.part is not None) + rule.layout.axes
            depth = array[0] if rule.stacked else 1
            if len(array) != axes or depth > _MAX_DEPTH or (rule.part is not None and array[1] != 2):
                raise UserError(
                    f"the array {rule.array!r} in {self.folder} has shape {list(array)}, which no Pi0.5 has; fetch "
                    "it again"
                )
            shaped = torch.empty(array[axes - rule.layout.axes :], device="meta")
            shape = tuple(rule.layout.turn(shaped).shape)
            shapes.update({rule.parameter.format(layer): shape for layer in range(depth)})
        return shapes

    @property
    def stated(self) -> Stated:
        """Numbers of heads, which follow from the axes of JAX's arrays."""
        _ = self.shapes  # checks the axes of every array
        block = "PaliGemma.img.Transformer.encoderblock.MultiHeadDotProductAttention_0.query.kernel"
        parts = {"vision": {"heads": self.arrays[block].shape[2]}}
        for part, ending in (("vlm", ""), ("expert", "_1")):
            queries = self.arrays[f"PaliGemma.llm.layers.attn.q_einsum{ending}.w"].shape
            keys = self.arrays[f"PaliGemma.llm.layers.attn.kv_einsum{ending}.w"].shape
            parts[part] = {"heads": queries[1], "head_dim": queries[3], "kv_heads": keys[2]}
        return Stated(parts, self.where)

    def fill(self, tensors: Mapping[str, Tensor]) -> Iterator[str]:
        """Read every parameter into its tensor; yields each name when it is done.

        Arrays with large chunks come first: a chunk is unpacked whole, and the model still takes little room then.
        """
        by_array: dict[str, list[Rule]] = {}
        for rule in RULES:
            by_array.setdefault(rule.array, []).append(rule)
        for array_name in sorted(by_array, key=lambda name: (-self.arrays[name].slab_bytes, name)):
            array, rules = self.arrays[array_name], by_array[array_name]
            store = self._open(array)
            adapter = self._open_adapter(array_name)
            for layer in range(array.shape[0] if rules[0].stacked else 1):
                for rule in rules:
                    name = rule.parameter.format(layer)
                    index = ((layer,) if rule.stacked else ()) + (() if rule.part is None else (rule.part,))
                    if adapter is None:
                        self._read(store, index, rule.layout, tensors[name])
                    else:
                        merged = torch.empty(tensors[name].shape)
                        self._read(store, index, rule.layout, merged)
                        merged.add_(rule.layout.turn(adapter(index)))
                        tensors[name].copy_(merged)
                    yield name

    def _open_adapter(self, array_name: str) -> Callable[[tuple[int, ...]], Tensor] | None:
        """Return a function from a layer's index to the change of its weight, float32; None without an adapter."""
        rule = LORA_RULES.get(array_name)
        if rule is None or rule.a not in self.arrays:
            return None
        stores = [self._open(self.arrays[name]) for name in (rule.a, rule.b)]
        scale = self._scale(array_name)

        def read_update(index: tuple[int, ...]) -> Tensor:
            try:
                a, b = (_to_torch(store[index].read().result()).float() for store in stores)
            except _ERRORS as error:
                raise _broken(self.folder, error) from error
            return rule.update(a, b) * scale

        return read_update

    def _read(self, store: Any, index: tuple[int, ...], layout: Layout, out: Tensor) -> None:
        """Read `store[index]` into our parameter, a few rows at a time, so that temporary memory stays small."""
        size = store.shape[len(index) + layout.rows]
        rows, step = len(out) // size, max(1, BLOCK * size // out.nbytes)
        for start in range(0, size, step):
            part = slice(start, min(start + step, size))
            try:
                values = store[(*index, *[slice(None)] * layout.rows, part)].read().result()
            except _ERRORS as error:
                raise _broken(self.folder, error) from error
            out[part.start * rows : part.stop * rows].copy_(layout.turn(_to_torch(values)))

    def _open(self, array: StoredArray) -> Any:
        """Open the array for reading. A chunk that holds several layers is cached, so that it is unpacked once."""
        tensorstore = _tensorstore()
        limit = array.slab_bytes + BLOCK if array.chunks[0] > 1 else 0
        context = tensorstore.Context({"cache_pool": {"total_bytes_limit": limit}})
        spec = {"driver": array.driver, "kvstore": {**_store(self.folder), "path": array.key}}
        try:
            return tensorstore.open(spec, read=True, open=True, context=context).result()
        except _ERRORS as error:
            raise _broken(self.folder, error) from error


_ERRORS: Final = (ValueError, OSError, RuntimeError, LookupError, TypeError, NotImplementedError)
"""Exceptions that tensorstore raises."""


def _tensorstore() -> Any:
    try:
        import tensorstore
    except ImportError as error:
        raise UserError(
            "openpi's JAX checkpoints are read with the package tensorstore, which is not installed: "
            "pip install 'pi0-attention[jax]'"
        ) from error
    return tensorstore


def _store(folder: Path) -> dict[str, object]:
    # Not a file:// URL, in which a space or # in the path would need quoting.
    return {"driver": "ocdbt", "base": {"driver": "file", "path": f"{folder.absolute()}/"}}


def _broken(folder: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    reason = reason if len(reason) <= 160 else f"{reason[:160]}…"
    return UserError(f"the JAX checkpoint {folder} is damaged or not complete ({reason}); fetch it again")


def _open_store(folder: Path) -> Any:
    tensorstore = _tensorstore()
    try:
        return tensorstore.KvStore.open(_store(folder)).result(timeout=_LISTING_SECONDS)
    except _ERRORS as error:
        raise _broken(folder, error) from error


def _list_keys(folder: Path, store: Any) -> list[str]:
    try:
        return [key.decode() for key in store.list().result(timeout=_LISTING_SECONDS)]
    except _ERRORS as error:
        raise _broken(folder, error) from error


def _describe(folder: Path, store: Any, name: str, key: str, *, zarr3: bool) -> StoredArray:
    try:
        content = store.read(key).result(timeout=_LISTING_SECONDS).value
    except _ERRORS as error:
        raise _broken(folder, error) from error
    metadata = parse_json(content, f"{key!r} in {folder}")
    if zarr3:
        grid = metadata.section("chunk_grid") or JsonObject({}, metadata.where)
        chunks = (grid.section("configuration") or grid).numbers("chunk_shape")
        dtype = metadata.text("data_type")
    else:
        chunks, dtype = metadata.numbers("chunks"), metadata.text("dtype")
    shape = metadata.numbers("shape")
    if shape is None or chunks is None or dtype is None or len(shape) != len(chunks):
        raise UserError(f"{key!r} in {folder} does not describe an array; fetch the checkpoint again")
    if dtype not in _FLOATS:
        raise UserError(f"the array {name!r} in {folder} has number type {dtype!r}, but weights must be floats")
    lengths = [tuple(map(int, numbers)) for numbers in (shape, chunks)]
    if not shape or not all(number >= 1 for numbers in lengths for number in numbers):
        raise UserError(f"the array {name!r} in {folder} has shape {list(lengths[0])}; fetch the checkpoint again")
    return StoredArray(lengths[0], lengths[1], dtype, "zarr3" if zarr3 else "zarr", f"{name}/")


def _check_chunks(folder: Path, arrays: Mapping[str, StoredArray], keys: list[str]) -> None:
    """Check that every chunk is present; a missing one would be read as zeros without an error."""
    present: dict[str, int] = {}
    for key in keys:
        name, _, chunk = key.partition("/")
        present[name] = present.get(name, 0) + (chunk not in (".zarray", "zarr.json"))
    for name, array in arrays.items():
        needed = math.prod(-(-size // chunk) for size, chunk in zip(array.shape, array.chunks, strict=True))
        if present[name] < needed:
            raise UserError(
                f"the array {name!r} in {folder} has {present[name]} of {needed} chunks; the download is not complete: "
                "fetch it again"
            )


def _check_names(arrays: Mapping[str, StoredArray], where: str) -> None:
    if description := other_model(arrays):
        raise UserError(f"{where} holds {description}")
    expected = {"params." + rule.array for rule in RULES}
    adapters = {f"params.{name}" for rule in LORA_RULES.values() for name in (rule.a, rule.b)}
    if missing := sorted(expected - set(arrays)):
        raise UserError(
            f"{where} lacks {list_tensors(missing, len(expected))}; the download may have stopped early: fetch it again"
        )
    if extra := sorted(set(arrays) - expected - adapters):
        raise UserError(
            f"{where} has {list_tensors(extra)} that Pi0.5 does not have; it is another model or a variant of it"
        )


def _check_adapters(arrays: Mapping[str, StoredArray], where: str) -> None:
    """Raise UserError unless every LoRA adapter is whole and fits its array."""
    for array_name, rule in LORA_RULES.items():
        a, b = arrays.get(rule.a), arrays.get(rule.b)
        if a is None and b is None:
            continue
        if a is None or b is None:
            raise UserError(f"the LoRA adapter of {array_name!r} in {where} lacks its A or its B; fetch it again")
        *inner, rows, columns = (0, 0, *arrays[array_name].shape)
        rank = a.shape[-1]
        if (0, 0, *a.shape) != (*inner, rows, rank) or (0, 0, *b.shape) != (*inner, rank, columns):
            raise UserError(
                f"the LoRA adapter of {array_name!r} in {where} has shapes {list(a.shape)} and {list(b.shape)}, which "
                f"do not fit the array's {list(arrays[array_name].shape)}; fetch it again"
            )


def _to_torch(values: Any) -> Tensor:
    """Return an array from tensorstore as a tensor, without a copy; bfloat16 arrives as a dtype unknown to torch."""
    array = np.ascontiguousarray(values)
    if array.dtype.name == "bfloat16":
        return torch.from_numpy(array.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
