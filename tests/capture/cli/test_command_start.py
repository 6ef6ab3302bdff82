"""pi0-capture as it starts: what is loaded when, and a stop that comes meanwhile."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from capture.__main__ import main


def test_the_command_itself_loads_next_to_nothing():
    """A stop while modules load ends in Python's own traceback until `main` runs, so that is soon."""
    code = "import sys, capture.__main__; print([m for m in ('numpy', 'argparse', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_that_other_code_swallows_is_not_lost(tmp_path: Path, monkeypatch, capsys, kind: signal.Signals) -> None:
    def swallow(*_: object) -> None:  # as a destructor does that runs while torch and transformers load
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(kind)

    monkeypatch.setattr("capture.cli.validation.check_options", swallow)
    before = signal.getsignal(kind)
    try:
        assert main(["--demo", "-o", str(tmp_path / "a.h5")]) == 130
    finally:
        signal.signal(kind, before)
    assert capsys.readouterr().err == "pi0-capture: stopped\n"
    assert not list(tmp_path.iterdir())
