"""Install some versions of all dependencies in a fresh virtual environment, run the checks, print what passes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from packages import ROOT, direct_here, make_environment, pinned_here, pip
from packaging.utils import canonicalize_name

LAST_LINES = 25
PYTHON = "{}.{}".format(*sys.version_info)


@dataclass(frozen=True)
class Check:
    """A command line, in which {out} is a folder of the trial's own, and the packages that it puts to use."""

    name: str
    command: str
    uses: frozenset[str]


def check(name: str, command: str, uses: str) -> Check:
    """Return a check; `uses` has names of packages with spaces between, but for pytest's."""
    return Check(name, command, frozenset(uses.split()) | ({"pytest"} if command.startswith("pytest") else set()))


CHECKS = (
    check("demo", "pi0-capture --demo -o {out}/demo.h5", "h5py numpy torch transformers tokenizers pillow tqdm"),
    check(
        "model",
        "pytest -q tests/capture/policies/test_model.py tests/capture/policies/test_transformers.py",
        "torch transformers safetensors packaging",
    ),
    check(
        "recorder",
        "pytest -q tests/capture/policies/test_attention_hooks.py tests/capture/policies/test_value_norms.py",
        "torch transformers numpy",
    ),
    check(
        "checkpoint",
        "pytest -q tests/capture/policies/test_tokenizer.py tests/capture/checkpoints/test_locate.py "
        "tests/capture/checkpoints/test_orbax.py tests/capture/pipeline/test_prompts.py",
        "tokenizers sentencepiece huggingface-hub tensorstore pyyaml safetensors torch",
    ),
    check(
        "episodes",
        "pytest -q tests/capture/datasets/test_video_decoding.py tests/capture/datasets/test_lerobot_dataset.py",
        "av pyarrow pillow h5py numpy",
    ),
    check(
        "storage",
        "pytest -q tests/capture/results/test_hdf5_storage.py tests/capture/cli/test_info.py",
        "h5py hdf5plugin numpy",
    ),
    check("document", "pytest -q tests/test_format_document.py", "h5py matplotlib"),
    check(
        "viewer",
        "pytest -q tests/viewer/widgets/test_window.py tests/viewer/controllers/files/test_file_opening.py "
        "tests/viewer/model/test_view_state.py",
        "pyside6-essentials h5py numpy hypothesis",
    ),
    check("summary", "pi0-export summary {out}/demo.h5 -o {out}/results", "pyside6-essentials opencv-python h5py"),
    check(
        "video",
        "pi0-export video {out}/demo.h5 -o {out}/results --over layers --words ball"
        " && pi0-export video {out}/demo.h5 -o {out}/results --over layers --words ball --format gif",
        "pyside6-essentials av pillow",
    ),
    check("table", "pi0-export table {out}/demo.h5 -o {out}/results --format parquet", "pyarrow numpy h5py"),
    check("export", "pytest -q tests/viewer/export/test_export_command.py", "psutil opencv-python av pillow pyarrow"),
    check("package", "pytest -q tests/test_packaging.py", "hatchling"),
    check("workers", "pytest -q -n 2 tests/capture/pipeline/test_sharding.py", "pytest-xdist hypothesis"),
    check(
        "benchmark",
        "pytest -q tests/bench --benchmark-enable --benchmark-only -k test_frame_summaries",
        "pytest-benchmark",
    ),
    check("lint", "ruff check . && ruff format --check .", "ruff"),
    # numpy's annotations are those of the oldest Python that it runs on, which may be newer than ours.
    check("types", f"mypy --python-version {PYTHON}", "mypy numpy torch"),
    check("walls", "lint-imports", "import-linter"),
)


def failed(one: Check, variables: dict[str, str], out: Path) -> str:
    """Run a check and say how it went on standard error; the end of its output if it failed, else nothing."""
    began = time.monotonic()
    command = one.command.format(out=out)
    done = subprocess.run(
        ["bash", "-c", command], env=variables, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    outcome = "passes" if done.returncode == 0 else f"FAILS with exit code {done.returncode}"
    print(f"{one.name}: {outcome}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    if done.returncode == 0:
        return ""
    return "\n".join([f"$ {command}", *done.stdout.rstrip().splitlines()[-LAST_LINES:]])


def table(column: str, installed: dict[str, str], failures: dict[str, str]) -> list[str]:
    """Return a line for each direct dependency, and for every other package whose version is not the locked one.

    `failures` has the end of the output of each check that was run, empty where it passed.
    """
    locked, asked = pinned_here(), direct_here()
    rows = [("package", "locked", column, "passes")]
    for name in sorted(asked):
        through = [one for one in CHECKS if name in one.uses and one.name in failures]
        missed = [one.name for one in through if failures[one.name]]
        passes = f"no: {', '.join(missed)}" if missed else "yes" if through else "not tried"
        rows.append((name, locked.get(name, "not locked"), installed[name], passes))
    for name in sorted(installed.keys() & locked.keys() - asked.keys()):
        if installed[name] != locked[name]:
            rows.append((name, locked[name], installed[name], "not known" if any(failures.values()) else "yes"))
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def run(column: str, requirements: list[str], remarks: list[str], without: tuple[str, ...] = ()) -> int:
    """Install the package with `requirements`, run every check but those in `without`, print the table; the exit code.

    `column` is what the table calls these versions; `remarks` are printed under it.
    """
    folder = Path(tempfile.mkdtemp(prefix=f"pi0-{column}-"))
    try:
        variables = make_environment(folder / "environment")
        done = pip(variables, "install", "--quiet", *requirements, "-e", ".[dev]")
        if done.returncode:
            print(f"pip found no set of versions:\n{done.stderr}", file=sys.stderr)
            return 1
        listed = json.loads(pip(variables, "list", "--format", "json").stdout)
        installed = {canonicalize_name(one["name"]): one["version"] for one in listed}
        out = folder / "out"
        out.mkdir()
        failures = {one.name: failed(one, variables, out) for one in CHECKS if one.name not in without}
    finally:
        shutil.rmtree(folder)
    print("\n".join([*table(column, installed, failures), "", *remarks]))
    for name, ending in failures.items():
        if ending:
            print(f"\n{name} fails:\n{ending}")
    return 1 if any(failures.values()) else 0
