"""Which parts of a results file a view needs, and fetching them from a slow file in few requests. No Qt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from capture.results import schema

if TYPE_CHECKING:
    from viewer.io.hdf5_guard import Index
    from viewer.io.results import Results
    from viewer.model.view_state import Kind

Part = tuple[str, int, tuple[int | slice, ...]]
"""Name, number of axes and index of a part of a dataset."""
NAMES: Final[dict[str, tuple[str, str]]] = {
    "text": (schema.TEXT_TO_IMAGE, schema.TEXT_TO_TEXT),
    "action": (schema.ACTION_TO_IMAGE, schema.ACTION_TO_TEXT),
}
"""Datasets with the weights of words and of actions on the patches and on the text."""
WORD_DATASETS: Final = (
    schema.TEXT_ROLE, schema.TEXT_WORD, schema.TEXT_STATE_INDEX, schema.TEXT_START, schema.TEXT_STOP, schema.TEXT_PIECE,
    schema.FRAMES_STATE, schema.ACTION_TIME,
)  # fmt: skip
"""Datasets of two axes from which the chips and the caption of a frame are made."""


def list_parts(results: Results, frame: int, kind: Kind, tokens: tuple[int, ...], which: str) -> list[Part]:
    """Return the parts that a view of some tokens needs, with the pictures `which`: `source` or `model`."""
    stored = schema.source_name if which == "source" else schema.model_picture_name
    parts: list[Part] = [(stored(camera), 4, (frame,)) for camera in results.cameras]
    parts += [(schema.TEXT_MASS, 5, (frame,)), (schema.ACTION_MASS, 6, (frame,))]
    axes = 8 if kind == "action" else 7
    # In chunks of one layer each, or of all.
    layers = range(len(results.layers) if results.has_layer_chunks(NAMES[kind][0], axes) else 1)
    for token in tokens:
        for layer in layers:
            parts.append((NAMES[kind][0], axes, (frame, layer, token)))
            parts.append((NAMES[kind][1], axes - 2, (frame, layer, token)))
    return parts


def fetch_words(results: Results, frame: int) -> None:
    """Fetch the bytes of a frame's prompt and letterbox maps into memory, in few requests; of slow files only."""
    names = [(name, 2) for name in WORD_DATASETS]
    names += [(name, 1) for name in (schema.FRAMES_TEXT, schema.FRAMES_PROMPT, schema.FRAMES_EPISODE)]
    names += [(schema.to_model_name(camera), 3) for camera in results.cameras]
    results.fetch_parts([(name, axes, (frame,)) for name, axes in names])


def list_row_parts(kind: Kind, index: Index) -> list[Part]:
    """Return the parts that hold a query's weights; `index`: its frame, layers and token."""
    to_image, to_text = NAMES[kind]
    if kind == "text":
        return [(to_image, 7, index), (to_text, 5, index)]
    return [(to_image, 8, index), (to_text, 6, index), (schema.ACTION_TO_ACTION, 6, index)]


def fetch_view(
    results: Results, frame: int, kind: Kind, tokens: tuple[int, ...], which: str, layer: int = 0, step: int = 0
) -> None:
    """Fetch the bytes that one layer and step of a view of some tokens need, in few requests; of slow files only."""
    stored = schema.source_name if which == "source" else schema.model_picture_name
    parts: list[Part] = [(stored(camera), 4, (frame,)) for camera in results.cameras]
    mass, axes = (schema.ACTION_MASS, 6) if kind == "action" else (schema.TEXT_MASS, 5)
    layers = slice(layer, layer + 1) if kind == "action" else slice(None)  # a word's row is one chunk for all layers
    for token in tokens:
        parts += list_row_parts(kind, (frame, layers, token))
        parts.append((mass, axes, (frame, layer, token, step) if kind == "action" else (frame, layer, token)))
    results.fetch_parts(parts)
