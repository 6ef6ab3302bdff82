"""The index of a run: one name for it, whoever writes it and however many at once."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import pytest

from capture.errors import UserError
from capture.results import schema
from capture.results.run_index import (
    check_same_run,
    prepare_folder,
    read_failure,
    read_index,
    write_failure,
    write_index,
)

HEAD: dict[str, Any] = {"generator": "test", "source": {"kind": "data set", "name": "d"}, "run": {"seed": 0}}


def entry(number: int) -> dict[str, Any]:
    fields = {"prompts": ["go"], "frames": 3, "rate": None, "success": None}
    return {"file": f"e{number}.h5", "name": f"e{number}", "number": number, **fields}


def test_write_index_adds_episodes_and_keeps_known_ones(tmp_path: Path) -> None:
    assert read_index(tmp_path) is None
    write_index(tmp_path, HEAD, [entry(2), entry(1)])
    first = read_index(tmp_path)
    assert first is not None
    assert (first["format"], first["format_version"]) == (schema.INDEX_FORMAT, [1, 0])
    assert [episode["number"] for episode in first["episodes"]] == [1, 2]
    write_index(tmp_path, HEAD, [entry(7)])
    second = read_index(tmp_path)
    assert second is not None
    assert [episode["number"] for episode in second["episodes"]] == [1, 2, 7]
    assert (second["uuid"], second["created"]) == (first["uuid"], first["created"])
    assert [path.name for path in tmp_path.iterdir()] == ["index.json"]


def test_write_index_does_not_rewrite_an_unchanged_index(tmp_path: Path) -> None:
    write_index(tmp_path, HEAD, [entry(1)])
    before = (tmp_path / "index.json").stat()
    write_index(tmp_path, HEAD, [entry(1)])
    assert (tmp_path / "index.json").stat().st_ino == before.st_ino


def test_index_lists_failures_until_the_results_file_exists(tmp_path: Path) -> None:
    write_failure(tmp_path / "e1.h5", "the video is missing")
    assert read_failure(tmp_path / "e1.h5") == "the video is missing"
    write_index(tmp_path, HEAD, [entry(1), entry(2)])
    index = read_index(tmp_path)
    assert index is not None
    assert [episode.get("failed") for episode in index["episodes"]] == ["the video is missing", None]
    write_failure(tmp_path / "e1.h5", None)
    write_failure(tmp_path / "e1.h5", None)
    (tmp_path / "e1.h5").touch()
    write_index(tmp_path, HEAD, [entry(1), entry(2)])
    index = read_index(tmp_path)
    assert index is not None
    assert "failed" not in index["episodes"][0]


def test_another_run_is_refused_unless_overwritten(tmp_path: Path) -> None:
    write_index(tmp_path, HEAD, [entry(1)])
    check_same_run(tmp_path, {"seed": 1}, overwrite=False)  # a run that has no results yet, because all failed
    (tmp_path / "e1.h5.partial").touch()
    check_same_run(tmp_path, {"seed": 0}, overwrite=False)
    with pytest.raises(UserError, match="holds another run, .*: --seed was 0 and is now 1"):
        check_same_run(tmp_path, {"seed": 1}, overwrite=False)
    check_same_run(tmp_path, {"seed": 1}, overwrite=True)
    write_index(tmp_path, {**HEAD, "run": {"seed": 1}}, [entry(5)])
    index = read_index(tmp_path)
    assert index is not None
    assert [episode["number"] for episode in index["episodes"]] == [5]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": "other"}', "\x00"])
def test_read_index_refuses_other_files(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.json").write_text(text)
    with pytest.raises(UserError, match="choose another folder"):
        write_index(tmp_path, HEAD, [entry(1)])
    assert (tmp_path / "index.json").read_text() == text


def test_read_index_refuses_a_newer_format(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text(json.dumps({"format": schema.INDEX_FORMAT, "format_version": [2, 0]}))
    with pytest.raises(UserError, match="newer"):
        read_index(tmp_path)


def test_prepare_folder_creates_it_or_reports_why_not(tmp_path: Path) -> None:
    prepare_folder(tmp_path / "new" / "runs")
    assert (tmp_path / "new" / "runs").is_dir()
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/runs cannot be made \(not a directory\)"):
        prepare_folder(tmp_path / "file" / "runs")
    with pytest.raises(UserError, match="is a file"):
        prepare_folder(tmp_path / "file")


def test_concurrent_writers_lose_no_episode(tmp_path: Path) -> None:
    entries = [entry(number) for number in range(8)]
    names: set[str] = set()

    def work(number: int) -> None:
        write_index(tmp_path, HEAD, entries)
        index = read_index(tmp_path)
        assert index is not None
        names.add(index["uuid"])
        write_failure(tmp_path / f"e{number}.h5", f"failure {number}")
        write_index(tmp_path, HEAD, entries)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    index = read_index(tmp_path)
    assert index is not None
    assert [episode.get("failed") for episode in index["episodes"]] == [f"failure {number}" for number in range(8)]
    assert names == {index["uuid"]}
