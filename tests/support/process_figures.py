"""What a process takes: resident memory, threads, open files and child processes; from /proc."""

from __future__ import annotations

import os
from pathlib import Path


def resident_megabytes(pid: int | str = "self") -> float:
    """Return the resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def count_threads(pid: int | str = "self") -> int:
    """Return the number of threads of a process."""
    return len(list(Path(f"/proc/{pid}/task").iterdir()))


def count_handles(pid: int | str = "self") -> int:
    """Return the number of files, pipes and sockets that a process holds open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def list_descendants(pid: int | str = "self") -> list[int]:
    """Return the ids of the processes that a process and its children have started and that still run."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            children = (task / "children").read_text().split()
        except OSError:
            continue
        for child in children:
            try:
                found += [int(child), *list_descendants(child)]
            except OSError:
                continue
    return found
