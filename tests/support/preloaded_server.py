"""Import PyTorch and transformers once, and fork a process for each command that is asked for.

Run as `preloaded_server.py DESCRIPTOR`, a Unix socket; see `preloaded.py`. Each request is a JSON object with the
`arguments` of Python (`-m` or `-c` first), the `folder` and the `environment`; with it come the command's standard
streams and a socket, which gets the process id and then, when the process has ended, its wait status.
"""

from __future__ import annotations

import gc
import json
import os
import runpy
import signal
import socket
import struct
import sys
import warnings

DESCRIPTORS = 4
"""Standard input, output and error, and the socket of the answer."""
LONGEST_REQUEST = 1 << 17
NUMBER = struct.Struct("q")
"""A process id or a wait status in an answer."""


def preload() -> None:
    """Import what every capture imports before it opens its checkpoint, and nothing of this project."""
    import torch  # noqa: F401
    from transformers.models.gemma import modeling_gemma  # noqa: F401
    from transformers.models.siglip import modeling_siglip  # noqa: F401

    gc.freeze()  # what no forked process has to look through


def fork() -> int:
    """Fork; this process has threads of libraries, which hold no lock while it waits for requests."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def receive_command(requests: socket.socket) -> dict | None:
    """Return the request in the process that is to run it; None in the server, when there are no more."""
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, LONGEST_REQUEST, DESCRIPTORS)
        if not data:
            return None
        if (watcher := fork()) == 0:
            requests.close()
            return start_command(json.loads(data), descriptors)
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(watcher, 0)


def start_command(request: dict, descriptors: list[int]) -> dict:
    """Return the request in the process of the command. Its parent waits for it and reports its end."""
    *streams, answer = descriptors
    if fork() != 0:  # the server is not to wait
        os._exit(0)
    process = fork()
    if process != 0:
        for stream in streams:
            os.close(stream)
        os.write(answer, NUMBER.pack(process))
        _, status = os.waitpid(process, 0)
        os.write(answer, NUMBER.pack(status))
        os._exit(0)
    os.close(answer)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    return request


def run(request: dict) -> None:
    """Run what Python would run with these arguments, with new standard streams."""
    for name, descriptor, mode in (("stdin", 0, "r"), ("stdout", 1, "w"), ("stderr", 2, "w")):
        errors = "backslashreplace" if name == "stderr" else "strict"
        stream = os.fdopen(descriptor, mode, encoding="utf-8", errors=errors)
        if name == "stderr":
            stream.reconfigure(line_buffering=True)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    paths = request["environment"].get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [request["folder"], *filter(None, paths)]
    option, program, *arguments = request["arguments"]
    if option == "-m":
        sys.argv = [program, *arguments]
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.argv = ["-c", *arguments]
        exec(program, {"__name__": "__main__", "__builtins__": __builtins__})


def main() -> None:
    requests = socket.socket(fileno=int(sys.argv[1]))  # of datagrams: one is one request
    del sys.path[0]  # the folder of this file
    preload()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    if (request := receive_command(requests)) is not None:
        run(request)


if __name__ == "__main__":
    main()
