"""Results files on real servers, read as the window reads them; servers that count bytes and requests."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import synthetic
from large_results import write_large
from remote_servers import RangeServer, Relay, SSHDaemon, closing
from slow_source import SlowSource, open_slow

from capture.remote import connections
from capture.remote.address import RemotePath, parse_location
from capture.results import schema
from capture.results.writer import ResultsWriter
from viewer.analysis import initial_view, probe
from viewer.controllers.reading.view_plan import read_view
from viewer.errors import ConnectionLostError, UserError
from viewer.io import remote_bytes, run_index
from viewer.io.results import Results
from viewer.model.view_state import Query, ViewState

FIRST_BYTES = 3_000_000
CHANGE_BYTES = 400_000


def remote_address(text: str) -> RemotePath:
    location = parse_location(text)
    assert isinstance(location, RemotePath)
    return location


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk cache of the test's own, and connections too."""
    monkeypatch.setenv("PI0_REMOTE_CACHE", str(tmp_path / "cache"))
    yield tmp_path / "cache"
    connections.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of 250 planned full-size frames; one is written."""
    folder = tmp_path_factory.mktemp("large")
    path = write_large(folder / "large.h5").rename(folder / "large.h5")
    os.utime(path, (time.time() - 60, time.time() - 60))  # blocks of a file that was just changed are not kept
    return path


CHANGES: dict[str, dict[str, Any]] = {
    "word": {"query": Query("text", (2,))},
    "another word": {"query": Query("text", (3,))},
    "action": {"query": Query("action", (2,))},
    "another action": {"query": Query("action", (3,))},
    "layer": {"layer": 1},
    "head": {"heads": (5,)},
    "step": {"step": 7},
}
"""One after the other, each on top of those before it."""


def read_changes(results: Results, count: Any) -> tuple[int, dict[str, int]]:
    """Return the bytes that the first picture needed, and those of each change."""
    view = initial_view.first_view(results)
    read_view(results, view)
    first, costs = count(), {}
    for name, change in CHANGES.items():
        view, before = replace(view, **change), count()
        read_view(results, view)
        costs[name] = count() - before
    return first, costs


def test_first_picture_and_changes_of_a_large_file_read_little(large: Path) -> None:
    with closing(RangeServer(large.parent)) as server:
        results = Results(remote_address(f"{server.url}/large.h5"))
        first, costs = read_changes(results, lambda: server.sent)
        requests = len(server.requests)
        results.close()
    assert 500_000 < first <= FIRST_BYTES
    assert max(costs.values()) <= CHANGE_BYTES, costs
    assert costs["head"] == costs["step"] == 0
    assert requests <= 70


def test_change_of_the_view_needs_two_rounds_of_requests(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The index of chunks of all datasets together, then all their chunks; nothing waits for another dataset."""
    monkeypatch.setattr(SlowSource, "block_bytes", 16_384)
    results, source = open_slow(large)
    view = initial_view.first_view(results)
    read_view(results, view)
    rounds = {}
    for name, change in CHANGES.items():
        view, before = replace(view, **change), len(source.requests)
        read_view(results, view)
        rounds[name] = len(source.requests) - before
    results.close()
    in_memory = {
        "another word": 0,
        "head": 0,
        "step": 0,
    }  # in memory: the first view's word, and what lies in the chunks
    once = {"word": 1, "another action": 1, "layer": 1}  # where the index is in memory
    assert rounds == {"action": 2, **once, **in_memory}


def test_large_file_over_ssh_reads_as_little(large: Path, sshd: SSHDaemon) -> None:
    with closing(Relay(sshd.port)) as relay:
        sshd.trust(relay.port)
        results = Results(remote_address(sshd.address(large, relay.port)))
        first, costs = read_changes(results, lambda: relay.received)
        results.close()
        assert 500_000 < first <= FIRST_BYTES
        assert max(costs.values()) <= CHANGE_BYTES, costs


def test_blocks_read_once_are_not_fetched_again(large: Path, sshd: SSHDaemon) -> None:
    with closing(Relay(sshd.port)) as relay:
        sshd.trust(relay.port)
        for limit in (FIRST_BYTES, 100_000):
            before = relay.received
            results = Results(remote_address(sshd.address(large, relay.port)))
            read_changes(results, lambda: 0)
            results.close()
            assert relay.received - before < limit + 7 * CHANGE_BYTES * (limit == FIRST_BYTES)


def test_remote_file_reads_as_the_local_one(small: Path, sshd: SSHDaemon) -> None:
    local = Results(small)
    with closing(RangeServer(small.parent)) as server:
        for address in (f"{server.url}/{small.name}", sshd.address(small)):
            distant = Results(remote_address(address))
            assert (distant.done, distant.cameras, distant.layers, distant.uuid) == (
                local.done, local.cameras, local.layers, local.uuid,
            )  # fmt: skip
            for kind in ("text", "action"):
                row = distant.layer_rows(1, kind, 1, 1)
                expected = local.rows(1, kind, 1).at(slice(1, 2))
                for first, second in zip(
                    (row.image, row.text, row.action), (expected.image, expected.text, expected.action), strict=True
                ):
                    assert np.array_equal(first, second)
                masses = distant.mass_at(1, kind, 1, 1, 0), local.mass_at(1, kind, 1, 1, 0)
                assert np.array_equal(*masses)
            assert np.array_equal(distant.picture(1, 0, "source"), local.picture(1, 0, "source"))
            assert distant.words_of(schema.FRAMES_PROMPT) == local.words_of(schema.FRAMES_PROMPT)
            distant.close()
    local.close()


def test_growing_file_is_followed_over_ssh_to_its_final_name(
    sshd: SSHDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_bytes, "ASK_SECONDS", 600.0)  # the test asks itself
    frames = [synthetic.make_frame(synthetic.SMALL, number) for number in range(3)]
    writer = ResultsWriter(tmp_path / "run.h5", synthetic.SMALL, model=synthetic.MODEL, generator="test")
    with writer:
        writer.write(frames[0])
        results = Results(remote_address(sshd.address(tmp_path / "run.h5")))
        assert results.path.name == "run.h5.partial"
        assert (results.done, results.growing) == (1, True)
        assert not results.grow()
        writer.write(frames[1])
        for wait in range(1, 200):  # for the writer's thread; ssh tells whole seconds
            os.utime(tmp_path / "run.h5.partial", (time.time() + wait,) * 2)
            if results.grow():
                break
            time.sleep(0.02)
        assert results.done == 2
        assert np.array_equal(results.rows(1, "text", 1).image[:, 0], frames[1][schema.TEXT_TO_IMAGE][:, 1])
        assert results.finished_path is None
        writer.write(frames[2])
        writer.finish({})
    results.remote.refresh()
    assert str(results.finished_path).endswith("/run.h5")
    assert results.file_change == ""
    results.close()
    assert not any((tmp_path / "cache").rglob("*.blocks"))


def test_changed_file_is_noticed_without_waiting(
    small: Path, sshd: SSHDaemon, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_bytes, "ASK_SECONDS", 600.0)  # the test asks itself
    file = Path(shutil.copy(small, tmp_path / "a.h5"))
    results = Results(remote_address(sshd.address(file)))
    assert results.file_change == ""
    with file.open("ab") as stream:
        stream.write(b"more")
    assert results.file_change == ""  # the server was asked a moment ago
    results.remote.refresh()
    assert results.file_change == "rewritten"
    file.unlink()
    results.remote.refresh()
    assert results.file_change == "gone"
    results.close()


def test_lost_connection_is_one_that_may_come_back(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PAUSE_SECONDS", (0.01,))
    with closing(RangeServer(large.parent)) as server, closing(Relay(server.port)) as relay:
        results = Results(remote_address(f"http://127.0.0.1:{relay.port}/large.h5"))
        relay.target = 1
        relay.cut()
        with pytest.raises(ConnectionLostError, match="3 tries"):
            results.rows(0, "text", 3)
        relay.target = server.port
        assert results.rows(0, "text", 3).image.any()
        results.close()


# Looks in another process


def test_probe_of_a_remote_file_reads_no_more_than_the_first_picture(large: Path) -> None:
    with closing(RangeServer(large.parent)) as server:
        path = remote_address(f"{server.url}/large.h5")
        assert probe.Probe(path).wait() == ""
        assert server.sent <= FIRST_BYTES
        server.reset()
        results = Results(path)
        read_view(results, initial_view.first_view(results))
        results.close()
        assert server.sent <= 300_000  # the rest came from the disk


@pytest.mark.parametrize(
    ("name", "words"),
    [("none.h5", "There is no file"), ("text.h5", "is not an HDF5 file"), ("torn.h5", "torn or damaged")],
)
def test_probe_of_an_unusable_remote_file_gives_the_reason(
    small: Path, sshd: SSHDaemon, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "text.h5").write_text("no HDF5" * 100)
    (tmp_path / "torn.h5").write_bytes(small.read_bytes()[:3000])
    assert words in probe.Probe(remote_address(sshd.address(tmp_path / name))).wait()


# Runs


def write_run(folder: Path, small: Path) -> None:
    (folder / "inner").mkdir(parents=True)
    for name in ("a.h5", "inner/b.h5"):
        shutil.copy(small, folder / name)
    shutil.copy(small, folder / "c.h5.partial")


def index_text(*files: str) -> str:
    listed = ", ".join(f'{{"file": "{file}", "prompts": ["put"], "frames": 3}}' for file in files)
    return f'{{"format": "{schema.INDEX_FORMAT}", "format_version": [1, 0], "episodes": [{listed}]}}'


def test_run_over_ssh_is_listed_and_its_links_do_not_lead_out(small: Path, sshd: SSHDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    write_run(folder, small)
    (folder / "out.h5").symlink_to(small)
    (folder / "in.h5").symlink_to("a.h5")
    (folder / schema.INDEX_NAME).write_text(index_text("a.h5", "inner/b.h5", "c.h5", "later.h5", "out.h5", "in.h5"))
    run = run_index.read_run(remote_address(sshd.address(folder)))
    states = [status.state for status in run_index.statuses(run)]
    assert states == ["done", "done", "writing", "to come", "failed", "done"]
    inner = run_index.find_episode_path(run, run.episodes[1])
    assert str(inner).endswith("/runs/inner/b.h5")
    assert run.place_of(inner) == "inner/b.h5"
    assert run.place_of(remote_address(sshd.address(small))) is None
    with pytest.raises(UserError, match="leads out of the folder"):
        run_index.find_episode_path(run, run.episodes[4])
    stamp = run_index.changes(run)
    (folder / "later.h5").symlink_to("a.h5")
    (folder / schema.INDEX_NAME).write_text(index_text("a.h5"))
    assert run_index.changes(run) != stamp or run_index.read_run(run.folder).episodes != run.episodes


def test_folder_without_an_index_is_a_run_over_ssh_but_not_over_https(
    small: Path, sshd: SSHDaemon, tmp_path: Path
) -> None:
    write_run(tmp_path / "runs", small)
    run = run_index.read_run(remote_address(sshd.address(tmp_path / "runs")))
    assert [episode.file for episode in run.episodes] == ["a.h5", "c.h5"]
    with closing(RangeServer(tmp_path)) as server:
        with pytest.raises(UserError, match="no folder with results files"):
            run_index.read_run(remote_address(f"{server.url}/runs"))
        (tmp_path / "runs" / schema.INDEX_NAME).write_text(index_text("a.h5", "inner/b.h5"))
        run = run_index.read_run(remote_address(f"{server.url}/runs"))
        assert [status.state for status in run_index.statuses(run)] == ["done", "done"]
        results = Results(run_index.find_episode_path(run, run.episodes[1]))
        assert results.done
        results.close()


def test_index_that_names_an_address_is_refused(tmp_path: Path) -> None:
    with closing(RangeServer(tmp_path)) as server:
        for file in (f"{server.url}/a.h5", "../a.h5", "ssh://gpu/a.h5"):
            (tmp_path / schema.INDEX_NAME).write_text(index_text(file))
            run = None
            try:
                run = run_index.read_run(remote_address(server.url))
            except UserError:
                continue
            assert str(run_index.find_episode_path(run, run.episodes[0])).startswith(f"{server.url}/")
        assert all(path == f"/{schema.INDEX_NAME}" for path, _ in server.requests)


def test_view_of_a_figure_names_no_other_server(tmp_path: Path) -> None:
    from viewer.export.metadata import find_second_file

    first = remote_address("ssh://gpu/runs/a.h5")
    for named in ("ssh://other/x.h5", "../../x.h5", "/etc/x.h5"):
        assert str(find_second_file(first, named, "")) == "ssh://gpu/runs/x.h5"
    with pytest.raises(UserError):
        find_second_file(tmp_path / "a.h5", "ssh://other/x.h5", "name it")


def test_view_state_stays_usable_for_a_remote_file(large: Path) -> None:
    with closing(RangeServer(large.parent)) as server:
        results = Results(remote_address(f"{server.url}/large.h5"))
        read_view(results, ViewState(query=Query("action", (1,)), measure="contribution").clamped(results.dims(0)))
        results.close()
