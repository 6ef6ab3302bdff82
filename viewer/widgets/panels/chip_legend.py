"""What the colours of the chips of words and actions mean, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.model.noise_multiples import format_multiple
from viewer.model.number_ranges import format_numbers
from viewer.model.view_state import FROM_EFFECTS
from viewer.rendering import ticks

if TYPE_CHECKING:
    from viewer.analysis.token_values import Strips
    from viewer.model.words import Chip

NOT_MEASURED: Final = {"effect": "effects of words were not measured", "gradient": "no gradients of words in the file"}
LEGENDS: Final = {
    "pictures": "weight on the pictures",
    "patch": "looks at the hovered patch",
    "region": "looks at the region",
    "effect": "effect of hiding the word",
    "gradient": "relevance of the word by the gradient",
}
SUBJECTS: Final = {
    "pictures": "of its weight on the pictures",
    "patch": "on the patch under the pointer",
    "region": "on the region",
}


def describe_colors(values: Strips) -> str:
    """Return what the colours of the chips mean, from the lowest to the highest."""
    if values.subject in FROM_EFFECTS:
        if not np.isfinite(values.words).any():
            return NOT_MEASURED[values.subject]
        is_effect = values.subject == "effect"
        top = f"{format_multiple(values.top)} noise" if is_effect else ticks.format_number(values.top)
        return f"colour: {LEGENDS[values.subject]}, 0 to {top}"
    ends = [ticks.format_share(end) for end in (values.low, values.top)]
    return f"colour: {LEGENDS[values.subject]}, {ends[0].removesuffix(' %')} to {ends[1]}"


def describe_chip(chip: Chip) -> str:
    """Return what a chip is: its words, role and tokens."""
    tokens = f"{'tokens' if len(chip.tokens) > 1 else 'token'} {format_numbers(chip.tokens)}"
    return f"“{chip.label}” ({chip.role}, {tokens}; tokenised as “{chip.text}”)"
