"""Effects in exports: figures of effect maps, columns of tables, and what is refused."""

from __future__ import annotations

import csv
import html
import json
import re
from typing import TYPE_CHECKING

import h5py
import make_effects
import numpy as np
import pytest
from export_driver import refuse
from PIL import Image

from viewer.export.__main__ import main
from viewer.model.view_state import Query, ViewState

if TYPE_CHECKING:
    from pathlib import Path


def test_summary_of_effects_is_one_figure_with_its_view(measured: Path, tmp_path: Path) -> None:
    assert main(["summary", str(measured), "-o", str(tmp_path), "--measure", "effect", "--actions", "4"]) == 0
    [figure] = (tmp_path / "small").iterdir()
    assert figure.name == "effect_summary_action4.jpg"
    with Image.open(figure) as picture:
        assert b'"measure":"effect"' in picture.info["comment"]


def test_view_of_the_window_exports_its_effects(measured: Path, tmp_path: Path) -> None:
    view = ViewState(query=Query("action", (4,)), measure="effect").to_json()
    assert main(["summary", str(measured), "-o", str(tmp_path), "--view", view]) == 0
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["effect_summary_action4.jpg"]
    assert main(["heads", str(measured), "-o", str(tmp_path / "heads"), "--view", view]) == 0, "of the attention"


def read_text(figure: Path) -> str:
    """Return the texts of an SVG figure, in one line."""
    return " ".join(html.unescape(one) for one in re.findall(r"<text[^>]*>([^<]*)</text>", figure.read_text()))


def test_film_over_frames_has_the_frames_with_effects(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--measure", "effect", "--over", "frames", "--actions", "4", "--format", "svg"]
    assert main(["film", str(measured), "-o", str(tmp_path), *words]) == 0
    assert "2 of 3 frames are left out, which have no effect map." in capsys.readouterr().err
    [figure] = (tmp_path / "small").iterdir()
    assert figure.name == "effect_film_frames_frame0_action4.svg"
    text = read_text(figure)
    assert (
        "Action 4 moves by these multiples of each frame’s noise when a block of 2 × 2 patches is hidden from the "
        "actions noise of 2 seeds · one scale for all maps" in text
    )
    assert "frame 0 of 0–2" in text


def test_figure_of_one_dimension_is_named_and_described_by_it(measured: Path, tmp_path: Path) -> None:
    words = ["summary", str(measured), "-o", str(tmp_path), "--actions", "4", "--format", "svg", "--measure"]
    assert main([*words, "gradient", "--dim", "2"]) == 0
    assert main([*words, "gradient"]) == 0
    assert main([*words, "effect", "--dim", "1"]) == 0
    folder = tmp_path / "small"
    names = ("effect_summary_dim1_action4.svg", "gradient_summary_action4.svg", "gradient_summary_dim2_action4.svg")
    assert tuple(sorted(one.name for one in folder.iterdir())) == names
    effect, mean, gradient = (read_text(folder / name) for name in names)
    assert "Dimension 1 of the actions moves up to 40.6 × its noise when a block" in effect
    assert "what raises dimensions 0, 2 (mean) of the actions (attention × gradient" in mean
    assert "Action 4 takes from these patches what raises dimension 2 of the actions" in gradient
    assert '"dim":2' in html.unescape((folder / names[2]).read_text()), "the figure reopens with its dimension"


def test_named_dimension_replaces_that_of_the_view(measured: Path, tmp_path: Path) -> None:
    view = ViewState(query=Query("action", (4,)), measure="gradient", dim=2).to_json()
    words = ["summary", str(measured), "-o", str(tmp_path), "--view", view]
    for named in ([], ["--dim", "0"], ["--dim", "all"]):
        assert main([*words, *named]) == 0
    names = {one.name for one in (tmp_path / "small").iterdir()}
    assert names == {f"gradient_summary{dim}_action4.jpg" for dim in ("_dim2", "_dim0", "")}


def test_difference_of_effects_gives_the_largest_change_of_a_patch(measured: Path, tmp_path: Path) -> None:
    with h5py.File(measured.with_name("small.effects.h5"), "a") as file:
        file["map/effect"][0, 0, 0] *= 2  # of action 0 on the first camera
        file["map/effect"][0, 0, 1] *= 0.5
    words = ["--measure", "effect", "--actions", "4", "--against", "action=0", "--format", "svg"]
    assert main(["difference", str(measured), "-o", str(tmp_path), *words]) == 0
    text = read_text(tmp_path / "small" / "effect_difference_action4_minus_action0.svg")
    assert "Exterior −20.3 × noise at most" in text
    assert "Wrist +10.2 × noise at most" in text
    assert "minus action 0 of 0–4, frame 0 small.h5" in text, "no layer, step or head"


def test_captions_name_the_effects_file_the_method_and_the_noise(measured: Path, tmp_path: Path) -> None:
    with h5py.File(measured.with_name("small.effects.h5"), "a") as file:
        file.attrs["complete"] = False
    words = ["-o", str(tmp_path), "--actions", "4", "--format", "svg"]
    source = "small.effects.h5 (its run has not finished)"
    assert main(["summary", str(measured), *words, "--measure", "effect"]) == 0
    text = read_text(tmp_path / "small" / "effect_summary_action4.svg")
    assert "noise 2.5 (root mean square, normalised units, 2 seeds)" in text
    assert f"prompt “put the duck in the bowl” · {source} · measured effects, not attention" in text
    for score, said in (
        ("agreement", "effects of blocks of 2 × 2 patches hidden from the actions, "),
        ("deletion", "effects of the whole chunk of blocks of 2 × 2 patches hidden from the actions, "),
        ("knockout", "action 4 when each head of the action expert is silenced, × noise 2.5 (root mean square, normalised units, "
                     "2 seeds), "),
    ):  # fmt: skip
        assert main(["atlas", str(measured), *words, "--score", score]) == 0
        atlas = read_text(tmp_path / "small" / f"suffix_atlas_{score}_action4.svg")
        assert f"{said}{source}" in atlas, score
    assert main(["wall", str(measured), *words, "--score", "knockout", "--layers", "1"]) == 0
    [wall] = (tmp_path / "small").glob("suffix_wall_L*_knockout_action4.svg")
    assert (
        "sorted by effect of the head · action 4 when each head of the action expert is silenced, × noise"
        in read_text(wall)
    )


def test_table_has_the_scores_of_the_effects_file(measured: Path, tmp_path: Path) -> None:
    words = ["--frames", "0,1", "--actions", "2", "--layers", "1", "--steps", "1"]
    assert main(["table", str(measured), "-o", str(tmp_path), *words]) == 0
    with (tmp_path / "small" / "table.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    with h5py.File(measured.with_name("small.effects.h5")) as file:
        layer = int(file.attrs["layers"][1])
        expected = file["heads/effect_of_action"][0, layer, :, 2] / file["noise/floor_of_action"][0, 2]
        agreement = file["agreement/spearman"][0, 2, 1, 1]
    first = [row for row in rows if row["frame"] == "0"]
    np.testing.assert_allclose([float(row["effect of head"]) for row in first], expected, rtol=1e-5)
    np.testing.assert_allclose([float(row["agreement"]) for row in first], agreement, rtol=1e-5)
    assert {row["deletion area"] for row in rows if row["frame"] == "1"} == {"nan"}, "nothing was measured there"


def test_table_of_a_file_without_effects_has_no_such_columns(small: Path, tmp_path: Path) -> None:
    assert main(["table", str(small), "-o", str(tmp_path), "--actions", "2", "--layers", "1"]) == 0
    with (tmp_path / "small" / "table.csv").open() as stream:
        assert "agreement" not in next(csv.reader(stream))


def test_atlas_shows_the_effects_of_heads(measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["atlas", str(measured), "-o", str(tmp_path), "--score", "knockout", "--actions", "4"]
    assert main(words) == 0
    assert [path.name for path in (tmp_path / "small").iterdir()] == ["suffix_atlas_knockout_action4.png"]
    capsys.readouterr()
    assert refuse(capsys, *words, "--frames", "1") == (
        "pi0-export: There is no score “knockout” of frame 1: not measured: pi0-capture effects small.h5 --frames 1 "
        "--heads actions."
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("heads --measure effect", "No head, layer or step has an effect map of its own; take --measure weight."),
        (
            "summary --measure gradient --dim 1",
            "Frame 0 has no gradient of action dimension 1, but those of dimensions",
        ),
        (
            "summary --dim 1",
            "--dim 1 is a dimension of effects or gradients; add --measure effect or --measure gradient.",
        ),
        ("summary --measure effect --dim x", "'x' is no action dimension; take a number from 0, or all"),
        (
            "summary --measure effect --layers 1,2",
            "are of no layer, step or head; leave out --layers, or take --measure",
        ),
        ("summary --measure effect --phase prefix suffix", "are on the actions; leave out --phase prefix, or take"),
        ("summary --measure gradient --reduce mean max", "leave out --reduce, or take --measure weight."),
        ("film --measure effect", "of its own; take --over frames, or --measure weight."),
        ("summary --measure effect --frames 1", "Frame 1 has no effect map, frame 0 has one; “pi0-capture effects"),
    ],
)
def test_figures_without_effects_are_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    kind, *rest = words.split()
    assert sentence in refuse(capsys, kind, str(measured), "-o", str(tmp_path), *rest)


def test_named_effects_of_another_file_are_refused(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other_effects = make_effects.write(tmp_path / "other.effects.h5", measured)
    with h5py.File(other_effects, "a") as file:
        file.attrs["results"] = json.dumps({"name": "duck.h5", "uuid": "another"})
    words = ["summary", str(measured), "-o", str(tmp_path), "--effects", str(other_effects)]
    assert "other.effects.h5 holds effects on duck.h5, not on small.h5" in refuse(capsys, *words)
    default_path = measured.with_name("small.effects.h5")
    default_path.write_bytes(other_effects.read_bytes())
    assert main(["summary", str(measured), "-o", str(tmp_path), "--actions", "4"]) == 0, "one beside it is left out"
    capsys.readouterr()
    why = "There is no effect map of this file (small.effects.h5 holds effects on duck.h5, not on small.h5: their "
    assert why in refuse(capsys, "summary", str(measured), "-o", str(tmp_path), "--measure", "effect")


def export_arrays(path: Path, folder: Path, *words: str) -> dict[str, np.ndarray]:
    """Return the arrays that pi0-export writes, by name."""
    assert main(["arrays", str(path), "-o", str(folder), *words]) == 0
    with np.load(folder / path.stem / "arrays.npz") as archive:
        return {name: archive[name] for name in archive.files}


def test_arrays_have_maps_targets_and_scores_of_the_effects_file(measured: Path, tmp_path: Path) -> None:
    arrays = export_arrays(measured, tmp_path, "--frames", "0,1", "--actions", "2", "0-4", "--layers", "1")
    axes, descriptions = (json.loads(str(arrays[name])) for name in ("axes", "descriptions"))
    with h5py.File(measured.with_name("small.effects.h5")) as file:
        chunk, layer = file["map/effect_of_chunk"][0], int(file.attrs["layers"][1])
        np.testing.assert_allclose(arrays["effect_of_chunk"][0], chunk / make_effects.FLOOR)
        np.testing.assert_allclose(arrays["suffix_effect"][0, 0], chunk / make_effects.FLOOR, rtol=1e-6)
        np.testing.assert_array_equal(arrays["suffix_effect"][0, 1], arrays["effect_of_chunk"][0], "all are the chunk")
        np.testing.assert_allclose(
            arrays["suffix_effect_of_head"][0, 0, 0, 0],
            file["heads/effect_of_action"][0, layer, :, 2] / file["noise/floor_of_action"][0, 2],
            rtol=1e-6,
        )
        np.testing.assert_allclose(arrays["suffix_agreement"][0, 0, 0], file["agreement/spearman"][0, 2, 1])
        np.testing.assert_allclose(arrays["suffix_relevance"][0, 0, 1], 3 * arrays["suffix_relevance"][0, 0, 0], 1e-6)
    assert arrays["noise_floor"].tolist()[0] == make_effects.FLOOR
    np.testing.assert_allclose(arrays["suffix_noise_floor"][0, 0], 3 * make_effects.FLOOR)
    assert arrays["gradient_dim"].tolist() == [0, 2]
    assert arrays["target"].tolist() == ["exterior:6,6-7"]
    assert arrays["target_kind"].tolist() == ["region"]
    assert arrays["target_method"].tolist() == ["hidden from the actions"]
    assert {tuple(cell) for cell in np.argwhere(arrays["target_patches"][0, 0]).tolist()} == set(make_effects.BOX)
    np.testing.assert_allclose(arrays["target_effect"][0], 4)
    np.testing.assert_allclose(arrays["control_effect"][0, 0], np.array(make_effects.CONTROLS) / make_effects.FLOOR)
    np.testing.assert_allclose(arrays["suffix_target_effect"][0, 0], 4)
    for name in ("noise_floor", "effect_of_chunk", "suffix_effect", "suffix_agreement", "target_effect"):
        assert np.isnan(arrays[name][1]).all(), f"{name}: nothing was measured in frame 1"
    measures = set(arrays) - {"axes", "descriptions"}
    assert measures - set(axes) <= {"frame", "layer", "head", "step", "camera", "group"}
    assert measures <= set(descriptions)
    assert all(len(axes[name]) == arrays[name].ndim for name in axes)


def test_arrays_of_named_effects_and_of_words_alone(measured: Path, tmp_path: Path) -> None:
    other_path = tmp_path / "elsewhere.h5"
    measured.with_name("small.effects.h5").rename(other_path)
    words = ("--frames", "0", "--phase", "prefix", "--layers", "1", "--words", "duck")
    attention_alone = export_arrays(measured, tmp_path / "plain", *words)
    assert not {"effect_of_chunk", "noise_floor", "target"} & set(attention_alone)
    arrays = export_arrays(measured, tmp_path / "named", *words, "--effects", str(other_path))
    np.testing.assert_allclose(arrays["target_effect"], [[4]])
    assert not [name for name in arrays if name.startswith("suffix_")], "no action was chosen"
    assert set(attention_alone) < set(arrays)
    assert "prefix_agreement" not in arrays, "words have no agreement"


def test_help_of_arrays_describes_those_of_effects(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["arrays", "-h"])
    text = capsys.readouterr().out
    assert "target_effect" in text
    assert "suffix_agreement" in text
