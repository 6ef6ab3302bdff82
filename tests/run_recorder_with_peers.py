"""Run the README's `AttentionRecorder` example on the policy classes of lerobot and openpi themselves.

    python tests/run_recorder_with_peers.py lerobot
    python tests/run_recorder_with_peers.py openpi path/to/openpi/src

Needs an environment with this project's `[capture]` dependencies and lerobot (`lerobot[pi]`), or what openpi's PyTorch
policy imports, with the files of its `transformers_replace` copied over transformers. The policy is the tiny one of
`tests/golden`, built by the peer's own class from the stored weights, so no download is needed. The attention that the
recorder takes from lerobot's class is compared with this project's model on the same input, that of openpi's class with
the tensors of `tests/golden`; no difference may exceed 1e-5.

Further calls run under interventions (edges cut in both phases, in some layers and heads, heads of both stacks silenced, all
pictures cut off) and must give the actions that this project's model gives under the same, stored in
`tests/golden/interventions.safetensors`, again to 1e-5 (lerobot's denoise times: this project's model is run). The peer's
own class must give the same bits where no edge is cut, and with all pictures cut off what it gives where they are masked.

Prints the versions it ran with and one line a comparison; exits with 1 where one fails. Run with lerobot 0.6.1
(transformers 5.5.4) and openpi 15a9616 (transformers 4.53.2), both with torch 2.13.0.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]

import torch  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from small_policy import GOLDEN, tiny_config, tiny_model  # noqa: E402

from capture import AttentionRecorder  # noqa: E402
from capture.policies.interventions import HeadSilencing, Interventions, Knockout  # noqa: E402

PACKAGES = ("lerobot", "openpi", "transformers", "torch", "numpy")
LIMIT = 1e-5
SHIFTED_LIMIT = 5e-4
"""For calls whose tokens have other positions: float32 angles of rotary embeddings differ there."""


def use_tiny_sizes(module: Any) -> None:
    """Make a peer's module build a PaliGemma and an expert with the sizes of `tests/golden/sizes.json`."""
    sizes = tiny_config()
    stacks = {"gemma_2b": sizes.vlm, "gemma_300m": sizes.expert}

    def get_config(variant: str) -> SimpleNamespace:
        stack = stacks[variant]
        return SimpleNamespace(
            width=stack.width, depth=stack.depth, mlp_dim=stack.mlp,
            num_heads=stack.heads, num_kv_heads=stack.kv_heads, head_dim=stack.head_dim,
        )  # fmt: skip

    for name in ("get_gemma_config", "get_config"):
        if hasattr(module, name):
            setattr(module, name, get_config)


def use_tiny_vision(module: Any, paligemma_class: str) -> None:
    """Make the peer's PaliGemma class start with the tiny vision tower and vocabulary."""
    sizes = tiny_config()
    real = getattr(module, paligemma_class)

    def build(config: Any) -> Any:
        vision = config.vision_config
        vision.hidden_size, vision.num_hidden_layers = sizes.vision.width, sizes.vision.depth
        vision.num_attention_heads, vision.intermediate_size = sizes.vision.heads, sizes.vision.mlp
        vision.projection_dim = sizes.vlm.width
        config.projection_dim = sizes.vlm.width
        config.text_config.vocab_size = sizes.vocabulary
        config._vocab_size = sizes.vocabulary
        config.image_token_id = config.image_token_index = sizes.vocabulary - 1
        return real(config=config)

    setattr(module, paligemma_class, lambda config: build(config))


def load_weights(model: torch.nn.Module) -> None:
    """Load the stored weights under openpi's names; every parameter but unused output layers must get one."""
    weights = load_file(GOLDEN / "weights.safetensors")
    names = set(model.state_dict())
    moved = {}
    for name, tensor in weights.items():
        shorter = name.replace(".vision_model", "")
        moved[name if name in names else shorter] = tensor
    embedding = "paligemma_with_expert.paligemma.model.language_model.embed_tokens.weight"
    moved.setdefault(embedding, weights["paligemma_with_expert.paligemma.lm_head.weight"])
    missing, unexpected = model.load_state_dict(moved, strict=False)
    missing = [name for name in missing if "lm_head" not in name]
    if missing or unexpected:
        sys.exit(f"the tiny policy's weights do not fit this release: missing {missing}, unexpected {unexpected}")


def build_lerobot() -> torch.nn.Module:
    """Return a `PI05Policy` of lerobot with the tiny policy's sizes and weights."""
    from lerobot.configs.types import FeatureType, PolicyFeature
    from lerobot.policies.pi05 import modeling_pi05 as module
    from lerobot.policies.pi05.configuration_pi05 import PI05Config

    use_tiny_sizes(module)
    use_tiny_vision(module, "PaliGemmaForConditionalGenerationWithPiGemma")
    cameras = {
        f"observation.images.{slot}": PolicyFeature(type=FeatureType.VISUAL, shape=(3, 224, 224))
        for slot in ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
    }
    config = PI05Config(
        dtype="float32", device="cpu", chunk_size=tiny_config().horizon, n_action_steps=tiny_config().horizon,
        input_features=cameras, output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(32,))},
    )  # fmt: skip
    policy = module.PI05Policy(config)
    load_weights(policy.model)
    return policy.eval()


def build_openpi(source: Path) -> torch.nn.Module:
    """Return a `PI0Pytorch` of openpi (pi05=True) with the tiny policy's sizes and weights."""
    sys.path.insert(0, str(source))
    from openpi.models_pytorch import gemma_pytorch, pi0_pytorch

    use_tiny_sizes(pi0_pytorch._gemma)
    use_tiny_vision(gemma_pytorch, "PaliGemmaForConditionalGeneration")
    sizes = tiny_config()
    config = SimpleNamespace(
        pi05=True, dtype="float32", action_dim=32, action_horizon=sizes.horizon, max_token_len=24,
        paligemma_variant="gemma_2b", action_expert_variant="gemma_300m", pytorch_compile_mode=None,
    )  # fmt: skip
    compile_function, torch.compile = torch.compile, lambda function, **_: function
    try:
        model = pi0_pytorch.PI0Pytorch(config)
    finally:
        torch.compile = compile_function
    load_weights(model)
    return model.eval()


def sample(model: torch.nn.Module, peer: str, *, has_pictures: bool = True) -> torch.Tensor:
    """Call the peer's `sample_actions` with the stored input, its pictures masked without `has_pictures`.

    Returns actions (1, horizon, 32).
    """
    inputs = load_file(GOLDEN / "inputs.safetensors")
    pictures = [(inputs[f"image{slot}"].float() / 255 * 2 - 1).permute(0, 3, 1, 2) for slot in range(2)]
    pictures.append(torch.full_like(pictures[0], -1))
    masks = [inputs["image_mask"][:, slot] & has_pictures for slot in range(3)]
    if peer == "lerobot":
        return model.sample_actions(pictures, masks, inputs["tokens"], inputs["token_mask"], noise=inputs["noise"])
    names = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
    observation = SimpleNamespace(
        images=dict(zip(names, pictures, strict=True)), image_masks=dict(zip(names, masks, strict=True)),
        tokenized_prompt=inputs["tokens"], tokenized_prompt_mask=inputs["token_mask"],
        state=torch.zeros(1, 32), token_ar_mask=None, token_loss_mask=None,
    )  # fmt: skip
    return model.sample_actions("cpu", observation, noise=inputs["noise"])


def run_example(model: torch.nn.Module, peer: str) -> tuple[Any, torch.Tensor]:
    """Run the README's block with arguments in place of its dots; return the recording and the actions (1, H, 32)."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    [block] = [block for block in blocks if "AttentionRecorder" in block]
    names: dict[str, Any] = {"model": model, "sample": lambda: sample(model, peer)}
    block = block.replace("model.sample_actions(...)", "actions = sample()")
    exec(compile(block, "README.md", "exec"), names)
    return names["recording"], names["actions"]


def compare_with_our_model(recording: Any, actions: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the differences to this project's model on the same input, with lerobot's denoise times."""
    inputs = load_file(GOLDEN / "inputs.safetensors")
    pictures = [(inputs[f"image{slot}"].float() / 255 * 2 - 1).permute(0, 3, 1, 2) for slot in range(2)]
    model = tiny_model()
    with AttentionRecorder(model) as recorder:
        chunk = model.sample_actions(
            [*pictures, None], inputs["tokens"], inputs["token_mask"], inputs["noise"], grid="lerobot"
        )
        ours = recorder.take()
    valid = recording.prefix_valid[0].nonzero()[:, 0]  # (529,): the peer pads its prefix to 792 keys, ours has none
    keys = torch.cat([valid, recording.prefix.shape[-1] + torch.arange(tiny_config().horizon)])  # (544,)
    rows = recording.prefix[:, :, :, valid]  # (1, layers, heads, 529, 792)
    return {
        "prefix attention": rows[..., valid] - ours.prefix,
        "suffix attention": recording.suffix[..., keys] - ours.suffix,
        "actions": actions - chunk.actions,
    }


def compare_with_golden_tensors(recording: Any, actions: torch.Tensor) -> dict[str, torch.Tensor]:
    """Return the differences to the tensors of `tests/golden`, which this project's model reproduces in its tests.

    openpi and this project need different releases of transformers, so that one process cannot run both.
    """
    golden = load_file(GOLDEN / "openpi.safetensors")
    text = slice(3 * 256, 3 * 256 + 17)  # the valid text tokens, after three cameras' patches
    block = recording.suffix[0, ..., -tiny_config().horizon :]  # (layers, steps, heads, H, H)
    return {
        "prefix attention of the text": recording.prefix[0, :, :, text] - golden["prefix_attn_text_rows"],
        "suffix attention among actions": block.transpose(0, 1) - golden["suffix_attn_action_block"],
        "actions": actions - golden["actions"],
    }


def cases(prefix_keys: int, patches: int) -> dict[str, list[Knockout | HeadSilencing]]:
    """Return the interventions of further calls by name, for a prefix of so many keys, the first of them patches."""
    sizes = tiny_config()
    keys = prefix_keys + sizes.horizon
    words = torch.zeros(1, 1, 1, prefix_keys, dtype=torch.bool)
    words[..., :100] = True  # every prefix token loses 100 patches of the first camera, in two layers
    actions = torch.zeros(1, 1, 1, keys, dtype=torch.bool)
    actions[..., :256] = True  # every action token loses all of them
    heads = torch.zeros(1, sizes.expert.depth, sizes.expert.heads, dtype=torch.bool)
    heads[0, 1, 4] = True
    is_edge_cut = torch.zeros(1, sizes.expert.heads, sizes.horizon, keys, dtype=torch.bool)
    is_edge_cut[:, ::2, :5, 200:400] = True  # in every other head the first five actions lose patches of both cameras
    own = torch.zeros(1, 1, sizes.horizon, keys, dtype=torch.bool)
    own[..., 0, -1] = True  # the first action loses the last one
    silent = torch.zeros(1, sizes.vlm.depth, sizes.vlm.heads, dtype=torch.bool)
    silent[0, 0, :3] = True
    from_all = [torch.zeros(1, 1, 1, count, dtype=torch.bool) for count in (prefix_keys, keys)]
    for edges in from_all:
        edges[..., :patches] = True
    return {
        "interventions": [
            Knockout("prefix", words, layers=(0, 1)), Knockout("suffix", actions), HeadSilencing("suffix", heads),
        ],
        "edges cut in some heads": [Knockout("suffix", is_edge_cut), Knockout("suffix", own, layers=(0, 2))],
        "silenced heads of the language model": [HeadSilencing("prefix", silent)],
        "all pictures cut off": [Knockout("prefix", from_all[0]), Knockout("suffix", from_all[1])],
    }  # fmt: skip


def our_actions(grid: str) -> dict[str, torch.Tensor]:
    """Return the actions (1, horizon, 32) of this project's model in each of `cases`."""
    inputs = load_file(GOLDEN / "inputs.safetensors")
    pictures = [(inputs[f"image{slot}"].float() / 255 * 2 - 1).permute(0, 3, 1, 2) for slot in range(2)]
    model = tiny_model()
    found = {}
    for name, is_edge_cut in cases(2 * 256 + int(inputs["token_mask"].sum()), 2 * 256).items():
        with Interventions(model, is_edge_cut):
            found[name] = model.sample_actions(
                [*pictures, None], inputs["tokens"], inputs["token_mask"], inputs["noise"], grid=grid
            ).actions
    return found


def compare_interventions(model: torch.nn.Module, peer: str, keys: int) -> dict[str, tuple[torch.Tensor, float]]:
    """Return the differences of the peer's actions to ours in each case, and to its own calls; each with its limit."""
    expected = our_actions("lerobot") if peer == "lerobot" else load_file(GOLDEN / "interventions.safetensors")
    baseline = sample(model, peer)
    differences = {}
    for name, is_edge_cut in cases(keys, 3 * 256).items():
        with Interventions(model, is_edge_cut):
            changed = sample(model, peer)
        print(f"{'change':12} {(changed - baseline).abs().max().item():.3f} (largest, {name})")
        differences[f"actions, {name}"] = changed - expected[name], LIMIT
        if name == "all pictures cut off":
            without = sample(model, peer, has_pictures=False)
            differences["all pictures cut off, to a call that masks them"] = changed - without, SHIFTED_LIMIT
    nothing = [torch.zeros(1, 1, 1, count, dtype=torch.bool) for count in (keys, keys + tiny_config().horizon)]
    with Interventions(model, [Knockout("prefix", nothing[0]), Knockout("suffix", nothing[1])]):
        differences["no edge cut, to the plain call"] = sample(model, peer) - baseline, 0.0
    return differences


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the README's AttentionRecorder example on a peer's own policy.")
    parser.add_argument("peer", choices=("lerobot", "openpi"))
    parser.add_argument("source", nargs="?", type=Path, help="openpi's src folder")
    arguments = parser.parse_args()
    for package in PACKAGES:
        try:
            print(f"{package:12} {version(package)}")
        except PackageNotFoundError:
            continue
    torch.manual_seed(0)
    if arguments.peer == "lerobot":
        model = build_lerobot().model
    elif arguments.source is None:
        parser.error("openpi is not on PyPI: name the src folder of its checkout")
    else:
        model = build_openpi(arguments.source)
    recording, actions = run_example(model, arguments.peer)
    print(f"{'prefix':12} {tuple(recording.prefix.shape)}")
    print(f"{'suffix':12} {tuple(recording.suffix.shape)}")
    compare = compare_with_our_model if arguments.peer == "lerobot" else compare_with_golden_tensors
    differences = compare(recording, actions)
    limited = {name: (tensor, LIMIT) for name, tensor in differences.items()}
    limited |= compare_interventions(model, arguments.peer, recording.prefix.shape[-1])
    failed = False
    for name, (tensor, limit) in limited.items():
        difference = tensor.abs().max().item()
        verdict = "ok" if difference <= limit else "FAIL"
        failed |= not difference <= limit
        print(f"{verdict:5} {name}: largest difference {difference:.1e} (limit {limit:g})")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
