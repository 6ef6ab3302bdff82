"""Slow files: read in rounds outside HDF5, with the values of fast ones, and never by a thread that must not wait."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import h5py
import numpy as np
import pytest
from slow_source import SlowSource, open_slow

from viewer.errors import ConnectionLostError, GivenUpError, NotLoadedError, UserError
from viewer.io import view_bytes
from viewer.io.file_access import set_reading
from viewer.io.results import Results

if TYPE_CHECKING:
    from pathlib import Path

    from viewer.model.view_state import Kind


def test_values_equal_those_of_the_local_file(small: Path) -> None:
    local, (slow, _) = Results(small), open_slow(small)
    for frame in range(local.done):
        assert slow.chips(frame) == local.chips(frame)
        assert slow.value_norms(frame, "action") is None or local.value_norms(frame, "action") is not None
        for kind in ("text", "action"):
            assert np.array_equal(slow.rows(frame, kind, 1).image, local.rows(frame, kind, 1).image)
            assert np.array_equal(slow.mass(frame, kind), local.mass(frame, kind))
            assert np.array_equal(slow.layer_images(frame, kind, 1, 0), local.layer_images(frame, kind, 1, 0))
        for which in ("source", "model"):
            assert np.array_equal(slow.picture(frame, 0, which), local.picture(frame, 0, which))
        assert slow.time(frame) == local.time(frame)
    assert slow.words_of("frames/prompt") == local.words_of("frames/prompt")
    local.close()
    slow.close()


def test_thread_that_must_not_wait_gets_an_error_and_reads_nothing(small: Path) -> None:
    results, source = open_slow(small)
    results.access.forbid_waiting()
    count = len(source.requests)
    with pytest.raises(NotLoadedError) as error:
        results.rows(0, "text", 1)
    assert len(source.requests) == count
    reader = threading.Thread(target=error.value.read)
    reader.start()
    reader.join(10)
    assert len(source.requests) > count
    assert results.rows(0, "text", 1).image.any()
    results.close()


def test_hdf5_stays_free_while_a_read_waits(small: Path, tiny: Path) -> None:
    results, source = open_slow(small)
    source.block()
    reader = threading.Thread(target=lambda: results.picture(0, 0, "source"))
    reader.start()
    while not source.waiting:
        pass
    with h5py.File(tiny) as local:  # would wait for HDF5's lock
        assert local.attrs["format"]
    assert reader.is_alive()
    source.release()
    reader.join(10)
    results.close()


def test_all_parts_of_a_view_come_in_few_requests(small: Path) -> None:
    results, source = open_slow(small)
    view_bytes.fetch_words(results, 1)
    view_bytes.fetch_view(results, 1, "action", (2,), "model")
    count = len(source.requests)
    assert count <= 12
    results.rows(1, "action", 2)
    results.chips(1)
    assert len(source.requests) <= count + 2  # to_action
    results.close()


def test_damaged_part_is_an_error_without_waiting_too(small: Path, tmp_path: Path) -> None:
    copy = tmp_path / "damaged.h5"
    copy.write_bytes(small.read_bytes())
    with h5py.File(copy, "r+") as file:
        del file["action/x"]
        file.create_dataset("action/x", data=np.zeros((1, 2)))
    results, _ = open_slow(copy)
    results.access.forbid_waiting()
    with pytest.raises(NotLoadedError) as refusal:
        results.flow("action/x", 0)
    failures: list[BaseException] = []

    def read() -> None:
        try:
            refusal.value.read()
        except UserError as error:
            failures.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    reader.join(10)
    assert failures
    with pytest.raises(UserError, match="2 axes"):
        results.flow("action/x", 0)
    results.close()


def test_lost_connection_is_raised_as_such_and_not_remembered(small: Path) -> None:
    results, source = open_slow(small)
    source.lose()
    with pytest.raises(ConnectionLostError):
        results.picture(0, 0, "source")
    source.find_again()
    assert results.picture(0, 0, "source") is not None
    results.close()


def test_read_that_is_no_longer_wanted_stops(small: Path) -> None:
    results, source = open_slow(small)
    count = len(source.requests)
    set_reading(lambda: True)
    try:
        with pytest.raises(GivenUpError):
            results.picture(0, 0, "source")
    finally:
        set_reading(None)
    assert len(source.requests) == count
    results.close()


def test_file_that_is_no_results_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "text.h5"
    path.write_text("no HDF5" * 10)
    with pytest.raises(UserError, match="text.h5 is not an HDF5 file"):
        Results(path, SlowSource(path))


@pytest.mark.parametrize(("kind", "token"), [("text", 4), ("action", 2)])
def test_parts_of_a_dataset_read_in_full_are_in_memory(small: Path, kind: Kind, token: int) -> None:
    local, (slow, _) = Results(small), open_slow(small)
    slow.rows(0, kind, token)
    slow.mass(0, kind)
    slow.access.forbid_waiting()
    assert np.array_equal(slow.layer_rows(0, kind, token, 2).image, local.layer_rows(0, kind, token, 2).image)
    expected = local.mass_at(0, kind, token, 1, 0)
    assert expected is not None
    assert np.array_equal(slow.mass_at(0, kind, token, 1, 0), expected)  # type: ignore[arg-type]
    local.close()
    slow.close()
