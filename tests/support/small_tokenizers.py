"""Two small tokenizers with PaliGemma's conventions, so that no test waits for the 17 MB one.

Run as a script (`PYTHONPATH=. python tests/small_tokenizers.py`), it writes `tests/data/tokenizer.json` anew; the
SentencePiece model is trained where a test asks for it.
Conventions: blanks are written U+2581 and lead the word, no blank is put in front, none are collapsed, every digit
is its own piece, a newline too, characters that the vocabulary lacks fall back to their UTF-8 bytes, BOS is 2.
"""

from __future__ import annotations

import io
import json
import os
import string
from pathlib import Path

import pytest
import sentencepiece
from paths import DATA
from tokenizers import Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as Library

from capture.policies.tokenizer import Tokenizer, read_tokenizer

TOKENIZER = DATA / "tokenizer.json"
SPECIAL = ("<pad>", "<eos>", "<bos>", "<unk>")
BYTES = tuple(f"<0x{value:02X}>" for value in range(256))
NAMES = ("red block", "duck", "bowl", "mug", "moka pots", "blue cube", "drawer", "fork", "plate", "sponge")
SENTENCES = tuple(
    sentence.format(a=a, b=b)
    for a in NAMES
    for b in NAMES
    for sentence in (
        "Task: pick up the {a}, State: 120 34 -1 56;\nAction: ",
        "Task: Put the {a} in the {b}., State: -1 78 9;\nAction: ",
        "move the {a} next to the {b}, then close it!",
        "open  the {a}",
        "café naïve – läuft",
    )
)


def make_json(vocabulary: int = 600) -> str:
    """A `tokenizer.json`: BPE learned on `SENTENCES`, byte pieces put in behind the special ones as in Gemma's."""
    learner = Library(models.BPE())
    learner.normalizer = normalizers.Replace(" ", "▁")
    # Merges never reach across a digit, a newline, or from a word to a sign.
    piece_pattern = Regex(r"\n|\d|▁+(?=\d)|▁*[^\W\d]+|▁*[^\w\s▁]+|▁+")
    learner.pre_tokenizer = pre_tokenizers.Split(piece_pattern, "isolated")
    learner.train_from_iterator(
        SENTENCES,
        trainers.BpeTrainer(
            vocab_size=vocabulary - len(BYTES),
            special_tokens=list(SPECIAL),
            initial_alphabet=list(string.printable.strip()),
            show_progress=False,
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    words = sorted(learned["vocab"], key=learned["vocab"].__getitem__)[len(SPECIAL) :]
    special = [
        {"id": number, "content": word, "special": True, "normalized": False}
        | dict.fromkeys(("single_word", "lstrip", "rstrip"), False)
        for number, word in enumerate(SPECIAL)
    ]
    bos = {"<bos>": {"id": "<bos>", "ids": [2], "tokens": ["<bos>"]}}
    sequence = [{"SpecialToken": {"id": "<bos>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    return json.dumps(
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": special,
            "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            "pre_tokenizer": None,
            "post_processor": {
                "type": "TemplateProcessing",
                "single": sequence,
                "pair": [*sequence, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": bos,
            },
            "decoder": {
                "type": "Sequence",
                "decoders": [
                    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                    {"type": "ByteFallback"},
                    {"type": "Fuse"},
                ],
            },
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": "<unk>",
                "continuing_subword_prefix": None,
                "end_of_word_suffix": None,
                "fuse_unk": True,
                "byte_fallback": True,
                "vocab": {word: number for number, word in enumerate((*SPECIAL, *BYTES, *words))},
                "merges": learned["merges"],
            },
        },
        ensure_ascii=False,
    )


def make_sentencepiece(vocabulary: int = 450) -> bytes:
    """A SentencePiece BPE model with the settings of PaliGemma's own."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        model_type="bpe",
        vocab_size=vocabulary,
        hard_vocab_limit=False,
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        split_digits=True,
        byte_fallback=True,
        user_defined_symbols=["\n", "▁▁"],
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        minloglevel=2,
    )
    return model.getvalue()


def small_tokenizer(kind: str, folder: Path) -> Tokenizer:
    """One of the two, read by the code under test: kind `json` or `sentencepiece`, whose model is put in `folder`."""
    if kind == "json":
        return read_tokenizer(TOKENIZER)
    model = folder / "paligemma_tokenizer.model"
    model.write_bytes(make_sentencepiece())
    return read_tokenizer(model)


def gemma_tokenizer() -> Path:
    """The real Gemma `tokenizer.json`, which is not part of this project; the test is skipped where it is not named."""
    path = os.environ.get("PI0_GEMMA_TOKENIZER")
    if not path:
        pytest.skip("no Gemma tokenizer: set PI0_GEMMA_TOKENIZER to its tokenizer.json to compare real token ids")
    return Path(path)


if __name__ == "__main__":
    TOKENIZER.parent.mkdir(exist_ok=True)
    TOKENIZER.write_text(make_json() + "\n", encoding="utf-8")
