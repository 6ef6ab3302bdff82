"""A small run, with and without a summary."""

import shutil

import make_run
import pytest
from run_summaries import SMALL, build


@pytest.fixture(scope="module")
def small_run(tmp_path_factory):
    return make_run.write(tmp_path_factory.mktemp("made") / "runs", 3, **SMALL)


@pytest.fixture(scope="module")
def summarised_run(small_run, tmp_path_factory):
    folder = shutil.copytree(small_run, tmp_path_factory.mktemp("summarised") / "runs")
    build(folder)
    return folder


@pytest.fixture
def folder(small_run, tmp_path):
    """A run without a summary."""
    return shutil.copytree(small_run, tmp_path / "runs")


@pytest.fixture
def copied_summary(summarised_run, tmp_path):
    """A run with a summary of SUBJECT."""
    return shutil.copytree(summarised_run, tmp_path / "runs")
