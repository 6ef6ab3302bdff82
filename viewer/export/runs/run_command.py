"""`pi0-export run`: figures and tables of an answer over all episodes of a run."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from capture import __version__
from viewer.errors import UserError
from viewer.export import atomic_write, cancellation, metadata
from viewer.export.selection import create_slug
from viewer.file_argument import file_location
from viewer.io import run_index
from viewer.model.plain_text import format_csv_cell
from viewer.runs import run_table
from viewer.runs.database import DamagedSummaryError
from viewer.runs.query import OBJECT, RUN_SCORES, RunQuery, is_actions
from viewer.runs.run_sentence import describe_atlas, explain_no_contrast, join_phrases
from viewer.runs.run_view import RunView, parse_run_view

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from viewer.export.runs.run_figure import RunAnswer
    from viewer.io.run_index import Run
    from viewer.runs.summary import RunSummary

KIND: Final = "run"
TITLE: Final = "an answer over all episodes of a run: layers x heads, success against failure, one head over time"
FORMATS: Final = ("png", "jpg", "pdf", "svg", "csv")
EPILOG: Final = (
    "The first question about words or actions and a region reads every episode once; what was read is kept in the "
    "run’s folder, so that others are answered at once. Intervals are over episodes, because frames of one episode are "
    "not independent."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command to its parser."""
    parser.add_argument("run", type=file_location, help="the folder of a run, or its index.json")
    parser.add_argument(
        "-o",
        dest="folder",
        type=Path,
        default=Path("results"),
        metavar="FOLDER",
        help="where to write; a folder named after the run is made in it (results)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that exist")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default=FORMATS[0],
        help="png by default; csv writes a table of heads, one of episodes and one over time",
    )
    _add_question(parser)
    parser.add_argument(
        "--processes", type=int, default=0, metavar="N", help="how many read episodes at once; one per core"
    )
    _add_appearance(parser)


def _add_question(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("question", "the default stands after the semicolon")
    group.add_argument(
        "--view",
        default="",
        metavar="JSON",
        help="start from a view: “Copy view as command” on the Run page, or a figure’s file",
    )
    group.add_argument("--score", choices=RUN_SCORES, default=None, help="what the heads are scored by; lift")
    group.add_argument(
        "--words", default=None, metavar="TEXT", help=f"words of the prompts; {OBJECT}, which each prompt names"
    )
    group.add_argument("--actions", default=None, metavar="N", help="action tokens in place of words: 3, 0-4 or all")
    group.add_argument(
        "--region",
        default=None,
        metavar="BOX|NAME",
        help=f"a region that pi0-regions made, or boxes such as exterior:4-7,8-11; {OBJECT}",
    )
    group.add_argument(
        "--objects",
        type=Path,
        metavar="FILE",
        help=f"what {OBJECT} stands for: JSON or YAML that maps a prompt to words of it (default: objects.json or "
        "objects.yaml in the run’s folder, that of the last time, or the named region that the prompt mentions)",
    )
    group.add_argument("--step", type=int, default=None, metavar="N", help="a denoise step; the mean of all")
    group.add_argument("--prompt", action="append", default=None, metavar="TEXT", help="frames with this prompt; all")
    group.add_argument("--outcome", choices=("success", "failure"), default=None, help="episodes that ended so; all")
    group.add_argument(
        "--frames", default=None, metavar="N-N", help="frames by number, or a part of each episode such as 0-50%%; all"
    )
    group.add_argument("--compare", action="store_true", help="success minus failure")
    group.add_argument(
        "--head",
        default=None,
        metavar="LAYER,HEAD",
        help="the head that is shown over episodes and time; the most telling one",
    )


def _add_appearance(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("appearance")
    group.add_argument("--size", type=int, default=46, metavar="PX", help="width of a cell (46)")
    group.add_argument("--scale", type=float, default=2.0, metavar="N", help="pixels per px, for PNG and JPG (2)")
    group.add_argument("--theme", choices=("light", "dark"), default="light", help="colours of the page")
    group.add_argument("--caption", action=argparse.BooleanOptionalAction, default=True, help="the sentences under it")


def create_view(options: argparse.Namespace) -> RunView:
    """Return what is asked: the view that is started from, and what the options change in it.

    Raises:
        UserError: An option cannot be read, or the view is not one of a run.
    """
    view = RunView()
    if options.view:
        stored_view = parse_run_view(metadata.read_view_json(options.view))
        if stored_view is None:
            raise UserError("This view is of an episode, not of a run; copy one from the Run page.")
        view = stored_view
    query = replace(view.query, **_parse_changes(options, view.query))
    if not 0 <= options.processes <= 256:
        raise UserError(f"--processes {options.processes} cannot be; take between 1 and 256.")
    problem = query.find_problem()
    if problem:
        raise UserError(problem)
    cell = {} if options.head is None else _parse_head(options.head)
    return replace(view, query=query, is_contrast=view.is_contrast or options.compare, **cell)


def _parse_changes(options: argparse.Namespace, query: RunQuery) -> dict[str, Any]:
    from viewer.runs.query_text import parse_frames

    changes: dict[str, Any] = {}
    for name in ("score", "words", "region", "step"):
        value = getattr(options, name)
        if value is not None:
            changes[name] = value
    if options.words is not None:
        changes["actions"] = ""
    if options.actions is not None:
        if not options.actions or not is_actions(options.actions):
            raise UserError(f"--actions {options.actions[:40]} cannot be read; write 3, 0-4 or all.")
        changes["actions"] = options.actions
    if options.prompt is not None:
        changes["prompts"] = tuple(options.prompt)
    if options.step is not None and not changes.get("actions", query.actions):
        raise UserError(f"--step {options.step} is of no use for words, which have one pass; add --actions.")
    if options.outcome is not None and options.compare:
        raise UserError(f"--outcome {options.outcome} leaves nothing to compare; leave out --outcome or --compare.")
    if options.outcome is not None:
        changes["outcomes"] = (options.outcome,)
    if options.frames is not None:
        frame_changes = parse_frames(options.frames)
        if frame_changes is None:
            raise UserError(f"--frames {options.frames[:40]} cannot be read; write all, 0-20, or 0-50%.")
        changes |= frame_changes
    if options.region == "" and "score" not in changes and query.score in {"lift", "region", "hit", "iou"}:
        changes["score"] = "picture"
    return changes


def _parse_head(text: str) -> dict[str, int]:
    layer, _, head = text.replace(" ", "").partition(",")
    if not (layer.isdecimal() and head.isdecimal()):
        raise UserError(f"--head {text[:40]} cannot be read; write layer and head by number, such as 12,4.")
    return {"layer": int(layer), "head": int(head)}


def export(options: argparse.Namespace, report: Callable[[int, int], None]) -> list[Path]:
    """Write what a command line asks for; `report` counts the episodes that are read first.

    Raises:
        UserError: It cannot be answered or written.
    """
    view = create_view(options)
    run = run_index.read_run(options.run)
    summary = prepare_summary(run, view, report, options.objects, options.processes)
    try:
        answer = find_answer(summary, view)
    except DamagedSummaryError:
        summary.forget()
        summary = prepare_summary(run, view, report, options.objects, options.processes)
        answer = find_answer(summary, view)
    finally:
        summary.close()
    name = create_slug(run.name)
    folder = options.folder / name
    stem = name_file(answer)
    if options.format == "csv":
        return write_tables(answer, run, folder, stem, overwrite=options.overwrite)
    path = folder / f"{stem}.{options.format}"
    if path.exists() and not options.overwrite:
        raise UserError(f"{path} exists; add --overwrite to replace, or choose another folder with -o.")
    content = encode_figure(answer, run, options)
    atomic_write.write_bytes(path, content, overwrite=options.overwrite)
    return [path]


def prepare_summary(
    run: Run, view: RunView, report: Callable[[int, int], None], objects: Path | None = None, processes: int = 0
) -> RunSummary:
    """Return the summary that answers a view, made or brought up to date first; the rest is as for `build`.

    Raises:
        UserError: It cannot be made, or no episode has what is asked for.
    """
    from viewer.export.runs import build_summary
    from viewer.runs.database import find_missing
    from viewer.runs.summary import RunSummary

    missing = find_missing()
    if missing:
        raise UserError(missing)
    subject = view.resolved_query.subject
    build_summary.build(
        run, [subject], objects, lambda progress: report(progress.done, progress.total), processes=processes
    )
    summary = RunSummary.open(run, subject)
    if summary is None or not summary.episodes:
        left_out = summary.left_out if summary is not None else ()
        reason = next((episode.reason for episode in left_out if episode.reason), "It holds no finished episode.")
        raise UserError(f"No episode of {run.name} has what is asked for. {reason}")
    return summary


def find_answer(summary: RunSummary, view: RunView) -> RunAnswer:
    """Return the answer to a view, with the head that it names or else the most telling one."""
    from viewer.export.runs.run_figure import RunAnswer
    from viewer.runs.first_cell import find_first_cell

    query = view.resolved_query
    atlas = summary.atlas(query)
    if view.is_contrast and atlas.contrast is None:
        raise UserError(f"{explain_no_contrast(atlas)} The run’s index.json says whether an episode succeeded.")
    if not atlas.has_values:
        raise UserError(" ".join(["No episode has a value for this question.", *atlas.notes]))
    if view.cell is None:
        layer, head = find_first_cell(atlas) or (0, 0)
        view = replace(view, layer=layer, head=head)
    layer, head = view.cell or (0, 0)
    return RunAnswer(view, atlas, summary.distribution(query, layer, head), summary.curve(query, layer, head))


def name_file(answer: RunAnswer) -> str:
    """Return the name of a figure's file without its ending."""
    query, cell = answer.view.query, answer.view.cell
    who = f"actions {query.actions}" if query.actions else query.words.replace(OBJECT, "object")
    parts = [query.score, who, *(["success-failure"] if answer.is_contrast else [])]
    parts += [f"layer{cell[0]}-head{cell[1]}"] if cell is not None else []
    return create_slug("-".join(parts))


def encode_figure(answer: RunAnswer, run: Run, options: argparse.Namespace) -> bytes:
    """Return the bytes of a figure's file."""
    from viewer.export import process_pool

    process_pool.load_qt()
    from viewer.export.figures.figure import THEMES
    from viewer.export.renderer import ensure_application
    from viewer.export.runs.run_figure import build_run_figure
    from viewer.rendering import theme

    ensure_application()
    previous = theme.active()
    theme.paint_with(THEMES[options.theme])
    try:
        figure = build_run_figure(answer, run.name, caption=options.caption, cell_width=float(options.size))
        return figure.encode(options.format, options.scale)
    finally:
        theme.paint_with(previous)


def write_tables(answer: RunAnswer, run: Run, folder: Path, stem: str, *, overwrite: bool) -> list[Path]:
    """Write tables of heads, episodes and time, and what they answer as JSON; return the paths."""
    files: list[tuple[Path, str]] = [
        (
            folder / f"{stem}-heads.csv",
            _format_csv(run_table.list_atlas_rows(answer.atlas, is_contrast=answer.is_contrast)),
        )
    ]
    if answer.distribution is not None:
        files.append((folder / f"{stem}-episodes.csv", _format_csv(run_table.list_episode_rows(answer.distribution))))
    if answer.curve is not None:
        files.append((folder / f"{stem}-time.csv", _format_csv(run_table.list_curve_rows(answer.curve))))
    files.append((folder / f"{stem}.json", _describe_answer(answer, run)))
    for path, _ in files:
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists; add --overwrite to replace, or choose another folder with -o.")
    for path, text in files:
        atomic_write.write_bytes(path, text.encode(), overwrite=overwrite)
    return [path for path, _ in files]


def _format_csv(table: run_table.Table) -> str:
    names, rows = table
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(map(format_csv_cell, names))
    for row in rows:
        writer.writerow([f"{cell:.7g}" if isinstance(cell, float) else format_csv_cell(cell) for cell in row])
    return text.getvalue()


def _describe_answer(answer: RunAnswer, run: Run) -> str:
    """Return what the tables answer: the question in words and as a query, the counts, and the view that shows it."""
    groups = answer.atlas.groups or (answer.atlas.all,)
    value = {
        "description": join_phrases(describe_atlas(answer.atlas, is_contrast=answer.is_contrast)),
        "run": run.name,
        "query": asdict(answer.atlas.query),
        "layer": answer.view.layer,
        "head": answer.view.head,
        "groups": [
            {
                "name": group.name,
                "episodes": int(group.episodes.max(initial=0)),
                "frames": int(group.frames.max(initial=0)),
            }
            for group in groups
        ],
        "view": json.loads(answer.view.to_json()),
        "version": __version__,
    }
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def main(words: Sequence[str], parser: argparse.ArgumentParser, *, as_json: bool) -> int:
    """Run the command; return 0. UserError and `cancellation.Cancelled` are the caller's.

    `as_json`: write progress and the result as lines of JSON, for the window.
    """
    from viewer.export.progress import ProgressReporter

    options = parser.parse_args(words)
    progress = ProgressReporter("episodes", as_json=as_json)

    def report(done: int, total: int) -> None:
        progress.report(done, total)
        cancellation.check()

    try:
        paths = export(options, report)
    finally:
        progress.close()
    if as_json:
        written = {"written": len(paths), "folder": str(paths[0].parent), "first": str(paths[0])}
        sys.stdout.write(json.dumps(written) + "\n")
        sys.stdout.flush()
    else:
        sys.stdout.writelines(f"{path}\n" for path in paths)
    return 0
