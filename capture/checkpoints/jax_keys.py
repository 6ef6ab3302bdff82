"""Mapping from the arrays of openpi's JAX model to our parameters.

Names and layouts are those of openpi's `models/gemma.py`, `models/siglip.py` and `models/pi0.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor

from capture.checkpoints.infer_config import EMBEDDING, EXPERT, LANGUAGE, PROJECTOR, VISION


@dataclass(frozen=True)
class Layout:
    """Conversion of an array, or of one layer of a stacked array, into our parameter."""

    turn: Callable[[Tensor], Tensor]
    axes: int
    """Number of the array's axes."""
    rows: int
    """Axis of the array that becomes the first axis (rows) of our parameter."""


VECTOR: Final = Layout(lambda x: x, axes=1, rows=0)
TABLE: Final = Layout(lambda x: x, axes=2, rows=0)
DENSE: Final = Layout(lambda x: x.T, axes=2, rows=1)  # layout (in, out)
PATCHES: Final = Layout(lambda x: x.permute(3, 2, 0, 1), axes=4, rows=3)  # layout (14, 14, 3, width)
POSITIONS: Final = Layout(lambda x: x.squeeze(0), axes=3, rows=1)  # layout (1, 256, width)
SIGLIP_HEADS: Final = Layout(lambda x: x.flatten(1).T, axes=3, rows=1)  # layout (width, heads, head_dim)
SIGLIP_HEADS_BIAS: Final = Layout(lambda x: x.flatten(0), axes=2, rows=0)  # layout (heads, head_dim)
GEMMA_HEADS: Final = Layout(
    lambda x: x.transpose(1, 2).flatten(0, 1), axes=3, rows=0
)  # layout (heads, width, head_dim)
OUTPUT: Final = Layout(lambda x: x.flatten(0, 1).T, axes=3, rows=2)  # layout (heads, head_dim, width)


@dataclass(frozen=True)
class Rule:
    """Location of one of our parameters in the JAX model."""

    parameter: str
    """Our name; `{}` stands for the layer number."""
    array: str
    """Name of the array below `params.`."""
    layout: Layout
    stacked: bool = False
    """The array holds all layers, on axis 0."""
    part: int | None = None
    """Index on a layer's first axis, if that axis holds two projections."""


def _vision() -> Iterator[Rule]:
    image, embeddings = "PaliGemma.img.", VISION + "embeddings."
    yield Rule(embeddings + "patch_embedding.weight", image + "embedding.kernel", PATCHES)
    yield Rule(embeddings + "patch_embedding.bias", image + "embedding.bias", VECTOR)
    yield Rule(embeddings + "position_embedding.weight", image + "pos_embedding", POSITIONS)
    layer, block = VISION + "encoder.layers.{}.", image + "Transformer.encoderblock."
    for number in (0, 1):
        yield from _norm(f"{layer}layer_norm{number + 1}", f"{block}LayerNorm_{number}", stacked=True)
        yield from _dense(f"{layer}mlp.fc{number + 1}", f"{block}MlpBlock_0.Dense_{number}", stacked=True)
    attention, heads = layer + "self_attn.", block + "MultiHeadDotProductAttention_0."
    for projection, name in (("q_proj", "query"), ("k_proj", "key"), ("v_proj", "value")):
        yield Rule(f"{attention}{projection}.weight", f"{heads}{name}.kernel", SIGLIP_HEADS, stacked=True)
        yield Rule(f"{attention}{projection}.bias", f"{heads}{name}.bias", SIGLIP_HEADS_BIAS, stacked=True)
    yield Rule(attention + "out_proj.weight", heads + "out.kernel", OUTPUT, stacked=True)
    yield Rule(attention + "out_proj.bias", heads + "out.bias", VECTOR, stacked=True)
    yield from _norm(VISION + "post_layernorm", image + "Transformer.encoder_norm")
    yield from _dense(PROJECTOR, image + "head")


def _stack(prefix: str, ending: str) -> Iterator[Rule]:
    """Yield the rules of one Gemma stack; the expert's arrays end in `_1`, and its norms are dense layers."""
    layer, arrays = prefix + "layers.{}.", "PaliGemma.llm.layers."
    attention, mlp = layer + "self_attn.", layer + "mlp."
    yield Rule(attention + "q_proj.weight", f"{arrays}attn.q_einsum{ending}.w", GEMMA_HEADS, stacked=True)
    for part, name in enumerate(("k_proj.weight", "v_proj.weight")):
        yield Rule(attention + name, f"{arrays}attn.kv_einsum{ending}.w", GEMMA_HEADS, stacked=True, part=part)
    # openpi's converter reorders this array of the language model, which is correct for square sizes only.
    yield Rule(attention + "o_proj.weight", f"{arrays}attn.attn_vec_einsum{ending}.w", OUTPUT, stacked=True)
    for part, name in enumerate(("gate_proj.weight", "up_proj.weight")):
        yield Rule(mlp + name, f"{arrays}mlp{ending}.gating_einsum", DENSE, stacked=True, part=part)
    yield Rule(mlp + "down_proj.weight", f"{arrays}mlp{ending}.linear", DENSE, stacked=True)
    for name, norm, stacked in (
        (layer + "input_layernorm", arrays + "pre_attention_norm", True),
        (layer + "post_attention_layernorm", arrays + "pre_ffw_norm", True),
        (prefix + "norm", "PaliGemma.llm.final_norm", False),
    ):
        if ending:
            yield from _dense(name + ".dense", f"{norm}{ending}.Dense_0", stacked=stacked)
        else:
            yield Rule(name + ".weight", norm + ".scale", VECTOR, stacked=stacked)


def _dense(parameter: str, array: str, *, stacked: bool = False) -> Iterator[Rule]:
    yield Rule(parameter + ".weight", array + ".kernel", DENSE, stacked)
    yield Rule(parameter + ".bias", array + ".bias", VECTOR, stacked)


def _norm(parameter: str, array: str, *, stacked: bool = False) -> Iterator[Rule]:
    yield Rule(parameter + ".weight", array + ".scale", VECTOR, stacked)
    yield Rule(parameter + ".bias", array + ".bias", VECTOR, stacked)


def _policy() -> Iterator[Rule]:
    yield from _vision()
    yield Rule(EMBEDDING, "PaliGemma.llm.embedder.input_embedding", TABLE)
    yield from _stack(LANGUAGE, "")
    yield from _stack(EXPERT, "_1")
    for name in ("action_in_proj", "action_out_proj", "time_mlp_in", "time_mlp_out"):
        yield from _dense(name, name)


RULES: Final = tuple(_policy())
"""One rule per parameter, or one for the same parameter of all layers."""


@dataclass(frozen=True)
class LoraRule:
    """Location of the adapter of one array, as openpi's `models/lora.py` adds it, and how it is applied."""

    a: str
    """Name of the array whose last axis is the rank; it has the weight's other axes."""
    b: str
    """Name of the array whose last but one axis is the rank."""
    is_scaled: bool
    """Whether the product is multiplied by alpha / rank; openpi's feed-forward layers leave the scale out."""
    sums_heads: bool
    """Whether the equation contracts the heads in both factors, so that all heads share the sum of their B."""

    def update(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the unscaled change of one layer's weight from its float32 arrays (…, in, rank), (…, rank, out)."""
        if self.sums_heads:
            b = b.sum(0, keepdim=True)  # (1, rank, out)
        return torch.matmul(a, b)  # (…, in, out)


def _lora_rules() -> Iterator[tuple[str, LoraRule]]:
    for ending in ("", "_1"):
        layers = "PaliGemma.llm.layers."
        for name in ("q_einsum", "kv_einsum", "attn_vec_einsum"):
            array = f"{layers}attn.{name}{ending}."
            # "BTNH,NHD->BTD" becomes "BTNH,NHL->BTL" and "BTL,NLD->BTD": N is summed twice.
            rule = LoraRule(f"{array}lora_a", f"{array}lora_b", is_scaled=True, sums_heads=name == "attn_vec_einsum")
            yield f"{array}w", rule
        for name in ("gating_einsum", "linear"):
            array = f"{layers}mlp{ending}.{name}"
            yield array, LoraRule(f"{array}_lora_a", f"{array}_lora_b", is_scaled=False, sums_heads=False)


LORA_RULES: Final = dict(_lora_rules())
"""Array -> its adapter, for the arrays that openpi's LoRA variants adapt."""
