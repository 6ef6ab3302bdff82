"""Files in S3 buckets, and of Hugging Face repositories through a stand-in for the hub.

S3 is moto's server, a program of its own: `PI0_MOTO` names it, or `moto_server` is on the path.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler

import pytest
from remote_servers import RangeServer

from capture.remote.address import RemotePath, parse_location
from capture.remote.errors import RemoteChangedError, RemoteError
from capture.remote.remote_file import HEAD_BYTES, RemoteSource

CONTENT = bytes(range(256)) * 4096
MOTO = "PI0_MOTO"
"""Environment variable: the program moto_server."""


def remote(text: str) -> RemotePath:
    location = parse_location(text)
    assert isinstance(location, RemotePath)
    return location


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[object]:
    """A client of moto's S3, with a bucket `bucket`."""
    program = os.environ.get(MOTO) or shutil.which("moto_server")
    if not program:
        pytest.skip(f"needs moto's server: pip install 'moto[server,s3]' in an environment of its own, and {MOTO}")
    pytest.importorskip("s3fs", reason="s3:// addresses need s3fs")
    import botocore.session

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [program, "-H", "127.0.0.1", "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
    for name in names:
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    try:
        end = time.monotonic() + 60
        while time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        client = botocore.session.get_session().create_client("s3")
        client.create_bucket(Bucket="bucket")
        yield client
        client.close()
    finally:
        server.terminate()
        server.wait()


def test_s3_reads_ranges_lists_folders_and_notices_changes(bucket) -> None:
    bucket.put_object(Bucket="bucket", Key="runs/a.h5", Body=CONTENT)
    folder = remote("s3://bucket/runs")
    assert folder.is_dir()
    assert list(folder.list_folder()) == ["a.h5"]
    assert not (folder / "none.h5").exists()
    with RemoteSource(folder / "a.h5") as source:
        assert (source.size, source.bytes_fetched) == (len(CONTENT), HEAD_BYTES)
        assert source.read_ranges([(500_000, 70_000), (9, 3)]) == [CONTENT[500_000:570_000], CONTENT[9:12]]
        assert source.bytes_fetched <= HEAD_BYTES + 70_000 + 2 * 16384
        bucket.put_object(Bucket="bucket", Key="runs/a.h5", Body=bytes(len(CONTENT)))
        with pytest.raises(RemoteChangedError):
            source.read_ranges([(800_000, 10)])
    with pytest.raises((RemoteError, FileNotFoundError)):
        RemoteSource(remote("s3://nobucket/a.h5"))


def test_token_of_the_hub_goes_to_the_hub_alone(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    constants = pytest.importorskip("huggingface_hub.constants", reason="hf:// addresses need huggingface_hub")
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", server.url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (server.folder / "duck.h5").write_bytes(CONTENT)

    def answer(handler: BaseHTTPRequestHandler) -> bool:
        if "/resolve/" in handler.path:
            server.reply(handler, 302, b"", {"Location": "/duck.h5"})
        return "/resolve/" in handler.path

    server.answer = answer
    with RemoteSource(remote("hf://datasets/owner/name@v1/a/duck.h5")) as source:
        assert source.read_ranges([(500_000, 4)]) == [CONTENT[500_000:500_004]]
    assert [path for path, _ in server.requests] == [
        "/datasets/owner/name/resolve/v1/a/duck.h5", "/duck.h5", "/duck.h5",
    ]  # fmt: skip
    assert server.headers[0]["Authorization"] == "Bearer hf_secret"


def test_login_is_not_sent_to_another_server(server: RangeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("huggingface_hub", reason="hf:// addresses need huggingface_hub")
    from capture.remote.hugging_face import HuggingFaceServer

    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub = HuggingFaceServer()
    assert hub.build_login_headers("https://huggingface.co/datasets/o/n/resolve/main/x") == {
        "Authorization": "Bearer hf_secret"
    }
    for url in ("https://cdn.huggingface.co/x", "http://huggingface.co/x", "https://huggingface.co:444/x", server.url):
        assert hub.build_login_headers(url) == {}
