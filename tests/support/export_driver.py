"""Plans and paints exports in tests from the words of a command line."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from viewer.export import cli
from viewer.export.__main__ import main
from viewer.export.plan import ExportPlan, build_plan
from viewer.export.renderer import FigureRenderer
from viewer.export.resolve.request_resolver import resolve_request
from viewer.export.scenes import ExportSource

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from viewer.io.results import Results


def refuse(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the sentence with which `pi0-export` ends with code 2."""
    assert main(list(words)) == 2
    return capsys.readouterr().err.strip()


@dataclass(frozen=True)
class Export:
    """An export of open files, ready to be painted."""

    plan: ExportPlan
    renderer: FigureRenderer

    @property
    def source(self) -> ExportSource:
        return self.renderer.source


@contextlib.contextmanager
def open_export(*words: str) -> Iterator[Export]:
    """Open the files of a command line, kind first, and plan it."""
    arguments = cli.parse_arguments(words)
    with ExportSource.open(arguments.file, arguments.other) as source:
        plan = build_plan(source, resolve_request(source, arguments))
        with FigureRenderer(source, plan.request) as renderer:
            yield Export(plan, renderer)


def plan_export(results: Results, words: str, *more: str) -> ExportPlan:
    """Plan an export of one open file: `words` are the kind and options without spaces in them."""
    kind, *options = words.split()
    source = ExportSource(results)
    return build_plan(source, resolve_request(source, cli.parse_arguments([kind, str(results.path), *options, *more])))
