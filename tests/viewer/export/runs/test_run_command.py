"""`pi0-export run`: figures and tables of an answer over all episodes."""

import csv
import errno
import json
import sys

import make_run
import pytest
from planted_run import BOX, EPISODES, FRAMES, HEADS, LAYERS, PLANTED, write_planted_run

from viewer.errors import NotWrittenError
from viewer.export import metadata
from viewer.export.__main__ import main
from viewer.export.runs import build_summary, find_frame
from viewer.io import run_index
from viewer.runs.query import RunQuery
from viewer.runs.run_view import RunView, parse_run_view
from viewer.runs.summary import RunSummary

QUERY = RunQuery("region", "duck", region=BOX)
ASK = ["--score", "region", "--words", "duck", "--region", BOX]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_planted_run(tmp_path_factory.mktemp("planted") / "planted")


@pytest.fixture
def run_as_working_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return str(folder)


def read_csv(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_tables_hold_the_numbers_of_the_summary_and_what_they_answer(run_as_working_folder, folder, tmp_path, capsys):
    assert main(["run", run_as_working_folder, *ASK, "--compare", "--format", "csv", "-o", "out"]) == 0
    stem = f"out/planted/region-duck-success-failure-layer{PLANTED[0]}-head{PLANTED[1]}"
    names = [f"{stem}{end}" for end in ("-heads.csv", "-episodes.csv", "-time.csv", ".json")]
    assert capsys.readouterr().out.split() == names
    view = RunView(QUERY, is_contrast=True)
    summary = RunSummary.open(run_index.read_run(folder), QUERY.subject)
    atlas, curve = summary.atlas(view.resolved_query), summary.curve(view.resolved_query, *PLANTED)
    rows = read_csv(tmp_path / names[0])
    assert len(rows) == LAYERS * HEADS
    row = rows[PLANTED[0] * HEADS + PLANTED[1]]
    assert (row["layer"], row["head"]) == (str(PLANTED[0]), str(PLANTED[1]))
    assert float(row["difference"]) == pytest.approx(atlas.contrast.difference[PLANTED], rel=1e-6)
    assert float(row["q"]) == pytest.approx(atlas.contrast.q[PLANTED], rel=1e-6)
    assert (row["success episodes"], row["failure frames"]) == ("4", "16")
    episodes = read_csv(tmp_path / names[1])
    assert [episode["outcome"] for episode in episodes] == ["success"] * 4 + ["failure"] * 4
    times = read_csv(tmp_path / names[2])
    assert [float(row["time"]) for row in times] == pytest.approx(curve.times.tolist())
    assert float(times[0]["success mean"]) == pytest.approx(curve.groups[0].mean[0], rel=1e-6)
    description = json.loads((tmp_path / names[3]).read_text())
    assert description["description"].startswith(
        f"Mass in {BOX} for “duck”: mean of 4 successes minus mean of 4 failures, 32 "
    )
    assert description["groups"] == [
        {"name": "success", "episodes": 4, "frames": 16}, {"name": "failure", "episodes": 4, "frames": 16},
    ]  # fmt: skip
    assert parse_run_view(json.dumps(description["view"])) == RunView(QUERY, True, *PLANTED)


@pytest.mark.parametrize("kind", ["png", "jpg", "pdf", "svg"])
def test_figure_carries_the_view_that_it_shows(run_as_working_folder, tmp_path, kind):
    assert main(["run", run_as_working_folder, *ASK, "--format", kind, "-o", "out"]) == 0
    path = tmp_path / f"out/planted/region-duck-layer{PLANTED[0]}-head{PLANTED[1]}.{kind}"
    view = parse_run_view(metadata.read_view_json(str(path)))
    assert view == RunView(QUERY, False, *PLANTED)
    assert path.stat().st_size > 5000


def test_figure_is_written_again_from_its_view(run_as_working_folder, tmp_path):
    main(["run", run_as_working_folder, *ASK, "--head", "2,1", "--frames", "0-50%", "-o", "one", "--format", "svg"])
    first = next((tmp_path / "one").rglob("*.svg"))
    assert first.name == "region-duck-layer2-head1.svg"
    assert main(["run", run_as_working_folder, "--view", str(first), "-o", "two", "--format", "svg"]) == 0
    assert next((tmp_path / "two").rglob("*.svg")).read_bytes() == first.read_bytes()


def test_caption_of_a_figure_names_question_counts_and_run(run_as_working_folder, tmp_path):
    main(["run", run_as_working_folder, *ASK, "-o", "out", "--format", "svg"])
    text = next((tmp_path / "out").rglob("*.svg")).read_text()
    for words in (
        "“duck”:",
        f"mean over {EPISODES} episodes",
        f"{EPISODES * FRAMES} frames",
        "bootstrap",
        "Run planted.",
    ):
        assert words in text.replace("\n", " "), words


def test_curves_of_a_figure_have_a_legend(run_as_working_folder, tmp_path):
    main(["run", run_as_working_folder, *ASK, "--compare", "--no-caption", "-o", "out", "--format", "svg"])
    text = next((tmp_path / "out").rglob("*.svg")).read_text()
    assert [text.count(f">{name}<") for name in ("success", "failure")] == [2, 2], "of the strips and of the curves"
    assert ">mean and 95 % interval over episodes<" in text


def test_existing_figure_is_replaced_only_when_asked(run_as_working_folder, capsys):
    assert main(["run", run_as_working_folder, *ASK, "-o", "out"]) == 0
    assert main(["run", run_as_working_folder, *ASK, "-o", "out"]) == 2
    assert "exists; add --overwrite to replace" in capsys.readouterr().err
    assert main(["run", run_as_working_folder, *ASK, "-o", "out", "--overwrite"]) == 0


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            ["--words", "elephant"],
            "No episode of planted has what is asked for. There is no word “elephant” in frame 0",
        ),
        (["--region", ""], "needs a region; name one"),
        (["--score", "change"], "words have one pass; take actions"),
        (["--head", "x"], "--head x cannot be read; write layer and head by number, such as 12,4."),
        (["--head", "9,0"], "The run has no head 0 in layer 9."),
        (["--frames", "9-2"], "--frames 9-2 cannot be read; write all, 0-20, or 0-50%."),
        (["--processes", "-1"], "--processes -1 cannot be; take between 1 and 256."),
        (["--objects", "none.json"], "none.json cannot be read (No such file or directory); check the path."),
        (["--actions", "x"], "--actions x cannot be read; write 3, 0-4 or all."),
        (["--view", '{"frame":1}'], "This view is of an episode, not of a run; copy one from the Run page."),
        (["--prompt", "sing"], "No episode has a value for this question."),
        (["--step", "1"], "--step 1 is of no use for words, which have one pass; add --actions."),
        (
            ["--compare", "--outcome", "success"],
            "--outcome success leaves nothing to compare; leave out --outcome or --compare.",
        ),
        (["--actions", "all", "--step", "7"], "There is no denoise step 7; those that were recorded are 0, 1."),
        (["--actions", "0-9"], "The file has no actions 0-9, but actions 0 to 1."),
        (["--region", "cup"], f"{EPISODES} of them have no value: there is no such region in these frames."),
    ],
)
def test_query_without_an_answer_gets_one_sentence(run_as_working_folder, capsys, options, sentence):
    assert main(["run", run_as_working_folder, *ASK, *options]) == 2
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("pi0-export: ") == 1  # beside progress, where it is slow


@pytest.mark.parametrize(
    ("outcomes", "sentence"),
    [
        ((True, True), "There is nothing to compare: no failures among these episodes. "),
        ((False, None), "There is nothing to compare: no successes among these episodes. "),
        ((None, None), "There is nothing to compare: no successes and no failures among these episodes. "),
    ],
)
def test_missing_outcome_of_a_comparison_is_named(tmp_path, capsys, outcomes, sentence):
    folder = write_planted_run(tmp_path / "planted", 2)
    entries = [make_run.make_entry(number, frames=FRAMES, success=value) for number, value in enumerate(outcomes)]
    make_run.write_index(folder, entries)
    assert main(["run", str(folder), *ASK, "--compare", "-o", str(tmp_path), "--processes", "1"]) == 2
    assert sentence in capsys.readouterr().err


def test_damaged_summary_is_made_anew(tmp_path):
    folder = write_planted_run(tmp_path / "planted", 2)
    ask = ["run", str(folder), *ASK, "--format", "csv", "--processes", "1", "-o"]
    assert main([*ask, str(tmp_path / "one")]) == 0
    for path in (folder / "summary").rglob("data-*.parquet"):
        path.write_bytes(b"PAR1" + bytes(100))
    assert main([*ask, str(tmp_path / "two")]) == 0
    first, second = (next((tmp_path / name).rglob("*-heads.csv")).read_text() for name in ("one", "two"))
    assert first == second


def test_summary_that_cannot_be_kept_is_one_sentence(tmp_path, capsys, monkeypatch):
    def fail(path, content, *, overwrite):
        raise NotWrittenError(f"{path} cannot be written; choose another folder with -o.") from OSError(
            errno.ENOSPC, "No space left on device"
        )

    folder = write_planted_run(tmp_path / "planted", 1)
    monkeypatch.setattr(build_summary.atomic_write, "write_bytes", fail)
    assert main(["run", str(folder), *ASK, "--processes", "1", "-o", str(tmp_path)]) == 2
    assert (
        f"What was read of the run cannot be kept in {folder / 'summary'} (No space left on device); free some space "
        "there, or make it writable."
    ) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("missing", "names", "packages"),
    [
        (["duckdb"], "duckdb", "duckdb"),
        (["pyarrow"], "pyarrow", "pyarrow"),
        (["duckdb", "pyarrow"], "duckdb and pyarrow", "duckdb pyarrow"),
    ],
)
def test_missing_packages_are_named(tmp_path, capsys, monkeypatch, missing, names, packages):
    folder = write_planted_run(tmp_path / "planted", 1)
    for name in missing:
        monkeypatch.setitem(sys.modules, name, None)
    assert main(["run", str(folder), *ASK]) == 2
    assert capsys.readouterr().err == (
        f"pi0-export: Answers over a run need {names}: pip install 'pi0-attention[run]' (or pip install {packages}).\n"
    )


def test_one_success_and_one_failure_show_the_head_that_differs_most(tmp_path):
    folder = write_planted_run(tmp_path / "planted", 2)
    options = ["--compare", "-o", str(tmp_path), "--format", "csv", "--processes", "1"]
    assert main(["run", str(folder), *ASK, *options]) == 0
    description = json.loads(next((tmp_path / "planted").glob("*.json")).read_text())
    assert (description["layer"], description["head"]) == PLANTED
    assert "No head can be tested" in description["description"]


def test_find_frame_returns_the_frame_of_the_ranking(folder):
    from dataclasses import asdict

    from viewer.runs.frame_ranking import rank_frames

    request = {"run": str(folder), "query": asdict(QUERY), "file": "episode_000002.h5", "layer": 1, "head": 0}
    ranking = rank_frames(run_index.read_run(folder), QUERY, "episode_000002.h5", 1, 0)
    for which, frame in (("typical", ranking.most_typical), ("extreme", ranking.most_extreme)):
        answer = find_frame.find_frame({**json.loads(json.dumps(request)), "which": which})
        assert (answer["frame"], answer["value"]) == (frame.frame, pytest.approx(frame.value))
        assert answer["region"] == ((0, 6, 5),)
        assert answer["region_name"] == ""


def test_find_frame_process_reports_why_there_is_none(folder, capsys):
    from dataclasses import asdict

    request = {"run": str(folder), "query": asdict(QUERY), "file": "episode_000009.h5", "layer": 1, "head": 0}
    assert find_frame.main([json.dumps({**request, "which": "typical"})]) == 2
    assert json.loads(capsys.readouterr().out) == {"error": "It is no longer in the run."}
