"""The results file of one episode: made for the first call that is recorded, extended by each further one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from capture.pipeline.frame_builder import WeightErrors
from capture.policies.region_scores import list_words
from capture.provenance import merge_decisions, to_json
from capture.results import schema, scores_schema
from capture.results.writer import ResultsWriter

if TYPE_CHECKING:
    from capture.policies.base import TokenTable
    from capture.provenance import Decision
    from capture.rollouts.run_description import RolloutRun
    from capture.rollouts.transfer import BuiltFrame

STATE_TOKENS: Final = 4
"""Tokens that a state value takes at most: Gemma has one for the blank before it and one for each digit of its bin."""
STATE_CHARACTERS: Final = 4
"""The same in characters."""
NAME_BYTES: Final = 64
"""Room for the episode's name, where prompts are shorter."""


def find_sizes(built: BuiltFrame, maps_every: int = scores_schema.ALL_MAPS) -> schema.Sizes:
    """Return the sizes of a file that holds this frame alone; `maps_every` of `schema.Sizes`."""
    frame, prepared = built.frame, built.prepared
    table, cameras = prepared.tokens, tuple(prepared.pictures)
    points, horizon, model_dim = np.shape(frame[schema.ACTION_X])
    heads = np.shape(frame[schema.ACTION_ENTROPY])[-1]
    _, rows, cols = np.shape(frame[schema.IMAGE_POSITION])
    height, width, _ = next(iter(prepared.pictures.values())).model_u8.shape
    longest = max(len(text.encode()) for text in (prepared.observation.prompt, table.text))
    return schema.Sizes(
        frames=0,
        cameras=cameras,
        layers=built.layers,
        steps=built.steps,
        heads=heads,
        tokens=len(table),
        horizon=horizon,
        denoise_steps=points - 1,
        state_dim=np.size(frame[schema.FRAMES_STATE]),
        robot_dim=np.shape(frame[schema.ACTION_PREDICTED])[1],
        model_dim=model_dim,
        pictures=tuple(prepared.observation.pictures[camera].shape[:2] for camera in cameras),
        full=schema.IMAGE_TO_IMAGE in frame,
        text_bytes=longest,
        grid=(rows, cols),
        model_picture=(height, width),
        is_rollout=True,
        maps_every=maps_every,
        words=len(list_words(prepared)),
        regions=built.regions,
    )


def add_room(sizes: schema.Sizes, table: TokenTable) -> schema.Sizes:
    """Return the sizes with room for the longest prompt of the same task, whatever the state is, and for names.

    Frames of an episode differ in the state that their prompts spell: " 7" takes two tokens, " 128" four.
    """
    index = table.state_index[table.state_index >= 0]
    counts = np.unique(index, return_counts=True)[1]  # (values,) tokens of each state value
    more = int(np.maximum(STATE_TOKENS - counts, 0).sum())
    piece_bytes = max(sizes.piece_bytes, *(len(piece.encode()) for piece in table.pieces))
    text_bytes = max(NAME_BYTES, sizes.text_bytes) + STATE_CHARACTERS * len(counts)
    return replace(
        sizes, tokens=len(table) + more, words=sizes.words + more, text_bytes=text_bytes, piece_bytes=piece_bytes
    )


class EpisodeFile:
    """The growing results file of one episode. Not thread-safe.

    Raises UserError where the file cannot be made.
    """

    def __init__(self, path: Path, run: RolloutRun, sizes: schema.Sizes, decisions: tuple[Decision, ...] = ()) -> None:
        self.path = path
        self._sizes = sizes
        self._errors = WeightErrors(0.0, 0.0)
        self._writer = ResultsWriter(
            path,
            sizes,
            model=run.model,
            generator=run.generator,
            weights=run.store,
            compress=run.compress,
            run=run.settings,
            provenance=to_json(merge_decisions(run.decisions, decisions)),
            background=False,
        )

    @property
    def name(self) -> str:
        """Name of the episode: that of the file without its ending."""
        return self.path.name.removesuffix(".h5")

    @property
    def partial_path(self) -> Path:
        """Path of the file until it is finished."""
        return self._writer.partial_path

    @property
    def frames(self) -> int:
        """Number of frames in the file."""
        return self._writer.frames_done

    def find_difference(self, sizes: schema.Sizes) -> str | None:
        """Return why a frame of these sizes (`find_sizes`) does not fit into the file; None if it does."""
        mine = self._sizes
        if (sizes.cameras, sizes.pictures) != (mine.cameras, mine.pictures):
            return "the cameras or the sizes of their pictures changed"
        if sizes.state_dim != mine.state_dim:
            return "the length of the state changed"
        if sizes.regions != mine.regions:
            return "masks of other objects came"
        if sizes.tokens > mine.tokens or sizes.words > mine.words or sizes.text_bytes > mine.text_bytes:
            return "the prompt became longer"
        expected = replace(
            sizes, tokens=mine.tokens, words=mine.words, text_bytes=mine.text_bytes, piece_bytes=mine.piece_bytes
        )
        return None if expected == mine else "the policy's sizes changed"

    def write(self, frame: schema.Frame, errors: WeightErrors) -> None:
        """Write the next frame. Raises UserError where it cannot be stored."""
        # np.maximum propagates NaN, which the built-in max may drop: a model that returns NaN must fail the check.
        self._errors = WeightErrors(
            float(np.maximum(self._errors.row_sum, errors.row_sum)),
            float(np.maximum(self._errors.masked_weight, errors.masked_weight)),
        )
        self._writer.write(frame)

    def describe(self, values: Mapping[str, object]) -> None:
        """Store the attribute `rollout`. Raises UserError."""
        self._writer.describe_rollout(values)

    def finish(self, values: Mapping[str, object], write_beside: Callable[[Path, Path], None]) -> Path:
        """Store how the episode ended, and give the file its final name, which is returned. Raises UserError.

        `write_beside`: called with the complete file's path and its final one, before it gets that; a process that is
        killed meanwhile leaves a file that `recovery.recover_file` takes for unfinished.
        """
        self.describe(values)
        with self._writer:
            checks = {schema.CHECK_ROW_SUM: self._errors.row_sum, schema.CHECK_MASKED: self._errors.masked_weight}
            self._writer.seal(checks)
            write_beside(self.partial_path, self.path)
            return self._writer.publish()

    def leave(self) -> int:
        """Close the file under its partial name, or remove it where it is empty; return its number of frames."""
        with self._writer:
            return self._writer.frames_done


def format_time(clock: float) -> str:
    """Return seconds since 1970 as an ISO 8601 time in UTC."""
    return datetime.fromtimestamp(clock, UTC).isoformat(timespec="milliseconds")
