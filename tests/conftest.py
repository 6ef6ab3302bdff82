"""Fixtures of all tests: reference data, the small policies, and a command that runs one."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from remote_servers import SSHDaemon

if "PYTEST_XDIST_WORKER" in os.environ:  # workers and what they start share the cores: threads of each would fight
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Tests of signals hold under nohup and in the background of a script too, which leave SIGHUP and SIGINT ignored.
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

settings.register_profile("untimed", deadline=None)  # a machine that is busy fails no test
settings.load_profile("untimed")

try:
    import PySide6.QtWidgets  # noqa: F401
except ImportError as error:  # a machine without Qt's system libraries can still test the other half
    QT_LACKS = str(error)
else:
    QT_LACKS = ""

collect_ignore = ["viewer"] if QT_LACKS else []


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say loudly what did not run."""
    if QT_LACKS:
        terminalreporter.section("tests/viewer did not run")
        terminalreporter.write_line(f"Qt cannot be loaded: {QT_LACKS}. The README names the system libraries.")


def shared_folder() -> Path:
    """The folder of reference data beside the checkout; the test is skipped where it is absent."""
    folder = Path(os.environ.get("PI0_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no reference data at {folder}: set PI0_SHARED to its folder to run this test")
    return folder


@pytest.fixture(scope="session")
def shared() -> Path:
    return shared_folder()


@dataclass(frozen=True)
class Tiny:
    """The tiny policy's model, its inputs, and the reference's tensors that are always at hand."""

    model: object
    pictures: list[object]
    inputs: dict[str, object]
    openpi: dict[str, object]


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    from safetensors.torch import load_file
    from small_policy import GOLDEN, tiny_model

    inputs = load_file(GOLDEN / "inputs.safetensors")
    pictures = [(inputs[f"image{slot}"].float() / 255 * 2 - 1).permute(0, 3, 1, 2) for slot in range(2)]
    return Tiny(tiny_model(), pictures, inputs, load_file(GOLDEN / "openpi.safetensors"))


@pytest.fixture(scope="session")
def policy():
    from small_policy import small_policy

    return small_policy()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory) -> Path:
    from small_policy import write_small_checkpoint

    return write_small_checkpoint(tmp_path_factory.mktemp("checkpoints") / "pi05_small")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder with a picture of each camera."""
    from PIL import Image
    from small_policy import make_observation

    folder = tmp_path_factory.mktemp("pictures")
    for camera, picture in make_observation().pictures.items():
        Image.fromarray(picture).save(folder / f"{camera}.png")
    return folder


@pytest.fixture(scope="session")
def command(checkpoint, pictures) -> list[str]:
    """The arguments of a capture but for prompts and the output."""
    return [
        *("--checkpoint", str(checkpoint), "--sizes", str(checkpoint / "sizes.json"), "--denoise-steps", "4"),
        *("--exterior", str(pictures / "exterior.png"), "--wrist", str(pictures / "wrist.png")),
        *("--state", "-0.1,0.4,2.0,0.7", "--dtype", "float32", "--device", "cpu"),
    ]


def _run_on_one_thread() -> Iterator[None]:
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Use one thread, as processes that a test starts do: another number of threads sums in another order."""
    yield from _run_on_one_thread()


@pytest.fixture(scope="module")
def one_thread_per_module() -> Iterator[None]:
    """Use one thread in a module with many calls of policies that are too small for two threads."""
    yield from _run_on_one_thread()


@pytest.fixture(scope="session")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SSHDaemon]:
    """One sshd for all tests of a process."""
    from remote_servers import SSHDaemon, closing

    with closing(SSHDaemon(tmp_path_factory.mktemp("sshd"))) as server:
        yield server


@pytest.fixture
def sshd(daemon: SSHDaemon, monkeypatch: pytest.MonkeyPatch) -> SSHDaemon:
    """The sshd, whose client's keys and known hosts lie in the home folder."""
    monkeypatch.setenv("HOME", str(daemon.home))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return daemon
