"""Attention of one query at chosen layers, steps and heads: what scores are computed from. No Qt."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from viewer.analysis import scene
from viewer.analysis.regions.picture_patches import (
    ComparedPatches,
    PicturePatches,
    RegionSums,
    find_places,
    take_places,
)
from viewer.errors import MeanNeedsMapsError, NoMapsError
from viewer.model import attention

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from capture.results.scores_schema import Measure
    from viewer.io.results import Results
    from viewer.model.attention import Floats
    from viewer.model.view_state import Cell, Query


class QueryAttention:
    """Attention of one query in one frame, at chosen layers, steps and heads: what scores are computed from.

    Everything is read when it is first used. `layers`, `steps` and `heads` are places on the axes of the file; None
    takes all of an axis. Words have one step.
    """

    def __init__(
        self,
        results: Results,
        frame: int,
        query: Query,
        region: tuple[Cell, ...] = (),
        *,
        layers: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        heads: Sequence[int] | None = None,
    ) -> None:
        self.results, self.frame, self.query, self.region = results, frame, query, region
        self._places = layers, steps, heads

    @property
    def has_maps(self) -> bool:
        """Whether the frame's maps were kept; else scores come from those that were computed while capturing."""
        return self.results.has_maps(self.frame)

    def has_stored_score(self, measure: Measure) -> bool:
        """Return whether a score of the region is read as it was computed while capturing, not from the maps.

        So it is without maps, and for one word or action where the file has the score of exactly these patches.
        """
        if not self.has_maps:
            return True
        if not self.is_single or not self.region or not self.results.regions:
            return False
        place = self.results.find_region(self.frame, self.region)
        stored = None if place is None else self.results.region_score(self.frame, self.query.kind, measure, place)
        return stored is not None and self.query.first < len(stored)

    @property
    def has_stored_change(self) -> bool:
        """Whether the change over the steps is read as it was computed while capturing."""
        if not self.has_maps:
            return True
        if not self.is_single or self.query.kind != "action":
            return False
        stored = self.results.step_change(self.frame)
        return stored is not None and self.query.first < len(stored)

    @cached_property
    def bars(self) -> npt.NDArray[np.bool_]:
        """Patches that lie wholly in the letterbox bars: (cameras, rows, cols)."""
        return self.results.bars(self.frame)

    @cached_property
    def maps(self) -> Floats:
        """Weights on the patches, mean of the query's tokens: (layers, steps, heads, cameras, rows, cols)."""
        return self._mean_maps(*self._places)

    @cached_property
    def maps_of_all_steps(self) -> Floats:
        """The same at all recorded steps, whichever were chosen."""
        layers, steps, heads = self._places
        return self.maps if steps is None else self._mean_maps(layers, None, heads)

    @cached_property
    def mass(self) -> Floats:
        """Weight on each group of keys, mean of the query's tokens: (layers, steps, heads, groups)."""
        return take_axes(scene.masses(self.results, self.frame, self.query), *self._places)

    @cached_property
    def picture_patches(self) -> RegionSums:
        """Weights on the picture patches of the region's cameras: (layers, steps, heads, patches)."""
        compared = ComparedPatches.of(self.region, self.bars)
        return PicturePatches(self.weights_on(compared.places), compared)

    @property
    def region_mass(self) -> Floats:
        """Weight on the region, letterbox bars included, mean of the query's tokens: (layers, steps, heads)."""
        if self.has_stored_score("mass"):
            return self.stored_region_mass
        weights = attention.to_float32(self.weights_on(np.sort(find_places(self.region, self.bars.shape))))
        total: Floats = weights.sum(-1)
        return total

    def weights_on(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.generic]:
        """Return weights on some patches alone, without making floats of all others: (layers, steps, heads, patches).

        `places` among the patches of all cameras, in rising order. As stored for a single token, which may be bits of
        bfloat16; else the mean of the query's tokens.
        """
        parts = [take_places(weights, places) for weights in self._chosen_images()]
        return parts[0] if len(parts) == 1 else np.mean([*map(attention.to_float32, parts)], axis=0, dtype=np.float32)

    def mean_image(self) -> npt.NDArray[np.generic]:
        """Return weights on all patches: (layers, steps, heads, patches), as `weights_on` does."""
        parts = self._chosen_images()
        return parts[0] if len(parts) == 1 else np.mean([*map(attention.to_float32, parts)], axis=0, dtype=np.float32)

    def _chosen_images(self) -> list[npt.NDArray[np.generic]]:
        """Return the weights of each of the query's tokens, as stored: (layers, steps, heads, patches)."""
        chosen = (take_axes(image, *self._places) for image in self._patch_weights)
        return [image.reshape(*image.shape[:3], -1) for image in chosen]

    @property
    def picture_mass(self) -> Floats:
        """Weight on the pictures without the letterbox bars: (layers, steps, heads)."""
        total: Floats = self.mass[..., scene.find_picture_columns(self.results)].sum(-1)
        return total

    @cached_property
    def stored_entropy(self) -> Floats | None:
        """Entropy over the patches from the file, (layers, steps, heads); None where it is not stored.

        It is stored for single tokens, and for words where there may be no maps. NaN for a row without weight on the
        pictures, where early files have 0.
        """
        tokens = scene.find_query_tokens(self.results, self.frame, self.query)
        if len(tokens) > 1:
            words = self.results.word_entropy(self.frame) if self.query.kind == "text" else None
            is_stored = words is not None and self.is_single and self.query.first < len(words)
            return None if self.has_maps and not is_stored else self.choose(self._only_item(words, "entropy"))
        stored = self.results.entropy(self.frame, self.query.kind) if len(tokens) == 1 else None
        if stored is None:
            return None
        row = stored[:, tokens[0]]
        chosen = take_axes(row[:, None] if self.query.kind == "text" else row, *self._places)
        return np.where(self.picture_mass > 0, chosen, np.float32(np.nan))

    @cached_property
    def stored_region_mass(self) -> Floats:
        """Weight on the region as it was computed while capturing, mean of the query's tokens: (layers, steps, heads).

        Raises:
            NoMapsError: No region with these patches was scored.
        """
        if not self.region:
            return np.zeros(self.mass.shape[:-1], np.float32)
        values = self._read_stored_score("mass")
        items = list(self.query.items)
        if self.query.kind == "action":
            counts = np.ones(len(items), np.float32)
        else:
            chips = self.results.chips(self.frame)
            counts = np.array([len(chips[item].tokens) for item in items], np.float32)
        mean = np.tensordot(counts / counts.sum(), values[items], 1).astype(np.float32)
        return self.choose(mean)

    def stored_region_score(self, measure: Literal["lift", "hit", "iou90"]) -> Floats:
        """Return a score of the region as it was computed while capturing: (layers, steps, heads).

        Raises:
            NoMapsError: It was not, of these patches, or of several words or actions together.
        """
        if not self.region:
            return np.full(self.mass.shape[:-1], np.nan, np.float32)
        if measure == "lift" and not self.is_single and not any(self.bars[cell] for cell in self.region):
            return self._lift_of_masses()
        return self.choose(self._only_item(self._read_stored_score(measure), measure))

    @property
    def stored_change(self) -> Floats:
        """Weight that moves over the steps, as it was computed while capturing: (layers, 1, heads)."""
        changes = self.results.step_change(self.frame)
        stored = self._only_item(None if changes is None else changes[:, :, None], "change")
        layers, _, heads = self._places
        return take_axes(stored, layers, None, heads)

    @property
    def is_single(self) -> bool:
        """Whether the query is one word or action of single heads, of which scores are stored."""
        return len(self.query.items) == 1

    def _lift_of_masses(self) -> Floats:
        """Return the lift of a region without bars, from masses, which have means: (layers, steps, heads)."""
        cameras = sorted({camera for camera, _, _ in self.region})
        compared = int((~self.bars[cameras]).sum())
        names = [self.results.groups.index(self.results.cameras[camera]) for camera in cameras]
        weight = self.mass[..., names].sum(-1)
        with np.errstate(divide="ignore", invalid="ignore"):
            lift = self.stored_region_mass / weight / np.float32(len(self.region) / compared)
        return np.where(weight > 0, lift, np.nan).astype(np.float32)

    def _read_stored_score(self, measure: Measure) -> Floats:
        """Return a stored score of the region for every word or action: (items, layers, steps, heads)."""
        place = self.results.find_region(self.frame, self.region)
        if place is None:
            captured = ", ".join(self.results.regions) or "none"
            raise NoMapsError(
                f"{self.results.describe_missing_maps()}, and scores of the captured regions alone ({captured})."
            )
        values = self.results.region_score(self.frame, self.query.kind, measure, place)
        if values is None:
            raise NoMapsError(f"{self.results.describe_missing_maps()}, and no {measure} of a region.")
        return values

    def _only_item(self, values: Floats | None, noun: str) -> Floats:
        """Return the numbers of the query's only word or action, of values (items, ...).

        Raises:
            MeanNeedsMapsError: There are none, or they are asked for of several together.
        """
        if values is None or not self.is_single or self.query.first >= len(values):
            raise MeanNeedsMapsError(
                f"{self.results.describe_missing_maps()}; {noun} of several words, actions or heads together "
                "needs maps."
            )
        row: Floats = values[self.query.first]
        return row

    def compute_or_nan(self, compute: Callable[[QueryAttention], Floats]) -> Floats:
        """Return a score, (layers, steps, heads); NaN where it is of a mean of maps that were not kept."""
        try:
            return compute(self)
        except MeanNeedsMapsError:
            return np.full(self.mass.shape[:-1], np.nan, np.float32)

    def choose(self, values: Floats) -> Floats:
        """Return the chosen layers, steps and heads of numbers of all: (layers, steps, heads)."""
        return take_axes(values, *self._places)

    def mean_of_heads(self) -> QueryAttention:
        """Return the attention of the mean of the chosen heads, which has one head."""
        return _MeanOfHeads(self)

    @cached_property
    def _patch_weights(self) -> list[npt.NDArray[np.generic]]:
        """Weights of each of the query's tokens on the patches, as stored, at all layers, steps and heads."""
        tokens = scene.find_query_tokens(self.results, self.frame, self.query)
        if not tokens:
            raise IndexError("this frame has no such word")
        return [self.results.images(self.frame, self.query.kind, token) for token in tokens]

    def _mean_maps(
        self, layers: Sequence[int] | None, steps: Sequence[int] | None, heads: Sequence[int] | None
    ) -> Floats:
        parts = [attention.to_float32(take_axes(image, layers, steps, heads)) for image in self._patch_weights]
        return parts[0] if len(parts) == 1 else np.mean(parts, axis=0, dtype=np.float32)


class _MeanOfHeads(QueryAttention):
    """One head that is the mean of others."""

    def __init__(self, heads: QueryAttention) -> None:
        super().__init__(heads.results, heads.frame, heads.query, heads.region)
        self._heads = heads

    @cached_property
    def maps(self) -> Floats:
        mean: Floats = self._heads.maps.mean(2, keepdims=True)
        return mean

    @cached_property
    def maps_of_all_steps(self) -> Floats:
        mean: Floats = self._heads.maps_of_all_steps.mean(2, keepdims=True)
        return mean

    def weights_on(self, places: npt.NDArray[np.intp]) -> npt.NDArray[np.generic]:
        mean: Floats = attention.to_float32(self._heads.weights_on(places)).mean(2, keepdims=True)
        return mean

    @cached_property
    def mass(self) -> Floats:
        mean: Floats = self._heads.mass.mean(2, keepdims=True)
        return mean

    @cached_property
    def stored_entropy(self) -> Floats | None:
        return None if self.has_maps else self._only_item(None, "entropy")

    @property
    def is_single(self) -> bool:
        return False

    @cached_property
    def stored_region_mass(self) -> Floats:
        mean: Floats = self._heads.stored_region_mass.mean(2, keepdims=True)
        return mean

    def choose(self, values: Floats) -> Floats:
        """Return NaN for the mean of heads, of which there are no numbers: (layers, steps, 1)."""
        return np.full((*self._heads.choose(values).shape[:2], 1), np.nan, np.float32)


def take_axes(
    values: npt.NDArray[Any],
    layers: Sequence[int] | None,
    steps: Sequence[int] | None,
    heads: Sequence[int] | None,
    first: int = 0,
) -> npt.NDArray[Any]:
    """Return the values at chosen places of three axes from `first` on; None is all of an axis, which is not copied."""
    for axis, places in enumerate((layers, steps, heads), first):
        if places is not None and list(places) != list(range(values.shape[axis])):
            values = values.take(list(places), axis)
    return values
