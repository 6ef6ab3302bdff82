"""The wheel and the sdist: what is in them, and that the commands run from the wheel without the checkout."""

from __future__ import annotations

import email
import re
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import h5py
import pytest
from commands import ROOT, WINDOW, run_command

import capture

pytest.importorskip("hatchling", reason="hatchling, which the extra dev has, builds the wheel")

VERSION = capture.__version__
BUILD = "import sys, hatchling.build as build; print(getattr(build, sys.argv[1])(sys.argv[2]))"
"""What pip calls, but without the environment of its own that it would fetch from the network."""

INSTALLED = """
import sys
from importlib.metadata import distributions
from pathlib import Path

checkout, site, name, *options = sys.argv[1:]
sys.path[:] = [path for path in sys.path if Path(path).resolve() != Path(checkout)]
[found] = distributions(name="pi0-attention", path=[site])
[command] = found.entry_points.select(group="console_scripts", name=name)
sys.argv = [name, *options]
main = command.load()
for package in ("capture", "viewer", "resources"):
    assert __import__(package).__file__ == str(Path(site, package, "__init__.py")), sys.path
"""
"""A command as an installed wheel has it; the checkout is not to be found."""


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build the `wheel` or the `sdist` of a source tree."""
    command = [sys.executable, "-c", BUILD, f"build_{kind}", str(folder)]
    completed = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert completed.returncode == 0, completed.stderr
    return folder / completed.stdout.strip().splitlines()[-1]


def names_in_wheel(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as file:
        return set(file.namelist())


@dataclass(frozen=True)
class Sdist:
    """The source distribution, unpacked."""

    folder: Path
    names: frozenset[str]
    """Its files, relative to the folder."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", ROOT, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Sdist:
    folder = tmp_path_factory.mktemp("sdist")
    with tarfile.open(build("sdist", ROOT, folder)) as file:  # `extractall` warns or not, by Python's release
        for member in file.getmembers():
            content = file.extractfile(member)
            if content is not None:
                (folder / member.name).parent.mkdir(parents=True, exist_ok=True)
                (folder / member.name).write_bytes(content.read())
    top = folder / f"pi0_attention-{VERSION}"
    return Sdist(top, frozenset(path.relative_to(top).as_posix() for path in top.rglob("*") if path.is_file()))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel unpacked, as pip would into `site-packages`."""
    folder = tmp_path_factory.mktemp("site").resolve()
    with zipfile.ZipFile(wheel) as file:
        file.extractall(folder)
    return folder


def test_wheel_has_the_packages_and_what_the_demo_needs(wheel: Path) -> None:
    names = names_in_wheel(wheel)
    for package in ("capture", "viewer"):
        expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / package).rglob("*.py")}
        assert expected <= names, sorted(expected - names)
    demo = {"config.json", "model.safetensors", "tokenizer.json", "results.h5", "assets/demo/norm_stats.json"}
    assert {f"resources/demo/{name}" for name in demo} <= names
    assert {"resources/icons/pi0-viewer.png", "resources/icons/pi0-viewer.svg"} <= names
    for name in ("bowl", "duck", "mug"):
        episode = {path.relative_to(ROOT).as_posix() for path in (ROOT / "resources/demo/episodes" / name).iterdir()}
        assert len(episode) > 10
        assert episode <= names, sorted(episode - names)


def test_wheel_has_nothing_that_only_developers_need(wheel: Path) -> None:
    names = names_in_wheel(wheel)
    assert {name.split("/")[0] for name in names} == {
        "capture",
        "viewer",
        "resources",
        f"pi0_attention-{VERSION}.dist-info",
    }
    assert {name.split("/")[1] for name in names if name.startswith("resources/")} == {"__init__.py", "demo", "icons"}
    assert not [name for name in names if name.startswith("resources/demo/build") or "__pycache__" in name]


def test_wheel_has_the_episodes_of_the_demo_run(wheel: Path) -> None:
    episodes = [name for name in names_in_wheel(wheel) if re.search(r"demo/rollouts/episode_\d+/episode.json$", name)]
    assert len(episodes) == 20


def test_wheel_says_what_it_is(wheel: Path) -> None:
    dist_info = f"pi0_attention-{VERSION}.dist-info"
    with zipfile.ZipFile(wheel) as file:
        metadata = email.message_from_bytes(file.read(f"{dist_info}/METADATA"))
        scripts = file.read(f"{dist_info}/entry_points.txt").decode()
        licence = file.read(f"{dist_info}/licenses/LICENSE")
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        "pi0-attention",
        VERSION,
        "Apache-2.0",
    )
    extras = {"capture", "viewer", "export", "datasets", "jax", "run", "compress", "remote", "serve", "dev"}
    assert extras == set(metadata.get_all("Provides-Extra"))
    assert scripts.split() == [
        "[console_scripts]",
        *("pi0-capture", "=", "capture.__main__:main"),
        *("pi0-export", "=", "viewer.export.__main__:main"),
        *("pi0-regions", "=", "viewer.export.masks.__main__:main"),
        *("pi0-viewer", "=", "viewer.__main__:main"),
    ]
    assert licence == (ROOT / "LICENSE").read_bytes()


def test_sdist_has_every_tracked_file(sdist: Sdist) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: there is no list of tracked files")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    tracked = {name for name in listed.stdout.split("\0") if name and (ROOT / name).exists()}
    assert len(tracked) > 300
    assert tracked <= sdist.names, sorted(tracked - sdist.names)


def test_sdist_builds_the_same_wheel(sdist: Sdist, wheel: Path, tmp_path: Path) -> None:
    second_wheel = build("wheel", sdist.folder, tmp_path)
    with zipfile.ZipFile(wheel) as first, zipfile.ZipFile(second_wheel) as second:
        # dates and sizes aside, which are the same too, each entry has a checksum of its content
        assert {item.filename: item.CRC for item in first.infolist()} == {
            item.filename: item.CRC for item in second.infolist()
        }


def test_capture_runs_the_demo_from_the_wheel(site: Path, tmp_path: Path) -> None:
    script = f"{INSTALLED}\nsys.exit(main())"
    options = ["--demo", "--layers", "3", "--steps", "9", "-o", "demo.h5"]
    command = ["-c", script, str(ROOT), str(site), "pi0-capture", *options]
    code, out, err = run_command(command, tmp_path, PYTHONPATH=str(site))
    assert code == 0, err
    assert out[-1] == "next  pi0-viewer demo.h5"
    with h5py.File(tmp_path / "demo.h5") as file:
        assert file.attrs["complete"]
        assert file["action/to_image"].shape[0] == 14


def test_viewer_shows_the_demo_from_the_wheel(site: Path, tmp_path: Path) -> None:
    pytest.importorskip("PySide6.QtWidgets", exc_type=ImportError)  # a machine may lack Qt's system libraries
    options = ["--demo", "--settings", str(tmp_path / "settings.ini")]
    command = ["-c", INSTALLED + WINDOW, str(ROOT), str(site), "pi0-viewer", *options]
    completed = run_command(command, tmp_path, PYTHONPATH=str(site), QT_QPA_PLATFORM="offscreen")
    assert completed == (0, [], [])
