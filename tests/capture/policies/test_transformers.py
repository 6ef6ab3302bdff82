"""What this project takes for granted of transformers, read off the installed release, so that a break has a name.

5.4 moved the scaling of text embeddings by sqrt(width) from `GemmaModel.forward` into `embed_tokens`; 5.6 dropped
`vision_model` from SigLIP's key names.
"""

from __future__ import annotations

import importlib.metadata

import pytest
import torch
import transformers
from packaging.requirements import Requirement
from small_policy import small_config, small_model

from capture.policies.pi05.model import Pi05


@pytest.fixture(scope="module")
def model():
    return small_model()


def test_the_installed_release_is_in_the_range_that_is_promised():
    requirements = map(Requirement, importlib.metadata.requires("pi0-attention") or [])
    promised = next(one for one in requirements if one.name == "transformers")
    assert promised.specifier.contains(transformers.__version__)
    assert not promised.specifier.contains("5.3.0")


def test_embed_tokens_scales_by_the_root_of_the_width(model):
    tokens = torch.tensor([[2, 7, 300]])
    embedding = model.language_model.embed_tokens
    torch.testing.assert_close(embedding(tokens), embedding.weight[tokens] * 40**0.5)


def test_gemma_leaves_inputs_embeds_alone(model):
    seen = []
    hook = model.language_model.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: seen.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    embeddings = torch.randn(1, 5, 40)
    with torch.no_grad():
        model.run_prefix(embeddings, torch.ones(1, 5, dtype=torch.bool))
    hook.remove()
    assert torch.equal(seen[0], embeddings)


def test_pictures_are_not_scaled(model):
    with torch.no_grad():
        picture = torch.rand(1, 3, 224, 224) * 2 - 1
        tower = model.vision_tower
        features = tower.post_layernorm(tower.encoder(inputs_embeds=tower.embeddings(picture)).last_hidden_state)
        expected = features @ model.projector.weight.T + model.projector.bias
        torch.testing.assert_close(model.embed_pictures(picture), expected)


def test_siglips_names_are_ours_whatever_the_release(model):
    names = [name for name in model.state_dict() if ".vision_tower." in name]
    start = "paligemma_with_expert.paligemma.model.vision_tower."
    assert start + "embeddings.patch_embedding.weight" in names
    assert start + "encoder.layers.1.self_attn.out_proj.bias" in names
    assert start + "post_layernorm.weight" in names
    assert not any("vision_model" in name or "head" in name for name in names)


def test_gemma_masks_as_told_and_in_both_directions(model):
    """No causal mask of its own: the first token sees the last one."""
    with torch.no_grad():
        embeddings = torch.randn(1, 5, 40)
        other = embeddings.clone()
        other[:, -1] += 1
        valid = torch.ones(1, 5, dtype=torch.bool)
        first = [model.run_prefix(one, valid).hidden[:, 0] for one in (embeddings, other)]
    assert not torch.equal(*first)


def test_every_buffer_is_filled_after_the_meta_device():
    with torch.device("meta"):
        model = Pi05(small_config())
    hollow = {name for name, buffer in model.named_buffers() if buffer.is_meta}
    assert any("inv_freq" in name for name in hollow)
    model.refill_buffers("cpu")
    built = Pi05(small_config())
    for name, buffer in built.named_buffers():
        torch.testing.assert_close(dict(model.named_buffers())[name], buffer)
