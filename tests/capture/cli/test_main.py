"""pi0-capture as a user meets it: commands in, files, sentences and exit codes out."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from paths import ROOT
from safetensors.torch import load_file, save_file

from capture.__main__ import main
from capture.cli.option_values import parse_numbers
from capture.cli.parser import joined_values
from capture.results import schema


@pytest.fixture(scope="module")
def results(command, tmp_path_factory) -> Path:
    """Two prompts on the same pictures, captured with --check."""
    output = tmp_path_factory.mktemp("results") / "two.h5"
    prompts = ["--prompt", "pick up the red block", "--prompt", "put the mug down"]
    assert main([*command, *prompts, "--check", "-o", str(output)]) == 0
    return output


def test_capture_is_complete_and_holds_its_metadata(results):
    assert sorted(path.name for path in results.parent.iterdir()) == ["two.h5"]
    with h5py.File(results) as file:
        assert bool(file.attrs["complete"])
        model, checks = json.loads(file.attrs["model"]), json.loads(file.attrs["checks"])
        assert model["kind"] == "openpi"
        assert model["name"] == "pi05_small"
        assert (model["layers"], model["heads"], model["horizon"], model["steps"]) == (3, 4, 6, 4)
        assert int(file[schema.FRAMES_DONE][()]) == 2
        assert [text.decode() for text in file[schema.FRAMES_PROMPT]] == ["pick up the red block", "put the mug down"]
        assert checks["action_difference"] == 0.0
        assert checks["time_ratio"] > 0
        assert checks["row_sum_error"] < 1e-5
        noise = file[schema.FRAMES_NOISE][...]
        assert np.array_equal(noise[0], noise[1])
        np.testing.assert_allclose(file[schema.FRAMES_STATE][0], [-0.1, 0.4, 2.0, 0.7], rtol=1e-6)


def test_results_pass_format_checker(results, shared):
    completed = subprocess.run(
        [sys.executable, shared / "check_results.py", results], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stdout
    assert completed.stdout.startswith("ok: 2 of 2 frames, 3 layers, 4 heads, 4 steps, 6 actions")


def test_same_command_gives_identical_file(command, results, tmp_path):
    path = tmp_path / "again.h5"
    prompts = ["--prompt", "pick up the red block", "--prompt", "put the mug down"]
    assert main([*command, *prompts, "-o", str(path)]) == 0
    with h5py.File(results) as first, h5py.File(path) as second:
        for name in (schema.ACTION_TO_IMAGE, schema.TEXT_TO_IMAGE, schema.ACTION_X, schema.TEXT_ID):
            assert np.array_equal(first[name][...], second[name][...])
        assert first.attrs["uuid"] != second.attrs["uuid"]


def test_selected_layers_and_steps_hold_their_own_values(command, results, tmp_path):
    selected = tmp_path / "some.h5"
    options = ["--layers", "2,0", "--steps", "1-2", "--prompt", "pick up the red block", "-o", str(selected)]
    assert main([*command, *options]) == 0
    with h5py.File(results) as whole, h5py.File(selected) as selection:
        assert list(selection.attrs["layers"]) == [0, 2]
        assert list(selection.attrs["steps"]) == [1, 2]
        expected = whole[schema.ACTION_TO_IMAGE][0][[0, 2]][:, :, [1, 2]]
        assert np.array_equal(selection[schema.ACTION_TO_IMAGE][0], expected)
        assert np.array_equal(
            selection[schema.TEXT_ENTROPY][0],
            whole[schema.TEXT_ENTROPY][0, [0, 2]][:, : selection[schema.TEXT_ID].shape[1]],
        )


def test_seed_changes_noise_and_horizon_changes_chunk(command, tmp_path):
    options = ["--prompt", "go", "--layers", "0"]
    outputs = [tmp_path / name for name in ("a.h5", "b.h5", "c.h5")]
    assert main([*command, *options, "-o", str(outputs[0])]) == 0
    assert main([*command, *options, "--seed", "7", "-o", str(outputs[1])]) == 0
    assert main([*command, *options, "--horizon", "3", "-o", str(outputs[2])]) == 0
    noise = []
    for output in outputs:
        with h5py.File(output) as file:
            noise.append(file[schema.FRAMES_NOISE][0])
    assert not np.array_equal(noise[0], noise[1])
    assert noise[2].shape == (3, 32)


def test_capture_full_in_float32(command, tmp_path):
    output = tmp_path / "full.h5"
    options = ["--full", "--store", "float32", "--layers", "1", "--steps", "0", "--prompt", "go", "-o", str(output)]
    assert main([*command, *options]) == 0
    with h5py.File(output) as file:
        image = file[schema.IMAGE_TO_IMAGE][0, 0, 0, 1, 5, 5].astype(np.float64).sum()
        text = file[schema.IMAGE_TO_TEXT][0, 0, 0, 1, 5, 5].astype(np.float64).sum()
        assert file[schema.IMAGE_TO_IMAGE].dtype == np.float32
        assert image + text == pytest.approx(1, abs=1e-6)


def test_dry_run_prints_plan_and_writes_nothing(command, tmp_path, capsys, monkeypatch):
    from capture.checkpoints import Checkpoint

    monkeypatch.setattr(Checkpoint, "load", lambda *given: pytest.fail("weights were read"))
    output = tmp_path / "none.h5"
    assert main([*command, "--prompt", "pick up the red block", "-o", str(output), "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert "pi05_small (openpi checkpoint)" in printed.out
    assert re.search(r"exterior +160 x 90 pixels, seen as 224 x 126 of 224 x 224 \(44% letterbox bars\)", printed.out)
    assert re.search(r"\d+ +\d+ +'▁block' +prompt +\d+$", printed.out, re.MULTILINE)
    assert "1 frame of" in printed.out
    assert not output.exists()


def test_dry_run_size_equals_file_size(command, results, capsys):
    prompts = ["--prompt", "pick up the red block", "--prompt", "put the mug down"]
    assert main([*command, *prompts, "--dry-run"]) == 0
    size_match = re.search(r"([\d.]+) (MB|kB) in all", capsys.readouterr().out)
    assert size_match
    size = float(size_match[1]) * {"kB": 1e3, "MB": 1e6}[size_match[2]]
    assert size == pytest.approx(results.stat().st_size, rel=0.15)


def test_info_is_one_screen(results, capsys):
    assert main(["info", str(results)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) <= 25
    assert "pi05_small" in "\n".join(lines)


def test_existing_file_is_kept_without_overwrite(command, tmp_path, capsys):
    output = tmp_path / "mine.h5"
    output.write_bytes(b"years of work")
    assert main([*command, "--prompt", "go", "-o", str(output)]) == 2
    assert output.read_bytes() == b"years of work"
    assert "--overwrite" in capsys.readouterr().err
    assert main([*command, "--prompt", "go", "--layers", "0", "-o", str(output), "--overwrite"]) == 0
    assert h5py.is_hdf5(output)


BAD = {
    "no source": (["--prompt", "go"], "--demo"),
    "no such checkpoint": (["--prompt", "go", "--checkpoint", "/nowhere/at/all"], "/nowhere/at/all"),
    "no prompt": ([], "--prompt"),
    "no such layer": (["--prompt", "go", "--layers", "3"], "no layer 3"),
    "no such step": (["--prompt", "go", "--steps", "0,4"], "no denoise step 4"),
    "layers that are no list": (["--prompt", "go", "--layers", "four"], "not a list of numbers"),
    "falling range": (["--prompt", "go", "--layers", "3-1"], "rises"),
    "short state": (["--prompt", "go", "--state", "1,2,3"], "3 numbers"),
    "empty prompt": (["--prompt", ""], "--prompt is empty"),
    "tolerance that is no time": (["--prompt", "go", "--tolerance", "-1"], "not a number of seconds"),
    "tolerance of pictures": (["--prompt", "go", "--tolerance", "0.1"], "--tolerance is about episodes"),
    "state with words": (["--prompt", "go", "--state", "1,two,3,4"], "not a list of numbers"),
    "endless state": (["--prompt", "go", "--state", "1,nan,3,4"], "not finite"),
    "no such picture": (["--prompt", "go", "--wrist", "nothing.png"], "nothing.png"),
    "picture twice": (["--prompt", "go", "--camera", "wrist=x.png"], "wrist picture is given twice"),
    "camera twice": (
        ["--prompt", "go", "--camera", "top={exterior}", "--camera", "top=x.png"],
        "top picture is given twice",
    ),
    "empty checkpoint": (["--prompt", "go", "--checkpoint", ""], "no checkpoint at ''"),
    "output without a name": (["--prompt", "go", "-o", ""], "folder"),
    "state beyond float32": (["--prompt", "go", "--state", "1e39,0,0,0"], "float32"),
    "huge seed": (["--prompt", "go", "--seed", "9" * 5000], "not a whole number from 0 to"),
    "huge layer": (["--prompt", "go", "--layers", "10000"], "not a whole number from 0 to 9999"),
    "huge horizon": (["--prompt", "go", "--horizon", "10001"], "not a whole number from 1 to 10000"),
    "unknown camera": (["--prompt", "go", "--camera", "top={exterior}"], "no camera 'top'"),
    "camera without file": (["--prompt", "go", "--camera", "top"], "NAME=FILE"),
    "no such device": (["--prompt", "go", "--device", "abacus"], "abacus"),
    "device that torch cannot use": (["--prompt", "go", "--device", "meta"], "meta"),
    "zero horizon": (["--prompt", "go", "--horizon", "0"], "whole number"),
    "negative seed": (["--prompt", "go", "--seed", "-1"], "--seed"),
    "unknown option": (["--prompt", "go", "--colour", "red"], "--colour"),
    "file as folder": (["--prompt", "go", "-o", "{exterior}/folder/x.h5"], "exterior.png is a file, so that no folder"),
    "output is a folder": (["--prompt", "go", "-o", "{tmp}"], "folder"),
    "demo with pictures": (["--demo"], "demo"),
    "no such tokenizer": (["--prompt", "go", "--tokenizer", "nothing.model"], "nothing.model"),
    "statistics missing": (["--prompt", "go", "--norm-stats", "nothing.json"], "nothing.json"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_sentence_and_code_2(case, command, pictures, tmp_path, capsys):
    options, words = BAD[case]
    arguments = [] if case == "no source" else list(command)
    filled = [option.format(tmp=tmp_path, exterior=pictures / "exterior.png") for option in options]
    output = [] if "-o" in filled else ["-o", str(tmp_path / "out.h5")]
    try:
        code = main([*arguments, *filled, *output])
    except SystemExit as stop:  # argparse's way
        code = stop.code
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    *stages, sentence = printed.err.splitlines()
    assert all(
        re.match(r"pi0-capture: (loading (PyTorch|transformers)$|opening checkpoint )", stage) for stage in stages
    )
    assert sentence.startswith("pi0-capture: ")
    assert words in sentence
    assert list(tmp_path.iterdir()) == []


def test_missing_output_option_is_reported(command, capsys):
    assert main([*command, "--prompt", "go"]) == 2
    assert "-o FILE" in capsys.readouterr().err


def test_long_prompt_is_truncated_with_warning(command, tmp_path, capsys):
    output = tmp_path / "long.h5"
    prompt = "pick up the red block and " * 40
    assert main([*command, "--prompt", prompt, "--layers", "0", "--steps", "0", "-o", str(output)]) == 0
    printed = capsys.readouterr().err
    assert re.search(r"warning: .*tokens.*cut off", printed)
    with h5py.File(output) as file:
        assert file[schema.TEXT_ID].shape == (1, 200)


def test_dry_run_checks_the_output_path(command, tmp_path, capsys):
    (tmp_path / "mine.h5").write_bytes(b"years of work")
    for output, words in (("mine.h5", "--overwrite"), ("mine.h5/x.h5", "no folder"), ("", "is a folder")):
        assert main([*command, "--prompt", "go", "--dry-run", "-o", str(tmp_path / output)]) == 2
        assert words in capsys.readouterr().err


def test_help_names_every_option_and_fits_a_terminal(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["-h"])
    assert stop.value.code == 0
    printed = capsys.readouterr().out
    for option in (
        "--checkpoint",
        "--dry-run",
        "--denoise-steps",
        "--norm-stats",
        "--overwrite",
        "info FILE",
        "examples:",
    ):
        assert option in printed
    assert max(map(len, printed.splitlines())) <= 120


@pytest.mark.parametrize(
    "option", [["--turned", "yes"], ["--cameras", "a,b"], ["--state-in-prompt", "no"], ["--lerobot-version", "0.4"]]
)
def test_demo_refuses_options_that_change_it(option, capsys):
    assert main(["--demo", "--dry-run", *option]) == 2
    assert f"leave {option[0]} out" in capsys.readouterr().err


def test_number_lists_are_parsed():
    assert parse_numbers("4,10,15-17,4") == (4, 10, 15, 16, 17)


def test_results_folder_is_created_and_warnings_name_the_prompt(command, tmp_path, capsys):
    output = tmp_path / "runs/today/two.h5"
    (tmp_path / "prompts.json").write_text(json.dumps(["go there", "", " "]))
    options = ["--prompts", str(tmp_path / "prompts.json"), "--layers", "0", "--steps", "0", "-o", str(output)]
    assert main([*command, *options]) == 0
    assert output.is_file()
    assert (
        "warning: frame 0, prompt 2 of 3: the prompt is empty, which the policy was not trained with "
        "(and so in 1 frame more)"
    ) in capsys.readouterr().err


def test_dry_run_creates_no_folder(command, tmp_path):
    assert main([*command, "--prompt", "go", "--dry-run", "-o", str(tmp_path / "runs/x.h5")]) == 0
    assert not (tmp_path / "runs").exists()


def test_state_may_begin_with_a_minus():
    assert joined_values(["--state", "-0.1,2", "-o", "x"]) == ["--state=-0.1,2", "-o", "x"]
    assert joined_values(["--state"]) == ["--state"]
    assert joined_values(["--relative-actions", "-1,6"]) == ["--relative-actions=-1,6"]


def test_state_may_be_several_arguments():
    assert joined_values(["--state", "-0.1", "2", "-3e-1", "-o", "x"]) == ["--state=-0.1 2 -3e-1", "-o", "x"]
    assert joined_values(["--state", "[0.1,", "-2]", "--seed", "3"]) == ["--state=[0.1, -2]", "--seed", "3"]
    assert joined_values(["--state=1", "2", "--frames", "-3:", "4"]) == ["--state=1 2", "--frames=-3:", "4"]


def test_stateless_policy_needs_no_state_option(command, tmp_path):
    output = tmp_path / "stateless.h5"
    without = [word for word in joined_values(command) if not word.startswith("--state=")]
    assert main([*without, "--state-in-prompt", "no", "--prompt", "go there", "-o", str(output)]) == 0
    with h5py.File(output) as file:
        assert file[schema.FRAMES_TEXT][0].decode() == "go there\n"
        assert file[schema.FRAMES_STATE].shape == (1, 0)
        roles = [schema.ROLES[role] for role in file[schema.TEXT_ROLE][0]]
        assert roles[0] == "bos"
        assert roles[-1] == "newline"
        assert set(roles[1:-1]) == {"prompt"}


def test_output_never_replaces_an_input(command, pictures, capsys):
    picture = pictures / "exterior.png"
    before = picture.read_bytes()
    assert main([*command, "--prompt", "go", "-o", str(picture), "--overwrite"]) == 2
    assert "is an input of this run" in capsys.readouterr().err
    assert picture.read_bytes() == before


def test_nan_output_fails_the_run(checkpoint, command, tmp_path, capsys):
    broken = tmp_path / "broken"
    shutil.copytree(checkpoint, broken)
    weights = load_file(broken / "model.safetensors")
    weights["paligemma_with_expert.gemma_expert.model.layers.1.self_attn.q_proj.weight"][0, 0] = float("nan")
    save_file(weights, broken / "model.safetensors")
    output = tmp_path / "nan.h5"
    assert main([*command, "--checkpoint", str(broken), "--prompt", "go", "-o", str(output)]) == 0
    assert "warning: rows of attention sum to 1 only within nan" in capsys.readouterr().err
    assert main(["info", str(output)]) == 0
    assert "LOOK HERE" in capsys.readouterr().out


def test_row_sums_that_info_flags_are_warned_about_at_once(command, tmp_path, capsys, monkeypatch):
    import capture.pipeline.collector

    doubtful = capture.pipeline.collector.WeightErrors(row_sum=5e-4, masked_weight=0.0)
    original = capture.pipeline.collector.to_host_arrays
    monkeypatch.setattr(capture.pipeline.collector, "to_host_arrays", lambda found: (original(found)[0], [doubtful]))
    output = tmp_path / "doubtful.h5"
    assert main([*command, "--prompt", "go", "--layers", "0", "-o", str(output)]) == 0
    assert "warning: rows of attention sum to 1 only within 0.0005" in capsys.readouterr().err
    assert main(["info", str(output)]) == 0
    assert "LOOK HERE" in capsys.readouterr().out


def test_capture_runs_with_one_camera(command, tmp_path):
    output = tmp_path / "wrist.h5"
    one_camera = [
        word for index, word in enumerate(command) if "--exterior" not in command[max(0, index - 1) : index + 1]
    ]
    assert main([*one_camera, "--prompt", "go", "-o", str(output)]) == 0
    with h5py.File(output) as file:
        assert list(file.attrs["cameras"]) == ["wrist"]
        assert int(file[schema.TEXT_POSITION][0, 0]) == 256


def test_info_needs_no_torch(results):
    code = (
        "import sys; sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from capture.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code, "info", str(results)], capture_output=True, text=True, check=False
    )
    assert completed.returncode == 0, completed.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_unwritable_summary_raises_one_sentence(results):
    with Path("/dev/full").open("w") as full:
        completed = subprocess.run(
            [sys.executable, "-m", "capture", "info", str(results)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=ROOT,
        )
    assert completed.returncode == 2
    assert completed.stderr == "pi0-capture: standard output cannot be written (no space left on device)\n"


def test_messages_cannot_steer_the_terminal(tmp_path, capsys):
    assert main(["info", f"{tmp_path}/no\x1b[2J\u202e.h5"]) == 2
    assert "no·[2J·.h5 does not exist" in capsys.readouterr().err
