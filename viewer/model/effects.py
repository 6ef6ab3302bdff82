"""What was removed from a policy's calls, and what that changed in the actions: values and their words. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from capture.results import effects_schema
from viewer.model.noise_multiples import format_multiple, multiple_of, root_mean_square
from viewer.model.number_ranges import format_numbers

if TYPE_CHECKING:
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell

QUERIES: Final = {
    "actions": "the actions", "words": "the words", "patches": "the patches", "all": "words, patches and actions",
}  # fmt: skip
"""Whose edges of attention a knockout cuts, by the name that the effects file has for it."""


@dataclass(frozen=True)
class Method:
    """How something was removed, from the effects file."""

    mode: str = "knockout"
    """`knockout` of attention edges, `occlude` for patches that are covered in the picture, or another one."""
    queries: str = "actions"
    """Whose edges are cut: a key of QUERIES."""
    layers: tuple[int, ...] = ()
    """Layers in which edges are cut; empty for all."""
    heads: tuple[int, ...] = ()
    """Heads in which edges are cut; empty for all."""
    fill: str = "mean"
    """What covers patches, from the effects file: mean, grey, blur, inpaint, or frame:3 for that frame's pixels."""
    masks: int = 0
    """Random masks from which a map was regressed; 0 if unknown, or without masks."""

    @property
    def is_regressed(self) -> bool:
        """Whether numbers of patches are how much more the actions move, and no measured effects of their own."""
        return self.mode == "random-masks"

    @property
    def phrase(self) -> str:
        """What was done, within a sentence: hidden from the actions."""
        if self.mode == "occlude":
            return effects_schema.describe_covering(self.fill)
        if self.is_regressed:
            return effects_schema.describe_masking(self.fill, self.masks)
        if self.mode != "knockout":
            return f"removed ({self.mode.replace('-', ' ')})"
        parts = [f"hidden from {QUERIES.get(self.queries, self.queries)}"]
        for name, numbers in (("layer", self.layers), ("head", self.heads)):
            if numbers:
                parts.append(f"in {name}{'s' * (len(numbers) > 1)} {format_numbers(numbers)}")
        return " ".join(parts)


@dataclass(frozen=True, eq=False)
class EffectMap:
    """One number for each patch: how far the actions move without it or its block, or its relevance by gradients."""

    values: Floats
    """(cameras, rows, cols) multiples of the noise floor, NaN where nothing was removed; or relevances."""
    method: Method
    block: int
    """Side in patches of the blocks that were removed; all patches of a block have its number. 0 if unknown."""
    floor: float
    """The noise floor in the policy's model units."""
    dims: tuple[int, ...] | None = None
    """Action dimensions of which the values are the mean; None for effects on all dimensions together."""
    is_gradient: bool = False
    """Whether `values` are attention weighted by the gradient of `dims`, and no effects."""
    seeds: int = 0
    """Untouched calls with other noise that the noise floor is from; 0 if unknown."""
    explained: float = float("nan")
    """Share of the variance of random masks left out of the regression that the map predicts; NaN without masks."""

    @property
    def unit(self) -> str:
        """Unit of the values; empty for attention weighted by gradients, which has none."""
        return "" if self.is_gradient else "× noise"

    def format_value(self, value: float) -> str:
        """Return a value with its unit: 4.1 × noise."""
        return f"{value:.2g}" if self.is_gradient else f"{format_multiple(value)} noise"


@dataclass(frozen=True, eq=False)
class TargetEffect:
    """What the actions do without one region, word or head, beside random regions of the same shape."""

    name: str
    kind: str
    """`region`, `word` or `replacement`."""
    cells: frozenset[Cell]
    """Patches of a region."""
    tokens: tuple[int, ...]
    """Text tokens of a word."""
    method: Method
    effect: float
    """Root mean square change over actions and dimensions, model units."""
    effect_of_action: Floats
    """(H,) the same for each action."""
    floor: float
    """The noise floor of the whole chunk, model units."""
    floor_of_action: Floats
    """(H,) the noise floor of each action."""
    controls: Floats
    """(controls,) effects of random regions of the same shape; empty where there are none."""
    controls_of_action: Floats | None
    """(controls, H) the same for each action; None where the file does not hold them."""
    baseline: Floats | None
    """(H, dims) actions of the untouched call, robot units; None where the file does not hold them."""
    change: Floats | None
    """(H, dims) change of the actions, robot units."""
    control_changes: Floats | None
    """(controls, H, dims) changes without each random region, robot units."""
    model_change: Floats | None = None
    """(H, model dims) change of the actions, model units; None where the file does not hold it."""
    seeds: int = 0
    """Untouched calls with other noise that the noise floors are from; 0 if unknown."""

    @property
    def phrase(self) -> str:
        """What was done, within a sentence: hidden from the actions, or replaced by “mug”."""
        other = self.name.partition(" -> ")[2] if self.kind == "replacement" else ""
        return f"replaced by “{other}”" if other else self.method.phrase

    def noise_floor(self, actions: tuple[int, ...] = ()) -> float:
        """Return the noise floor of some actions or, without any, of the whole chunk, model units."""
        return root_mean_square(self.floor_of_action[list(actions)]) if actions else self.floor

    def compare_with_noise(self, actions: tuple[int, ...] = ()) -> NoiseComparison:
        """Return the effect beside its controls, on some actions or, without any, on the whole chunk."""
        chosen = list(actions)
        if not chosen:
            return _compare_effect_with_noise(self.effect, self.floor, self.controls)
        effect, floor = root_mean_square(self.effect_of_action[chosen]), self.noise_floor(actions)
        of_action = self.controls_of_action
        controls = np.zeros(0) if of_action is None else np.sqrt(np.square(of_action[:, chosen]).mean(1))
        return _compare_effect_with_noise(effect, floor, controls)


@dataclass(frozen=True, eq=False)
class NoiseComparison:
    """An effect as a multiple of the noise, and those of the controls."""

    multiple: float
    """NaN without noise."""
    controls: npt.NDArray[np.float64]
    """Multiples of random regions; empty where there are none."""
    smaller: int
    """How many of them are smaller."""

    @property
    def median(self) -> float:
        """The median of the controls; NaN without any."""
        return float(np.median(self.controls)) if self.controls.size else float("nan")


def _compare_effect_with_noise(effect: float, floor: float, controls: npt.NDArray[np.floating]) -> NoiseComparison:
    multiples = np.array([multiple_of(float(control), floor) for control in controls], np.float64)
    return NoiseComparison(multiple_of(effect, floor), multiples, int((controls < effect).sum()))
