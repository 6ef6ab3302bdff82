"""Arguments of pi0-export for what the export form shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from viewer.analysis import scores
from viewer.export.request import FORMATS
from viewer.io.effects_names import find_effects_files
from viewer.regions.file_versions import default_path
from viewer.widgets.overlays.export_rows import FIGURES, OPTION

if TYPE_CHECKING:
    from viewer.controllers.session import Session
    from viewer.widgets.overlays.export_form import ExportForm


def list_arguments(form: ExportForm) -> list[str]:
    """Return the arguments of pi0-export, the kind first."""
    session, kind = form.session, form.kind
    assert session.path is not None
    arguments = [kind, str(session.path.absolute()), "--view", session.state.to_json()]
    arguments += ["-o", str(Path(form.folder.text().strip() or ".").expanduser().absolute())]
    arguments += _list_effects_options(session)
    if session.other is not None and (kind == "difference" or session.state.compare == "difference"):
        arguments += ["--other", str(session.other.path.absolute())]
    if len(FORMATS[kind]) > 1:
        arguments += ["--format", form.values["format"]]
    for name, option in OPTION.items():
        value = form.shown_value(name)
        if value and (name, value) != ("range", "locked"):  # the view has the locked range
            arguments += [option, value]
    if form.shown_value("queries") == "both":
        arguments += ["--phase", "prefix", "suffix"]
    if reduction := form.shown_value("reduce"):
        arguments += ["--reduce", *(("mean", "max") if reduction == "both" else (reduction,))]
    if kind == "atlas":
        is_small = form.values["score"] == "maps"
        arguments += ["--thumbnails"] if is_small else ["--no-thumbnails", "--score", form.values["score"]]
    if kind in FIGURES and form.values["caption"] == "none":
        arguments.append("--no-caption")
    arguments += _list_region_options(form)
    if form.replaces:
        arguments.append("--overwrite")
    return arguments


def _list_effects_options(session: Session) -> list[str]:
    """Return the option that names the open effects files; empty where pi0-export finds the same ones by itself."""
    results = session.results
    paths = [] if results is None else [effects.path.absolute() for effects in results.effects]
    if results is None or paths == [path.absolute() for path in find_effects_files(results.path)][: len(paths)]:
        return []
    return ["--effects", *map(str, paths)]


def _list_region_options(form: ExportForm) -> list[str]:
    """Return the options that name the chosen region, where it is scored, and its file, if that is elsewhere."""
    session, state = form.session, form.session.state
    score = {"atlas": form.values["score"], "wall": form.values["sorted"]}.get(form.kind)
    is_scored = form.kind == "table" or (score in scores.SCORES and scores.find_score(str(score)).needs_region)
    if not state.region_name or session.regions is None or not is_scored:
        return []
    path, results = session.regions.path, session.path
    is_beside = path is None or not isinstance(results, Path) or path == default_path(results.absolute())
    return ["--region", state.region_name, *([] if is_beside else ["--regions", str(path)])]
