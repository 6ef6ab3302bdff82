"""Tokens, pictures and names of policies of other code bases, and the replacement of their methods."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small_policy import TOKENIZER
from small_tokenizers import make_sentencepiece

from capture.policies.pi05.prompt import tokenise
from capture.policies.tokenizer import read_tokenizer
from capture.results.schema import ROLES
from capture.rollouts.peers.attribute_overrides import AttributeOverrides
from capture.rollouts.peers.pictures import describe_picture, name_cameras, read_source
from capture.rollouts.peers.token_tables import describe_tokens, read_written_prompt, wrap_tokenizer

STATE = np.array([-1.5, -0.2, 0.0, 0.999])


def test_known_tokens_get_words_and_state_values() -> None:
    tokenizer = read_tokenizer(TOKENIZER)
    tokens = tokenise("pick up the red block", STATE, tokenizer)
    table = describe_tokens(tokens.ids, "pick up the red block", STATE, tokenizer)
    np.testing.assert_array_equal(table.word, tokens.word)
    assert set(table.state_index) == {-1, 0, 1, 2, 3}


def test_written_prompt_gives_task_and_bins() -> None:
    tokenizer = read_tokenizer(TOKENIZER)
    tokens = tokenise("pick up: State: 5, the block", STATE, tokenizer)
    task, state = read_written_prompt(tokens.text)
    assert task == "pick up: State: 5, the block"
    np.testing.assert_array_equal(tokenise(task, state, tokenizer).ids, tokens.ids)
    assert read_written_prompt("open the drawer\n") == ("open the drawer", None)


def test_unknown_tokens_are_words_of_the_prompt() -> None:
    table = describe_tokens(np.array([2, 77, 78]), "something else", None, read_tokenizer(TOKENIZER))
    assert table.text == "<2><77><78>"
    assert [table.text[a:b] for a, b in zip(table.start, table.stop, strict=True)] == ["<2>", "<77>", "<78>"]
    assert table.role.tolist() == [ROLES.index("bos"), ROLES.index("prompt"), ROLES.index("prompt")]


def test_tokenizers_of_other_packages_are_wrapped(tmp_path: Path) -> None:
    import sentencepiece
    from transformers import PreTrainedTokenizerFast

    processor = sentencepiece.SentencePieceProcessor(model_proto=make_sentencepiece())
    (tmp_path / "a.model").write_bytes(make_sentencepiece())
    text = "Task: pick up the red block"
    own = read_tokenizer(tmp_path / "a.model").encode(text)
    for tokenizer in (processor, SimpleNamespace(_tokenizer=processor)):
        wrapped = wrap_tokenizer(tokenizer)
        assert wrapped is not None
        assert wrapped.encode(text) == own
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), pad_token="<pad>")
    wrapped = wrap_tokenizer(theirs)
    assert wrapped is not None
    assert wrapped.encode(text) == read_tokenizer(TOKENIZER).encode(text)
    assert wrap_tokenizer(None) is None
    assert wrap_tokenizer(object()) is None


def test_cameras_are_named_as_captures_name_them() -> None:
    assert name_cameras(("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")) == ("exterior", "wrist", "right wrist")
    prefix = "observation.images."
    assert name_cameras((prefix + "image", prefix + "image2", prefix + "top")) == ("exterior", "wrist", "top")
    assert name_cameras((prefix + "image", prefix + "base_0_rgb")) == ("exterior", "base_0_rgb")


@pytest.mark.parametrize("kind", ["uint8", "float, channels first"])
def test_source_pictures_are_copied_to_uint8(kind: str) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    array = picture if kind == "uint8" else torch.from_numpy(picture).permute(2, 0, 1).float() / 255
    source = read_source(array)
    np.testing.assert_array_equal(source, picture)
    assert not np.shares_memory(source, picture)


def test_picture_of_another_size_has_its_letterbox() -> None:
    shown = describe_picture(torch.zeros(3, 28, 28), np.zeros((10, 20, 3), np.uint8), 4)
    assert (shown.letterbox.top, shown.letterbox.rows, shown.letterbox.patch) == (7, 14, 7)
    assert shown.model_u8.shape == (28, 28, 3)


class Thing:
    def work(self, x: int) -> int:
        return x + 1


def test_overrides_restore_methods_and_attributes() -> None:
    inherited, own = Thing(), Thing()
    own.work = lambda x: x + 10  # type: ignore[method-assign]
    before = own.work
    overrides = AttributeOverrides()
    for overridden in (inherited, own):
        overrides.set(overridden, "work", lambda original: lambda x: 100 * original(x))
    assert (inherited.work(1), own.work(1)) == (200, 1100)
    with pytest.raises(RuntimeError, match="this Thing is recorded already"):
        AttributeOverrides().set(inherited, "work", lambda original: original)
    overrides.restore()
    overrides.restore()
    assert inherited.work(1) == 2
    assert not vars(inherited)
    assert own.work is before
