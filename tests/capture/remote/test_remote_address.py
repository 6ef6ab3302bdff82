from __future__ import annotations

from pathlib import Path

import pytest

from capture.errors import UserError
from capture.remote.address import RemotePath, is_address, parse_location, split_authority


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ssh://ada@gpu:2222/data/run 1/a.h5", RemotePath("ssh", "ada@gpu:2222", "/data/run 1/a.h5")),
        ("SSH://gpu/a%20b.h5", RemotePath("ssh", "gpu", "/a b.h5")),
        ("sftp://gpu/~/runs", RemotePath("ssh", "gpu", "~/runs")),
        ("ssh://[::1]:22/x.h5", RemotePath("ssh", "[::1]:22", "/x.h5")),
        ("https://h.org/a%2Bb/c.h5?X-Sig=1%2F2", RemotePath("https", "h.org", "/a+b/c.h5", "X-Sig=1%2F2")),
        ("s3://bucket/runs//a%20.h5", RemotePath("s3", "bucket", "/runs/a%20.h5")),
        ("hf://datasets/o/n@v1/a/b.h5", RemotePath("hf", "datasets/o/n@v1", "/a/b.h5")),
        ("hf://o/n/b.h5", RemotePath("hf", "o/n", "/b.h5")),
    ],
)
def test_address_is_split_into_its_parts(text: str, expected: RemotePath) -> None:
    assert parse_location(text) == expected


@pytest.mark.parametrize("text", ["duck.h5", "/data/duck.h5", "C:/duck.h5", "runs/ssh:/x", "-", "a://b"])
def test_path_of_this_machine_stays_a_path(text: str) -> None:
    assert parse_location(text) == Path(text)
    assert not is_address(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ftp://h/x.h5", "ftp:// is not a kind"),
        ("file:///etc/passwd", "file:// is not a kind"),
        ("ssh://ada:secret@gpu/x.h5", "holds a password"),
        ("https://ada:secret@h/x.h5", "holds a password"),
        ("https://ada@h/x.h5", "user name"),
        ("ssh://gpu", "names no file"),
        ("ssh:///x.h5", "no host name"),
        ("ssh://-oProxyCommand=x/x.h5", "no host name"),
        ("ssh://-x@gpu/x.h5", "user name"),
        ("ssh://gpu:99999/x.h5", "not a port"),
        ("ssh://gpu:²/x.h5", "not a port"),
        ("https://h/\x1b[2Jx.h5", "control characters"),
        ("https://h/" + "x" * 5000, "too long"),
        ("s3:///x.h5", "no bucket"),
        ("hf://datasets/owner", "names no file"),
        ("hf://datasets/o/n/../../x.h5", "names no file"),
    ],
)
def test_unusable_address_is_refused_without_its_secrets(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        parse_location(text)
    assert "secret" not in str(error.value)


def test_address_survives_being_written_and_read() -> None:
    for text in (
        "ssh://ada@gpu:22/a b/100%25#1?.h5",
        "ssh://gpu/~/runs",
        "https://h/a/b.h5?s=1&t=%2F",
        "s3://b/k/x.h5",
    ):
        location = parse_location(text)
        assert isinstance(location, RemotePath)
        assert parse_location(str(location)) == location


def test_names_follow_those_of_paths() -> None:
    location = RemotePath("https", "h", "/runs/a.h5", "s=1")
    assert (location.name, location.stem, location.suffix) == ("a.h5", "a", ".h5")
    assert str(location.parent / "b.h5") == "https://h/runs/b.h5"
    assert str(location.with_name("a.h5.partial")) == "https://h/runs/a.h5.partial?s=1"
    assert RemotePath("s3", "bucket", "/").name == "bucket"
    assert location.is_secret
    assert "s=1" not in location.shown


def test_authority_is_split() -> None:
    assert split_authority("a@b@[::1]:22") == ("a@b", "::1", 22)
    assert split_authority("gpu") == ("", "gpu", None)
