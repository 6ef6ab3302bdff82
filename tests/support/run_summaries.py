"""Summaries of a small run, made and asked in tests."""

from __future__ import annotations

from viewer.export.runs import build_summary
from viewer.io import run_index
from viewer.runs.query import RunQuery
from viewer.runs.summary import RunSummary

SMALL = {"frames": 2, "layers": 2, "heads": 2, "steps": 2, "horizon": 2, "size": (36, 64)}
QUERY = RunQuery(score="picture", words="the", region="")
SUBJECT = QUERY.subject


def build(folder, *subjects, processes=2, **options):
    """Make the summaries of a run, of SUBJECT unless others are named; return what was reported."""
    reports = []
    run = run_index.read_run(folder)
    build_summary.build(run, subjects or [SUBJECT], None, reports.append, processes=processes, **options)
    return reports


def answer(folder, query=QUERY):
    """Return the table of heads that answers a query about a run."""
    return RunSummary.open(run_index.read_run(folder), query.subject).atlas(query)
