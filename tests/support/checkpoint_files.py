"""Checkpoints for tests, written in the forms that openpi, lerobot and orbax write: random weights, any size."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from capture.checkpoints.infer_config import EMBEDDING, EXPERT, LANGUAGE, PROJECTOR, VISION, parameter_shapes
from capture.policies.pi05.config import Pi05Config, StackConfig, VisionConfig

TIED = "paligemma_with_expert.paligemma.lm_head.weight"

ODD = Pi05Config(
    vision=VisionConfig(width=48, depth=2, heads=3, mlp=40),
    vlm=StackConfig(width=64, depth=3, heads=6, kv_heads=2, head_dim=20, mlp=56),
    expert=StackConfig(width=32, depth=3, heads=6, kv_heads=2, head_dim=20, mlp=24),
    vocabulary=90,
    horizon=10,
)
"""Everything that Pi0.5 is not: output projections that are not square, two key heads, an odd head width."""

ODD_SIZES = {
    "vision": {"num_attention_heads": 3},
    "vlm": {"num_kv_heads": 2},
    "action_expert": {"num_kv_heads": 2},
}

STATS = {
    "norm_stats": {
        "state": {"mean": [0.0] * 8, "std": [1.0] * 8, "q01": [-1.0] * 8, "q99": [1.5] * 8},
        "actions": {"mean": [0.1] * 8, "std": [0.5] * 8, "q01": [-2.0] * 8, "q99": [2.5] * 8},
    }
}


def random_weights(config: Pi05Config, dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, Tensor]:
    """Random parameters under our names."""
    generator = torch.Generator().manual_seed(seed)
    shapes = parameter_shapes(config)
    return {name: torch.empty(shape).uniform_(-1, 1, generator=generator).to(dtype) for name, shape in shapes.items()}


def openpi_names(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """As openpi's converter writes them: the embedding as the output head, and the expert's dead head."""
    foreign = {name.replace(VISION, VISION + "vision_model."): tensor for name, tensor in weights.items()}
    foreign[TIED] = foreign.pop(EMBEDDING)
    rows, width = len(foreign[TIED]), len(weights["action_in_proj.bias"])
    foreign["paligemma_with_expert.gemma_expert.lm_head.weight"] = torch.zeros(rows, width, dtype=foreign[TIED].dtype)
    return foreign


def lerobot_names(weights: Mapping[str, Tensor], *, tied: bool = False) -> dict[str, Tensor]:
    """As lerobot writes them: a prefix, and since 0.5 the embedding beside the head, which training may have moved."""
    foreign = {"model." + name: tensor for name, tensor in openpi_names(weights).items()}
    if not tied:
        foreign["model." + EMBEDDING] = foreign["model." + TIED]
        foreign["model." + TIED] = foreign["model." + TIED] + 1
    return foreign


def write_openpi(
    folder: Path, weights: Mapping[str, Tensor], *, horizon: int = 15, asset: str | None = "droid"
) -> Path:
    """openpi's converted folder."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(openpi_names(weights), folder / "model.safetensors")
    config = {
        "action_dim": 32,
        "action_horizon": horizon,
        "paligemma_variant": "gemma_2b",
        "action_expert_variant": "gemma_300m",
        "precision": "bfloat16",
    }
    (folder / "config.json").write_text(json.dumps(config))
    if asset is not None:
        write_stats(folder / "assets" / asset / "norm_stats.json")
    return folder


def write_stats(path: Path, stats: object = STATS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(stats))
    return path


def jax_arrays(weights: Mapping[str, Tensor], config: Pi05Config) -> dict[str, Tensor]:
    """openpi's JAX arrays, written out by hand from the table of the specification rather than with our own rules."""
    vision, arrays = config.vision, {}
    heads, width = vision.heads, vision.width

    def stack(pattern: str, depth: int) -> Tensor:
        return torch.stack([weights[pattern.format(layer)] for layer in range(depth)])

    arrays["PaliGemma.img.embedding.kernel"] = weights[VISION + "embeddings.patch_embedding.weight"].permute(2, 3, 1, 0)
    arrays["PaliGemma.img.embedding.bias"] = weights[VISION + "embeddings.patch_embedding.bias"]
    arrays["PaliGemma.img.pos_embedding"] = weights[VISION + "embeddings.position_embedding.weight"][None]
    block = "PaliGemma.img.Transformer.encoderblock."
    layer = VISION + "encoder.layers.{}."
    for number in (0, 1):
        norm = f"{layer}layer_norm{number + 1}."
        arrays[f"{block}LayerNorm_{number}.scale"] = stack(norm + "weight", vision.depth)
        arrays[f"{block}LayerNorm_{number}.bias"] = stack(norm + "bias", vision.depth)
        dense = f"{layer}mlp.fc{number + 1}."
        arrays[f"{block}MlpBlock_0.Dense_{number}.kernel"] = stack(dense + "weight", vision.depth).transpose(1, 2)
        arrays[f"{block}MlpBlock_0.Dense_{number}.bias"] = stack(dense + "bias", vision.depth)
    attention = block + "MultiHeadDotProductAttention_0."
    for ours, theirs in (("q", "query"), ("k", "key"), ("v", "value")):
        kernel = stack(f"{layer}self_attn.{ours}_proj.weight", vision.depth)
        bias = stack(f"{layer}self_attn.{ours}_proj.bias", vision.depth)
        arrays[f"{attention}{theirs}.kernel"] = kernel.transpose(1, 2).reshape(vision.depth, width, heads, -1)
        arrays[f"{attention}{theirs}.bias"] = bias.reshape(vision.depth, heads, -1)
    out = stack(layer + "self_attn.out_proj.weight", vision.depth)
    arrays[attention + "out.kernel"] = out.transpose(1, 2).reshape(vision.depth, heads, -1, width)
    arrays[attention + "out.bias"] = stack(layer + "self_attn.out_proj.bias", vision.depth)
    arrays["PaliGemma.img.Transformer.encoder_norm.scale"] = weights[VISION + "post_layernorm.weight"]
    arrays["PaliGemma.img.Transformer.encoder_norm.bias"] = weights[VISION + "post_layernorm.bias"]
    arrays["PaliGemma.img.head.kernel"] = weights[PROJECTOR + ".weight"].T
    arrays["PaliGemma.img.head.bias"] = weights[PROJECTOR + ".bias"]
    arrays["PaliGemma.llm.embedder.input_embedding"] = weights[EMBEDDING]
    arrays["PaliGemma.llm.final_norm.scale"] = weights[LANGUAGE + "norm.weight"]
    arrays["PaliGemma.llm.final_norm_1.Dense_0.kernel"] = weights[EXPERT + "norm.dense.weight"].T
    arrays["PaliGemma.llm.final_norm_1.Dense_0.bias"] = weights[EXPERT + "norm.dense.bias"]
    for prefix, size, end in ((LANGUAGE, config.vlm, ""), (EXPERT, config.expert, "_1")):
        text, inner = "PaliGemma.llm.layers.", prefix + "layers.{}."
        depth, head_dim = size.depth, size.head_dim

        def split(name: str, count: int) -> Tensor:  # (layers, heads, width, head_dim)
            rows = stack(f"{inner}self_attn.{name}.weight", depth)  # noqa: B023
            return rows.reshape(depth, count, head_dim, -1).transpose(2, 3)  # noqa: B023

        arrays[f"{text}attn.q_einsum{end}.w"] = split("q_proj", size.heads)
        arrays[f"{text}attn.kv_einsum{end}.w"] = torch.stack(
            [split("k_proj", size.kv_heads), split("v_proj", size.kv_heads)], dim=1
        )
        output = stack(inner + "self_attn.o_proj.weight", depth)  # (layers, width, heads * head_dim)
        arrays[f"{text}attn.attn_vec_einsum{end}.w"] = output.transpose(1, 2).reshape(depth, size.heads, head_dim, -1)
        gate, up = (stack(f"{inner}mlp.{name}_proj.weight", depth).transpose(1, 2) for name in ("gate", "up"))
        arrays[f"{text}mlp{end}.gating_einsum"] = torch.stack([gate, up], dim=1)
        arrays[f"{text}mlp{end}.linear"] = stack(inner + "mlp.down_proj.weight", depth).transpose(1, 2)
        for ours, theirs in (("input_layernorm", "pre_attention_norm"), ("post_attention_layernorm", "pre_ffw_norm")):
            if end:
                kernel = stack(f"{inner}{ours}.dense.weight", depth).transpose(1, 2)
                arrays[f"{text}{theirs}_1.Dense_0.kernel"] = kernel
                arrays[f"{text}{theirs}_1.Dense_0.bias"] = stack(f"{inner}{ours}.dense.bias", depth)
            else:
                arrays[f"{text}{theirs}.scale"] = stack(f"{inner}{ours}.weight", depth)
    for name in ("action_in_proj", "action_out_proj", "time_mlp_in", "time_mlp_out"):
        arrays[name + ".kernel"] = weights[name + ".weight"].T
        arrays[name + ".bias"] = weights[name + ".bias"]
    return arrays


def write_orbax(
    params: Path,
    arrays: Mapping[str, Tensor],
    *,
    ending: str = "",
    zarr3: bool = False,
    layers_a_chunk: int | None = None,
) -> Path:
    """A `params/` folder as orbax writes it, by tensorstore: one array a name, `ending` after every name."""
    import tensorstore

    params.mkdir(parents=True, exist_ok=True)
    store = {"driver": "ocdbt", "base": {"driver": "file", "path": f"{params}/"}}
    for name, tensor in arrays.items():
        bfloat16 = tensor.dtype == torch.bfloat16
        values = tensor.contiguous()
        shape = list(values.shape)
        chunks = [min(layers_a_chunk or shape[0], shape[0]), *shape[1:]]
        if zarr3:
            metadata = {
                "shape": shape,
                "data_type": "bfloat16" if bfloat16 else "float32",
                "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": chunks}},
            }
        else:
            metadata = {"shape": shape, "chunks": chunks, "dtype": "bfloat16" if bfloat16 else "<f4"}
            metadata["compressor"] = {"id": "zstd", "level": 1}
        spec = {
            "driver": "zarr3" if zarr3 else "zarr",
            "kvstore": {**store, "path": f"params.{name}{ending}/"},
            "metadata": metadata,
            "store_data_equal_to_fill_value": True,
        }
        written = tensorstore.open(spec, create=True).result()
        numbers = values.view(torch.int16).numpy().view(written.dtype.numpy_dtype) if bfloat16 else values.numpy()
        written.write(np.ascontiguousarray(numbers)).result()
    settings = {"tree_metadata": {}, "use_zarr3": zarr3, "store_array_data_equal_to_fill_value": True}
    (params / "_METADATA").write_text(json.dumps(settings))
    return params
