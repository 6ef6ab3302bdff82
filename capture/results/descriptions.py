"""What each dataset of the results file holds, in one sentence; the writer stores it beside the data."""

from __future__ import annotations

from typing import Final

from capture.results import schema, scores_schema

_DESCRIPTIONS: Final[dict[str, str]] = {
    schema.FRAMES_DONE: "How many frames are finished; read no further than this",
    schema.FRAMES_INDEX: "Index of the frame in its source",
    schema.FRAMES_TIME: "Time of the frame in its source, seconds",
    schema.FRAMES_EPISODE: "Name of the episode the frame was taken from",
    schema.FRAMES_PROMPT: "The task as given",
    schema.FRAMES_TEXT: "The text that was tokenised, with template and state; text/start and text/stop count in it",
    schema.FRAMES_STATE: "Robot state as given, before normalisation",
    schema.FRAMES_SEED: "Seed from which the noise was drawn",
    schema.FRAMES_NOISE: "Noise that the denoising began with",
    schema.FRAMES_CLOCK: "When the call began, seconds since 1970 (UTC)",
    schema.FRAMES_CALL_SECONDS: "How long the call took, seconds; NaN where it was not measured",
    schema.FRAMES_DROPPED: "How many recordings of this episode had been dropped before this frame",
    schema.source_name("*"): "The camera's picture as it came, RGB",
    schema.model_picture_name("*"): "The picture as the model saw it, letterboxed, RGB; a patch is {patch} pixels",
    schema.to_model_name("*"): "Affine map of source (x, y, 1) to the model's pixels; whole numbers are pixel edges",
    schema.TEXT_ID: "Token id as fed",
    schema.TEXT_PIECE: "Token as the tokenizer spells it",
    schema.TEXT_START: "First character of the token in frames/text",
    schema.TEXT_STOP: "Character after the token's last in frames/text",
    schema.TEXT_ROLE: "What the token is part of; pad where the frame has fewer tokens than the file has room for",
    schema.TEXT_WORD: "Number of the word that the token belongs to, -1 for none",
    schema.TEXT_STATE_INDEX: "Which state value the token spells, -1 for none",
    schema.TEXT_POSITION: "Position id as fed",
    schema.IMAGE_POSITION: "Position id of each patch as fed",
    schema.TEXT_TO_IMAGE: "Prefix phase: weight of a text token's query on each picture patch",
    schema.TEXT_TO_TEXT: "Prefix phase: weight of a text token's query on each text token",
    schema.ACTION_TO_IMAGE: "Suffix phase: weight of an action token's query on each picture patch",
    schema.ACTION_TO_TEXT: "Suffix phase: weight of an action token's query on each text token",
    schema.ACTION_TO_ACTION: "Suffix phase: weight of an action token's query on each action token",
    schema.IMAGE_TO_IMAGE: "Prefix phase: weight of a patch's query (first camera, row, col) on each patch (second)",
    schema.IMAGE_TO_TEXT: "Prefix phase: weight of a patch's query on each text token",
    schema.ACTION_PREDICTED: "Predicted action chunk in robot units",
    schema.ACTION_TRUTH: "True actions where the source has them, NaN elsewhere",
    schema.ACTION_X: "Denoising path in model units: noise first, result last",
    schema.ACTION_TIME: "Flow time of each denoise step as fed, from 1 (noise) towards 0 (action)",
    schema.TEXT_MASS: "Sum of a text token's weights over each group of keys; the groups sum to 1",
    schema.ACTION_MASS: "Sum of an action token's weights over each group of keys; the groups sum to 1",
    schema.TEXT_ENTROPY: "Entropy in nats of a text token's weights over the picture patches; NaN if all are 0",
    schema.ACTION_ENTROPY: "Entropy in nats of an action token's weights over the picture patches; NaN if all are 0",
    schema.TEXT_VALUE_NORM_IMAGE: "Length of W_O(head) v(patch) with the language model's W_O",
    schema.TEXT_VALUE_NORM_TEXT: "Length of W_O(head) v(text token) with the language model's W_O",
    schema.ACTION_VALUE_NORM_IMAGE: "Length of W_O(head) v(patch) with the action expert's W_O",
    schema.ACTION_VALUE_NORM_TEXT: "Length of W_O(head) v(text token) with the action expert's W_O",
    schema.ACTION_VALUE_NORM_ACTION: "Length of W_O(head) v(action token) with the action expert's W_O, a denoise step",
    **scores_schema.DESCRIPTIONS,
}


def describe(name: str, sizes: schema.Sizes) -> str:
    """Return the sentence of the dataset `name` in a file of these sizes."""
    folder, *_, last = name.split("/")
    sentence = _DESCRIPTIONS.get(name) or _DESCRIPTIONS[f"{folder}/*/{last}"]
    height, width = (length // cells for length, cells in zip(sizes.model_picture, sizes.grid, strict=True))
    return sentence.replace("{patch}", f"{height} x {width}")
