"""`RolloutRecorder` around a loop: with our own policy here, with those of lerobot and openpi where they are installed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from paths import ROOT
from small_policy import make_observation, small_policy

from capture import RolloutRecorder
from capture.errors import UserError
from capture.pipeline.frame_builder import build_frames
from capture.results import schema


@pytest.fixture(scope="module")
def policy() -> Any:
    return small_policy()


def act(policy: Any, seed: int, prompt: str = "pick up the red block", **changes: Any) -> torch.Tensor:
    shown = replace(make_observation(prompt), **changes)
    return policy.plain([policy.prepare(shown)], seeds=[seed]).actions


def rollout(path: Path) -> dict[str, Any]:
    with h5py.File(path) as file:
        return json.loads(file.attrs[schema.ROLLOUT_ATTRIBUTE])


def test_recorder_leaves_actions_and_policy_as_they_are(policy: Any, tmp_path: Path) -> None:
    before, expected = dict(vars(policy)), [act(policy, seed) for seed in range(3)]
    with RolloutRecorder(policy, tmp_path, every=2) as recorder:
        recorded = [act(policy, seed) for seed in range(3)]
        recorder.end_episode(success=True)
    assert all(torch.equal(first, second) for first, second in zip(expected, recorded, strict=True))
    assert vars(policy) == before
    assert not any(module._forward_hooks for module in policy.model.modules())
    assert (recorder.counts.calls, recorder.counts.recorded) == (3, 2)
    assert rollout(tmp_path / "episode_000000.h5")["success"] is True


def test_recorder_stores_what_a_capture_stores(policy: Any, tmp_path: Path) -> None:
    with RolloutRecorder(policy, tmp_path, store="float32", layers=(0, 2), steps=(1, 3), full=True):
        act(policy, 5)
    prepared = policy.prepare(make_observation())
    with policy.recorder(layers=(0, 2), steps=(1, 3)) as recorder:
        [(frame, _)] = build_frames(policy.run([prepared], recorder, seeds=[5], full=True))
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        tokens = len(prepared.tokens)
        for name, value in frame.items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not name.startswith(("text", "image")):
                stored = file[name][0]
                recorded = stored if stored.shape == value.shape else stored[..., :tokens]
                np.testing.assert_allclose(recorded, value, atol=1e-6, err_msg=name)
        assert file["image/to_image"].shape[0] == 1
        assert file.attrs["layers"].tolist() == [0, 2]
        decisions = {decision["subject"] for decision in json.loads(file.attrs["provenance"])}
        assert {"recorded calls", "noise"} <= decisions


def test_each_environment_of_a_batch_has_its_own_file(policy: Any, tmp_path: Path) -> None:
    tasks = ("pick up the red block", "go")
    prepared = [policy.prepare(make_observation(task)) for task in tasks]
    with RolloutRecorder(policy, tmp_path, store="float32") as recorder:
        chunk = policy.plain(prepared, seeds=[1, 2])
        recorder.end_episode(success=[False, None])
        with pytest.raises(ValueError, match="1 entries, and the batch has 2"):
            recorder.end_episode(success=[True])
    for row, (task, success) in enumerate(zip(tasks, (False, None), strict=True)):
        with h5py.File(tmp_path / f"episode_00000{row}.h5") as file:
            assert file["frames/prompt"].asstr()[0] == task
            assert json.loads(file.attrs[schema.ROLLOUT_ATTRIBUTE])["success"] is success
            np.testing.assert_array_equal(file["action/x"][0, -1], chunk.actions[row])
            single = policy.plain([prepared[row]], seeds=[1 + row]).actions[0]
            np.testing.assert_allclose(file["action/x"][0, -1], single, atol=1e-4)
            with policy.recorder() as attention_recorder:
                [(frame, _)] = build_frames(policy.run([prepared[row]], attention_recorder, seeds=[1 + row]))
            expected = frame[schema.TEXT_TO_IMAGE]
            np.testing.assert_allclose(file["text/to_image"][0, :, : expected.shape[1]], expected, atol=1e-4)


def test_threads_have_episodes_of_their_own(policy: Any, tmp_path: Path) -> None:
    def loop(seed: int) -> None:
        for number in range(2):
            act(policy, 10 * seed + number)
        recorder.end_episode(success=seed == 1)

    with RolloutRecorder(policy, tmp_path, max_pending=10) as recorder:
        threads = [threading.Thread(target=loop, args=(seed,)) for seed in (1, 2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    episodes = {}
    for path in recorder.counts.files:
        with h5py.File(path) as file:
            episodes[tuple(file["frames/seed"][:])] = rollout(path)["success"]
    assert episodes == {(10, 11): True, (20, 21): False}


def test_error_of_the_policy_is_raised_and_drops_its_recording(policy: Any, tmp_path: Path) -> None:
    def loop() -> None:
        with RolloutRecorder(policy, tmp_path, log=lambda _: None):
            act(policy, 0)
            policy.plain([policy.prepare(make_observation())], seeds=["no number"])

    with pytest.raises(RuntimeError):
        loop()
    assert "plain" not in vars(policy)
    assert not any(module._forward_hooks for module in policy.model.modules())
    description = rollout(tmp_path / "episode_000000.h5")
    assert (description["ended"], description["dropped"]) == ("RuntimeError ended the caller's loop", 1)


def test_second_recorder_of_a_policy_is_refused(policy: Any, tmp_path: Path) -> None:
    with RolloutRecorder(policy, tmp_path / "a"):
        with pytest.raises(RuntimeError, match="recorded already"), RolloutRecorder(policy, tmp_path / "b"):
            pass
        act(policy, 0)
    assert (tmp_path / "a" / "episode_000000.h5").is_file()


def test_folder_of_another_policy_is_refused(policy: Any, tmp_path: Path) -> None:
    with RolloutRecorder(policy, tmp_path):
        act(policy, 0)
    other_policy = small_policy()
    with torch.no_grad():
        next(other_policy.model.parameters()).add_(1.0)
    with (
        pytest.raises(UserError, match="weights changed; choose another folder"),
        RolloutRecorder(other_policy, tmp_path),
    ):
        pass
    assert "plain" not in vars(other_policy)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "every=0"),
        ({"every": 1.5}, "every=1.5"),
        ({"store": "float16"}, "bfloat16 or float32"),
        ({"layers": [7]}, "no layer 7: this policy has 3, numbered 0 to 2"),
        ({"steps": [4]}, "no denoise step 4"),
        ({"postprocessor": print}, "those of a lerobot policy"),
    ],
)
def test_mistakes_in_options_are_user_errors(
    policy: Any, tmp_path: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        RolloutRecorder(policy, tmp_path, **options)


def test_other_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Linear cannot be recorded: give openpi's Policy"):
        RolloutRecorder(torch.nn.Linear(1, 1), tmp_path)


def test_success_without_a_running_episode_is_reported(
    policy: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with RolloutRecorder(policy, tmp_path) as recorder:
        act(policy, 0)
        recorder.end_episode(success=True)
        recorder.end_episode(success=False)
    assert "no episode is running" in caplog.text
    assert rollout(tmp_path / "episode_000000.h5")["success"] is True


def test_picture_of_another_size_begins_another_file(policy: Any, tmp_path: Path) -> None:
    small: dict[str, Any] = {"pictures": {"exterior": np.zeros((60, 60, 3), np.uint8)}}
    with RolloutRecorder(policy, tmp_path) as recorder:
        act(policy, 0)
        act(policy, 1, **small)
    assert len(recorder.counts.files) == 2


def test_example_of_the_readme_runs(policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    [block] = [block for block in blocks if "RolloutRecorder" in block]
    names = {"policy": policy, "evaluate": lambda policy: [act(policy, seed) for seed in range(9)]}
    exec(compile(block, "README.md", "exec"), names)
    with h5py.File("rollouts/episode_000000.h5") as file:
        assert file["frames/index"][:].tolist() == [0, 8]


def test_written_file_passes_the_format_check(policy: Any, tmp_path: Path, shared: Path) -> None:
    with RolloutRecorder(policy, tmp_path):
        act(policy, 0)
    command = [sys.executable, str(shared / "check_results.py"), str(tmp_path / "episode_000000.h5")]
    checked = subprocess.run(command, capture_output=True, text=True, check=False)
    assert checked.stdout.startswith("ok: 1 of 1 frames"), checked.stdout


def test_frames_are_built_without_a_change_of_process_settings(
    policy: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer's thread works while another call of the policy may run under the user's settings."""
    with policy.recorder() as recorder:
        call = policy.run([policy.prepare(make_observation())], recorder, seeds=[0])
    [(expected, _)] = build_frames(call)
    torch.set_float32_matmul_precision("high")
    try:
        monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda _: pytest.fail("the setting was changed"))
        [(frame, _)] = build_frames(call)
    finally:
        monkeypatch.undo()
        torch.set_float32_matmul_precision("highest")
    for name in (schema.ACTION_MASS, schema.TEXT_MASS):
        np.testing.assert_allclose(frame[name], expected[name], atol=1e-6)


def test_importing_the_package_imports_no_torch() -> None:
    code = "import capture, sys; assert 'torch' not in sys.modules; assert 'RolloutRecorder' in capture.__all__"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize("peer", ["lerobot", "openpi"])
def test_peer_policies_are_recorded(peer: str, tmp_path: Path) -> None:
    python, checkout = os.environ.get(f"PI0_{peer.upper()}_PYTHON"), os.environ.get("PI0_OPENPI_CHECKOUT")
    if python is None or (peer == "openpi" and checkout is None):
        pytest.skip(f"PI0_{peer.upper()}_PYTHON (and PI0_OPENPI_CHECKOUT) name a Python with {peer}")
    command = [python, str(ROOT / "tests/run_rollouts_with_peers.py"), peer, str(tmp_path / "runs")]
    completed = subprocess.run(
        [*command, *([checkout] if peer == "openpi" and checkout else [])], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout + completed.stderr
