"""Infer a policy's sizes from the shapes of its parameters, and the shapes from the sizes; reads no file.

Shapes determine everything except the division of a width into heads, the horizon and the number of denoise steps.
Sizes that a configuration states must agree with the shapes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from capture.errors import UserError
from capture.json_fields import JsonObject
from capture.policies.pi05.config import Pi05Config, StackConfig, VisionConfig
from capture.provenance import Decision
from capture.results.schema import GRID, MODEL_PIXELS, PATCH_PIXELS

PALIGEMMA = "paligemma_with_expert.paligemma.model."
VISION = PALIGEMMA + "vision_tower."
PROJECTOR = PALIGEMMA + "multi_modal_projector.linear"
LANGUAGE = PALIGEMMA + "language_model."
EXPERT = "paligemma_with_expert.gemma_expert.model."
EMBEDDING = LANGUAGE + "embed_tokens.weight"

SIGLIP_WIDTH, SIGLIP_HEADS = 1152, 16
"""SigLIP So400m, the only picture encoder that Pi0.5 was published with."""
GEMMA_HEAD_DIM = 256
"""Width of a head of Gemma in Pi0.5, whose query heads share one key and value head."""

Shape = tuple[int, ...]

_SPELLINGS = {
    "width": ("width", "hidden_size"),
    "depth": ("depth", "num_hidden_layers"),
    "heads": ("heads", "num_heads", "num_attention_heads"),
    "kv_heads": ("kv_heads", "num_kv_heads", "num_key_value_heads"),
    "head_dim": ("head_dim",),
    "mlp": ("mlp", "mlp_dim", "intermediate_size"),
}
"""Our name of a size -> names accepted in a configuration: ours, openpi's and transformers'."""


@dataclass(frozen=True)
class Stated:
    """Sizes stated in a configuration: for each part (vision, vlm, expert) some of the keys of `_SPELLINGS`."""

    parts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    where: str = ""

    def get(self, part: str, size: str) -> int | None:
        """Return a stated size, or None."""
        return self.parts.get(part, {}).get(size)

    def over(self, other: Stated) -> Stated:
        """Return the sizes of both; where both state one, this one counts."""
        names = {*self.parts, *other.parts}
        parts = {part: {**other.parts.get(part, {}), **self.parts.get(part, {})} for part in names}
        return Stated(parts, " and ".join(filter(None, (self.where, other.where))))


_SECTIONS = {"vision": "vision", "vlm": "vlm", "expert": "action_expert"}
"""Our name of a part -> its object in a configuration."""


def read_stated(config: JsonObject) -> Stated:
    """Return the sizes in a configuration's objects `vision`, `vlm` and `action_expert` (or `expert`), if present."""
    parts = {}
    for part, keys in {"vision": ("vision",), "vlm": ("vlm",), "expert": ("action_expert", "expert")}.items():
        section = next(filter(None, map(config.section, keys)), None)
        if section is not None:
            values = {size: next(filter(None, map(section.integer, keys)), None) for size, keys in _SPELLINGS.items()}
            parts[part] = {size: value for size, value in values.items() if value is not None}
    return Stated(parts, config.where if any(parts.values()) else "")


def infer_config(
    shapes: Mapping[str, Shape], stated: Stated, where: str, *, horizon: int, denoise_steps: int
) -> Pi05Config:
    """Return the sizes of the policy whose parameters have these `shapes`, keyed by openpi's names.

    Unless `stated` says otherwise, Gemma's query heads share one key and value head, and SigLIP of Pi0.5's own width
    has 16 heads. Raises UserError if a required tensor is missing, shapes contradict one another or `stated`, or the
    number of heads is unknown: that of another SigLIP, or where keys are wider than one of Gemma's heads.
    """
    checked = _CheckedShapes(shapes, where)
    patch = checked.shape(VISION + "embeddings.patch_embedding.weight", 4)
    rows = checked.shape(VISION + "embeddings.position_embedding.weight", 2)[0]
    if patch[2:] != (PATCH_PIXELS, PATCH_PIXELS) or rows != GRID * GRID:
        raise UserError(
            f"{where} cuts pictures into {rows} patches of {patch[2]} x {patch[3]} pixels, but Pi0.5 has {GRID * GRID} "
            f"of {PATCH_PIXELS} x {PATCH_PIXELS} ({MODEL_PIXELS} x {MODEL_PIXELS} pixels); it is another model"
        )
    vision = VisionConfig(
        width=patch[0],
        depth=checked.depth(VISION + "encoder.layers."),
        heads=_vision_heads(patch[0], stated, where),
        mlp=checked.shape(VISION + "encoder.layers.0.mlp.fc1.weight", 2)[0],
    )
    vlm = checked.stack(LANGUAGE, "vlm", stated)
    expert = checked.stack(EXPERT, "expert", stated)
    config = Pi05Config(
        vision=vision,
        vlm=vlm,
        expert=expert,
        vocabulary=checked.shape(EMBEDDING, 2)[0],
        action_dim=checked.shape("action_in_proj.weight", 2)[1],
        horizon=horizon,
        denoise_steps=denoise_steps,
    )
    _check_config(config, stated, where)
    return config


@dataclass(frozen=True)
class _CheckedShapes:
    """Checked access to shapes by name; raises UserError for missing or wrong ones."""

    shapes: Mapping[str, Shape]
    where: str

    def shape(self, name: str, dims: int) -> Shape:
        shape = self.shapes.get(name)
        if shape is None:
            raise UserError(f"{self.where} has no tensor {name!r}, which every Pi0.5 has; fetch it again")
        if len(shape) != dims or not all(shape):
            raise UserError(f"{name!r} in {self.where} has shape {list(shape)}, which no Pi0.5 has; fetch it again")
        return shape

    def depth(self, prefix: str) -> int:
        pattern = re.compile(re.escape(prefix) + r"(\d{1,6})\.")
        layers = {int(match[1]) for name in self.shapes if (match := pattern.match(name))}
        for layer in range(max(len(layers), 1)):
            if layer not in layers:
                raise UserError(f"{self.where} has no layer {layer} under {prefix!r}; fetch it again")
        return len(layers)

    def stack(self, prefix: str, part: str, stated: Stated) -> StackConfig:
        queries, width = self.shape(prefix + "layers.0.self_attn.q_proj.weight", 2)
        keys = self.shape(prefix + "layers.0.self_attn.k_proj.weight", 2)[0]
        head_dim, heads = stated.get(part, "head_dim"), stated.get(part, "heads")
        if head_dim is None and heads and queries % heads == 0:
            head_dim = queries // heads
        kv_heads = stated.get(part, "kv_heads") or (keys // head_dim if head_dim and keys % head_dim == 0 else None)
        if kv_heads is None and keys > GEMMA_HEAD_DIM:
            raise UserError(
                f"nothing tells into how many heads the {keys} key rows under {prefix!r} in {self.where} are divided; "
                f'state it in a sizes file as {{"{_SECTIONS[part]}": {{"num_kv_heads": N}}}} and give that with --sizes'
            )
        kv_heads = kv_heads or 1
        if keys % kv_heads or queries % (keys // kv_heads):
            raise UserError(
                f"{queries} query rows and {keys} key rows under {prefix!r} in {self.where} cannot be divided into "
                f"heads with {kv_heads} key heads; state 'num_kv_heads' of {part!r} in a file given with --sizes"
            )
        head_dim = keys // kv_heads
        return StackConfig(
            width=width,
            depth=self.depth(prefix + "layers."),
            heads=queries // head_dim,
            kv_heads=kv_heads,
            head_dim=head_dim,
            mlp=self.shape(prefix + "layers.0.mlp.gate_proj.weight", 2)[0],
        )


def _vision_heads(width: int, stated: Stated, where: str) -> int:
    heads = stated.get("vision", "heads")
    if heads is None:
        if width != SIGLIP_WIDTH:
            raise UserError(
                f"nothing tells how many attention heads the picture encoder of {where} has (its width {width} is not "
                f"Pi0.5's {SIGLIP_WIDTH}); state it in a sizes file as "
                '{"vision": {"num_attention_heads": N}} and give that with --sizes'
            )
        return SIGLIP_HEADS
    if width % heads:
        raise UserError(f"{stated.where} says {heads} vision heads, which do not divide the width {width} of {where}")
    return heads


def describe_inferred(config: Pi05Config, stated: Stated) -> list[Decision]:
    """Return the sizes that neither shapes nor a configuration determine, as decisions."""
    decisions = []
    if stated.get("vision", "heads") is None:
        reason = f"Pi0.5's own, for the width {SIGLIP_WIDTH}"
        decisions.append(Decision("heads of the picture encoder", str(config.vision.heads), reason, is_certain=True))
    unstated = [
        part
        for part in ("vlm", "expert")
        if not any(stated.get(part, size) for size in ("kv_heads", "head_dim", "heads"))
    ]
    if unstated:
        is_own = config.vlm.head_dim == GEMMA_HEAD_DIM
        choice = f"{config.vlm.heads} of width {config.vlm.head_dim} with {config.vlm.kv_heads} key and value head"
        reason = "as in Pi0.5" if is_own else "one key and value head as in Pi0.5; --sizes states num_kv_heads"
        decisions.append(Decision("heads of the language model and the expert", choice, reason, is_certain=is_own))
    return decisions


def _check_config(config: Pi05Config, stated: Stated, where: str) -> None:
    vlm, expert = config.vlm, config.expert
    for size in ("depth", "heads", "kv_heads", "head_dim"):
        vlm_size, expert_size = getattr(vlm, size), getattr(expert, size)
        if vlm_size != expert_size:
            raise UserError(
                f"the language model in {where} has {size} {vlm_size} and the action expert {expert_size}, "
                "but the two attend to each other and must agree; the file is damaged or another model"
            )
    if vlm.head_dim % 2 or expert.width % 2 or vlm.heads % vlm.kv_heads:
        raise UserError(f"{where} has heads of width {vlm.head_dim} and an expert of width {expert.width}: not Pi0.5")
    check_stated(config, stated, where)


def check_stated(config: Pi05Config, stated: Stated, where: str) -> None:
    """Raise UserError if a stated size differs from that of the weights."""
    for part in ("vision", "vlm", "expert"):
        for size in _SPELLINGS:
            expected, actual = stated.get(part, size), getattr(getattr(config, part), size, None)
            if expected is not None and actual is not None and expected != actual:
                raise UserError(
                    f"{size} of {part!r} is {expected} according to {stated.where}, "
                    f"but the weights in {where} have {actual}; correct the one or choose the other"
                )


def parameter_shapes(config: Pi05Config) -> dict[str, Shape]:
    """Return the name and shape of every parameter of a policy of these sizes."""
    return dict(_parameters(config))


def _parameters(config: Pi05Config) -> Iterator[tuple[str, Shape]]:
    vision, vlm, expert = config.vision, config.vlm, config.expert
    width = vision.width
    yield VISION + "embeddings.patch_embedding.weight", (width, 3, vision.patch_size, vision.patch_size)
    yield VISION + "embeddings.patch_embedding.bias", (width,)
    yield VISION + "embeddings.position_embedding.weight", ((vision.image_size // vision.patch_size) ** 2, width)
    for layer in range(vision.depth):
        prefix = f"{VISION}encoder.layers.{layer}."
        for norm in ("layer_norm1", "layer_norm2"):
            yield from _affine(prefix + norm, (width,))
        for projection in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _affine(f"{prefix}self_attn.{projection}", (width, width))
        yield from _affine(prefix + "mlp.fc1", (vision.mlp, width))
        yield from _affine(prefix + "mlp.fc2", (width, vision.mlp))
    yield from _affine(VISION + "post_layernorm", (width,))
    yield from _affine(PROJECTOR, (vlm.width, width))
    yield EMBEDDING, (config.vocabulary, vlm.width)
    for prefix, stack in ((LANGUAGE, vlm), (EXPERT, expert)):
        norms = [f"{prefix}layers.{i}.{norm}" for i in range(stack.depth) for norm in _LAYER_NORMS]
        for norm in (*norms, prefix + "norm"):
            if prefix == EXPERT:
                yield from _affine(norm + ".dense", (3 * stack.width, stack.width))
            else:
                yield norm + ".weight", (stack.width,)
        for layer in range(stack.depth):
            yield from _block(f"{prefix}layers.{layer}.", stack)
    yield from _affine("action_in_proj", (expert.width, config.action_dim))
    yield from _affine("action_out_proj", (config.action_dim, expert.width))
    yield from _affine("time_mlp_in", (expert.width, expert.width))
    yield from _affine("time_mlp_out", (expert.width, expert.width))


_LAYER_NORMS = ("input_layernorm", "post_attention_layernorm")


def _affine(name: str, shape: Shape) -> Iterator[tuple[str, Shape]]:
    yield name + ".weight", shape
    yield name + ".bias", shape[:1]


def _block(prefix: str, stack: StackConfig) -> Iterator[tuple[str, Shape]]:
    queries, keys = stack.heads * stack.head_dim, stack.kv_heads * stack.head_dim
    yield prefix + "self_attn.q_proj.weight", (queries, stack.width)
    yield prefix + "self_attn.k_proj.weight", (keys, stack.width)
    yield prefix + "self_attn.v_proj.weight", (keys, stack.width)
    yield prefix + "self_attn.o_proj.weight", (stack.width, queries)
    yield prefix + "mlp.gate_proj.weight", (stack.mlp, stack.width)
    yield prefix + "mlp.up_proj.weight", (stack.mlp, stack.width)
    yield prefix + "mlp.down_proj.weight", (stack.width, stack.mlp)


def check_shapes(actual: Mapping[str, Shape], expected: Mapping[str, Shape], where: str) -> None:
    """Raise UserError unless exactly the expected tensors are present, in the expected shapes."""
    if missing := [name for name in expected if name not in actual]:
        raise UserError(
            f"{where} lacks {list_tensors(missing, len(expected))}; the download may have stopped early: fetch it again"
        )
    if extra := [name for name in actual if name not in expected]:
        raise UserError(
            f"{where} has {list_tensors(extra)} that Pi0.5 does not have; it is another model or a variant of it"
        )
    for name, shape in expected.items():
        if actual[name] != shape:
            raise UserError(
                f"{name!r} in {where} has shape {list(actual[name])} where its other tensors call for {list(shape)}; "
                "the file is damaged or another model"
            )


def list_tensors(names: Iterable[str], total: int | None = None) -> str:
    """Return a count and a few of the names as text: "3 of 812 tensors ('a', 'b', …)"."""
    listed = list(names)
    count = f"{len(listed)} of {total}" if total else f"{len(listed)}"
    shown = ", ".join(repr(name) for name in listed[:2]) + (", …" if len(listed) > 2 else "")
    return f"{count} tensor{'' if len(listed) == 1 and not total else 's'} ({shown})"
