"""What this project takes for granted of transformers, read off the installed release, so that a break has a name.

5.4 moved the scaling of text embeddings by sqrt(width) from `GemmaModel.forward` into `embed_tokens`; 5.6 dropped
`vision_model` from SigLIP's key names; 5.24 renamed `GemmaModel.forward`'s argument `past_key_values` to `cache`, warns
of the old name and says that 5.40 drops it. `.ci/transformers` runs this file, and what else runs the model, with
releases from the oldest to the newest.
"""

from __future__ import annotations

import functools
import importlib.metadata
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import transformers
from packaging.requirements import Requirement
from paths import ROOT, SUPPORT
from small_policy import small_config, small_model

import capture.policies.pi05.model as model_module
from capture.errors import UserError
from capture.policies.pi05.model import Pi05, cache_argument
from resources.demo.build import forward as training


@pytest.fixture(scope="module")
def model():
    return small_model()


def test_installed_transformers_is_in_supported_range():
    requirements = map(Requirement, importlib.metadata.requires("pi0-attention") or [])
    promised = next(requirement for requirement in requirements if requirement.name == "transformers")
    assert promised.specifier.contains(transformers.__version__)
    assert not promised.specifier.contains("5.3.0")


def test_embed_tokens_scales_by_the_root_of_the_width(model):
    tokens = torch.tensor([[2, 7, 300]])
    embedding = model.language_model.embed_tokens
    torch.testing.assert_close(embedding(tokens), embedding.weight[tokens] * 40**0.5)


def test_gemma_leaves_inputs_embeds_alone(model):
    received = []
    hook = model.language_model.layers[0].register_forward_pre_hook(
        lambda module, args, kwargs: received.append(args[0] if args else kwargs["hidden_states"]), with_kwargs=True
    )
    embeddings = torch.randn(1, 5, 40)
    with torch.no_grad():
        model.run_prefix(embeddings, torch.ones(1, 5, dtype=torch.bool))
    hook.remove()
    assert torch.equal(received[0], embeddings)


def test_pictures_are_not_scaled(model):
    with torch.no_grad():
        picture = torch.rand(1, 3, 224, 224) * 2 - 1
        tower = model.vision_tower
        features = tower.post_layernorm(tower.encoder(inputs_embeds=tower.embeddings(picture)).last_hidden_state)
        expected = features @ model.projector.weight.T + model.projector.bias
        torch.testing.assert_close(model.embed_pictures(picture), expected)


def test_siglip_parameter_names_are_independent_of_release(model):
    names = [name for name in model.state_dict() if name.startswith("vision_tower.")]
    start = "vision_tower."
    assert start + "embeddings.patch_embedding.weight" in names
    assert start + "encoder.layers.1.self_attn.out_proj.bias" in names
    assert start + "post_layernorm.weight" in names
    assert not any("vision_model" in name or "head" in name for name in names)


def test_gemma_applies_given_mask_without_causal_mask(model):
    """No causal mask of its own: the first token sees the last one."""
    with torch.no_grad():
        embeddings = torch.randn(1, 5, 40)
        changed = embeddings.clone()
        changed[:, -1] += 1
        valid = torch.ones(1, 5, dtype=torch.bool)
        first = [model.run_prefix(inputs, valid).hidden[:, 0] for inputs in (embeddings, changed)]
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


def run_installed_gemma(forward, inputs_embeds, attention_mask, position_ids, use_cache, cache):
    return forward(
        inputs_embeds=inputs_embeds,
        attention_mask=attention_mask,
        position_ids=position_ids,
        use_cache=use_cache,
        **{cache_argument(forward): cache},
    )


class GemmaWithCache(transformers.GemmaModel):
    """Of a release in which `past_key_values` is gone."""

    def forward(self, inputs_embeds, attention_mask, position_ids, use_cache, cache):
        return run_installed_gemma(super().forward, inputs_embeds, attention_mask, position_ids, use_cache, cache)


class GemmaWithPastKeyValues(transformers.GemmaModel):
    """Of a release that has no `cache` yet."""

    def forward(self, inputs_embeds, attention_mask, position_ids, use_cache, past_key_values):
        return run_installed_gemma(
            super().forward, inputs_embeds, attention_mask, position_ids, use_cache, past_key_values
        )


def with_the_old_name_deprecated(function):
    @functools.wraps(function)
    def wrapped(*args, **kwargs):
        if "past_key_values" in kwargs:
            warnings.warn("`past_key_values` is deprecated", FutureWarning, stacklevel=2)
            kwargs["cache"] = kwargs.pop("past_key_values")
        return function(*args, **kwargs)

    return wrapped


class GemmaWithBoth(GemmaWithCache):
    """Of a release that takes either name and warns of the old one."""

    forward = with_the_old_name_deprecated(GemmaWithCache.forward)


class GemmaWithNeither(transformers.GemmaModel):
    """Of a release that would swallow either name and fill a cache of its own."""

    def forward(self, inputs_embeds=None, **kwargs):
        return super().forward(inputs_embeds=inputs_embeds, use_cache=True)


def prefix_of_a_call(model):
    valid = torch.tensor([[True] * 9 + [False] * 2, [False] * 2 + [True] * 9])
    with torch.no_grad():
        return model.run_prefix(torch.randn(2, 11, 40, generator=torch.manual_seed(5)), valid)


def prefix_of_training(model):
    draw = torch.manual_seed(6)
    kept = torch.tensor([[[0, 3, 200], [7, 8, 255]]])
    tokens = torch.tensor([[2, 7, 300, 0]])
    return training.read_prefix(model, torch.randn(1, 6, 24, generator=draw), kept, tokens).prefix


@pytest.mark.parametrize("run", [prefix_of_a_call, prefix_of_training])
@pytest.mark.parametrize("gemma", [GemmaWithCache, GemmaWithPastKeyValues, GemmaWithBoth])
def test_cache_argument_has_the_name_of_the_installed_release(model, monkeypatch, gemma, run):
    """The same bits. A warning would be an error here."""
    monkeypatch.setattr(model_module, "GemmaModel", gemma)
    other = small_model()
    assert type(other.language_model) is gemma
    expected, prefix = run(model), run(other)
    assert len(prefix.keys) == len(prefix.values) == 3
    for ours, theirs in zip(
        (*prefix.keys, *prefix.values, prefix.hidden),
        (*expected.keys, *expected.values, expected.hidden),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_unknown_cache_argument_is_refused(monkeypatch):
    monkeypatch.setattr(model_module, "GemmaModel", GemmaWithNeither)
    with pytest.raises(UserError, match=r"not known here \(its arguments are inputs_embeds, kwargs\); install"):
        small_model()


def test_importing_and_running_the_model_emits_no_warning():
    """In a process of its own, where transformers has not yet said what it says once, some of it to its log alone."""
    code = "from test_transformers import *; prefix_of_a_call(small_model()); prefix_of_training(small_model())"
    path = os.pathsep.join([str(Path(__file__).parent), str(SUPPORT), str(ROOT)])
    # As it ends, torch 2.5 leaves a temporary folder of its own to be removed implicitly.
    command = [sys.executable, "-W", "error", "-W", "ignore:Implicitly cleaning up:ResourceWarning", "-c", code]
    completed = subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
    assert (completed.returncode, completed.stdout, completed.stderr) == (0, "", "")
