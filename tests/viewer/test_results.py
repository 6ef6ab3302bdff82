"""Files from anywhere: what can be read is read, what cannot be gets one sentence, and nothing outside is touched."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import make_results
import numpy as np
import pytest

from viewer import datasets, geometry, scene
from viewer import probe as probes
from viewer.errors import UserError
from viewer.probe import Probe
from viewer.results import Results
from viewer.state import Query, ViewState

RECIPE = make_results.Recipe(frames=2, layers=2, heads=2, steps=2, horizon=3, size=(36, 64))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_results.write(tmp_path_factory.mktemp("tiny") / "tiny.h5", RECIPE)


@pytest.mark.parametrize("weights", ["bfloat16", "f2", "f4", "f8"])
def test_weights_of_every_number_type_are_read(tmp_path: Path, weights: str) -> None:
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1, weights=weights))
    results = Results(path)
    state = ViewState(layer=1, step=2, query=Query("action", (3,)), heads=(1,))
    maps = scene.compose(results, state).maps
    with h5py.File(path, locking=False) as file:
        assert maps == pytest.approx(np.asarray(file["action/to_image"][0, 1, 3, 2, 1], np.float32))
    results.close()


def test_rows_are_the_files_rows_for_words_of_several_pieces(small: Path, results: Results) -> None:
    item = next(n for n, chip in enumerate(results.chips(1)) if len(chip.tokens) > 1)
    tokens = results.chips(1)[item].tokens
    made = scene.compose(results, ViewState(frame=1, layer=2, query=Query("text", (item,))))
    with h5py.File(small, locking=False) as file:
        rows = np.stack([file["text/to_image"][1, 2, token].astype("f4") for token in tokens])
    assert made.maps == pytest.approx(rows.mean((0, 1)), rel=1e-5)
    assert made.row_sum == pytest.approx(1, abs=4e-3)


def test_a_summary_of_zeros_is_not_believed(tmp_path: Path) -> None:
    path = make_results.write(tmp_path / "a.h5", make_results.Recipe(frames=1, summaries=False))
    results = Results(path)
    assert results.mass(0, "text") is None
    made = scene.compose(results, ViewState(query=Query("text", (4,))))
    assert sum(made.mass.values()) == pytest.approx(1, abs=4e-3)
    results.close()


def test_value_norms_weigh_the_maps(small: Path, results: Results) -> None:
    state = ViewState(layer=1, query=Query("action", (2,)), step=1, heads=(2,))
    plain, weighed = (
        scene.compose(results, ViewState(**{**_fields(state), "measure": m})) for m in ("weight", "contribution")
    )
    with h5py.File(small, locking=False) as file:
        norms = file["action/value_norm_image"][0, 1, 2]
    assert weighed.maps == pytest.approx(plain.maps * norms, rel=1e-5)


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


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"format": "other"}, "not a results file"),
        ({"format": None}, "not a results file"),
        ({"format_version": [2, 0]}, "newer"),
        ({"cameras": ["a/b", "c"]}, "camera"),
        ({"cameras": np.zeros(0, "S1")}, "names no camera"),
        ({"cameras": ["a"]}, "does not fit 1 cameras"),
        ({"cameras": ["a", "a"]}, "cameras"),
    ],
)
def test_foreign_and_newer_files_get_one_sentence(
    tiny: Path, tmp_path: Path, change: dict[str, object], sentence: str
) -> None:
    path = shutil.copy(tiny, tmp_path / "b.h5")
    with h5py.File(path, "r+") as file:
        for name, value in change.items():
            del file.attrs[name]
            if value is not None:
                file.attrs[name] = value
    with pytest.raises(UserError, match=sentence):
        Results(Path(path))


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n" + b"\0" * 4000])
def test_what_is_no_hdf5_gets_one_sentence(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "c.h5"
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        Results(path)
    assert "\n" not in str(caught.value)
    assert "c.h5" in str(caught.value)


def test_missing_folders_and_missing_parts_get_one_sentence(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="There is no file"):
        Results(tmp_path / "nowhere.h5")
    with pytest.raises(UserError, match="is a folder"):
        Results(tmp_path)
    path = Path(shutil.copy(tiny, tmp_path / "d.h5"))
    with h5py.File(path, "r+") as file:
        del file["frames/done"]
    with pytest.raises(UserError, match="how many frames"):
        Results(path)


def test_everything_that_is_optional_may_be_absent(tiny: Path, tmp_path: Path) -> None:
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
    made = scene.compose(results, ViewState(query=Query("action", (1,))))
    assert made.maps.shape == (2, 16, 16)
    results.close()


def test_lists_may_be_empty(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "words.h5"))
    with h5py.File(path, "r+") as file:
        del file["action"]
        file.attrs["steps"] = np.zeros(0, np.int64)
    results = Results(path)
    assert (results.steps, results.horizon) == ((), 0)
    made = scene.compose(results, ViewState(query=Query("text", (2,))))
    assert made.row_sum == pytest.approx(1, abs=0.01)
    results.close()


def test_words_without_attention_of_their_own_are_no_chips(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "actions.h5"))
    with h5py.File(path, "r+") as file:
        del file["text/to_image"], file["text/to_text"]
    results = Results(path)
    assert results.chips(0) == ()
    assert ViewState(query=Query("text", (3,))).clamped(results.dims(0)).query == Query("action", (0,))
    results.close()


def test_the_models_pictures_stand_in_for_the_cameras(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "boxed.h5"))
    with h5py.File(path, "r+") as file:
        seen = file["images/exterior/model"][0]
        del file["images/exterior/source"]
    results = Results(path)
    assert np.array_equal(results.picture(0, 0, "source"), seen)
    assert results.picture_size(0) == (224, 224)
    assert geometry.patch_at(results.to_model(0, 0), 30.0, 100.0) == (7, 2), "as the patches lie in that picture"
    assert geometry.patch_at(results.to_model(0, 1), 0.0, 0.0) != (0, 0), "the other camera keeps its letterbox"
    results.close()


def test_links_virtual_and_external_storage_are_refused(tiny: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["data"] = np.arange(8)
    raw = tmp_path / "secret.bin"
    raw.write_bytes(bytes(range(64)))
    for kind in ("external link", "soft link", "virtual", "external storage", "group link"):
        path = Path(shutil.copy(tiny, tmp_path / "f.h5"))
        with h5py.File(path, "r+") as file:
            if kind == "group link":
                del file["images"]
                file["images"] = h5py.ExternalLink(str(secret), "/")
                name = "images"
            else:
                name = "images/exterior/source"
                shape = file[name].shape
                del file[name]
                if kind == "external link":
                    file[name] = h5py.ExternalLink(str(secret), "data")
                elif kind == "soft link":
                    file[name] = h5py.SoftLink("/frames/state")
                elif kind == "virtual":
                    layout = h5py.VirtualLayout(shape, "u1")
                    layout[0] = h5py.VirtualSource(str(secret), "data", shape[1:])
                    file.create_virtual_dataset(name, layout)
                else:
                    file.create_dataset(name, shape, "u1", external=[(str(raw), 0, h5py.h5f.UNLIMITED)])
        results = Results(path)
        with pytest.raises(UserError, match="not followed"):
            results.picture(0, 0, "source")
        results.close()


def test_sizes_are_checked_before_anything_is_allocated(tiny: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(tiny, tmp_path / "g.h5"))
    with h5py.File(path, "r+") as file:
        del file["images/exterior/source"]
        file.create_dataset("images/exterior/source", (2, 16000, 16000, 3), "u1", chunks=(1, 16, 16, 3))
        del file["action/x"]
        file.create_dataset("action/x", (2, 100_000, 100_000, 32), "f4", chunks=(1, 16, 16, 32))
    results = Results(path)
    with pytest.raises(UserError, match="more in one place"):
        results.flow("action/x", 0)
    results.close()
    with h5py.File(path, "r+") as file:
        del file["text/to_image"]
        file.create_dataset("text/to_image", (2, 2, 5000, 2, 2, 16, 16), "f4", chunks=(1, 1, 1, 1, 2, 16, 16))
    with pytest.raises(UserError, match="cannot be"):
        Results(path)


def test_the_partial_name_is_found_and_the_final_one_taken(tiny: Path, tmp_path: Path) -> None:
    partial = Path(shutil.copy(tiny, tmp_path / "h.h5.partial"))
    results = Results(tmp_path / "h.h5")
    assert results.path == partial
    assert results.finished_path is None
    partial.rename(tmp_path / "h.h5")
    assert results.finished_path == tmp_path / "h.h5"
    results.close()


def test_only_finished_frames_are_shown(tmp_path: Path) -> None:
    results = Results(make_results.write(tmp_path / "i.h5", make_results.Recipe(frames=3, done=2, complete=False)))
    assert (results.done, results.dims(0).frames, results.growing) == (2, 2, True)
    results.close()


def test_the_cache_keeps_within_its_bytes(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewer.results.CACHE_BYTES", 200_000)
    results = Results(small)
    for frame in range(3):
        for token in range(5):
            results.rows(frame, "action", token)
    assert results._cache.bytes <= 200_000 or len(results._cache) == 1
    results.close()


WORKER = """
import sys, json
from pathlib import Path
from viewer.probe import look
for line in sys.stdin:
    print(json.dumps(look(Path(line.strip()))), flush=True)
"""


class Looker:
    """A process like the probe's that looks at one file after another."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        )
        self.ready = False

    def look(self, path: Path, seconds: float) -> str | None:
        """The sentence; None if it died; TimeoutError if it took too long."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{path}\n".encode())
        self.process.stdin.flush()
        seconds += 0 if self.ready else 20  # its imports
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            raise TimeoutError
        self.ready = True
        line = self.process.stdout.readline()
        return str(json.loads(line)) if line else None

    def stop(self) -> None:
        self.process.kill()
        self.process.communicate()


def damaged(source: bytes, rng: np.random.Generator) -> bytes:
    """One random damage: flipped bytes anywhere or in the first metadata, zeros, a cut, a swap, a doubled part."""
    data = bytearray(source)
    kind = int(rng.integers(6))
    at = int(rng.integers(len(data)))
    if kind == 0:
        for place in rng.integers(len(data), size=int(rng.integers(1, 40))):
            data[place] ^= int(rng.integers(1, 256))
    elif kind == 1:
        for place in rng.integers(min(4096, len(data)), size=int(rng.integers(1, 10))):
            data[place] ^= int(rng.integers(1, 256))
    elif kind == 2:
        data[at : at + int(rng.integers(1, 5000))] = bytes(min(len(data) - at, 100))
    elif kind == 3:
        del data[max(at, 1) :]
    elif kind == 4:
        other = int(rng.integers(len(data)))
        data[at : at + 64], data[other : other + 64] = data[other : other + 64], data[at : at + 64]
    else:
        data[at:at] = data[max(0, at - 200) : at]
    return bytes(data)


def run_corpus(source: Path, folder: Path, count: int, seconds: float = 2.0) -> dict[str, int]:
    """Look at damaged copies: how many opened, got a sentence, crashed HDF5, or hung it for longer than `seconds`."""
    rng = np.random.default_rng(count)
    content, path = source.read_bytes(), folder / "damaged.h5"
    tally = {"opened": 0, "sentence": 0, "crashed": 0, "hung": 0}
    looker = Looker()
    for _ in range(count):
        path.write_bytes(damaged(content, rng))
        try:
            answer = looker.look(path, seconds)
        except TimeoutError:
            answer, what = None, "hung"
        else:
            what = "crashed" if answer is None else "sentence" if answer else "opened"
        assert answer is None or "\n" not in answer
        tally[what] += 1
        if answer is None:
            shutil.copy(path, folder / f"{what}{tally[what]}.h5")
            looker.stop()
            looker = Looker()
    looker.stop()
    return tally


def test_damaged_copies_open_in_part_or_get_a_sentence(tiny: Path, tmp_path: Path) -> None:
    tally = run_corpus(tiny, tmp_path, int(os.environ.get("PI0_DAMAGED", "300")))
    assert tally["opened"] > 0
    assert tally["sentence"] > 0
    # HDF5 itself may crash or hang on a torn file; that is why another process looks first (see below).
    assert tally["crashed"] + tally["hung"] <= sum(tally.values()) // 50
    for path in [*tmp_path.glob("hung*.h5"), *tmp_path.glob("crashed*.h5")]:
        assert Probe(path).wait(), "the window says a sentence, as HDF5 is ended before two seconds of work"


def test_reading_that_goes_in_circles_is_ended(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def circles(path: Path) -> str:
        while True:
            sum(range(1000))

    monkeypatch.setattr(probes, "look", circles)
    monkeypatch.setattr(probes, "CPU_SECONDS", 0.1)
    if sys.platform == "win32":
        pytest.skip("the system has no timer of a process's work")
    assert "round in circles" in probes.ForkedProbe(tiny).wait()


def test_the_probe_says_what_is_wrong(tiny: Path, tmp_path: Path) -> None:
    assert Probe(tiny).wait() == ""
    (tmp_path / "x.h5").write_bytes(b"hello")
    assert "is not an HDF5 file" in Probe(tmp_path / "x.h5").wait()


def test_the_first_probe_is_a_copy_of_the_process(tiny: Path, tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from viewer.probe import early; p = early(Path(sys.argv[1])); "
    script += "print(type(p).__name__, repr(p.wait()))"
    for path, words in ((tiny, "''"), (tmp_path / "none.h5", "There is no file")):
        command = [sys.executable, "-c", script, str(path)]
        out = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=True)
        assert words in out.stdout
        assert ("ForkedProbe" in out.stdout) == (sys.platform == "linux")


def test_a_probe_that_dies_or_hangs_is_a_sentence(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viewer.probe.sys.executable", shutil.which("false") or "/bin/false")
    assert "damaged so badly" in Probe(tiny).wait()
    monkeypatch.undo()
    monkeypatch.setattr("viewer.probe.SECONDS", 0.0)
    assert "took too long" in Probe(tiny).wait()


def test_a_followed_file_is_opened_anew_when_reading_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 says “can't insert duplicate key” at every read of such a handle, once it has begun to."""
    path = make_results.write(tmp_path / "a.h5.partial", make_results.Recipe(done=2, complete=False))
    plain = datasets.read

    def read(dataset: h5py.Dataset, index: datasets.Index) -> object:
        if dataset.file.id == first:
            raise OSError("Can't synchronously read data (can't insert duplicate key)")
        return plain(dataset, index)

    results = Results(path)
    first = results._file.id
    monkeypatch.setattr("viewer.results.read", read)
    assert results.column(1, "text", 2, 3).shape == (1, 3, 2, 16, 16)
    assert results.done == 2
    results.close()
