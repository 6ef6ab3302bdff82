"""Errors of reading from other machines. Each text is one sentence: what is wrong, where, and what to do."""

from __future__ import annotations


class RemoteError(OSError):
    """A remote file cannot be read. An OSError, so that code which reads files of this machine handles it too."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence

    def __str__(self) -> str:
        return self.sentence


class ConnectionLostError(RemoteError):
    """The server does not answer after several tries; a later try may succeed."""


class RemoteChangedError(RemoteError):
    """The remote file is no longer the one that was opened."""
