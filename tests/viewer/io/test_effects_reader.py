"""Effects files as the viewer reads them: values, the results file they belong to, and hostile files."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import h5py
import make_effects
import make_results
import numpy as np
import pytest
from slow_source import open_slow

from capture.results import effects_schema
from viewer.analysis.probe import Probe
from viewer.errors import UserError
from viewer.io.effects import Effects, attach
from viewer.io.effects_names import find_effects_files, find_numbered_path, find_results_file
from viewer.io.results import Results
from viewer.model.effects import Method

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def path(small: Path, tmp_path: Path) -> Path:
    return make_effects.write(tmp_path / "small.effects.h5", small)


@pytest.fixture
def attached(results: Results, path: Path) -> Iterator[Effects]:
    effects = Effects(path)
    attach(results, effects)
    yield effects
    effects.close()


def test_map_is_in_multiples_of_the_noise(attached: Effects) -> None:
    chunk = attached.effect_map(0)
    assert chunk is not None
    assert chunk.values[0, 7, 3] == pytest.approx(7.03 / make_effects.FLOOR)
    assert np.isnan(chunk.values[0, 0, 0])
    assert (chunk.block, chunk.floor) == (2, make_effects.FLOOR)
    # An action moves n + 1 times as far as the chunk, and its noise is n + 1 times as large.
    effect_map = attached.effect_map(0, (4,))
    assert effect_map is not None
    np.testing.assert_allclose(effect_map.values, chunk.values, rtol=1e-5)
    assert effect_map.floor == pytest.approx(5 * make_effects.FLOOR)


def test_several_actions_are_joined_by_the_root_mean_square(attached: Effects) -> None:
    joined = attached.effect_map(0, (0, 1))
    assert joined is not None
    assert joined.floor == pytest.approx(make_effects.FLOOR * np.sqrt((1 + 4) / 2))
    assert joined.values[0, 7, 3] * joined.floor == pytest.approx(7.03 * np.sqrt((1 + 4) / 2), rel=1e-5)


def test_target_is_shown_beside_its_controls(attached: Effects) -> None:
    [target] = attached.target_effects(0)
    assert target.cells == frozenset(make_effects.BOX)
    assert target.method == Method("knockout", "actions")
    of_chunk, of_action = target.compare_with_noise(), target.compare_with_noise((3,))
    assert (of_chunk.multiple, of_chunk.smaller) == (4.0, 4)
    np.testing.assert_allclose(of_chunk.controls, np.array(make_effects.CONTROLS) / make_effects.FLOOR, rtol=1e-6)
    assert of_chunk.median == pytest.approx(0.5)
    assert of_action.multiple == pytest.approx(4.0)
    assert of_action.median == pytest.approx(0.5)
    assert target.change is not None
    assert target.change[0, 0] == 0.25
    assert target.control_changes is not None
    assert target.control_changes.shape[0] == 4


def test_frame_without_effects_has_none(attached: Effects) -> None:
    assert attached.effect_map(1) is None
    assert attached.target_effects(1) == ()
    assert attached.frames == (0,)


def test_effects_of_another_file_are_refused(path: Path, tmp_path: Path) -> None:
    other_results = Results(make_results.write(tmp_path / "other.h5"))
    with h5py.File(path, "a") as file:
        file.attrs["results"] = json.dumps({"name": "duck.h5", "uuid": "another"})
    effects = Effects(path)
    with pytest.raises(UserError) as error:
        attach(other_results, effects)
    assert str(error.value) == (
        "small.effects.h5 holds effects on duck.h5, not on other.h5: their fingerprints differ. Open duck.h5 first, or "
        "measure other.h5 again."
    )
    assert other_results.effects == ()
    effects.close()
    other_results.close()


@pytest.mark.parametrize("changed", ["results", "effects"])
def test_effects_on_other_calls_are_refused(path: Path, small: Path, tmp_path: Path, changed: str) -> None:
    copy = tmp_path / "copy.h5"
    shutil.copy(small, copy)
    file, name = (copy, "action/predicted") if changed == "results" else (path, "baseline/robot_actions")
    with h5py.File(file, "a") as opened:
        opened[name][0, 0, 0] += 0.5  # as of a file that was edited, or of a call with other noise
    copied, effects = Results(copy), Effects(path)
    limit = effects_schema.ACTION_LIMITS[str(copied.model["dtype"])]
    with pytest.raises(UserError) as error:
        attach(copied, effects)
    assert str(error.value) == (
        "small.effects.h5 holds effects on other calls than copy.h5: the actions of frame 0 differ by 0.5, and "
        f"{limit:g} is allowed. One of the files was changed; measure copy.h5 again."
    )
    assert copied.effects == ()
    effects.close()
    copied.close()


def test_effects_on_other_calls_of_a_remote_file_are_refused_after_few_reads(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_effects.write(tmp_path / "all.effects.h5", small, (0, 1, 2))
    monkeypatch.setattr("viewer.io.effects_check.MOST_CHECKED_REMOTE", 2)
    frames: list[int] = []
    results, _ = open_slow(small)
    read = results.read_part
    monkeypatch.setattr(
        results, "read_part", lambda name, axes, index: frames.append(index[0]) or read(name, axes, index)
    )
    attach(results, Effects(path))
    assert frames == [0, 2], "the first and the last"
    changed = make_effects.write(tmp_path / "changed.effects.h5", small, (0, 1, 2))
    with h5py.File(changed, "a") as opened:
        opened["baseline/robot_actions"][2, 0, 0] += 0.5
    effects = Effects(changed)
    with pytest.raises(UserError, match=r"the actions of frame 2 differ by 0\.5"):
        attach(results, effects)
    effects.close()
    results.close()


def test_renamed_results_file_keeps_its_effects(path: Path, small: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "renamed.h5"
    shutil.copy(small, renamed)
    results, effects = Results(renamed), Effects(path)
    attach(results, effects)
    assert results.effects == (effects,)
    results.close()


def test_relevance_of_words_is_that_of_actions_and_dimension(attached: Effects) -> None:
    mean = attached.word_relevances(0, (4,))
    second = attached.word_relevances(0, (4,), 2)
    assert mean is not None
    assert second is not None
    token = int(np.nanargmax(mean))
    assert mean[token] == pytest.approx(token / 10 * 5 * 0.002)
    assert second[token] == pytest.approx(token / 10 * 5 * 0.003)
    assert attached.word_relevances(0, (4,), 1) is None, "dimension 1 was not differentiated"


def test_later_file_comes_first_and_replaces_itself(results: Results, path: Path, small: Path, tmp_path: Path) -> None:
    first, second = Effects(path), Effects(make_effects.write(tmp_path / "small.1.effects.h5", small))
    attach(results, first)
    attach(results, second)
    assert results.effects == (second, first)
    reopened = Effects(path)
    attach(results, reopened)
    assert results.effects == (reopened, second)
    assert not first._file, "the old handle is closed"


def link_out(file: h5py.File) -> None:
    del file["map/effect"]
    file["map/effect"] = h5py.ExternalLink("/etc/passwd", "x")


def cut_axis(file: h5py.File) -> None:
    values = file["map/effect_of_chunk"][:, :, :4]
    del file["map/effect_of_chunk"]
    file["map/effect_of_chunk"] = values


def flatten(file: h5py.File) -> None:
    del file["targets/effect"]
    file["targets/effect"] = 1.0


def claim_much(file: h5py.File) -> None:
    del file["frames/number"]
    file.create_dataset("frames/number", (1 << 40,), "i8", chunks=(1024,))


def name_nobody(file: h5py.File) -> None:
    del file["targets/kind"]


def lose_layers(file: h5py.File) -> None:
    values = file["heads/effect"][:, :1]
    del file["heads/effect"]
    file["heads/effect"] = values


@pytest.mark.parametrize("spoil", [link_out, cut_axis, flatten, claim_much, name_nobody, lose_layers])
def test_hostile_file_is_one_sentence(results: Results, path: Path, spoil: Callable[[h5py.File], None]) -> None:
    with h5py.File(path, "a") as file:
        spoil(file)
    with pytest.raises(UserError, match=r"small\.effects\.h5 is damaged or was not made by pi0-capture"):
        attach(results, Effects(path))
    assert results.effects == ()


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("format", "pi0-attention", "is not an effects file"),
        ("format_version", np.array([2, 0]), "install a newer pi0-attention"),
    ],
)
def test_other_format_is_one_sentence(path: Path, name: str, value: object, sentence: str) -> None:
    with h5py.File(path, "a") as file:
        file.attrs[name] = value
    with pytest.raises(UserError, match=sentence):
        Effects(path)


@pytest.mark.parametrize("run", ["[", "[1]", '{"map": "x", "layers": "all", "mode": 3}', '{"map": true}'])
def test_impossible_run_description_is_left_out(path: Path, run: str) -> None:
    with h5py.File(path, "a") as file:
        file.attrs["run"] = run
    effects = Effects(path)
    assert effects.block == 0
    assert effects.method == Method()
    effects.close()


def test_effects_file_opened_as_results_is_named_in_the_error(path: Path) -> None:
    with pytest.raises(UserError, match="holds effects on a results file; open that one, then File › Open effects…"):
        Results(path)


def test_truncated_file_is_found_by_the_probe(path: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.effects.h5"
    torn.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert "torn.effects.h5" in Probe(torn).wait()
    assert Probe(path).wait() == ""


def test_files_are_found_by_name_the_latest_first(path: Path, tmp_path: Path) -> None:
    results = tmp_path / "small.h5"
    for name in ("small.2.effects.h5", "small.10.effects.h5", "small.x.effects.h5", "other.effects.h5"):
        shutil.copy(path, tmp_path / name)
    names = [file.name for file in find_effects_files(results)]
    assert names == ["small.10.effects.h5", "small.2.effects.h5", "small.effects.h5"]
    assert [file.name for file in find_effects_files(tmp_path / "small.h5.partial")] == names
    assert find_numbered_path(results).name == "small.11.effects.h5"
    assert find_effects_files(tmp_path / "nowhere" / "small.h5") == []


def test_results_file_is_found_beside_its_effects(path: Path, tmp_path: Path) -> None:
    assert find_results_file(path) is None
    (tmp_path / "small.h5").touch()
    assert find_results_file(path) == tmp_path / "small.h5"
    assert find_results_file(tmp_path / "small.3.effects.h5") == tmp_path / "small.h5"
