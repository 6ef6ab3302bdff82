"""Reading a results file: values equal the stored ones, and optional datasets may be absent."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import make_results
import numpy as np
import pytest

from viewer.analysis import scene
from viewer.io.results import Results
from viewer.model import geometry
from viewer.model.view_state import Query, ViewState


@pytest.mark.parametrize("weights", ["bfloat16", "f2", "f4", "f8"])
def test_weights_of_every_number_type_are_read(tmp_path: Path, weights: str) -> None:
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1, weights=weights))
    results = Results(path)
    state = ViewState(layer=1, step=2, query=Query("action", (3,)), heads=(1,))
    maps = scene.compose(results, state).maps
    with h5py.File(path, locking=False) as file:
        assert maps == pytest.approx(np.asarray(file["action/to_image"][0, 1, 3, 2, 1], np.float32))
    results.close()


def test_row_of_a_word_is_the_mean_of_its_pieces(small: Path, results: Results) -> None:
    item = next(n for n, chip in enumerate(results.chips(1)) if len(chip.tokens) > 1)
    tokens = results.chips(1)[item].tokens
    composed = scene.compose(results, ViewState(frame=1, layer=2, query=Query("text", (item,))))
    with h5py.File(small, locking=False) as file:
        rows = np.stack([file["text/to_image"][1, 2, token].astype("f4") for token in tokens])
    assert composed.maps == pytest.approx(rows.mean((0, 1)), rel=1e-5)
    assert composed.row_sum == pytest.approx(1, abs=4e-3)


def test_summaries_of_zeros_are_ignored(tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1, summaries=False))
    results = Results(path)
    assert results.mass(0, "text") is None
    composed = scene.compose(results, ViewState(query=Query("text", (4,))))
    assert sum(composed.mass.values()) == pytest.approx(1, abs=4e-3)
    results.close()


def test_summaries_are_mapped_by_the_names_of_their_groups(tiny: Path, results: Results, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "other_order.h5"))
    with h5py.File(path, "r+") as file:
        stored = {kind: file[f"{kind}/mass"][0] for kind in ("text", "action")}
        groups = list(file["action/mass"].attrs["groups"])
        order = [groups.index(name) for name in sorted(groups)]
        for kind in stored:
            file[f"{kind}/mass"][...] = file[f"{kind}/mass"][...][..., order]
            file[f"{kind}/mass"].attrs["groups"] = sorted(groups)
    reordered = Results(path)
    assert sorted(groups) != groups
    for kind in ("text", "action"):
        assert np.array_equal(reordered.mass(0, kind), stored[kind])
    assert np.array_equal(reordered.mass_at(0, "action", 1, 1, 0), stored["action"][1, 1, 0])
    assert np.array_equal(reordered.mass_at(0, "text", 3, 1, 0), stored["text"][1, 3])
    reordered.close()


def test_value_norms_weigh_the_maps(small: Path, results: Results) -> None:
    state = ViewState(layer=1, query=Query("action", (2,)), step=1, heads=(2,))
    weights, weighed = (
        scene.compose(results, ViewState(**{**_fields(state), "measure": m})) for m in ("weight", "contribution")
    )
    with h5py.File(small, locking=False) as file:
        norms = file["action/value_norm_image"][0, 1, 2]
    assert weighed.maps == pytest.approx(weights.maps * norms, rel=1e-5)


def _fields(state: ViewState) -> dict[str, object]:
    return {name: getattr(state, name) for name in ViewState.__dataclass_fields__}


def test_roles_may_be_words(tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1))
    with h5py.File(path, "r+") as file:
        names = [make_results.schema.ROLES[int(v)] for v in file["text/role"][0]]
        del file["text/role"]
        file.create_dataset("text/role", data=np.array([names], object), dtype=h5py.string_dtype())
    results = Results(path)
    assert [chip.role for chip in results.chips(0)][:3] == ["bos", "template", "prompt"]
    results.close()


def test_file_without_optional_datasets_is_read(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "e.h5"))
    with h5py.File(path, "r+") as file:
        for name in [
            "images",
            "frames/text",
            "frames/state",
            "frames/prompt",
            "frames/time",
            "text/piece",
            "text/start",
            "text/word",
            "text/state_index",
            "text/mass",
            "action/mass",
            "action/predicted",
            "action/x",
            "action/to_action",
            "text/to_text",
            "text/value_norm_image",
        ]:
            del file[name]
    results = Results(path)
    assert results.picture(0, 0, "source") is None
    assert len(results.chips(0)) > 5
    composed = scene.compose(results, ViewState(query=Query("action", (1,))))
    assert composed.maps.shape == (2, 16, 16)
    results.close()


def test_file_without_actions_is_read(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "words.h5"))
    with h5py.File(path, "r+") as file:
        del file["action"]
        file.attrs["steps"] = np.zeros(0, np.int64)
    results = Results(path)
    assert (results.steps, results.horizon) == ((), 0)
    composed = scene.compose(results, ViewState(query=Query("text", (2,))))
    assert composed.row_sum == pytest.approx(1, abs=0.01)
    results.close()


def test_file_without_attention_of_words_has_no_chips(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "actions.h5"))
    with h5py.File(path, "r+") as file:
        del file["text/to_image"], file["text/to_text"]
    results = Results(path)
    assert results.chips(0) == ()
    assert ViewState(query=Query("text", (3,))).clamped(results.dims(0)).query == Query("action", (0,))
    results.close()


def test_model_pictures_replace_absent_camera_pictures(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "boxed.h5"))
    with h5py.File(path, "r+") as file:
        model_picture = file["images/exterior/model"][0]
        del file["images/exterior/source"]
    results = Results(path)
    assert np.array_equal(results.picture(0, 0, "source"), model_picture)
    assert results.picture_size(0) == (224, 224)
    assert geometry.find_patch(results.to_model(0, 0), 30.0, 100.0, results.grid) == (7, 2), (
        "as the patches lie in that picture"
    )
    assert geometry.find_patch(results.to_model(0, 1), 0.0, 0.0, results.grid) != (0, 0), (
        "the other camera keeps its letterbox"
    )
    results.close()


def test_only_finished_frames_are_shown(tmp_path: Path) -> None:
    results = Results(make_results.write(tmp_path / "i.h5", make_results.Recipe(frames=3, done=2, complete=False)))
    assert (results.done, results.dims(0).frames, results.growing) == (2, 2, True)
    results.close()


def test_cache_of_results_stays_within_its_bytes(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewer.io.summaries.CACHE_BYTES", 200_000)
    results = Results(small)
    for frame in range(3):
        for token in range(5):
            results.rows(frame, "action", token)
    assert results._cache.bytes <= 200_000 or len(results._cache) == 1
    results.close()
