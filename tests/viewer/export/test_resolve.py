"""Requests: resolved once against the open file, complete, and the same in other processes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import h5py
import pytest
from export_driver import open_export, plan_export
from paths import ROOT

from viewer.export.__main__ import main
from viewer.export.plan import build_plan
from viewer.export.request import Comparison
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

    from viewer.io.results import Results

COMMANDS = ("summary --layers 1 --phase prefix", "atlas --phase prefix", "video --words duck --format gif --size 64",
            "table --layers 1 --heads 0", "arrays --layers 1 --heads 0")  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS)
def test_command_opens_its_file_once(
    app: QApplication, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    """The probe reads the file before, in a process of its own."""
    opened: list[str] = []

    class CountedFile(h5py.File):
        def __init__(self, name: object, *arguments: object, **options: object) -> None:
            opened.append(str(name))
            super().__init__(name, *arguments, **options)

    monkeypatch.setattr(h5py, "File", CountedFile)
    kind, *options = words.split()
    assert main([kind, str(small), *options, "-o", str(tmp_path)]) == 0
    assert opened == [str(small)]


@pytest.mark.parametrize("kind", ["table", "table --format parquet", "arrays"])
def test_numbers_are_exported_without_qt(small: Path, tmp_path: Path, kind: str) -> None:
    if "parquet" in kind:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: no Parquet is written")
    words = [*kind.split(), "--layers", "1"]
    words.insert(1, str(small))
    code = (
        "import sys\n"
        "class RefuseQt:\n"
        "    def find_spec(self, name, *rest):\n"
        "        if name.partition('.')[0] in {'PySide6', 'shiboken6', 'cv2'}:\n"
        "            raise ModuleNotFoundError(f'No module named {name}')\n"
        "sys.meta_path.insert(0, RefuseQt())\n"
        "from viewer.export.__main__ import main\n"
        f"sys.exit(main({[*words, '-o', str(tmp_path)]!r}))\n"
    )
    completed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stderr) == (0, "")
    assert len(list((tmp_path / "small").iterdir())) == 1


@pytest.mark.parametrize(
    "words", [*COMMANDS, "difference --against layer=0 frame=2 word=bowl", "film --over layers-frames", "heads"]
)
def test_request_is_the_same_after_pickling(small: Path, words: str) -> None:
    kind, *options = words.split()
    with open_export(kind, str(small), *options) as export:
        request = export.plan.request
        sent = pickle.loads(pickle.dumps(request))
        assert sent == request
        assert build_plan(export.source, sent) == export.plan
        assert hash(request) == hash(sent)


def test_request_holds_positions_and_queries_of_every_frame(results: Results) -> None:
    request = plan_export(results, "table --frames 0,2 --layers 1-2 --steps last --words duck --heads 2").request
    assert (request.frames, request.layers, request.steps, request.heads) == ((0, 2), (1, 2), (2,), (2,))
    assert [queries.phase for queries in request.queries] == ["prefix"]
    labels = [
        [results.chips(frame)[item].label for named in named_queries for item in named.query.items]
        for frame, named_queries in zip(request.frames, request.queries[0].by_frame, strict=True)
    ]
    assert labels == [["duck"], ["duck"]]


def test_comparison_holds_positions(results: Results) -> None:
    request = plan_export(results, "difference --against frame=2 layer=1 head=0-1 action=1 reduce=max").request
    assert request.comparison == Comparison(frame=2, layer=1, heads=(0, 1), actions=(1,), reduce="max")


def test_view_is_fitted_to_the_file(results: Results) -> None:
    view = ViewState(frame=99, query=Query("action", (99,)), layer=99, step=99)
    request = plan_export(results, "summary", "--view", view.to_json()).request
    assert (request.frames, request.layers, request.steps) == ((2,), (3,), (2,))
    assert request.queries[0].by_frame[0][0].query == Query("action", (4,))


def test_caption_of_a_head_claims_a_shared_scale_only_if_it_is_shared(app: QApplication, small: Path) -> None:
    texts = {}
    for name in ("shared", "map"):
        with open_export("heads", str(small), "--view", ViewState(range=name).to_json()) as export:
            texts[name] = export.renderer.create_figure(export.plan.files[0]).title
    assert "one scale for all heads of this layer" in texts["shared"]
    assert "one scale for all heads" not in texts["map"]
