"""Scores of heads from effects files: how far their attention agrees with effects, and what silencing them does. No Qt.

All are (layers, steps, heads) of a query; NaN where nothing was measured.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.analysis.effects.measured import name_file
from viewer.model.noise_multiples import format_noise, multiple_of
from viewer.model.number_ranges import format_numbers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.analysis.query_attention import QueryAttention
    from viewer.io.effects import Effects
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Query

AGREEMENT: Final = "agreement/spearman"
AGREEMENT_OF_CHUNK: Final = "agreement/spearman_of_chunk"
DELETION: Final = "agreement/deletion"
INSERTION: Final = "agreement/insertion"
HEADS: Final = {"action": "heads/effect", "text": "heads/text_effect"}
"""Effect of silencing heads, by the kind of query that runs through them."""
_OPTIONS: Final = {AGREEMENT: "--map 2", DELETION: "--map 2 --curves", INSERTION: "--map 2 --curves",
                   "heads/effect": "--heads actions", "heads/text_effect": "--heads words"}  # fmt: skip
"""What makes `pi0-capture effects` measure them."""


def agreement(query: QueryAttention) -> Floats:
    """Return the rank correlation of each head's weights with the effects on the same actions.

    Of several actions it is the mean of theirs; of all, that of their mean weights with the effect on the chunk.
    """
    results, items = query.results, query.query.items
    if query.query.kind != "action":
        return _create_undefined(query)
    if len(items) == results.horizon:
        whole = _read_scores(results, query.frame, AGREEMENT_OF_CHUNK)
        if whole is not None:
            return query.choose(whole)
    agreements = _read_scores(results, query.frame, AGREEMENT)
    return (
        _create_undefined(query)
        if agreements is None
        else query.choose(agreements[list(items)].mean(0, dtype=np.float32))
    )


def deletion(query: QueryAttention) -> Floats:
    """Return the area between the deletion curve of each head's order of patches and that of random orders."""
    return _of_chunk(query, DELETION)


def insertion(query: QueryAttention) -> Floats:
    """Return the area between the insertion curve of each head's order of patches and that of random orders."""
    return _of_chunk(query, INSERTION)


def head_effect(query: QueryAttention) -> Floats:
    """Return what silencing each head does, in multiples of the noise: to the query's actions, or for words to all."""
    results, kind = query.results, query.query.kind
    actions = query.query.items if kind == "action" else ()
    name = HEADS[kind]
    effects = _find(results, query.frame, name)
    if effects is None:
        return _create_undefined(query)
    values = effects.row(f"{name}_of_action", query.frame) if actions else None
    floor = effects.floor(query.frame, actions if values is not None else ())
    if values is not None:
        values = np.sqrt(np.square(values[..., list(actions)]).mean(-1, dtype=np.float32))
    else:
        values = effects.row(name, query.frame)
        assert values is not None
    multiples = values[list(results.layers)] * np.float32(multiple_of(1.0, floor))  # of the recorded layers
    steps = len(results.steps) if kind == "action" else 1
    shape = len(multiples), max(steps, 1), multiples.shape[1]
    return query.choose(np.broadcast_to(multiples[:, None], shape).astype(np.float32))


def find_missing_agreement(results: Results, frame: int, kind: str) -> str:
    """Return why a query has no agreement with effects; empty if it has."""
    return _find_missing(results, frame, kind, AGREEMENT)


def find_missing_deletion(results: Results, frame: int, kind: str) -> str:
    """Return why a query has no deletion curve; empty if it has."""
    return _find_missing(results, frame, kind, DELETION)


def find_missing_insertion(results: Results, frame: int, kind: str) -> str:
    """Return why a query has no insertion curve; empty if it has."""
    return _find_missing(results, frame, kind, INSERTION)


def find_missing_head_effect(results: Results, frame: int, kind: str) -> str:
    """Return why there is no effect of silencing the heads that a query runs through; empty if there is."""
    name = HEADS["text" if kind == "text" else "action"]
    return "" if _find(results, frame, name) is not None else _describe_missing(results, frame, name)


def describe_source(results: Results, frame: int, query: Query, score: str) -> str:
    """Return how a score of heads was measured, and in which file; empty for a score that is not from one.

    blocks of 2 × 2 patches hidden from the actions, demo.effects.h5
    """
    names = {"agreement": AGREEMENT, "deletion": DELETION, "insertion": INSERTION, "knockout": HEADS[query.kind]}
    name = names.get(score, "")
    effects = _find(results, frame, name) if name else None
    if effects is None:
        return ""
    if score != "knockout":
        size = f"blocks of {effects.block} × {effects.block} patches" if effects.block > 1 else "single patches"
        against = " of the whole chunk" if score in {"deletion", "insertion"} else ""
        return f"effects{against} of {size} {effects.method.phrase}, {name_file(effects)}"
    actions = query.items if query.kind == "action" and effects.has(f"{name}_of_action") else ()
    who = f"actions {format_numbers(actions)}" if actions and len(actions) < results.horizon else "all actions"
    who = f"action {actions[0]}" if len(actions) == 1 else who
    stack = "action expert" if query.kind == "action" else "language model"
    noise = format_noise(effects.floor(frame, actions), effects.count_seeds(frame))
    return f"{who} when each head of the {stack} is silenced, × {noise}, {name_file(effects)}"


def _find_missing(results: Results, frame: int, kind: str, name: str) -> str:
    if _find(results, frame, name) is None:
        return _describe_missing(results, frame, name)
    return "effects are compared with the attention of actions: choose one" if kind == "text" else ""


def _describe_missing(results: Results, frame: int, name: str) -> str:
    return f"not measured: pi0-capture effects {results.path.name} --frames {frame} {_OPTIONS[name]}"


def _find(results: Results, frame: int, name: str) -> Effects | None:
    return next((effect for effect in results.effects if frame in effect.frames and effect.has(name)), None)


def _read_scores(results: Results, frame: int, name: str) -> Floats | None:
    effects = _find(results, frame, name)
    return None if effects is None else effects.row(name, frame)


def _of_chunk(query: QueryAttention, name: str) -> Floats:
    head_scores = _read_scores(query.results, query.frame, name) if query.query.kind == "action" else None
    return _create_undefined(query) if head_scores is None else query.choose(head_scores)


def _create_undefined(query: QueryAttention) -> Floats:
    results = query.results
    steps: Sequence[int] = results.steps if query.query.kind == "action" else (0,)
    shape = len(results.layers), max(len(steps), 1), results.heads
    return query.choose(np.full(shape, np.nan, np.float32))
