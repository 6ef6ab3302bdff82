"""Tokenizer files: PaliGemma's SentencePiece model or a `tokenizer.json`, read alike and found in the usual places."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol, Self

import numpy as np
import numpy.typing as npt

from capture.errors import UserError

HUB_REPOSITORIES: Final = (
    "google/paligemma-3b-pt-224",
    "google/paligemma-3b-mix-224",
    "google/paligemma-3b-pt-448",
    "google/paligemma-3b-mix-448",
    "google/paligemma-3b-pt-896",
)
"""Hugging Face repositories that hold PaliGemma's tokenizer; local copies are looked for, nothing is fetched."""

_TOKENIZER_FILES: Final = ("tokenizer.json", "tokenizer.model", "paligemma_tokenizer.model")


@dataclass(frozen=True)
class Piece:
    """One token of a text: its id, how the vocabulary writes it, and the characters `text[start:stop]` it covers.

    Where one character takes several pieces (`<0xF0>`, ...), each of them bears that character's span.
    """

    id: int
    text: str
    start: int
    stop: int


class Tokenizer(Protocol):
    """What turns text into pieces; `read_tokenizer` knows two kinds of file."""

    @property
    def name(self) -> str:
        """Folder and file that it was read from, without the way there."""

    @property
    def bos(self) -> int:
        """Id that begins every prompt."""

    @property
    def size(self) -> int:
        """How many ids its vocabulary has, added special tokens left out."""

    def encode(self, text: str) -> list[Piece]:
        """Return the pieces of `text` in order, without special tokens before or after them."""


class JsonTokenizer:
    """A `tokenizer.json`, as lerobot and transformers save it (package tokenizers)."""

    def __init__(self, path: Path) -> None:
        from tokenizers import Tokenizer as Library

        try:
            library = Library.from_file(str(path))
        except Exception as error:  # the package raises nothing narrower
            raise _make_read_error(path, error) from error
        self._set_library(library, _shorten_name(path), path)

    @classmethod
    def from_json(cls, text: str, name: str) -> Self:
        """Return the tokenizer of the content of a `tokenizer.json`. Raises UserError for one of another kind."""
        from tokenizers import Tokenizer as Library

        tokenizer = cls.__new__(cls)
        tokenizer._set_library(Library.from_str(text), name, name)
        return tokenizer

    def _set_library(self, library: Any, name: str, where: object) -> None:
        self.name = name
        self._library = library
        # A saved tokenizer may carry its training run's padding and truncation.
        self._library.no_padding()
        self._library.no_truncation()
        bos_ids = [self._library.token_to_id(piece) for piece in ("<bos>", "<s>")]
        bos = next((id_ for id_ in bos_ids if id_ is not None), None)
        if bos is None:
            raise _make_kind_error(where)
        self.bos: int = bos
        self.size: int = self._library.get_vocab_size(with_added_tokens=False)

    def encode(self, text: str) -> list[Piece]:
        """Return the pieces of `text` in order, without special tokens before or after them."""
        encoding = self._library.encode(text, add_special_tokens=False)
        return [
            Piece(i, piece, *span)
            for i, piece, span in zip(encoding.ids, encoding.tokens, encoding.offsets, strict=True)
        ]


class SentencePieceTokenizer:
    """A SentencePiece `.model`, such as openpi's `paligemma_tokenizer.model` (package sentencepiece)."""

    def __init__(self, path: Path) -> None:
        from sentencepiece import SentencePieceProcessor

        try:
            model = path.read_bytes()
            library = SentencePieceProcessor(model_proto=model)
        except (OSError, RuntimeError, ValueError) as error:
            raise _make_read_error(path, error) from error
        if not model:  # the package takes an empty file, and then crashes when it is asked anything
            raise _make_kind_error(path)
        self._set_library(library, _shorten_name(path), path)

    @classmethod
    def from_processor(cls, processor: Any, name: str) -> Self:
        """Return the tokenizer of a SentencePieceProcessor. Raises UserError for one of another kind."""
        tokenizer = cls.__new__(cls)
        tokenizer._set_library(processor, name, name)
        return tokenizer

    def _set_library(self, library: Any, name: str, where: object) -> None:
        self.name = name
        self._library = library
        self.size: int = library.get_piece_size()
        self.bos: int = library.bos_id() if self.size else -1
        if self.bos < 0:
            raise _make_kind_error(where)

    def encode(self, text: str) -> list[Piece]:
        """Return the pieces of `text` in order, without special tokens before or after them."""
        spans = self._find_spans(text)
        return [Piece(i, piece, start, _find_stop(piece, start, stop)) for i, piece, start, stop in spans]

    def _find_spans(self, text: str) -> Iterator[tuple[int, str, int, int]]:
        # sentencepiece 0.2.2 renamed its only way to ask for character offsets.
        if hasattr(self._library, "EncodeAsOffsetMapping"):
            mapping = self._library.encode(text, out_type="offset_mapping")
            for i, piece, (start, stop) in zip(mapping["ids"], mapping["pieces"], mapping["offsets"], strict=True):
                yield i, piece, start, stop
        else:
            for token in self._library.encode(text, out_type="immutable_proto").pieces:
                yield token.id, token.piece, token.begin, token.end


def _find_stop(piece: str, start: int, stop: int) -> int:
    """End of a piece's span: SentencePiece gives a character to the last of its bytes only, here to all of them."""
    return start + 1 if start == stop and re.fullmatch("<0x[0-9A-F]{2}>", piece) else stop


def _shorten_name(path: Path) -> str:
    return f"{path.absolute().parent.name}/{path.name}"


def _make_read_error(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())  # some run over several lines
    return UserError(f"the tokenizer {path} cannot be read ({reason}); fetch it again or name another with --tokenizer")


def _make_kind_error(where: object) -> UserError:
    return UserError(
        f"the tokenizer {where} has no begin-of-sequence piece, so it is not of PaliGemma's kind; "
        "name the checkpoint's own with --tokenizer"
    )


def read_tokenizer(path: Path) -> Tokenizer:
    """Read a `tokenizer.json` or SentencePiece `.model` file, distinguished by content, or the one in a folder.

    Raises UserError where there is none, or where it cannot be read.
    """
    if path.is_dir():
        inner_file = _find_in_folder(path)
        if inner_file is None:
            raise UserError(f"the folder {path} holds no tokenizer.json and no SentencePiece .model file")
        path = inner_file
    if not path.is_file():
        raise UserError(f"the tokenizer {path} does not exist; check the path")
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip()
    except OSError as error:
        raise _make_read_error(path, error) from error
    return JsonTokenizer(path) if start.startswith(b"{") else SentencePieceTokenizer(path)


def _find_in_folder(folder: Path) -> Path | None:
    """Return the tokenizer file of a folder: one of the usual names, else its only `.model` file."""
    for name in _TOKENIZER_FILES:
        if (folder / name).is_file():
            return folder / name
    models = [path for path in folder.glob("*.model") if path.is_file()]
    return models[0] if len(models) == 1 else None


def find_tokenizer(file: Path | None, checkpoint: Path | None) -> Tokenizer:
    """Return the tokenizer of `file`, else the checkpoint's own, else PaliGemma's from a cache on this machine.

    Looks in the checkpoint's `tokenizer/` folder and in the checkpoint, under `$OPENPI_DATA_HOME` and
    `~/.cache/openpi` (where openpi downloads `big_vision/paligemma_tokenizer.model`), then in the Hugging Face cache.
    Never uses the network. Raises UserError where none is found, or where the first one found cannot be read.
    """
    if file is not None:
        return read_tokenizer(file.expanduser())
    for path in _list_candidates(checkpoint):
        if path.is_file():
            return read_tokenizer(path)
    raise UserError(
        "no tokenizer was found with the checkpoint, under OPENPI_DATA_HOME or ~/.cache/openpi, or in the Hugging Face "
        "cache; run `hf download google/paligemma-3b-pt-224 tokenizer.json` once (after accepting its licence on the "
        "web page), or name a tokenizer.json or paligemma_tokenizer.model with --tokenizer"
    )


def _list_candidates(checkpoint: Path | None) -> Iterator[Path]:
    if checkpoint is not None:
        for folder in (checkpoint / "tokenizer", checkpoint):
            file = _find_in_folder(folder)
            if file is not None:
                yield file
    homes = (os.environ.get("OPENPI_DATA_HOME"), "~/.cache/openpi")
    for home in (Path(home).expanduser() for home in homes if home):
        yield home / "big_vision" / "paligemma_tokenizer.model"
        yield home / "paligemma_tokenizer.model"

    from huggingface_hub import try_to_load_from_cache

    for repository in HUB_REPOSITORIES:
        for name in ("tokenizer.json", "tokenizer.model"):
            cached = try_to_load_from_cache(repository, name)
            if isinstance(cached, str):
                yield Path(cached)


def check_vocabulary(tokens: Tokenizer | npt.NDArray[np.integer] | Sequence[int], vocabulary: int) -> str | None:
    """Check that a tokenizer, or the ids that it returned, fit a model with `vocabulary` embedding rows.

    Raises UserError for ids that the model does not have. Returns a sentence worth a warning where the tokenizer
    knows so few of the model's ids that it can hardly be the one it was trained with, None where all is well.
    """
    if isinstance(tokens, Sequence | np.ndarray):
        largest = int(np.max(tokens, initial=-1))
        if largest >= vocabulary:
            raise UserError(
                f"the tokenizer gave id {largest}, but the checkpoint's vocabulary has {vocabulary}; "
                "name the checkpoint's own tokenizer with --tokenizer"
            )
        return None
    # A few pieces too many are no misfit: PaliGemma's `<image>` lies past the policy's table, and text never gives it.
    if tokens.size > vocabulary + vocabulary // 100:
        raise UserError(
            f"the tokenizer {tokens.name} has {tokens.size} pieces, but the checkpoint's vocabulary has {vocabulary}; "
            "name the checkpoint's own tokenizer with --tokenizer"
        )
    if tokens.size < vocabulary * 0.9:
        return (
            f"the tokenizer {tokens.name} knows {tokens.size} of the checkpoint's {vocabulary} ids, "
            "so it is hardly the one that the policy was trained with"
        )
    return None
