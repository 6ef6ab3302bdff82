from __future__ import annotations

import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from huggingface_hub import constants
from hypothesis import assume, example, given
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor
from small_tokenizers import TOKENIZER, gemma_tokenizer, make_sentencepiece, small_tokenizer

from capture.errors import UserError
from capture.policies.tokenizer import Tokenizer, check_vocabulary, find_tokenizer, read_tokenizer

FRAGMENTS = (
    "pick up",
    "duck",
    "  ",
    " ",
    "\n",
    "é",
    "–",
    "🤖",
    "👩‍🚀",
    "\U000f1234",
    "e\u0301",
    "12",
    "-1",
    "State:",
    ".,",
    "▁",
    "\t",
)
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(
    "".join
)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sentencepiece") / "paligemma_tokenizer.model"
    path.write_bytes(make_sentencepiece())
    return path


@pytest.fixture(scope="module", params=["json", "sentencepiece"])
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    return small_tokenizer(request.param, tmp_path_factory.mktemp(request.param))


@given(text=TEXTS)
@example(text="")
@example(text="naïve café – läuft 🤖\U000f1234\U000f1234!")
def test_spans_cover_the_characters_in_order(tokenizer: Tokenizer, text: str) -> None:
    assume(" ▁▁" not in text)  # SentencePiece 0.2.3 gives the piece of the space and the first sign the space's span
    position, rest = 0, b""
    for piece in tokenizer.encode(text):
        covered = text[piece.start : piece.stop]
        if piece.text.startswith("<0x"):  # one byte of a character that the vocabulary lacks
            assert len(covered) == 1
            rest = rest or covered.encode()
            assert (piece.start, rest[:1]) == (position, bytes([int(piece.text[3:5], 16)]))
            rest = rest[1:]
        else:
            assert not rest
            assert (piece.start, piece.text) == (position, covered.replace(" ", "▁"))
        position = position if rest else piece.stop
    assert position == len(text)


def test_tokenizer_survives_pickling(tokenizer: Tokenizer) -> None:
    sent = pickle.loads(pickle.dumps(tokenizer))
    assert (sent.name, sent.bos, sent.size) == (tokenizer.name, tokenizer.bos, tokenizer.size)
    text = "pick up the duck – läuft 🤖"
    assert sent.encode(text) == tokenizer.encode(text)


@given(text=TEXTS)
def test_token_ids_equal_those_of_the_tokenizers_library(model: Path, text: str) -> None:
    library = SentencePieceProcessor(model_file=str(model))
    assert [piece.id for piece in read_tokenizer(model).encode(text)] == library.encode(text)
    library = tokenizers.Tokenizer.from_file(str(TOKENIZER))
    assert [piece.id for piece in read_tokenizer(TOKENIZER).encode(text)] == library.encode(
        text, add_special_tokens=False
    ).ids


def test_small_tokenizers_follow_paligemma_conventions(tokenizer: Tokenizer) -> None:
    def pieces(text: str) -> list[str]:
        return [piece.text for piece in tokenizer.encode(text)]

    assert tokenizer.bos == 2
    assert pieces("pick up 128 -1;\n") == ["p", "ick", "▁up", "▁", "1", "2", "8", "▁-", "1", ";", "\n"]
    assert pieces("ñ") == ["<0xC3>", "<0xB1>"]


def test_gemma_tokenizer_gives_reference_ids() -> None:
    gemma = read_tokenizer(gemma_tokenizer())
    for fixture in json.loads((TOKENIZER.parent / "token_fixtures.json").read_text(encoding="utf-8")):
        assert [gemma.bos] + [piece.id for piece in gemma.encode(fixture["text"])] == fixture["token_ids_with_bos"]


def test_saved_padding_and_truncation_are_not_applied(tmp_path: Path) -> None:
    library = tokenizers.Tokenizer.from_file(str(TOKENIZER))
    library.enable_truncation(4)
    library.enable_padding(length=30)
    library.save(str(tmp_path / "tokenizer.json"))
    text = "pick up the red block"
    assert read_tokenizer(tmp_path).encode(text) == read_tokenizer(TOKENIZER).encode(text)


def test_tokenizer_is_identified_by_content_not_file_name(model: Path, tmp_path: Path) -> None:
    (tmp_path / "a.model").write_bytes(TOKENIZER.read_bytes())
    (tmp_path / "b.json").write_bytes(model.read_bytes())
    assert read_tokenizer(tmp_path / "a.model").size == read_tokenizer(TOKENIZER).size
    assert read_tokenizer(tmp_path / "b.json").size == read_tokenizer(model).size


def _without(piece: str) -> bytes:
    content = json.loads(TOKENIZER.read_text(encoding="utf-8"))
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] != piece]
    del content["model"]["vocab"][piece]
    content["post_processor"] = None
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begin-of-sequence"),
        (b"{", "cannot be read"),
        (b"{}", "cannot be read"),
        (b'{"bos_token": "<bos>"}', "cannot be read"),
        (b"\x00\xff" * 500, "cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\n", "cannot be read"),
        (TOKENIZER.read_bytes()[:-100], "cannot be read"),
        (make_sentencepiece()[:-5], "cannot be read"),
        (_without("<bos>"), "begin-of-sequence"),
    ],
)
def test_damaged_tokenizer_raises_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "broken.model"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_tokenizer(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_tokenizer_is_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        find_tokenizer(tmp_path / "nothing.json", None)
    with pytest.raises(UserError, match=r"holds no tokenizer\.json"):
        find_tokenizer(tmp_path, None)
    for name in ("a.model", "b.model"):  # which of two is meant cannot be told
        (tmp_path / name).write_bytes(make_sentencepiece())
    with pytest.raises(UserError, match=r"holds no tokenizer\.json"):
        find_tokenizer(tmp_path, None)


def test_find_tokenizer_searches_locations_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: Path
) -> None:
    home, data, hub, checkpoint = (tmp_path / name for name in ("home", "data", "hub", "checkpoint"))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("OPENPI_DATA_HOME", str(data))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(hub))
    repository = hub / "models--google--paligemma-3b-mix-224"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    locations = [
        tmp_path / "given.json",
        checkpoint / "tokenizer" / "tokenizer.json",
        checkpoint / "only.model",
        data / "big_vision" / "paligemma_tokenizer.model",
        data / "paligemma_tokenizer.model",
        home / ".cache" / "openpi" / "big_vision" / "paligemma_tokenizer.model",
        repository / "snapshots" / "abc" / "tokenizer.model",
    ]
    for location in locations:
        location.parent.mkdir(parents=True, exist_ok=True)
        location.write_bytes(model.read_bytes() if location.suffix == ".model" else TOKENIZER.read_bytes())

    assert find_tokenizer(locations[0], checkpoint).name == f"{tmp_path.name}/given.json"
    for location in locations[1:]:
        assert find_tokenizer(None, checkpoint).name == f"{location.parent.name}/{location.name}"
        location.unlink()
    with pytest.raises(UserError, match=r"hf download google/paligemma-3b-pt-224 tokenizer\.json.*--tokenizer"):
        find_tokenizer(None, checkpoint)


def test_damaged_checkpoint_tokenizer_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        find_tokenizer(None, tmp_path)


def test_tokenizer_larger_than_vocabulary_is_refused() -> None:
    tokenizer = read_tokenizer(TOKENIZER)
    assert check_vocabulary(tokenizer, tokenizer.size) is None
    assert check_vocabulary(tokenizer, tokenizer.size - 4) is None  # such as PaliGemma's <image>
    with pytest.raises(UserError, match="vocabulary has 256"):
        check_vocabulary(tokenizer, 256)
    warning = check_vocabulary(tokenizer, 257152)
    assert warning is not None
    assert "257152" in warning


@pytest.mark.parametrize("ids", [[2, 255], np.array([2, 255], np.int32), []])
def test_token_ids_beyond_vocabulary_are_refused(ids: list[int]) -> None:
    assert check_vocabulary(ids, 256) is None
    if len(ids):
        with pytest.raises(UserError, match="gave id 255"):
            check_vocabulary(ids, 255)
