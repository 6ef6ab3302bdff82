"""Sizes inferred from shapes and shapes from sizes, for any size; contradictions are refused."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from checkpoint_files import ODD, ODD_SIZES
from decisions import choices_by_subject, uncertain_choices
from hypothesis import given
from hypothesis import strategies as st

from capture.checkpoints.infer_config import (
    EMBEDDING,
    EXPERT,
    LANGUAGE,
    VISION,
    Stated,
    check_shapes,
    describe_inferred,
    infer_config,
    list_tensors,
    parameter_shapes,
    read_stated,
)
from capture.checkpoints.key_names import openpi_name
from capture.errors import UserError
from capture.json_fields import JsonObject
from capture.policies.pi05.config import Pi05Config, StackConfig, VisionConfig
from capture.policies.pi05.model import Pi05

FULL = Pi05Config(
    vision=VisionConfig(1152, 27, 16, 4304),
    vlm=StackConfig(2048, 18, 8, 1, 256, 16384),
    expert=StackConfig(1024, 18, 8, 1, 256, 4096),
    vocabulary=257152,
    horizon=15,
)
STATED = read_stated(JsonObject(ODD_SIZES, "sizes.json"))


def infer(shapes, stated=STATED):
    return infer_config(shapes, stated, "here", horizon=ODD.horizon, denoise_steps=10)


@pytest.mark.parametrize("config", [ODD, FULL], ids=["odd", "full"])
def test_expected_shapes_equal_those_of_the_model(config):
    with torch.device("meta"):
        model = Pi05(config)
    assert parameter_shapes(config) == {openpi_name(name): tuple(p.shape) for name, p in model.named_parameters()}


def test_full_size_is_inferred_from_shapes_alone():
    config = infer_config(parameter_shapes(FULL), Stated(), "here", horizon=15, denoise_steps=10)
    assert config == FULL
    assert sum(torch.Size(shape).numel() for shape in parameter_shapes(FULL).values()) == pytest.approx(
        3.351e9, rel=1e-3
    )
    assert len(parameter_shapes(FULL)) == 811  # 812 with the expert's dead head


@given(
    heads=st.integers(1, 9),
    kv_heads=st.integers(1, 3),
    head_dim=st.integers(1, 40).map(lambda half: 2 * half),
    width=st.integers(1, 200),
    expert_width=st.integers(1, 100).map(lambda half: 2 * half),
    depth=st.integers(1, 4),
    vision=st.tuples(st.integers(1, 5), st.integers(1, 20), st.integers(1, 3)),
)
def test_inferred_sizes_equal_the_sizes_that_gave_the_shapes(
    heads, kv_heads, head_dim, width, expert_width, depth, vision
):
    vision_heads, vision_head_dim, vision_depth = vision
    config = Pi05Config(
        vision=VisionConfig(vision_heads * vision_head_dim, vision_depth, vision_heads, 7),
        vlm=StackConfig(width, depth, heads * kv_heads, kv_heads, head_dim, 11),
        expert=StackConfig(expert_width, depth, heads * kv_heads, kv_heads, head_dim, 13),
        vocabulary=17,
        horizon=3,
    )
    part = {"kv_heads": kv_heads}
    stated = Stated({"vision": {"heads": vision_heads}, "vlm": part, "expert": part}, "sizes")
    assert infer_config(parameter_shapes(config), stated, "here", horizon=3, denoise_steps=10) == config


def test_read_stated_accepts_spellings_of_openpi_and_transformers():
    sizes = {"vision": {"hidden_size": 48, "num_attention_heads": 3}, "expert": {"mlp_dim": 24, "num_kv_heads": 2}}
    stated = read_stated(JsonObject(sizes, "sizes.json"))
    assert stated.get("vision", "width") == 48
    assert stated.get("vision", "heads") == 3
    assert stated.get("expert", "mlp") == 24
    assert stated.get("expert", "kv_heads") == 2
    assert stated.get("vlm", "depth") is None
    assert Stated({"vision": {"heads": 4}}).over(stated).get("vision", "heads") == 4


def test_stated_head_width_gives_the_number_of_key_heads():
    stated = Stated({"vision": {"heads": 3}, "vlm": {"head_dim": 20}, "expert": {"head_dim": 20}}, "sizes")
    assert infer(parameter_shapes(ODD), stated) == ODD


@pytest.mark.parametrize("width", [72, 144, 768])
def test_unknown_picture_encoder_error_asks_for_its_heads(width):
    config = replace(ODD, vision=VisionConfig(width=width, depth=1, heads=6, mlp=8))
    sizes = read_stated(JsonObject({key: ODD_SIZES[key] for key in ("vlm", "action_expert")}, "sizes.json"))
    with pytest.raises(UserError, match=f"its width {width} is not Pi0.5's 1152.*num_attention_heads.*--sizes"):
        infer(parameter_shapes(config), sizes)
    stated = Stated({"vision": {"heads": 6}}).over(sizes)
    assert infer(parameter_shapes(config), stated).vision.heads == 6


def test_ambiguous_key_width_error_asks_for_heads():
    """Two heads of width 256 and one of width 512 have the same shapes."""
    stack = StackConfig(width=64, depth=1, heads=4, kv_heads=2, head_dim=256, mlp=8)
    shapes = parameter_shapes(replace(ODD, vlm=stack, expert=replace(stack, width=32)))
    vision = {"vision": {"heads": 3}}
    with pytest.raises(UserError, match='into how many heads the 512 key rows .*"vlm": .*num_kv_heads.*--sizes'):
        infer(shapes, Stated(vision))
    part = {"head_dim": 256}
    assert infer(shapes, Stated({**vision, "vlm": part, "expert": {"heads": 4}}, "s")).vlm == stack


def test_assumed_sizes_are_decisions():
    own = describe_inferred(FULL, Stated())
    assert choices_by_subject(own) == {
        "heads of the picture encoder": "16",
        "heads of the language model and the expert": "8 of width 256 with 1 key and value head",
    }
    assert uncertain_choices(own) == {}
    small = replace(FULL, vlm=replace(FULL.vlm, head_dim=32))
    assert list(uncertain_choices(describe_inferred(small, Stated({"vision": {"heads": 4}})))) == [
        "heads of the language model and the expert"
    ]
    assert describe_inferred(ODD, STATED) == []


@pytest.mark.parametrize(
    ("change", "stated", "message"),
    [
        (
            {},
            {},
            "nothing tells how many attention heads the picture encoder of here has.*num_attention_heads.*--sizes",
        ),
        ({}, {**ODD_SIZES, "vision": {"heads": 5}}, "says 5 vision heads, which do not divide the width 48"),
        ({}, {**ODD_SIZES, "vlm": {"num_kv_heads": 3}}, "cannot be divided into heads with 3 key heads"),
        ({}, {**ODD_SIZES, "vlm": {"num_kv_heads": 1}}, "language model in here has heads 3 and the action expert 6"),
        (
            {},
            {**ODD_SIZES, "vlm": {"num_kv_heads": 2, "depth": 4}},
            "depth of 'vlm' is 4 according to sizes.json, but .* have 3",
        ),
        ({EMBEDDING: None}, ODD_SIZES, "here has no tensor '.*embed_tokens.weight'"),
        ({EMBEDDING: (5,)}, ODD_SIZES, r"has shape \[5\], which no Pi0.5 has"),
        ({EMBEDDING: (0, 64)}, ODD_SIZES, r"has shape \[0, 64\], which no Pi0.5 has"),
        ({VISION + "embeddings.position_embedding.weight": (1024, 48)}, ODD_SIZES, "1024 patches of 14 x 14 pixels"),
        ({VISION + "embeddings.patch_embedding.weight": (48, 3, 16, 16)}, ODD_SIZES, "256 patches of 16 x 16 pixels"),
        ({LANGUAGE + "layers.7.mlp.up_proj.weight": (1, 1)}, ODD_SIZES, "has no layer 3 under"),
        ({EXPERT + "layers.3.mlp.up_proj.weight": (1, 1)}, ODD_SIZES, "has depth 3 and the action expert 4"),
    ],
)
def test_contradictory_sizes_are_refused(change, stated, message):
    shapes = {name: shape for name, shape in {**parameter_shapes(ODD), **change}.items() if shape is not None}
    with pytest.raises(UserError, match=message):
        infer(shapes, read_stated(JsonObject(stated, "sizes.json")))


def test_absurd_layer_number_is_no_layer():
    shapes = {**parameter_shapes(ODD), LANGUAGE + "layers.99999999999.mlp.up_proj.weight": (1, 1)}
    with pytest.raises(UserError, match="has 1 tensor .* that Pi0.5 does not have"):
        check_shapes(shapes, parameter_shapes(infer(shapes)), "here")


def test_check_names_missing_extra_and_misshapen_tensors():
    expected = {"a": (1,), "b": (2,), "c": (3,)}
    check_shapes(expected, expected, "here")
    with pytest.raises(UserError, match=r"here lacks 2 of 3 tensors \('b', 'c'\)"):
        check_shapes({"a": (1,)}, expected, "here")
    with pytest.raises(UserError, match=r"here has 1 tensor \('x'\) that Pi0.5 does not have"):
        check_shapes({**expected, "x": ()}, expected, "here")
    with pytest.raises(UserError, match=r"'b' in here has shape \[9\] where its other tensors call for \[2\]"):
        check_shapes({**expected, "b": (9,)}, expected, "here")


def test_check_lists_a_few_of_many_names():
    assert list_tensors(["a"]) == "1 tensor ('a')"
    assert list_tensors("abc") == "3 tensors ('a', 'b', …)"
    assert list_tensors("a", 9) == "1 of 9 tensors ('a')"
