"""Create child processes that run a Python module of this package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QProcess, QProcessEnvironment

from viewer import child_process

if TYPE_CHECKING:
    from PySide6.QtCore import QObject


def create_python_process(parent: QObject, module: str, *arguments: str, is_single_threaded: bool = True) -> QProcess:
    """Return a process that will run a module of this package; the caller starts it.

    `is_single_threaded`: OpenMP has one thread in it, as numpy needs no more.
    """
    environment = QProcessEnvironment()
    for name, value in child_process.create_python_environment(is_single_threaded=is_single_threaded).items():
        environment.insert(name, value)
    program, *options = child_process.create_python_command(module, *arguments)
    process = QProcess(parent)
    process.setProcessEnvironment(environment)
    process.setProgram(program)
    process.setArguments(options)
    return process
