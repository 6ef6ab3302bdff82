"""Words of a prompt, found by their text. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from viewer.analysis.caption import elide
from viewer.errors import MissingWordError
from viewer.model.view_state import Query

if TYPE_CHECKING:
    from viewer.io.results import Results

MOST_WORDS: Final = 20
"""Words of a prompt that a sentence names."""


def find_query_of_words(results: Results, frame: int, text: str) -> Query:
    """Return the query of one or several words of a frame, found by their text in any case.

    A word of the prompt goes before one of the same text elsewhere in the prefix.

    Raises:
        UserError: The frame has no such word; the message names those that it has.
    """
    chips = results.chips(frame)
    items: list[int] = []
    for word in text.split() or [text]:
        same = [
            item for item, chip in enumerate(chips) if word.casefold() in {chip.text.casefold(), chip.label.casefold()}
        ]
        if not same:
            words = list(dict.fromkeys(elide(chip.label) for chip in chips if chip.role == "prompt"))
            listed = ", ".join(words[:MOST_WORDS]) + (" …" if len(words) > MOST_WORDS else "")
            raise MissingWordError(
                f"There is no word “{elide(word)}” in frame {frame}; its prompt has {listed or 'no words'}."
            )
        items += [item for item in same if chips[item].role == "prompt"] or same
    return Query("text", tuple(sorted(set(items))))
