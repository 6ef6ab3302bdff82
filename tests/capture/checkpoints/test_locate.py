"""What a user may write after --checkpoint: paths, repositories, and addresses that need fetching first."""

from __future__ import annotations

import huggingface_hub
import pytest
from huggingface_hub import errors

from capture.checkpoints.locate import find_source, is_local
from capture.errors import UserError


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


def test_find_source_returns_existing_folder(tmp_path):
    (tmp_path / "pi05_droid").mkdir()
    source = find_source("pi05_droid/")
    assert source.folder == tmp_path / "pi05_droid"
    assert source.name == "pi05_droid"
    assert source.parts[-1] == "pi05_droid"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("run/20000", "run/20000"),
        ("run/20000/params", "run/20000"),
        ("pi05_droid/params", "pi05_droid"),
        ("10-00_pi05/checkpoints/005000/pretrained_model", "10-00_pi05/checkpoints/005000/pretrained_model"),
        ("10-00_pi05/checkpoints/last/pretrained_model_ema", "10-00_pi05/checkpoints/last/pretrained_model_ema"),
    ],
)
def test_source_name_adds_parent_to_generic_names(tmp_path, path, name):
    (tmp_path / path).mkdir(parents=True)
    assert find_source(path).name == name


def test_path_of_the_weights_file_gives_its_folder(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(UserError, match="config.json must lie beside"):
        find_source("model.safetensors")
    (tmp_path / "config.json").write_text("{}")
    assert find_source(tmp_path / "model.safetensors").folder == tmp_path


@pytest.mark.parametrize(
    ("file", "message"),
    [("policy.pt", "pickled file, and opening one can run any program"), ("notes.txt", "is no checkpoint")],
)
def test_other_files_are_refused(tmp_path, file, message):
    (tmp_path / file).touch()
    with pytest.raises(UserError, match=message):
        find_source(file)


def test_bucket_address_error_names_download_command():
    with pytest.raises(UserError) as error:
        find_source("gs://openpi-assets/checkpoints/pi05_droid/")
    message = str(error.value)
    assert "`gcloud storage cp -r gs://openpi-assets/checkpoints/pi05_droid .`" in message
    assert "gsutil -m cp -r" in message
    assert message.endswith("--checkpoint pi05_droid")


@pytest.mark.parametrize(
    ("location", "message"),
    [
        ("https://huggingface.co/lerobot/pi05_base/tree/main", "--checkpoint lerobot/pi05_base"),
        ("hf://lerobot/pi05_base", "--checkpoint lerobot/pi05_base"),
        ("s3://bucket/pi05", "lies elsewhere"),
        ("no_such_folder", "there is no checkpoint at 'no_such_folder'; give a folder, or"),
        ("a/b/c", "there is no checkpoint at"),
        ("./a/b", "there is no checkpoint at"),
        ("", "there is no checkpoint at ''"),
        ("x" * 5000, "no usable path"),
        ("a\0b", "no usable path|there is no checkpoint"),
    ],
)
def test_neither_path_nor_repository_is_refused(location, message):
    with pytest.raises(UserError, match=message):
        find_source(location)


def test_folder_takes_precedence_over_a_repository_of_its_name(tmp_path):
    (tmp_path / "lerobot" / "pi05_base").mkdir(parents=True)
    assert find_source("lerobot/pi05_base").folder == tmp_path / "lerobot" / "pi05_base"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A Hugging Face cache as it lies on disk, with one repository of two revisions."""
    root = tmp_path / "hub"
    repository = root / "models--someone--pi05_droid"
    for revision, commit in (("main", "a" * 40), ("v1", "b" * 40)):
        (repository / "refs").mkdir(parents=True, exist_ok=True)
        (repository / "refs" / revision).write_text(commit)
        snapshot = repository / "snapshots" / commit
        snapshot.mkdir(parents=True)
        (snapshot / "config.json").write_text("{}")
        (snapshot / "model.safetensors").touch()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(root))
    real = huggingface_hub.snapshot_download
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: real(*a, cache_dir=root, **k))
    return repository


def test_cached_repository_is_read_offline(cache):
    source = find_source("someone/pi05_droid", offline=True)
    assert source.folder == cache / "snapshots" / ("a" * 40)
    assert source.name == "someone/pi05_droid"
    assert source.parts == ("someone", "pi05_droid")


def test_revision_can_be_named(cache):
    source = find_source("someone/pi05_droid@v1", offline=True)
    assert source.folder == cache / "snapshots" / ("b" * 40)
    assert source.name == "someone/pi05_droid@v1"


def test_uncached_repository_is_reported_offline(cache):
    with pytest.raises(UserError, match="someone/pi05_else is not in Hugging Face's cache and could not be fetched"):
        find_source("someone/pi05_else", offline=True)


def test_only_needed_files_are_fetched_and_jax_only_without_safetensors(tmp_path, monkeypatch):
    requested = []

    def download(name, *, repo_type, revision, allow_patterns, local_files_only):
        requested.append(allow_patterns)
        assert (name, repo_type, revision, local_files_only) == ("someone/pi05", "model", None, False)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    find_source("someone/pi05")
    assert [("model*.safetensors" in patterns, "params/**" in patterns) for patterns in requested] == [
        (True, False),
        (False, True),
    ]
    requested.clear()
    (tmp_path / "model.safetensors").touch()
    find_source("someone/pi05")
    assert len(requested) == 1
    assert not any(pattern in ("*", "**", "*.bin") for pattern in requested[0])


class _Response:
    status_code, headers, request = 403, {}, None


def hub_error(kind, message="went wrong\nand more"):
    try:
        return kind(message, response=_Response())
    except TypeError:
        return kind(message)


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (
            errors.GatedRepoError,
            "is gated: accept its terms at https://huggingface.co/someone/pi05, run `hf auth login`",
        ),
        (errors.RepositoryNotFoundError, "neither a folder 'someone/pi05' here nor a Hugging Face repository"),
        (errors.RevisionNotFoundError, "has no revision 'v9'"),
        (errors.LocalEntryNotFoundError, "offline, or no network"),
        (errors.HfHubHTTPError, "could not fetch someone/pi05@v9 from Hugging Face: went wrong$"),
        (errors.HFValidationError, "could not fetch"),
        (OSError, "could not fetch"),
        (ValueError, "could not fetch"),
    ],
)
def test_failures_of_the_hub_are_one_sentence(monkeypatch, kind, message):
    def download(*_, **__):
        raise hub_error(kind)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError, match=message) as error:
        find_source("someone/pi05@v9")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("location", "local"),
    [("pi05_droid", True), ("owner/name", False), ("", False), ("x" * 5000, False), ("a\0b", False), ("~", True)],
)
def test_only_existing_paths_are_local(tmp_path, monkeypatch, location, local):
    (tmp_path / "pi05_droid").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    assert is_local(location) is local


@pytest.mark.parametrize("location", ["", "snapshots", "snapshots/" + "a" * 40])
def test_cache_folder_gives_its_repository(cache, location):
    source = find_source(cache / location)
    assert source.folder == cache / "snapshots" / ("a" * 40)
    assert (source.name, source.parts) == ("someone/pi05_droid", ("someone", "pi05_droid"))


def test_cache_folder_without_main_revision_error_asks_for_a_snapshot(cache):
    (cache / "refs" / "main").unlink()
    with pytest.raises(UserError, match="holds 2 snapshots of someone/pi05_droid; give one of its snapshots"):
        find_source(cache)


def test_settings_are_checked_before_weights_are_fetched(cache, monkeypatch):
    fetched = []
    real = huggingface_hub.snapshot_download

    def download(*arguments, allow_patterns, **options):
        fetched.append(any("model" in pattern and "safetensors" in pattern for pattern in allow_patterns))
        return real(*arguments, allow_patterns=allow_patterns, **options)

    def check(source):
        assert source.folder.is_dir()
        raise UserError("no statistics")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(UserError, match="no statistics"):
        find_source("someone/pi05_droid", offline=True, check=check)
    assert fetched == [False]
    find_source("someone/pi05_droid", offline=True, check=lambda source: None)
    assert fetched == [False, False, True]
