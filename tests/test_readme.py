"""Every code block of the README runs as it stands, with the demo in place of what a user would have."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import h5py
import numpy as np
import pytest
from commands import WINDOW
from paths import DEMO, ROOT
from policy_server import make_client_observation, run_client, toy_server
from preloaded import PreloadedProcess, run_preloaded
from remote_servers import RangeServer, SSHDaemon, closing
from rollouts import record_toy_call
from toy_policy import ToyPolicy
from websockets.sync.client import connect

from capture.serve.wire_format import pack, unpack

README = (ROOT / "README.md").read_text()
SHELL = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
PYTHON = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
INSTALL = "python3 -m venv"


def command_lines() -> list[str]:
    """The commands of all shell blocks but the two that install, without comments, continued lines joined.

    Those on addresses are not among them.
    """
    text = "\n".join(block for block in SHELL if not block.startswith(INSTALL)).replace("\\\n", " ")
    lines = (line.partition("  #")[0].partition(" # ")[0].strip() for line in text.splitlines())
    return [line for line in lines if line and "://" not in line]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint, pictures, an episode and a data set under the README's names."""
    folder = tmp_path_factory.mktemp("readme")
    for name in ("pi05_droid", "pi05_libero"):
        (folder / name).symlink_to(DEMO)
    (folder / "path/to").mkdir(parents=True)
    shutil.copytree(DEMO / "episodes", folder / "path/to/dataset")
    shutil.copytree(DEMO / "episodes/duck", folder / "path/to/episode")
    prompts = {"put the ball in the bowl": "ball", "pick up the duck": "duck", "pick up the mug": "mug"}
    (folder / "objects.json").write_text(json.dumps(prompts))
    for camera in ("exterior", "wrist"):
        shutil.copy(DEMO / f"episodes/duck/{camera}_00.jpg", folder / f"{camera[:3].replace('wri', 'wrist')}.png")
    return folder


def run(line: str, folder: Path, home: Path | None = None) -> str:
    """Run one command of the README in `folder`; return what it printed. `home`: the user's; else `folder`."""
    program, _, arguments = line.partition(" ")
    modules = {
        "pi0-capture": "-m capture",
        "pi0-export": "-m viewer.export",
        "pi0-regions": "-m viewer.export.masks",
        "pi0-viewer": '-c "$WINDOW"',
    }
    if arguments.startswith("serve"):
        return serve(arguments, folder)
    shell = f"{sys.executable} {modules[program]} {arguments}".replace("--episodes 0-49", "--episodes 0-2")
    shell = shell.replace("capture effects", "capture effects --controls 3 --seeds 3").replace("--map 4", "--map 8")
    shell = shell.replace("--demo-run", "--demo-run --episodes 0-2,4 --frames 0,4")  # two of each outcome
    environment = os.environ | {
        "PYTHONPATH": str(ROOT), "QT_QPA_PLATFORM": "offscreen", "HOME": str(home or folder), "WINDOW": WINDOW,
    }  # fmt: skip
    if program == "pi0-capture":
        completed = run_preloaded(shlex.split(shell)[1:], folder, environment)
    else:
        completed = subprocess.run(["bash", "-c", shell], cwd=folder, env=environment, capture_output=True, text=True)
    assert completed.returncode == 0, f"{line}\n{completed.stdout}\n{completed.stderr}"
    return completed.stdout


def serve(arguments: str, folder: Path) -> str:
    """Start the README's server on a free port, call it as a client would, and end it; return what it printed."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "HOME": str(folder)}
    server = PreloadedProcess(["-m", "capture", *arguments.split(), "--port", "0"], folder, environment)
    lines: list[str] = []
    while not (address := re.search(r"ws://\S+:\d+", "".join(lines[-1:]))):
        lines.append(server.stderr.readline())
        assert lines[-1], "".join(lines)
    policy_state = {"observation/joint_position": np.zeros(7), "observation/gripper_position": np.zeros(1)}
    with connect(address[0]) as client:
        assert "pi0-capture" in unpack(client.recv())
        client.send(pack({**make_client_observation(), **policy_state}))
        assert unpack(client.recv())["actions"].shape == (15, 8)
    server.send_signal(signal.SIGTERM)
    output, errors = server.communicate(timeout=120)
    assert server.returncode == 0, errors
    return output


def test_readme_has_all_its_blocks() -> None:
    assert sum(block.startswith(INSTALL) for block in SHELL) == 2
    assert len(command_lines()) >= 15
    assert {line.split()[0] for line in command_lines()} == {"pi0-capture", "pi0-viewer", "pi0-export", "pi0-regions"}


def test_commands_on_addresses_run(tmp_path: Path) -> None:
    lines = [line.partition(" #")[0].strip() for block in SHELL for line in block.splitlines() if "://" in line]
    assert len(lines) == 4
    (tmp_path / "runs").mkdir()
    for name in ("duck.h5", "runs/a.h5", "runs/b.h5"):
        shutil.copy(DEMO / "results.h5", tmp_path / name)
    with closing(SSHDaemon(tmp_path / "ssh")) as daemon, closing(RangeServer(tmp_path)) as server:
        substitutes = {
            "ssh://ada@gpu/data": daemon.address(tmp_path),
            "https://example.org": server.url,
            "hf://datasets/owner/name": server.url,  # the hub itself cannot be asked here
        }
        for line in lines:
            command = line
            for named, substitute in substitutes.items():
                command = command.replace(named, substitute)
            assert "ada@" not in command
            run(command, tmp_path, daemon.home)
    assert (tmp_path / "figures/duck").is_dir()


def test_commands_of_the_readme_run(folder: Path) -> None:
    outputs = {line: run(line, folder) for line in command_lines()}
    assert any("next  pi0-viewer demo.h5" in text for text in outputs.values())
    assert (folder / "duck.h5").exists()
    assert (folder / "episode.h5").exists()
    assert (folder / "runs/index.json").exists()
    assert (folder / "rollouts/episode_000000.h5").exists()
    assert (folder / "figures/demo/table.csv").exists()
    assert list((folder / "paper/demo").glob("*.mp4"))
    assert len(list((folder / "tables/runs").glob("*/table.parquet"))) == 3
    assert len(list((folder / "answer/run").glob("*.png"))) == 2
    names: dict[str, object] = {}
    for block in PYTHON:
        needs = set(re.findall(r"^import (\w+)", block, re.MULTILINE))
        if re.search("sample_actions|RolloutRecorder|openpi_client", block) or any(
            find_spec(name) is None for name in needs
        ):
            continue
        before = Path.cwd()
        os.chdir(folder)
        try:
            exec(compile(block, "README.md", "exec"), names)
        finally:
            os.chdir(before)
    names["file"].close()  # type: ignore[attr-defined]


def test_recorder_and_intervention_examples_run_on_a_model(tiny) -> None:
    inputs, real = tiny.inputs, tiny.model.sample_actions
    names: dict[str, object] = {"model": tiny.model}

    def sample() -> None:
        chunk = real([*tiny.pictures, None], inputs["tokens"], inputs["token_mask"], inputs["noise"])
        names["actions"] = chunk.actions

    names["sample"] = sample
    results = []
    for name in ("AttentionRecorder", "Interventions"):
        [block] = [block for block in PYTHON if f"import {name}" in block]
        assert block.count("model.sample_actions(...)") == 1
        exec(compile(block.replace("model.sample_actions(...)", "sample()"), "README.md", "exec"), names)
        results.append(names["actions"])
    recording = names["recording"]
    layers, heads = tiny.model.config.vlm.depth, tiny.model.config.vlm.heads
    assert recording.prefix.shape[1:3] == (layers, heads)
    assert recording.suffix.shape[1] == layers
    assert recording.suffix.shape[3] == heads
    baseline, knocked_out = results
    assert (baseline - knocked_out).abs().max() > 1e-3


def test_client_example_has_its_masks_scored(tmp_path: Path) -> None:
    [block] = [block for block in PYTHON if "openpi_client" in block]
    mask = "mask = np.zeros((90, 160), bool)\nmask[20:60, 40:90] = True\nobservation = observe()\n"
    with toy_server(tmp_path) as server:
        program = block.replace("8000", str(server.port)) + "print(json.dumps(None))"
        run_client(server.port, mask + program)
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file["scores/coverage"].attrs["regions"].tolist() == ["duck"]
        assert np.isfinite(file["scores/action/lift"][...]).all()
    assert (tmp_path / "episode_000000.regions.h5").is_file()


def test_recorder_example_records_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    [block] = [block for block in PYTHON if "RolloutRecorder" in block]
    policy = ToyPolicy()
    monkeypatch.chdir(tmp_path)
    evaluate = lambda policy: policy.plain([record_toy_call().prepared[0]], seeds=[0])  # noqa: E731
    exec(compile(block, "README.md", "exec"), {"policy": policy, "evaluate": evaluate})
    assert json.loads((tmp_path / "rollouts/index.json").read_text())["episodes"][0]["success"] is True
