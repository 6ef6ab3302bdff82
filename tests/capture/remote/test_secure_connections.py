"""Certificates of HTTPS servers and hosts behind a jump host, with real servers, read by another process.

A process of its own, because trusted certificates and the ssh configuration are read once.
"""

from __future__ import annotations

import datetime
import ipaddress
import os
import subprocess
import sys
from pathlib import Path

import pytest
from remote_servers import RangeServer, Relay, SSHDaemon, closing

from viewer.child_process import create_python_environment

READ = """
import sys
from capture.remote.address import parse_location
from capture.remote.errors import RemoteError
from capture.remote.remote_file import RemoteSource
try:
    with RemoteSource(parse_location(sys.argv[1])) as source:
        print(source.read_ranges([(0, 5)])[0].decode())
        if sys.stdin.readline():  # the connection was cut
            print(source.read_ranges([(700_000, 4)])[0].decode())
except RemoteError as error:
    print(error)
"""


def run_reader(address: str, **environment: object) -> str:
    """Return what a process prints that reads the first five bytes of an address; nothing else may be printed."""
    out = subprocess.run(
        [sys.executable, "-c", READ, address], capture_output=True, text=True, timeout=60, input="", check=True,
        env={**create_python_environment(), **{name: str(value) for name, value in environment.items()}},
    )  # fmt: skip
    assert out.stderr == ""
    return out.stdout.strip()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for 127.0.0.1 that is signed by itself, and its key, in one PEM file."""
    pytest.importorskip("cryptography")
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "server.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + builder.public_bytes(serialization.Encoding.PEM)
    )
    return file


def test_https_reads_from_a_server_with_a_trusted_certificate_alone(tmp_path: Path, certificate: Path) -> None:
    (tmp_path / "served").mkdir()
    (tmp_path / "served/a.h5").write_bytes(b"bytes of a file")
    with closing(RangeServer(tmp_path / "served", certificate)) as server:
        assert run_reader(f"{server.url}/a.h5", SSL_CERT_FILE=certificate) == "bytes"
        assert server.requests == [("/a.h5", "bytes=0-65535")]
        server.reset()
        expected = "The certificate of 127.0.0.1 cannot be trusted; ask who runs it, or copy the file."
        assert run_reader(f"{server.url}/a.h5", SSL_CERT_FILE=tmp_path / "no.pem") == expected
        assert not server.requests


def test_ssh_goes_through_the_jump_host_of_the_configuration(sshd: SSHDaemon, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"bytes of a file")
    home = tmp_path / "home/.ssh"
    home.mkdir(parents=True)
    with closing(SSHDaemon(tmp_path / "jump", sshd.home / ".ssh/id_ed25519.pub")) as jump:
        (home / "id_ed25519").write_bytes((sshd.home / ".ssh/id_ed25519").read_bytes())
        (home / "id_ed25519").chmod(0o600)
        (home / "config").write_text(
            f"Host robot\n HostName 127.0.0.1\n Port {sshd.port}\n User {sshd.user}\n"
            f" ProxyJump {jump.user}@127.0.0.1:{jump.port}\n"
        )
        keys = {server.port: f"[127.0.0.1]:{server.port} {' '.join(server.host_key)}\n" for server in (sshd, jump)}
        address = f"ssh://robot{tmp_path}/a.h5"
        (home / "known_hosts").write_text("".join(keys.values()))
        assert run_reader(address, HOME=home.parent, SSH_AUTH_SOCK="") == "bytes"
        assert "Accepted publickey" in (tmp_path / "jump/sshd.log").read_text()
        (home / "known_hosts").write_text(keys[sshd.port])
        assert "ssh does not know the host key of robot" in run_reader(address, HOME=home.parent, SSH_AUTH_SOCK="")
    assert "does not answer" in run_reader(address, HOME=home.parent, SSH_AUTH_SOCK="")


def test_lost_ssh_connection_prints_nothing(sshd: SSHDaemon, tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_bytes(b"bytes of a file" + bytes(699_985) + b"more of them")
    with closing(Relay(sshd.port)) as relay:
        sshd.trust(relay.port)
        reader = subprocess.Popen(
            [sys.executable, "-c", READ, sshd.address(tmp_path / "a.h5", relay.port)], text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**create_python_environment(), "HOME": str(sshd.home), "PI0_REMOTE_CACHE": os.environ["PI0_REMOTE_CACHE"]},
        )  # fmt: skip
        assert reader.stdout is not None
        assert reader.stdout.readline() == "bytes\n"
        relay.cut()
        assert reader.communicate("cut\n", timeout=60) == ("more\n", "")
