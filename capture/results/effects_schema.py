"""Names, axes and meaning of the datasets of an effects file. Needs the standard library alone.

FORMAT.md describes the file; `capture.effects` writes it, and `pi0-viewer` and `pi0-export` read it.
"""

from __future__ import annotations

from typing import Final

SUFFIX: Final = ".effects.h5"
"""Ending of the name that an effects file has beside its results file."""

FORMAT: Final = "pi0-attention-effects"
FORMAT_VERSION: Final = (1, 0)

ACTION_LIMITS: Final = {"float32": 1e-3, "bfloat16": 2e-2}
"""How far a repeated call's actions may lie from the stored ones, by the policy's number type: other devices round
differently, most of all in bfloat16."""
STRICTEST: Final = ACTION_LIMITS["float32"]
"""The limit of other number types."""

_FILLS: Final = {
    "mean": "covered with the mean colour of the rest", "grey": "covered with grey", "blur": "blurred",
    "inpaint": "covered by inpainting from around",
}  # fmt: skip


def describe_covering(fill: str) -> str:
    """Return what was done to patches that were covered with a fill, `mean` or `frame:3`, within a sentence."""
    name, _, number = fill.partition(":")
    if name == "frame" and number:
        return f"covered with the pixels of frame {number}"
    return _FILLS.get(fill, f"covered with {fill}")


def describe_masking(fill: str, masks: int) -> str:
    """Return what was done to a block for a map from random masks, within a sentence. `masks`: 0 if unknown."""
    among = f"{masks} random masks" if masks else "random masks"
    return f"{describe_covering(fill)}, beside a random half of all blocks (ridge regression on {among})"


DESCRIPTIONS: Final[dict[str, tuple[str, str]]] = {
    "frames/number": ("frame", "position of the frame in the results file, from 0"),
    "frames/repeat_error": (
        "frame",
        "largest difference of the repeated call's actions to the stored ones, robot units",
    ),
    "baseline/actions": ("frame, action, model dim", "actions of the untouched call in model units"),
    "baseline/robot_actions": ("frame, action, dim", "the same in robot units"),
    "noise/actions": ("frame, seed, action, model dim", "actions of untouched calls with other noise, model units"),
    "noise/floor": ("frame", "root mean square difference between two calls that differ in their noise alone"),
    "noise/floor_error": ("frame", "standard error of noise/floor, by a jackknife over the seeds"),
    "noise/floor_of_action": ("frame, action", "the same for each action token"),
    "targets/name": ("target", "region or word that was taken away; `word -> other` for one that was replaced"),
    "targets/kind": ("target", "region, word or replacement"),
    "targets/patches": ("frame, target, camera, row, col", "patches of a region; none for words and replacements"),
    "targets/tokens": ("frame, target, text", "text tokens of a word, taken away or replaced; none for regions"),
    "targets/change": ("frame, target, action, model dim", "change of the actions in model units"),
    "targets/robot_change": ("frame, target, action, dim", "change of the actions in robot units"),
    "targets/effect": (
        "frame, target",
        "root mean square of the change over actions and robot dimensions, model units",
    ),
    "targets/effect_of_action": ("frame, target, action", "the same for each action token"),
    "targets/multiple": ("frame, target", "effect as a multiple of noise/floor"),
    "controls/patches": (
        "frame, target, control, camera, row, col",
        "random regions of the same shape; none where absent",
    ),
    "controls/effect": ("frame, target, control", "their effects; NaN where the picture has no more places"),
    "controls/effect_of_action": ("frame, target, control, action", "the same for each action token"),
    "controls/robot_change": (
        "frame, target, control, action, dim",
        "change of the actions in robot units without each random region",
    ),
    "controls/smaller": ("frame, target", "number of controls with a smaller effect than the target"),
    "controls/count": ("frame, target", "number of controls"),
    "map/effect": (
        "frame, action, camera, row, col",
        "effect of each patch on each action token; NaN in letterbox bars",
    ),
    "map/effect_of_chunk": (
        "frame, camera, row, col",
        "effect of each patch on the whole chunk; NaN in letterbox bars",
    ),
    "map/effect_of_dim": (
        "frame, dim, camera, row, col",
        "root mean square over actions of the change in each robot dimension, model units; NaN in letterbox bars",
    ),
    "map/text_effect": (
        "frame, action, text",
        "effect of each word on each action token, the same for all its tokens; NaN for tokens of no word",
    ),
    "map/text_effect_of_chunk": ("frame, text", "effect of each word on the whole chunk"),
    "masks/patches": ("frame, mask, camera, row, col", "patches that each random mask covered"),
    "masks/effect": ("frame, mask", "effect of each random mask on the whole chunk"),
    "masks/explained": (
        "frame",
        "share of the variance of masks/effect that the regressed map predicts for masks left out of the regression",
    ),
    "heads/effect": ("frame, layer, head", "effect of silencing each head of the action expert"),
    "heads/effect_of_action": ("frame, layer, head, action", "the same for each action token"),
    "heads/text_effect": ("frame, layer, head", "effect of silencing each head of the language model"),
    "heads/text_effect_of_action": ("frame, layer, head, action", "the same for each action token"),
    "agreement/spearman": (
        "frame, action, layer, step, head",
        "rank correlation over blocks of an action's mean attention weight with its effects; NaN for fewer than 8",
    ),
    "agreement/spearman_of_chunk": (
        "frame, layer, step, head",
        "rank correlation of the mean attention of all actions with the effect on the whole chunk",
    ),
    "agreement/deletion": (
        "frame, layer, step, head",
        "deletion: area between the head's curve and the mean of random orders, as a share of the effect of taking "
        "away all blocks; above 0 where the head's order finds what matters sooner",
    ),
    "agreement/insertion": ("frame, layer, step, head", "insertion: the same, with the sign turned"),
    "agreement/deletion_smaller": (
        "frame, layer, step, head",
        "number of random orders (of those in curves/random_deletion) with a smaller area",
    ),
    "agreement/insertion_smaller": ("frame, layer, step, head", "the same for insertion"),
    "agreement/gradient": (
        "frame, gradient",
        "rank correlation over blocks of gradient/raising + gradient/lowering, summed over the actions, with "
        "map/effect_of_dim of that dimension",
    ),
    "agreement/relevance": ("frame, gradient", "the same of gradient/relevance"),
    "curves/fraction": ("frame, fraction", "share of the blocks that are taken away (deletion) or shown (insertion)"),
    "curves/deletion": (
        "frame, layer, step, head, fraction",
        "effect without the blocks of most weight, the mean over actions, in that head",
    ),
    "curves/insertion": ("frame, layer, step, head, fraction", "effect with no blocks but those"),
    "curves/random_deletion": ("frame, order, fraction", "deletion in random orders"),
    "curves/random_insertion": ("frame, order, fraction", "insertion in random orders"),
    "curves/effect_deletion": ("frame, fraction", "deletion in the order of map/effect_of_chunk: the best to expect"),
    "curves/effect_insertion": ("frame, fraction", "insertion in that order"),
    "gradient/dim": ("frame, gradient", "robot dimension whose sum over the actions was differentiated"),
    "gradient/raising": (
        "frame, gradient, action, camera, row, col",
        "attention weight x gradient, its positive part, summed over steps, layers and heads of the action expert; "
        "NaN in letterbox bars",
    ),
    "gradient/lowering": ("frame, gradient, action, camera, row, col", "the same of the negative part, its magnitude"),
    "gradient/relevance": (
        "frame, gradient, action, camera, row, col",
        "relevance of Chefer et al. 2021: positive parts, mean of the heads, with what words and patches pass on",
    ),
    "gradient/text_raising": ("frame, gradient, action, text", "as gradient/raising, for text tokens"),
    "gradient/text_lowering": ("frame, gradient, action, text", "as gradient/lowering, for text tokens"),
    "gradient/text_relevance": ("frame, gradient, action, text", "as gradient/relevance, for text tokens"),
}
"""Axes and meaning of every dataset; those that a run did not ask for are absent."""
