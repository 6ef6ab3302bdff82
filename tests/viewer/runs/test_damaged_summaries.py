"""Damaged lists and data of a summary give a sentence or are rebuilt; links and rows that do not fit are left out."""

import json
import shutil

import numpy as np
import pyarrow.parquet
import pytest
from run_summaries import SUBJECT, answer, build

from viewer.errors import UserError
from viewer.io import run_index
from viewer.runs import summary_files
from viewer.runs.summary import RunSummary


@pytest.mark.parametrize(
    "change",
    [
        {"layers": [0, 0]}, {"heads": 10**9}, {"layers": "all"}, {"parts": 7}, {"format": "other"}, {"subject": {}},
        {"episodes": [{"file": "a", "data": "../../other.parquet"}]}, {"next_number": -1}, {"format_version": [9, 0]},
    ],
)  # fmt: skip
def test_invalid_list_counts_as_missing(summarised_run, tmp_path, change):
    [path] = (summarised_run / "summary").glob("*/summary.json")
    (tmp_path / "summary.json").write_text(json.dumps(json.loads(path.read_text()) | change))
    assert summary_files.read_list(path.parent) is not None
    assert summary_files.read_list(tmp_path) is None


def test_damaged_list_is_rebuilt(copied_summary):
    before = answer(copied_summary).all.mean
    [path] = (copied_summary / "summary").glob("*/summary.json")
    path.write_text(path.read_text()[:-20])
    assert RunSummary.open(run_index.read_run(copied_summary), SUBJECT) is None
    assert build(copied_summary)[0].done == 0
    np.testing.assert_array_equal(answer(copied_summary).all.mean, before)


def test_damaged_data_are_a_sentence(copied_summary):
    [data] = (copied_summary / "summary").glob("*/*.parquet")
    data.write_bytes(data.read_bytes()[:-200])
    with pytest.raises(UserError, match="The summary of the run cannot be read"):
        answer(copied_summary)
    other_file = copied_summary.parent / "other.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1]}), other_file)
    shutil.copy(other_file, data)
    with pytest.raises(UserError, match="The summary of the run cannot be read"):
        answer(copied_summary)


def test_links_and_rows_that_do_not_fit_are_left_out(copied_summary):
    [data] = (copied_summary / "summary").glob("*/*.parquet")
    table = pyarrow.parquet.read_table(data)
    wrong = [table.set_column(table.schema.get_field_index(name), name, pyarrow.array(np.full(len(table), value, type_)))
             for name, value, type_ in (("episode", 77, np.int32), ("episode", -1, np.int32), ("prompt", 50, np.int32),
                                        ("layer", 900, np.int16), ("head", -3, np.int16))]  # fmt: skip
    before = answer(copied_summary).all.mean
    pyarrow.parquet.write_table(pyarrow.concat_tables([table, *(rows.cast(table.schema) for rows in wrong)]), data)
    np.testing.assert_array_equal(answer(copied_summary).all.mean, before)
    data.rename(copied_summary / "elsewhere.parquet")
    data.symlink_to(copied_summary / "elsewhere.parquet")
    assert not answer(copied_summary).has_values


def test_folder_name_with_wildcards_and_quotes_is_read(summarised_run, tmp_path):
    folder = shutil.copytree(summarised_run, tmp_path / "it's [1]*" / "runs?")
    assert answer(folder).all.episodes.max() == 3
