"""Record rollouts of the policy classes of lerobot and openpi themselves with `RolloutRecorder`.

    python tests/run_rollouts_with_peers.py lerobot FOLDER
    python tests/run_rollouts_with_peers.py openpi FOLDER path/to/openpi

Needs the environments of `run_recorder_with_peers.py`; openpi's checkout gives `src` and `packages/openpi-client/src`. The
policy is a small random one, built by the peer's own classes: lerobot's `PI05Policy` with the processors of
`make_pi05_pre_post_processors`, openpi's `Policy` with the transforms of its DROID policies. Only the tokenizer is the
small one of `tests/data`, so that nothing is fetched. openpi's `Policy` needs jax 0.5.3, flax 0.10.2,
chex 0.1.89 and numpydantic 1.6.7 with pydantic 2.10, too.

Episodes are recorded in FOLDER: every second call of one, one that another prompt ends, and those of a batch of two
environments (lerobot). Prints the versions it ran with and one line a comparison, and exits with 1 where one fails: the actions are
those of the same calls unrecorded, bit for bit; the stored attention is what `AttentionRecorder` takes of the same call;
prompt, state, pictures and actions are what the loop saw; a region has the mass that the stored maps have on it; the policy is afterwards as before. Run with lerobot 0.6.1
(transformers 5.5.4) and openpi 15a9616 (transformers 4.53.2), both with torch 2.13.0.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests"), str(ROOT / "tests/support")]

import h5py  # noqa: E402
import numpy as np  # noqa: E402
import run_recorder_with_peers as peers  # noqa: E402
import torch  # noqa: E402

from capture import AttentionRecorder, RolloutRecorder  # noqa: E402

TOKENIZER = ROOT / "tests/data/tokenizer.json"
SIZES = replace(peers.tiny_config(), vocabulary=700)
STATE = np.array([0.3, -1.2, 2.0, 0.7, 0.1, 0.0, -0.5])
STATISTICS = {"q01": np.linspace(-3.0, -1.0, 7), "q99": np.linspace(1.0, 3.0, 7)}
LIMIT = 1e-6


def randomise(model: torch.nn.Module) -> None:
    """Give every matrix random values, so that attention is far from uniform."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=1.3 * parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.1)


def pictures(seed: int) -> dict[str, np.ndarray]:
    """Two camera pictures, (height, width, 3) uint8, of different shapes."""
    draw = np.random.default_rng(seed)
    shapes = {"exterior": (90, 160), "wrist": (120, 120)}
    return {name: draw.integers(0, 255, (*shape, 3), dtype=np.uint8) for name, shape in shapes.items()}


def read_small_tokenizer() -> Any:
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    found = PreTrainedTokenizerFast(
        tokenizer_file=str(TOKENIZER), bos_token="<bos>", pad_token="<pad>", unk_token="<unk>"
    )
    begin = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", found.bos_token_id)])
    found.backend_tokenizer.post_processor = begin  # as PaliGemma's
    return found


class LerobotLoop:
    """A loop around lerobot's policy."""

    name = "lerobot"

    def __init__(self, _: Path | None) -> None:
        from lerobot.configs.types import FeatureType, PolicyFeature
        from lerobot.policies.pi05 import modeling_pi05 as module
        from lerobot.policies.pi05.configuration_pi05 import PI05Config
        from lerobot.policies.pi05.processor_pi05 import make_pi05_pre_post_processors
        from lerobot.processor import tokenizer_processor

        peers.use_tiny_sizes(module)
        peers.use_tiny_vision(module, "PaliGemmaForConditionalGenerationWithPiGemma")
        cameras = {
            f"observation.images.{name}": PolicyFeature(type=FeatureType.VISUAL, shape=(3, 224, 224))
            for name in ("image", "image2", "empty_camera_0")
        }
        state = {"observation.state": PolicyFeature(type=FeatureType.STATE, shape=(7,))}
        config = PI05Config(
            dtype="float32", device="cpu", chunk_size=SIZES.horizon, n_action_steps=3,
            input_features={**cameras, **state},
            output_features={"action": PolicyFeature(type=FeatureType.ACTION, shape=(7,))},
        )  # fmt: skip
        self.policy = module.PI05Policy(config).eval()
        randomise(self.policy)
        self.model = self.policy.model
        tokenizer = read_small_tokenizer()
        tokenizer_processor.AutoTokenizer = SimpleNamespace(from_pretrained=lambda _: tokenizer)
        statistics = {key: torch.tensor(value, dtype=torch.float32) for key, value in STATISTICS.items()}
        statistics |= {"mean": torch.zeros(7), "std": torch.ones(7), "min": statistics["q01"], "max": statistics["q99"]}
        self.preprocessor, self.postprocessor = make_pi05_pre_post_processors(
            config, {"observation.state": statistics, "action": statistics}
        )

    def options(self) -> dict[str, Any]:
        return {"preprocessor": self.preprocessor, "postprocessor": self.postprocessor}

    def call(self, seed: int, prompt: str, environments: int = 1) -> np.ndarray:
        """(B, H, 7): the chunk of one call in robot units; its noise is drawn from the seed."""
        shown = [pictures(seed + index) for index in range(environments)]
        states = torch.tensor(np.stack([STATE] * environments), dtype=torch.float32)
        batch: dict[str, Any] = {"observation.state": states}
        for key, name in (("image", "exterior"), ("image2", "wrist")):
            stacked = np.stack([chunk[name] for chunk in shown])
            batch[f"observation.images.{key}"] = torch.from_numpy(stacked).permute(0, 3, 1, 2).float() / 255
        batch["task"] = [f"{prompt} {index}" for index in range(environments)] if environments > 1 else [prompt]
        prepared = self.preprocessor(batch)
        torch.manual_seed(seed)
        self.policy._action_queue.clear()
        first = self.policy.select_action(prepared)  # (B, 7)
        rest = list(self.policy._action_queue)
        return np.stack([self.postprocessor(chunk).numpy() for chunk in (first, *rest)], axis=1)


class OpenpiLoop:
    """A loop around openpi's policy."""

    name = "openpi"

    def __init__(self, checkout: Path | None) -> None:
        assert checkout is not None
        sys.path[:0] = [str(checkout / "src"), str(checkout / "packages/openpi-client/src")]
        from openpi import transforms
        from openpi.models import model as model_types
        from openpi.models.tokenizer import PaligemmaTokenizer
        from openpi.models_pytorch import gemma_pytorch, pi0_pytorch
        from openpi.policies import droid_policy
        from openpi.policies.policy import Policy
        from openpi.shared.normalize import NormStats
        from sentencepiece import SentencePieceProcessor
        from small_tokenizers import make_sentencepiece

        peers.use_tiny_sizes(pi0_pytorch._gemma)
        peers.use_tiny_vision(gemma_pytorch, "PaliGemmaForConditionalGeneration")
        config = SimpleNamespace(
            pi05=True, dtype="float32", action_dim=32, action_horizon=SIZES.horizon, max_token_len=60,
            paligemma_variant="gemma_2b", action_expert_variant="gemma_300m", pytorch_compile_mode=None,
        )  # fmt: skip
        self.model = pi0_pytorch.PI0Pytorch(config)
        randomise(self.model)
        tokenizer = PaligemmaTokenizer.__new__(PaligemmaTokenizer)
        tokenizer._max_len, tokenizer._tokenizer = 60, SentencePieceProcessor(model_proto=make_sentencepiece())
        nothing = {"mean": np.zeros(7), "std": np.ones(7)}
        statistics = {name: NormStats(**nothing, **STATISTICS) for name in ("state", "actions")}
        self.policy = Policy(
            self.model,
            transforms=[
                transforms.InjectDefaultPrompt(None),
                droid_policy.DroidInputs(model_type=model_types.ModelType.PI05),
                transforms.Normalize(statistics, use_quantiles=True),
                transforms.ResizeImages(224, 224),
                transforms.TokenizePrompt(tokenizer, discrete_state_input=True),
                transforms.PadStatesAndActions(32),
            ],
            output_transforms=[
                transforms.Unnormalize(statistics, use_quantiles=True),
                lambda data: {"actions": data["actions"][:, :7]},
            ],
            is_pytorch=True,
        )  # fmt: skip

    def options(self) -> dict[str, Any]:
        return {}

    def call(self, seed: int, prompt: str) -> np.ndarray:
        shown = pictures(seed)
        noise = np.random.default_rng(seed).standard_normal((SIZES.horizon, 32)).astype(np.float32)
        observation = {
            "observation/exterior_image_1_left": shown["exterior"],
            "observation/wrist_image_left": shown["wrist"],
            "observation/joint_position": STATE[:6],
            "observation/gripper_position": STATE[6:],
            "prompt": prompt,
        }
        return self.policy.infer(observation, noise=noise)["actions"][None]


class Report:
    """Prints one line a comparison, and remembers whether one failed."""

    def __init__(self) -> None:
        self.has_failed = False

    def check(self, subject: str, is_good: bool, found: object = None) -> None:
        self.has_failed |= not is_good
        print(f"{'ok' if is_good else 'FAIL':5} {subject}" + ("" if found is None else f": {found}"))


def record_attention(loop: Any, seed: int, prompt: str) -> Any:
    """What `AttentionRecorder` takes of a call."""
    with AttentionRecorder(loop.model) as recorder:
        loop.call(seed, prompt)
        return recorder.take()


def compare_attention(file: h5py.File, frame: int, recording: Any, report: Report) -> None:
    """Compare a frame's attention with that of `AttentionRecorder`, whose keys include padding and a masked slot."""
    total, text = recording.prefix.shape[-1], 60 if total_is_openpi(recording) else 200
    tokens = int((file["text/id"][frame] > 0).sum())
    words = torch.arange(total - text, total - text + tokens)
    keys = torch.cat([torch.arange(2 * 256), words])
    actions = total + torch.arange(SIZES.horizon)
    prefix = recording.prefix[0][:, :, words]  # (layers, heads, n, keys)
    suffix = recording.suffix[0]  # (layers, steps, heads, H, keys)
    stored = {
        "text/to_image": prefix[..., keys[:512]].transpose(1, 2).unflatten(-1, (2, 16, 16)),
        "text/to_text": prefix[..., words].transpose(1, 2),
        "action/to_image": suffix[..., keys[:512]].permute(0, 3, 1, 2, 4).unflatten(-1, (2, 16, 16)),
        "action/to_text": suffix[..., words].permute(0, 3, 1, 2, 4),
        "action/to_action": suffix[..., actions].permute(0, 3, 1, 2, 4),
    }
    for name, expected in stored.items():
        found = torch.from_numpy(file[name][frame])
        if name == "text/to_image":
            found = found[:, :tokens]
        elif name == "text/to_text":
            found = found[:, :tokens, :, :tokens]
        elif name == "action/to_text":
            found = found[..., :tokens]
        difference = (found - expected).abs().max().item()
        report.check(f"{name} as AttentionRecorder took it", difference <= LIMIT, f"{difference:.1e}")


def total_is_openpi(recording: Any) -> bool:
    """Whether the prefix has openpi's 60 text tokens of this script, and not lerobot's 200."""
    return recording.prefix.shape[-1] == 3 * 256 + 60


def check_frame(file: h5py.File, frame: int, seed: int, prompt: str, actions: np.ndarray, report: Report) -> None:
    """Compare what a frame says of its call with what the loop saw."""
    shown = pictures(seed)
    same = all(np.array_equal(file[f"images/{name}/source"][frame], picture) for name, picture in shown.items())
    report.check("camera pictures", same and list(file.attrs["cameras"]) == ["exterior", "wrist"])
    report.check("prompt", file["frames/prompt"].asstr()[frame] == prompt)
    report.check("state in robot units", np.allclose(file["frames/state"][frame], STATE), file["frames/state"][frame])
    stored = file["action/predicted"][frame][: actions.shape[0]]
    report.check("actions in robot units", np.array_equal(stored, actions.astype(np.float32)), stored.shape)
    roles = file["text/role"][frame]
    text = file["frames/text"].asstr()[frame]
    report.check("words of the prompt are found", int((roles == 2).sum()) > 0, repr(text))
    report.check("state values are found", set(file["text/state_index"][frame]) >= set(range(7)))
    report.check("noise and denoising path", np.isfinite(file["action/x"][frame]).all(), file["action/x"].shape)
    report.check("flow times", np.allclose(file["action/time"][frame], 1 - np.arange(10) / 10, atol=1e-6))


def run(loop: Any, folder: Path, report: Report) -> None:
    """Run the loop without and with a recorder, and compare."""
    prompts = ["pick up the red block"] * 4 + ["open the drawer"] * 2
    baseline = [loop.call(seed, prompt) for seed, prompt in enumerate(prompts)]
    before = {name: dict(vars(owner)) for name, owner in (("policy", loop.policy), ("model", loop.model))}
    with RolloutRecorder(loop.policy, folder, every=2, store="float32", **loop.options()) as recorder:
        recorded = [loop.call(seed, prompt) for seed, prompt in enumerate(prompts)]
        recorder.end_episode(success=True)
    for seed, (first, second) in enumerate(zip(baseline, recorded, strict=True)):
        report.check(f"actions of call {seed} with and without the recorder", np.array_equal(first, second))
    counts = recorder.counts
    report.check("calls and recordings", (counts.calls, counts.recorded, counts.dropped) == (6, 3, 0), counts.sentence)
    report.check("failures", not counts.failures, counts.failures)
    for name, owner in (("policy", loop.policy), ("model", loop.model)):
        report.check(f"the {name} is as before", vars(owner).keys() == before[name].keys())
    hooks = sum(len(module._forward_hooks) for module in loop.model.modules())
    report.check("no hook is left", hooks == 0, hooks)
    with h5py.File(folder / "episode_000000.h5") as file:
        description = json.loads(file.attrs["rollout"])
        report.check("first episode ends with its prompt", description["ended"] == "the prompt changed", description)
        for frame, seed in enumerate((0, 2)):
            check_frame(file, frame, seed, prompts[seed], baseline[seed][0], report)
            compare_attention(file, frame, record_attention(loop, seed, prompts[seed]), report)
    with h5py.File(folder / "episode_000001.h5") as file:
        report.check("success", json.loads(file.attrs["rollout"])["success"] is True)
    if loop.name != "lerobot":
        return
    chunks = loop.call(10, "go", environments=2)
    with RolloutRecorder(loop.policy, folder, store="float32", **loop.options()) as recorder:
        chunk_again = loop.call(10, "go", environments=2)
        recorder.end_episode(success=[True, False])
    report.check("actions of a batch", np.array_equal(chunks, chunk_again))
    for environment, path in enumerate(recorder.counts.files):
        with h5py.File(path) as file:
            check_frame(file, 0, 10 + environment, f"go {environment}", chunks[environment], report)
            report.check("success", json.loads(file.attrs["rollout"])["success"] is (environment == 0))


def check_masks(loop: Any, folder: Path, report: Report) -> None:
    """Compare the stored mass of a region with the stored maps, its mask given by the peer's name of the camera."""
    mask = np.zeros((90, 160), np.bool_)
    mask[20:70, 30:110] = True
    key = {"lerobot": "observation.images.image", "openpi": "base_0_rgb"}[loop.name]
    expected = loop.call(0, "go")
    with RolloutRecorder(loop.policy, folder, store="float32", **loop.options()) as recorder:
        with recorder.masks({key: {"duck": mask}}):
            recorded = loop.call(0, "go")
        recorder.end_episode()
    report.check("actions of a call with masks", np.array_equal(expected, recorded))
    report.check("masks fit", not recorder.counts.failures, recorder.counts.failures)
    with h5py.File(folder / "episode_000000.h5") as file:
        coverage = file["scores/coverage"][0, 0]  # (cameras, rows, cols)
        maps = file["action/to_image"][0]  # (layers, actions, steps, heads, cameras, rows, cols)
        inside = np.nan_to_num(coverage) >= 0.5
        difference = np.abs(maps[..., inside].sum(-1) - file["scores/action/mass"][0, 0]).max()
        report.check("patches of the region", 20 < inside[0].sum() < 80 and np.isnan(coverage[1]).all(), inside.sum())
        report.check("mass of the region", difference < LIMIT, difference)


def main() -> int:
    parser = argparse.ArgumentParser(description="Record rollouts of a peer's own policy.")
    parser.add_argument("peer", choices=("lerobot", "openpi"))
    parser.add_argument("folder", type=Path, help="where the results go; a new folder")
    parser.add_argument("checkout", nargs="?", type=Path, help="openpi's checkout")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    for package in peers.PACKAGES:
        try:
            print(f"{package:12} {version(package)}")
        except PackageNotFoundError:
            continue
    peers.tiny_config = lambda: SIZES
    if arguments.peer == "openpi" and arguments.checkout is None:
        parser.error("openpi is not on PyPI: name its checkout")
    loop = LerobotLoop(None) if arguments.peer == "lerobot" else OpenpiLoop(arguments.checkout)
    report = Report()
    run(loop, arguments.folder, report)
    check_masks(loop, arguments.folder / "masks", report)
    return int(report.has_failed)


if __name__ == "__main__":
    sys.exit(main())
