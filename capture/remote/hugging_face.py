"""Files of Hugging Face repositories, over HTTP in ranges; huggingface_hub gives addresses, lists and the user's token.

The token is sent to the hub alone and not to the stores of files that it redirects to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from capture.remote.address import RemotePath
from capture.remote.connections import FILE_MODE, FOLDER_MODE, MAX_ENTRIES, RemoteStat, require, within
from capture.remote.errors import RemoteError
from capture.remote.http import FILE_SUFFIXES, HTTPServer


class HuggingFaceServer(HTTPServer):
    """The hub at `HF_ENDPOINT`."""

    def build_url(self, path: RemotePath) -> str:
        """Return the URL of a file of a repository."""
        hub = require("huggingface_hub", "hf")
        kind, repository, revision = _split(path)
        try:
            return str(hub.hf_hub_url(repository, path.path.strip("/") or ".", repo_type=kind, revision=revision))
        except ValueError as error:  # a name that the hub does not allow
            raise RemoteError(f"{path.shown} names no repository; write hf://datasets/owner/name/file.h5.") from error

    def build_login_headers(self, url: str) -> Mapping[str, str]:
        """Return the user's token for the hub itself."""
        hub = require("huggingface_hub", "hf")
        endpoint, requested = urlsplit(require("huggingface_hub.constants", "hf").ENDPOINT), urlsplit(url)
        token = hub.get_token() if (endpoint.scheme, endpoint.netloc) == (requested.scheme, requested.netloc) else None
        return {"Authorization": f"Bearer {token}"} if token else {}

    async def stat(self, path: RemotePath) -> RemoteStat:
        """Return size and version of a file, or that it is a folder."""
        if path.path.endswith(FILE_SUFFIXES):
            return (await self.fetch(path, 0, 1)).status
        await self.list_folder(path)
        return RemoteStat(FOLDER_MODE, 0)

    async def list_folder(self, path: RemotePath) -> dict[str, RemoteStat]:
        """Return the entries of a folder by name."""
        hub, errors = require("huggingface_hub", "hf"), require("huggingface_hub.errors", "hf")
        kind, repository, revision = _split(path)

        def collect() -> dict[str, RemoteStat]:
            entries: dict[str, RemoteStat] = {}
            inner = path.path.strip("/") or None
            for entry in hub.HfApi().list_repo_tree(repository, inner, repo_type=kind, revision=revision):
                is_file = hasattr(entry, "size")
                name = entry.path.rpartition("/")[2]
                entries[name] = RemoteStat(FILE_MODE, entry.size or 0) if is_file else RemoteStat(FOLDER_MODE, 0)
                if len(entries) >= MAX_ENTRIES:
                    break
            return entries

        try:
            return await within(asyncio.to_thread(collect), 1 << 20)
        except (errors.RepositoryNotFoundError, errors.EntryNotFoundError) as error:
            raise FileNotFoundError(2, "No such file or directory", path.shown) from error
        except errors.HfHubHTTPError as error:
            words = " ".join(str(error).split())[:160]
            raise RemoteError(f"{path.shown} cannot be listed: the hub says “{words}”; check the address.") from error


def _split(path: RemotePath) -> tuple[str | None, str, str | None]:
    """Return kind (None for a model), `owner/name` and revision (None for the newest) of a repository."""
    kinds: dict[str, Any] = {"datasets": "dataset", "spaces": "space"}
    kind, _, name = path.authority.partition("/")
    repository = name if kind in kinds else path.authority
    repository, _, revision = repository.partition("@")
    return kinds.get(kind), repository, revision or None
