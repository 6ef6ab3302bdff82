"""Description of measured effects: the removed target, the method, and the fit of a regressed map."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from capture.effects.description import describe_frame, describe_method

FRAME: dict[str, Any] = {
    "noise/floor": 0.5, "noise/floor_error": 0.01, "targets/multiple": np.array([1.74, 2.61]),
    "controls/effect": np.array([[0.1, 0.2, 0.3], [np.nan] * 3]), "controls/smaller": np.array([3, 0]),
    "controls/count": np.array([3, 0]),
}  # fmt: skip


@pytest.mark.parametrize(
    ("run", "phrase"),
    [
        ({"mode": "knockout", "from": "actions"}, "hidden from the actions"),
        ({"mode": "knockout", "from": "all", "layers": [0, 1, 2], "in_heads": [5]},
         "hidden from words, patches and actions in layers 0-2 in head 5"),
        ({"mode": "occlude", "from": "actions", "fill": "blur"}, "blurred"),
        ({"mode": "occlude", "from": "actions", "fill": "frame:2"}, "covered with the pixels of frame 2"),
        ({"mode": "random-masks", "from": "actions", "fill": "grey", "masks": 64},
         "covered with grey, beside a random half of all blocks (ridge regression on 64 random masks)"),
    ],
)  # fmt: skip
def test_method_is_part_of_a_sentence(run: dict[str, Any], phrase: str) -> None:
    assert describe_method(run) == phrase


def test_targets_are_described_with_their_intervention() -> None:
    lines = describe_frame(6, FRAME, ["duck", "duck -> mug"], ["exterior"], [0], "hidden from the actions")
    assert lines[1] == "  duck hidden from the actions: 1.74 x the noise; random regions: 0.40 x, 3 of 3 smaller"
    assert lines[2] == "  mug in the place of duck: 2.61 x the noise"


def test_gradients_are_described_with_their_agreement() -> None:
    relevance = np.zeros((2, 3, 1, 4, 4), np.float32)
    relevance[0, 1, 0, 2, 3] = relevance[1, 2, 0, 1, 0] = 1
    frame = FRAME | {
        "gradient/dim": np.array([0, 4]), "gradient/relevance": relevance, "agreement/relevance": np.array([0.25, -0.5]),
    }  # fmt: skip
    lines = describe_frame(6, frame, [], ["exterior"], [0], "hidden from the actions")
    assert lines[1:] == [
        "  gradient of action dimension 0: most relevant exterior row 2 column 3, rank correlation with the effect map "
        "0.25",
        "  gradient of action dimension 4: most relevant exterior row 1 column 0, rank correlation with the effect map "
        "-0.50",
    ]
