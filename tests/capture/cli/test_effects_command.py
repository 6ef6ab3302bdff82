"""`pi0-capture effects` on the demo's results, as a user runs it."""

from __future__ import annotations

import json
import re
import shutil

import h5py
import numpy as np
import pytest
from paths import DEMO, ROOT

from capture.__main__ import main
from capture.effects.effects_file import EffectsFile
from capture.results.effects_schema import DESCRIPTIONS

DUCK = "exterior:7-8,8-11"
"""Where the duck lies in the exterior picture of frame 0, whose prompt is to pick it up."""


pytestmark = pytest.mark.usefixtures("one_thread_per_module")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    file = tmp_path_factory.mktemp("effects") / "demo.h5"
    shutil.copy(DEMO / "results.h5", file)
    return file


@pytest.fixture(scope="module")
def occluded(demo):
    """The effects file of the duck and the word, the duck covered or cut off."""
    output = demo.with_name("occluded.h5")
    command = ["effects", str(demo), "--region", DUCK, "--mode", "occlude", "--controls", "2", "--seeds", "3"]
    assert main([*command, "--frames", "0,1", "--map", "16", "--heads", "actions", "-o", str(output)]) == 0
    return output


@pytest.fixture(scope="module")
def mapped(demo):
    """The effects file of one frame with a map of knockouts, curves and the heads of both stacks."""
    output = demo.with_name("mapped.h5")
    command = ["effects", str(demo), "--frames", "0", "--map", "8", "--curves", "2", "--controls", "3", "--seeds", "3"]
    assert main([*command, "--heads", "words", "--gradient", "0,7", "-o", str(output)]) == 0
    return output


@pytest.fixture(scope="module")
def masked(demo):
    """The effects file of one frame with a map regressed on random masks, and of another word."""
    output = demo.with_name("masked.h5")
    command = ["effects", str(demo), "--frames", "0", "--mode", "random-masks", "--map", "8", "--masks", "8"]
    assert main([*command, "--replace", "duck=mug", "--seeds", "3", "-o", str(output)]) == 0
    return output


def capture_refusal(capsys, *arguments):
    """Return the sentence with which the command ends with code 2."""
    assert main(["effects", *map(str, arguments)]) == 2
    printed = capsys.readouterr().err.strip().splitlines()
    return printed[-1]


def test_covering_the_named_object_moves_the_actions_and_random_areas_do_not(occluded):
    with h5py.File(occluded) as file:
        multiple = file["targets/multiple"][0, 0]
        controls = file["controls/effect"][0, 0] / file["noise/floor"][0]
        assert multiple > 1  # of the sampler's noise
        assert np.nanmax(controls) < multiple / 10
        assert file["controls/smaller"][0, 0] == file["controls/count"][0, 0] == 2
        assert file["targets/effect"][1, 0] < file["targets/effect"][0, 0] / 5  # the second frame asks for the mug


def dataset_names(file):
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def test_format_document_lists_every_dataset_as_the_file_describes_it():
    section = (ROOT / "FORMAT.md").read_text().partition("## The effects file\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|$", section, re.MULTILINE)
    assert {name: (axes, what) for name, axes, what in rows} == DESCRIPTIONS


def test_every_described_dataset_is_written(occluded, mapped, masked):
    written_names: set[str] = set()
    for path in (occluded, mapped, masked):
        with h5py.File(path) as file:
            written_names |= set(dataset_names(file))
    assert written_names == set(DESCRIPTIONS)


@pytest.mark.parametrize("name", ["occluded", "mapped", "masked"])
def test_effects_file_describes_itself(request, name):
    with h5py.File(request.getfixturevalue(name)) as file:
        assert file.attrs["format"] == "pi0-attention-effects"
        assert file.attrs["format_version"].tolist() == [1, 0]
        assert file.attrs["complete"]
        assert json.loads(file.attrs["results"])["name"] == "demo.h5"
        sizes: dict[str, int] = {}
        for name in dataset_names(file):
            axes = list(file[name].attrs["axes"])
            assert len(axes) == file[name].ndim, name
            for axis, size in zip(axes, file[name].shape, strict=True):
                assert sizes.setdefault(axis, size) == size, (name, axis)
        assert file["frames/number"][:].tolist() == list(range(sizes["frame"]))


def test_example_of_the_format_document_runs(occluded, monkeypatch, capsys):
    section = (ROOT / "FORMAT.md").read_text().partition("## The effects file\n")[2]
    [code] = re.findall(r"```python\n(.*?)```", section.partition("\n## ")[0], re.DOTALL)
    monkeypatch.chdir(occluded.parent)
    names: dict[str, object] = {}
    exec(compile(code.replace("demo.effects.h5", occluded.name), "FORMAT.md", "exec"), names)
    names["effects"].close()
    assert f"without {DUCK} the actions move" in capsys.readouterr().out


def test_info_describes_an_effects_file(occluded, capsys):
    capsys.readouterr()
    assert main(["info", str(occluded)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "occluded.h5: effects on 2 frames of demo.h5, complete"
    assert "method    covered with the mean colour of the rest; 3 noises" in lines[2]
    with h5py.File(occluded) as file:
        assert (
            f"  {DUCK} covered with the mean colour of the rest: {file['targets/multiple'][0, 0]:.2f} x the noise; random regions: "
            in lines[4]
        )
        heads = file["heads/effect"][0]
        layer, head = np.unravel_index(np.argmax(heads), heads.shape)
    assert lines[5].startswith(f"  silenced heads with the largest effect: layer {layer} head {head} ")
    assert all(len(line) <= 100 for line in lines)


def test_stored_effects_are_those_of_the_stored_actions(occluded):
    with h5py.File(occluded) as file:
        change = file["targets/change"][:][..., :8].astype(np.float64)
        expected = np.sqrt(np.square(change).mean(axis=(-2, -1)))
        np.testing.assert_allclose(file["targets/effect"][:], expected, rtol=1e-5)
        np.testing.assert_allclose(
            file["targets/multiple"][:], expected / file["noise/floor"][:][:, None].astype(np.float64), rtol=1e-5
        )
        with h5py.File(DEMO / "results.h5") as results:
            np.testing.assert_allclose(
                file["baseline/robot_actions"][:], results["action/predicted"][:2], rtol=0, atol=1e-3
            )


def test_control_changes_are_those_of_the_control_effects(occluded):
    with h5py.File(occluded) as file:
        of_action = file["controls/effect_of_action"][:].astype(np.float64)
        np.testing.assert_allclose(np.sqrt(np.square(of_action).mean(-1)), file["controls/effect"][:], rtol=1e-5)
        moved = np.abs(file["controls/robot_change"][:]).max(axis=(-2, -1))
        duck = np.abs(file["targets/robot_change"][0, 0]).max()
        assert moved.shape == (2, 1, 2)
        assert 0 < moved[0].max() < duck / 10  # the duck of frame 0, whose prompt names it


def test_progress_lines_count_up_to_the_total(demo, tmp_path, capsys):
    command = ["effects", str(demo), "--frames", "0", "--region", DUCK, "--controls", "2", "--seeds", "3"]
    assert main([*command, "--progress-lines", "-o", str(tmp_path / "e.h5")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["done"] for line in lines] == [3, 4, 6]  # seeds, the region, its controls
    assert {line["total"] for line in lines} == {6}


def test_map_holds_its_blocks_and_no_letterbox_bars(occluded):
    with h5py.File(occluded) as file:
        chunk = file["map/effect_of_chunk"][0]  # (cameras, 16, 16), one block a camera
        shown = np.isfinite(chunk)
        assert shown[:, 4:12].all()
        assert not shown[:, :3].any()
        assert not shown[:, 13:].any()
        assert all(len(set(chunk[camera][shown[camera]].tolist())) == 1 for camera in range(2))
        assert np.nanmax(chunk) > 0


def test_another_word_moves_the_actions_and_masks_cover_whole_blocks(masked):
    with h5py.File(masked) as file:
        assert file["targets/name"].asstr()[:].tolist() == ["duck -> mug"]
        assert file["targets/kind"].asstr()[:].tolist() == ["replacement"]
        assert file["targets/multiple"][0, 0] > 1
        assert file["targets/tokens"][0, 0].sum() == 1
        covered = file["masks/patches"][0]  # (masks, cameras, rows, cols)
        shown = np.isfinite(file["map/effect_of_chunk"][0])
        assert covered.shape[0] == 8
        assert not covered[:, ~shown].any()
        assert (covered[:, 0, 4:8, :8] == covered[:, :1, 4, :1]).all()
        assert file["masks/effect"].shape == (1, 8)


def test_info_tells_random_masks_from_edges_that_are_cut(masked, capsys):
    capsys.readouterr()
    assert main(["info", str(masked)]) == 0
    assert (
        "method    covered with the mean colour of the rest, beside a random half of all blocks"
        in capsys.readouterr().out
    )


def test_gradient_maps_cover_pictures_and_text_and_agree_in_form(mapped):
    with h5py.File(mapped) as file:
        assert file["gradient/dim"][0].tolist() == [0, 7]
        for name in ("raising", "lowering", "relevance"):
            patches, text = file[f"gradient/{name}"][0], file[f"gradient/text_{name}"][0]
            shown = np.isfinite(file["map/effect_of_chunk"][0])
            assert (np.isfinite(patches) == shown).all()
            assert np.nanmin(patches) >= 0
            assert np.nanmin(text) >= 0
            assert np.nanmax(patches) > 0
        duck = file["gradient/relevance"][0].mean(axis=(0, 1))[0]
        assert np.unravel_index(np.nanargmax(duck), duck.shape)[0] in (7, 8)
        assert np.isfinite(file["agreement/relevance"][0]).all()


def test_map_has_each_word_and_curves_begin_and_end_alike(mapped):
    with h5py.File(mapped) as file, h5py.File(DEMO / "results.h5") as results:
        words = results["text/word"][0]
        by_token = file["map/text_effect_of_chunk"][0]
        assert np.isfinite(by_token).tolist() == (words >= 0).tolist()
        for word in np.unique(words[words >= 0]):
            assert len(set(by_token[words == word].tolist())) == 1
        floor = file["noise/floor"][0]
        duck = next(token for token, piece in enumerate(results["text/piece"].asstr()[0]) if "duck" in piece)
        assert by_token[duck] > floor
        for name in ("deletion", "insertion"):
            curves = file[f"curves/{name}"][0]  # (layers, steps, heads, fractions)
            first, last = (0, -1) if name == "deletion" else (-1, 0)
            assert not curves[..., first].any()
            assert len(set(curves[..., last].ravel().tolist())) == 1
            assert (file[f"agreement/{name}_smaller"][0] <= 3).all()
            assert np.isfinite(file[f"agreement/{name}"][0]).all()
        np.testing.assert_allclose(
            file["heads/text_effect"][0], np.sqrt(np.square(file["heads/text_effect_of_action"][0]).mean(-1)), rtol=1e-5
        )


def test_interrupted_run_resumes_to_the_same_file(demo, tmp_path, monkeypatch, capsys):
    command = ["effects", str(demo), "--region", DUCK, "--controls", "2", "--seeds", "3", "-o"]
    whole, output = tmp_path / "whole.h5", tmp_path / "again.h5"
    assert main([*command, str(whole)]) == 0
    write = EffectsFile.write

    def stop(self, *, complete):
        write(self, complete=complete)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(EffectsFile, "write", stop)
        assert main([*command, str(output)]) == 130
    assert {path.name for path in tmp_path.iterdir()} == {"whole.h5", "again.h5.partial"}
    (tmp_path / ".again.h5.partial.ab12cd_9").write_bytes(b"of a process that was killed amid a write")
    capsys.readouterr()
    assert main([*command, str(output)]) == 0
    assert "resuming" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"whole.h5", "again.h5"}
    with h5py.File(output) as resumed, h5py.File(whole) as once:
        assert sorted(resumed) == sorted(once) == ["baseline", "controls", "frames", "noise", "targets"]
        assert len(resumed["frames/number"]) == 2
        for name in DESCRIPTIONS:
            if name in once:
                np.testing.assert_array_equal(resumed[name][()], once[name][()], err_msg=name)


def test_partial_file_of_other_settings_is_refused(demo, tmp_path, monkeypatch, capsys):
    output = tmp_path / "effects.h5"
    EffectsFile(output, {"seeds": 99}, {}).write(complete=False)
    sentence = capture_refusal(capsys, demo, "--words", "duck", "--frames", "0", "--seeds", "3", "-o", output)
    assert "is of a run with other settings" in sentence
    assert "--overwrite" in sentence


def test_words_hidden_from_the_actions_have_an_effect(demo, tmp_path, capsys):
    output = tmp_path / "words.h5"
    command = ["effects", str(demo), "--frames", "0", "--words", "duck", "--seeds", "3", "-o", str(output)]
    assert main(command) == 0
    printed = capsys.readouterr().out
    with h5py.File(output) as file:
        assert file["targets/multiple"][0, 0] > 1
        assert f"duck hidden from the actions: {file['targets/multiple'][0, 0]:.2f} x the noise" in printed
        assert file["targets/tokens"][0, 0].sum() == 1
        assert not file["targets/patches"][()].any()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "nothing to measure was named"),
        (["--words", "zebra"], "no prompt of the chosen frames has 'zebra'; the first is 'pick up the duck'"),
        (["--words", "duck"], "'duck' is in the prompts of 1 of 2 frames; choose them with --frames 0"),
        (["--map", "8", "--controls", "3"], "it needs --region, --regions or --curves"),
        (["--region", "exterior:0-1,3", "--mode", "occlude"], "shows no picture in frame 0, only letterbox bars"),
        (["--region", "exterior:99,1"], "rows run from 0 to 15"),
        (["--region", DUCK, "--region", DUCK], "is given twice"),
        (["--map", "4", "--frames", "2"], "has no frame 2: it has 2, counted from 0"),
        (["--map", "4", "--layers", "4"], "no layer 4: it has 4 layers"),
        (["--map", "4", "--mode", "occlude", "--from", "all"], "--from is about attention edges"),
        (["--words", "duck", "--mode", "occlude"], "a word cannot be covered"),
        (["--map", "4", "--fill", "blur"], "it needs --mode occlude"),
        (["--heads", "actions", "--layers", "1"], "leave --layers out"),
        (["--map", "4", "--frames", "0", "--dtype", "bfloat16"], "gives other actions than the file holds"),
    ],
)
def test_bad_input_gets_one_sentence(demo, tmp_path, capsys, arguments, sentence):
    assert sentence in capture_refusal(capsys, demo, *arguments, "-o", tmp_path / "effects.h5")
    assert list(tmp_path.iterdir()) == []


def test_options_of_captures_are_refused(demo, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["effects", str(demo), "--map", "4", "--seed", "1"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --seed 1; see pi0-capture effects -h" in capsys.readouterr().err


def test_files_are_never_replaced_unasked(demo, tmp_path, capsys):
    existing = tmp_path / "effects.h5"
    existing.write_text("mine")
    assert "exists" in capture_refusal(capsys, demo, "--map", "8", "-o", existing)
    assert "is the results file" in capture_refusal(capsys, demo, "--map", "8", "-o", demo, "--overwrite")
    assert existing.read_text() == "mine"


@pytest.mark.parametrize("content", [b"", b"no HDF5", None])
def test_info_refuses_file_that_is_no_results_file(tmp_path, capsys, content):
    file = tmp_path / "results.h5"
    if content is not None:
        file.write_bytes(content)
    assert str(file) in capture_refusal(capsys, file, "--map", "8")


def test_file_of_another_policy_is_refused(demo, tmp_path, capsys):
    other = tmp_path / "other.h5"
    shutil.copy(demo, other)
    with h5py.File(other, "r+") as file:
        file.attrs["model"] = json.dumps(json.loads(file.attrs["model"]) | {"config_hash": "0" * 64})
    assert "another checkpoint" in capture_refusal(capsys, other, "--map", "8")
    with h5py.File(other, "r+") as file:
        file.attrs["model"] = json.dumps(json.loads(file.attrs["model"]) | {"kind": "openpi", "name": "pi05_x"})
    assert "made with 'pi05_x'; name that checkpoint" in capture_refusal(capsys, other, "--map", "8")


def test_dry_run_counts_and_writes_nothing(demo, tmp_path, capsys):
    command = ["effects", str(demo), "--region", DUCK, "--map", "4", "--dry-run", "-o", str(tmp_path / "effects.h5")]
    assert main(command) == 0
    # 2 frames of 8 seeds, 1 region and 20 controls, and a map of 2 cameras x 12 or 16 blocks
    assert "2 frames, at most" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
