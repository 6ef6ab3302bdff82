"""pi0-regions as a person types it, on a results file with pictures."""

import csv
import json
import sys

import make_results
import numpy as np
import pytest
from PIL import Image

from viewer.export.__main__ import main as export
from viewer.export.masks.__main__ import main


@pytest.fixture
def results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recipe = make_results.Recipe(frames=6, size=(72, 128), episodes=("one", "two"))
    return make_results.write(tmp_path / "duck.h5", recipe)


def write_label_pictures(path, names=("duck",)):
    """Label pictures of the wrist camera: 8 x 8 pixels, which are a patch, one patch further right in each frame."""
    for frame in range(4):
        labels = np.zeros((72, 128), np.uint8)
        labels[28:36, 8 * frame + 16 : 8 * frame + 24] = 1
        (path / "wrist").mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(path / "wrist" / f"{frame:06d}.png")
    (path / "labels.json").write_text(json.dumps({"1": names[0]}))
    return path


def test_imported_region_is_scored_where_it_is_in_each_frame(results, tmp_path, capsys):
    assert main(["import", "duck.h5", str(write_label_pictures(tmp_path / "masks"))]) == 0
    assert "duck in wrist: known in 4 of 6 frames (imported in 0–3)." in capsys.readouterr().out
    assert export(["table", "duck.h5", "--region", "duck", "--frames", "all", "--words", "duck", "-o", "out"]) == 0
    assert "Frames in which the region duck is not known are left out: 4–5." in capsys.readouterr().err
    with (tmp_path / "out" / "duck" / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    regions = {row["frame"]: (row["region name"], row["region"]) for row in rows}
    assert regions == {
        "0": ("duck", "wrist:7,2"), "1": ("duck", "wrist:7,3"), "2": ("duck", "wrist:7,4"), "3": ("duck", "wrist:7,5"),
    }  # fmt: skip
    # The same numbers as with the box of each frame.
    export(["table", "duck.h5", "--region", "wrist:7,4", "--frames", "2", "--words", "duck", "-o", "box"])
    with (tmp_path / "box" / "duck" / "table.csv").open() as stream:
        boxes = list(csv.DictReader(stream))
    named = [row for row in rows if row["frame"] == "2"]
    assert [row["lift region"] for row in named] == [row["lift region"] for row in boxes]
    assert len({row["lift region"] for row in boxes}) > 10


def test_atlas_has_the_region_of_its_frame(results, tmp_path, capsys):
    main(["import", "duck.h5", str(write_label_pictures(tmp_path / "masks"))])
    assert (
        export(
            [
                "atlas",
                "duck.h5",
                "--region",
                "duck",
                "--frames",
                "1,3",
                "--words",
                "duck",
                "--format",
                "svg",
                "-o",
                "out",
            ]
        )
        == 0
    )
    texts = [path.read_text() for path in sorted((tmp_path / "out" / "duck").glob("*.svg"))]
    assert len(texts) == 2
    assert "column 3" in texts[0]
    assert "column 5" in texts[1]


def test_regions_go_out_and_come_back(results, tmp_path, capsys):
    main(["import", "duck.h5", str(write_label_pictures(tmp_path / "masks"))])
    for form, output in (("coco", "d.json"), ("labels", "labels"), ("npz", "d.npz")):
        assert main(["export", "duck.h5", "--format", form, "-o", output]) == 0
        assert main(["import", "duck.h5", output, "--regions", f"{form}.h5"]) == 0
        capsys.readouterr()
        main(["list", "duck.h5", "--regions", f"{form}.h5"])
        assert capsys.readouterr().out == "duck in wrist: known in 4 of 6 frames (imported in 0–3).\n"
    assert main(["export", "duck.h5", "-o", "d.json"]) == 2
    assert "d.json exists; add --overwrite" in capsys.readouterr().err


def test_drawn_box_is_tracked_within_its_episode(results, capsys):
    assert main(["track", "duck.h5", "duck=exterior:6-9,4-8@0"]) == 0
    first = capsys.readouterr().out.splitlines()[0]
    assert first.startswith("duck in exterior: known in 3 of 6 frames (drawn in 0; tracked in 1–2)")
    assert main(["track", "duck.h5", "duck", "--frames", "1-1"]) == 0  # anew, one frame alone
    assert main(["remove", "duck.h5", "duck=exterior@2"]) == 0
    assert "known in 2 of 6 frames (drawn in 0; tracked in 1)." in capsys.readouterr().out
    assert main(["undo", "duck.h5"]) == 0
    capsys.readouterr()
    main(["list", "duck.h5"])
    assert "tracked in 1–2" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["track", "duck.h5", "duck=exterior:6-9,4-8@9"], "There is no frame 9; the file has frames 0 to 5."),
        (["track", "duck.h5", "duck=exterior:6-9"], "write NAME=CAMERA:ROWS,COLUMNS@FRAME"),
        (["track", "duck.h5", "duck=side:6-9,4-8@0"], "There is no camera side"),
        (["track", "duck.h5", "duck=exterior:0,4-8@0"], "lies in the letterbox’s bars"),
        (["track", "duck.h5", "mug"], "There is no region mug"),
        (["track", "duck.h5", "a/b=exterior:6-9,4-8@0"], "cannot be called “a/b”"),
        (["list", "duck.h5"], "There is no file duck.regions.h5"),
        (["list", "none.h5"], "There is no file none.h5"),
        (["export", "duck.h5"], "the following arguments are required: -o/--output"),
        (["import", "duck.h5", "masks", "--names", "duck"], "--names duck cannot be read"),
        (["fly", "duck.h5"], "invalid choice"),
        (["undo", "duck.h5"], "Nothing to undo"),
    ],
)
def test_mistakes_are_reported_in_a_sentence_and_change_nothing(results, tmp_path, capsys, words, sentence):
    assert main(words) == 2
    assert sentence in capsys.readouterr().err
    assert not list(tmp_path.glob("*.regions.h5"))


def test_export_without_a_file_of_regions_names_the_command_that_makes_one(results, capsys):
    assert export(["table", "duck.h5", "--region", "duck", "-o", "out"]) == 2
    assert (
        "there is no file of named regions (duck.regions.h5); `pi0-regions track` makes one" in capsys.readouterr().err
    )


def test_masks_of_another_shape_are_refused(results, tmp_path, capsys):
    np.savez(tmp_path / "m.npz", **{"wrist/duck": np.ones((1, 50, 50), bool)})
    assert main(["import", "duck.h5", "m.npz"]) == 2
    assert "have 50 × 50 pixels, the file’s pictures 72 × 128" in capsys.readouterr().err


def test_masks_without_a_camera_need_one(results, tmp_path, capsys):
    np.savez(tmp_path / "m.npz", duck=np.ones((1, 72, 128), bool))
    assert main(["import", "duck.h5", "m.npz"]) == 2
    assert "add --camera, one of exterior, wrist" in capsys.readouterr().err
    assert main(["import", "duck.h5", "m.npz", "--camera", "wrist", "--first-frame", "0"]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the size of a process's files is limited on Linux")
@pytest.mark.parametrize("size", [2048, 6144, 7000])
def test_full_disk_is_a_sentence_and_leaves_what_was_there(results, tmp_path, capsys, size):
    import resource

    masks = str(write_label_pictures(tmp_path / "masks"))
    assert main(["import", "duck.h5", masks]) == 0
    path = tmp_path / "duck.regions.h5"
    before = path.read_bytes()
    assert len(before) > 7000
    capsys.readouterr()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))  # as a full disk, a file can be no longer
    try:
        code = main(["import", "duck.h5", masks, "--names", "1=mug"])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert code == 2
    err = capsys.readouterr().err
    assert "duck.regions.h5 cannot be written (File too large); say where with --regions." in err
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["duck.h5", "duck.regions.h5", "masks"]
