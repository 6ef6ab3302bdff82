"""Record a policy in a loop of one's own: a simulator's, a robot's, an evaluation's.

    with RolloutRecorder(policy, "runs/", every=8) as recorder:
        ...  # the loop as it is
        recorder.end_episode(success=True)

In a simulator, `with recorder.masks({"exterior": {"duck": mask}}):` around the call has regions scored, too.

The policy's own method is called as before, and gives the same actions: `infer` of openpi's `Policy`,
`predict_action_chunk` (and so `select_action`) of lerobot's `PI05Policy`, `plain` of ours.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from capture.errors import UserError
from capture.results.scores_schema import NO_MAPS, parse_keep
from capture.rollouts.call_masks import CallMasks, read_masks
from capture.rollouts.peers.adapter import Adapter, RecordingOptions
from capture.rollouts.peers.attribute_overrides import AttributeOverrides
from capture.rollouts.peers.lerobot import LerobotAdapter
from capture.rollouts.peers.openpi import OpenpiAdapter
from capture.rollouts.peers.own import OwnAdapter
from capture.rollouts.writer import MAX_PENDING, RolloutCounts, RolloutWriter

if TYPE_CHECKING:
    import os

    from capture.results.hdf5_storage import Weights
    from capture.rollouts.stream import CallSlot, EpisodeStream

ENDED: Final = "end_episode was called"
_log: Final = logging.getLogger(__name__)


class RolloutRecorder:
    """Context manager that writes a results file for each episode in which a policy acts inside it.

    Args:
        policy: openpi's `Policy` with a PyTorch model, lerobot's `PI05Policy`, or a policy of this package.
        folder: The run's folder; it is made if it is missing, and later runs with the same policy and options add to
            it.
        every: Record each call whose number in its episode is a multiple of this, from 0. A call gives a chunk of
            actions: lerobot's `select_action` makes one each `n_action_steps` steps.
        preprocessor, postprocessor: lerobot's pipelines for this policy. The first gives the task, the tokenizer and
            the state in robot units, the second the actions in robot units.
        layers, steps: Numbers to record, from 0; None for all. `full`: Keep the rows of image tokens as queries, too.
        store, compress, keep: As `pi0-capture --store`, `--compress` and `--keep`. `masks` has regions scored while
            recording; without masks, keep maps and score regions of the finished file (`pi0-regions import`).
        title: What the run is called in its index.
        max_pending: Recordings that may wait for the disk, 40 MB each of a full-size policy; more are dropped.
        log: Called with a sentence, from any thread, when recordings are dropped or cannot be written; a warning of
            `logging` if left out.

    An episode ends with `end_episode`, when the policy is reset, or with another prompt. Each environment of a batch
    and each thread that calls the policy has episodes of its own. Calls of several threads run one after the other.

    Recorded calls run eager attention, without torch.compile; the actions are the same bit for bit where the policy
    does so anyway. After the block the policy is as before. The files are written by another thread, which the policy
    never waits for.

    Raises UserError for a policy of another kind, options that do not fit it, or a folder that holds another run.
    """

    def __init__(
        self,
        policy: Any,
        folder: str | os.PathLike[str],
        *,
        every: int = 1,
        preprocessor: Any = None,
        postprocessor: Any = None,
        layers: Sequence[int] | None = None,
        steps: Sequence[int] | None = None,
        full: bool = False,
        store: Weights = "bfloat16",
        compress: bool = False,
        keep: str = "maps",
        title: str = "rollouts",
        max_pending: int = MAX_PENDING,
        log: Callable[[str], None] | None = None,
    ) -> None:
        if store not in ("bfloat16", "float32"):
            raise UserError(f"store={store!r}: attention is stored as bfloat16 or float32")
        if type(every) is not int or every < 1:
            raise UserError(f"every={every!r}: give 1 to record each call, 8 to record every eighth")
        try:
            maps_every = parse_keep(keep)
        except ValueError as error:
            raise UserError(f"keep={error}") from None
        if full and maps_every == NO_MAPS:
            raise UserError("full=True keeps the maps of image tokens, and keep='summaries' none; leave one out")
        kept_layers, kept_steps = (None if numbers is None else tuple(numbers) for numbers in (layers, steps))
        self.folder = Path(folder)
        self._options = RecordingOptions(every, kept_layers, kept_steps, full, store, compress, title, maps_every)
        self._adapter = _find_adapter(policy, self._options, preprocessor, postprocessor)
        self._max_pending, self._log_line = max_pending, log
        self._lock = threading.RLock()
        self._streams: dict[tuple[int, int], EpisodeStream] = {}
        """By thread and place in the batch."""
        self._thread_masks = threading.local()
        """`masks`: what the thread's calls are given, and the values of labels."""
        self._overrides = AttributeOverrides()
        self._remove: Callable[[], None] = lambda: None
        self._writer: RolloutWriter | None = None

    def __enter__(self) -> Self:
        """Begin to record. Raises UserError where the folder cannot be used, RuntimeError where it has begun."""
        if self._writer is not None:
            raise RuntimeError("This recorder is in use already: make one recorder for each `with`.")
        run = self._adapter.describe(self._options)
        writer = RolloutWriter(self.folder, run, max_pending=self._max_pending, log=self._log_line)
        try:
            self._remove = self._adapter.install(self._overrides, self)
        except BaseException:
            self._overrides.restore()
            writer.close()
            raise
        self._writer = writer
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        writer = self._writer
        assert writer is not None
        with self._lock:
            self._overrides.restore()
            self._remove()
            self._remove = lambda: None
        writer.__exit__(kind, error, trace)

    @property
    def counts(self) -> RolloutCounts:
        """Calls, recordings, dropped recordings, files and failures so far."""
        return RolloutCounts() if self._writer is None else self._writer.counts

    def end_episode(self, *, success: bool | Sequence[bool | None] | None = None, reason: str = ENDED) -> None:
        """End the episodes of the calling thread: of all environments of its batch.

        `success`: whether the task was done, None if unknown; a sequence has an entry for each environment. A thread
        that did not call the policy itself ends the episodes of all threads. `reason`: why, which the file keeps.

        Raises ValueError for a sequence of another length than the batch.
        """
        with self._lock:
            mine = sorted(key for key in self._streams if key[0] == threading.get_ident()) or sorted(self._streams)
            streams = [self._streams[key] for key in mine]
            outcomes = [success] * len(streams) if success is None or isinstance(success, bool) else list(success)
            if len(outcomes) != len(streams):
                raise ValueError(f"success has {len(outcomes)} entries, and the batch has {len(streams)} environments")
            if success is not None and not any(stream.episode for stream in streams):
                _log.warning("end_episode(success=%s): no episode is running, so that this is stored nowhere", success)
            for stream, outcome in zip(streams, outcomes, strict=True):
                stream.end_episode(success=None if outcome is None else bool(outcome), reason=reason)

    @contextlib.contextmanager
    def masks(self, masks: Any, mask_values: Mapping[str, Any] | None = None) -> Iterator[None]:
        """Hand over masks of objects with the calls of the policy that this thread makes in the `with` block.

        The objects become regions of the file, which has their scores (mass, lift, hit, IoU90), also with
        keep='summaries'; a regions file with the masks is written beside it when the episode ends. Actions stay as they
        are.

        Args:
            masks: For each camera, a mask for each object, {"exterior": {"duck": mask}}, bool or whole numbers that
                are not 0 inside; or a picture of whole numbers, {"exterior": labels}, as simulators draw a
                segmentation. Each has the height and width of the camera's picture as the policy is given it: turn
                and resize it alike. Cameras have the file's names, or those of the policy's pictures, such as
                `base_0_rgb` or `observation.images.top`. An object that is not seen has an empty mask; one that is
                left out is not known in that call (NaN). A list has an entry for each environment of a batch, None
                for none. A function that returns any of these is called in each call that is recorded, so that
                nothing is drawn for the others.
            mask_values: The numbers that the objects have in pictures of labels: {"duck": 3, "bowl": [5, 6]}.

        Name all objects in an episode's first call: an object that is named later begins another file. Masks that do
        not fit the pictures of a call are not used; `log` and `counts.failures` report it.

        Raises UserError for masks of another form.
        """
        if not callable(masks):
            _read_each(masks, mask_values)
        before = getattr(self._thread_masks, "masks", None)
        self._thread_masks.masks = masks, mask_values
        try:
            yield
        finally:
            self._thread_masks.masks = before

    # For adapters

    @property
    def lock(self) -> threading.RLock:
        """Held during a call of the policy."""
        return self._lock

    def begin(self, prompts: Sequence[str]) -> list[CallSlot]:
        """Count a call of the policy, with one prompt for each environment of its batch."""
        assert self._writer is not None
        thread, slots = threading.get_ident(), []
        for row, prompt in enumerate(prompts):
            if (thread, row) not in self._streams:
                self._streams[thread, row] = self._writer.open_stream(f"environment {row}")
            slots.append(self._streams[thread, row].start_call(prompt))
        try:
            self._add_masks(slots)
        except BaseException:  # of the user's function
            for slot in slots:
                if slot.is_recorded:
                    slot.drop()
            raise
        return slots

    def _add_masks(self, slots: Sequence[CallSlot]) -> None:
        """Give recorded calls the masks that the thread has handed over, copied; note why they cannot be used."""
        masks, values = getattr(self._thread_masks, "masks", None) or (None, None)
        if masks is None or not any(slot.is_recorded for slot in slots):
            return
        assert self._writer is not None
        try:
            entries = _read_each(masks() if callable(masks) else masks, values, len(slots))
        except UserError as error:
            self._writer.note_problem(f"masks were not used: {error}")
            return
        for slot, entry in zip(slots, entries, strict=True):
            if slot.is_recorded and entry is not None:
                slot.masks = entry.copied()

    def end(self, reason: str) -> None:
        """End the episodes of the calling thread."""
        with self._lock:
            for (thread, _), stream in self._streams.items():
                if thread == threading.get_ident():
                    stream.end_episode(reason=reason)


def _read_each(masks: Any, values: Any, count: int | None = None) -> list[CallMasks | None]:
    """Return the masks of each of `count` environments, None for those without. Raises UserError."""
    entries = list(masks) if isinstance(masks, list | tuple) else [masks]
    if count not in (None, len(entries)):
        raise UserError(f"there are masks of {len(entries)} environments, and the batch has {count}")
    return [None if entry is None else read_masks(entry, values) for entry in entries]


def _find_adapter(policy: Any, options: RecordingOptions, preprocessor: Any, postprocessor: Any) -> Adapter:
    layers, steps, full = options.layers, options.steps, options.full
    is_lerobot = hasattr(policy, "predict_action_chunk") and hasattr(getattr(policy, "model", None), "embed_prefix")
    if not is_lerobot and (preprocessor is not None or postprocessor is not None):
        raise UserError("preprocessor and postprocessor are those of a lerobot policy; leave them out for others")
    if is_lerobot:
        return LerobotAdapter(policy, layers, steps, preprocessor, postprocessor, full=full)
    if all(hasattr(policy, name) for name in ("infer", "_model", "_input_transform", "_sample_actions")):
        return OpenpiAdapter(policy, layers, steps, full=full)
    if all(hasattr(policy, name) for name in ("plain", "run", "recorder", "sizes")):
        return OwnAdapter(policy, layers, steps, full=full)
    raise UserError(
        f"{type(policy).__name__} cannot be recorded: give openpi's Policy, lerobot's PI05Policy or a policy that "
        "pi0-attention loaded; AttentionRecorder records other modules"
    )
