"""A signal is recorded, and the export ends where it is safe to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from viewer import child_process
from viewer.export import cancellation

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


@pytest.mark.parametrize("number", cancellation.SIGNALS)
def test_first_signal_is_raised_by_check_and_second_exits_now(number: signal.Signals) -> None:
    before = [signal.getsignal(signal_number) for signal_number in cancellation.SIGNALS]
    exits: list[bool] = []
    with cancellation.handle_signals(lambda: exits.append(True), restore=True):
        cancellation.check()
        os.kill(os.getpid(), number)
        assert not exits
        with pytest.raises(cancellation.Cancelled):
            cancellation.check()
        with pytest.raises(cancellation.Cancelled), cancellation.interruptible():
            raise AssertionError("it is known already")
        os.kill(os.getpid(), number)
        assert exits == [True]
    assert [signal.getsignal(signal_number) for signal_number in cancellation.SIGNALS] == before


def test_signal_interrupts_an_interruptible_block() -> None:
    with (
        cancellation.handle_signals(lambda: None, restore=True),
        pytest.raises(cancellation.Cancelled),
        cancellation.interruptible(),
    ):
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    with cancellation.handle_signals(lambda: None, restore=True):
        cancellation.check()


def test_command_that_ends_ignores_signals() -> None:
    """Python puts its default handlers back while it ends: a signal would then end it with another code."""
    code = (
        "import signal; from viewer.export import cancellation as c\n"
        "with c.handle_signals(lambda: None, restore=False): pass\n"
        "assert all(signal.getsignal(one) == signal.SIG_IGN for one in c.SIGNALS)"
    )
    environment = child_process.create_python_environment()
    subprocess.run([sys.executable, "-P", "-c", code], env=environment, check=True)
