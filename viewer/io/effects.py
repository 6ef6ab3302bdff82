"""Effects files: measured changes of the actions, read without trust and lazily by frame. No Qt."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from capture.results import effects_schema
from viewer.errors import UserError
from viewer.io import hdf5_guard, open_file
from viewer.io.cache import Cache
from viewer.io.effects_check import check_actions
from viewer.io.hdf5_guard import Guarded
from viewer.model.attention import Floats, to_float32
from viewer.model.effects import EffectMap, Method, TargetEffect
from viewer.model.noise_multiples import multiple_of, root_mean_square
from viewer.model.plain_text import clean_text

if TYPE_CHECKING:
    from viewer.io.results_file import ResultsFile

T = TypeVar("T")
CACHE_BYTES: Final = 32 << 20
OF_ALL_LAYERS: Final = "heads/"
"""Datasets over all of the policy's layers, recorded or not; others are over the recorded ones."""
MOST_TARGETS: Final = 10_000
FEWEST_SEEDS: Final = 2
"""Untouched calls without which there is no noise floor."""
MOST_NUMBERS: Final = 1 << 20
"""Frames that an effects file may hold."""


class Effects:
    """An open effects file; whose frames and axes are those of its results file is checked by `attach_to`."""

    def __init__(self, path: Path) -> None:
        """Open the file and check its header. Raises UserError where it is no effects file that can be read."""
        self.path = path
        self._read_lock = threading.RLock()
        self._cache = Cache(CACHE_BYTES)
        self._file = open_file.open_hdf5(path)
        try:
            self._guard = Guarded(self._file, path)
            self._read_header()
        except UserError:
            self._file.close()
            raise
        except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError) as error:
            self._file.close()
            reason = open_file.shorten_error(error)
            raise UserError(
                f"{path.name} is damaged: HDF5 says “{reason}”. Copy it again, or measure it again."
            ) from error

    def _read_header(self) -> None:
        guard = self._guard
        if guard.attribute("format") != effects_schema.FORMAT:
            raise UserError(f"{self.path.name} is not an effects file; open one that “pi0-capture effects” wrote.")
        version = hdf5_guard.numbers(guard.attribute("format_version"))
        if version and version[0] > effects_schema.FORMAT_VERSION[0]:
            raise UserError(
                f"{self.path.name} has format {'.'.join(map(str, version))}, and this viewer reads up to "
                f"{effects_schema.FORMAT_VERSION[0]}.x; install a newer pi0-attention."
            )
        self.uuid = str(guard.attribute("uuid") or "")
        self.complete = bool(guard.attribute("complete"))
        results = guard.json("results")
        self.results_uuid = str(results.get("uuid") or "")
        self.results_name = clean_text(str(results.get("name") or ""), 200)
        self.run = guard.json("run")
        self.cameras = hdf5_guard.names(guard.attribute("cameras"))
        self.layers = hdf5_guard.numbers(guard.attribute("layers"))
        self.steps = hdf5_guard.numbers(guard.attribute("steps"))
        numbers = guard.find("frames/number", 1)
        if numbers is None or numbers.shape[0] > MOST_NUMBERS or numbers.dtype.kind not in "iu":
            raise guard.damaged("it does not say which frames it is about")
        self._places = {int(number): place for place, number in enumerate(hdf5_guard.read(numbers, (slice(None),)))}
        self._lengths: dict[str, int] = {"frame": numbers.shape[0]}
        self.targets = self._read_names("targets/name")
        self.kinds = self._read_names("targets/kind")
        if len(self.kinds) != len(self.targets):
            raise guard.damaged("its targets have no kinds")

    def _read_names(self, name: str) -> tuple[str, ...]:
        dataset = self._guard.find(name, 1)
        if dataset is None:
            return ()
        if dataset.shape[0] > MOST_TARGETS:
            raise self._guard.damaged(f"{name} has {dataset.shape[0]} entries")
        return tuple(clean_text(text, 200) for text in hdf5_guard.texts(hdf5_guard.read(dataset, (slice(None),))))

    def attach_to(self, results: ResultsFile) -> None:
        """Check that the file is about an open results file, and that its axes fit.

        Raises:
            UserError: It is about another one, or damaged.
        """
        if not results.uuid or self.results_uuid != results.uuid:
            whose = f"{self.results_name}" if self.results_name else "another file"
            raise UserError(
                f"{self.path.name} holds effects on {whose}, not on {results.path.name}: their fingerprints differ. "
                f"Open {whose} first, or measure {results.path.name} again."
            )
        if (self.cameras, self.layers, self.steps) != (results.cameras, results.layers, results.steps):
            raise self._guard.damaged(f"its cameras, layers or steps are not those of {results.path.name}")
        lengths = self._lengths | {
            "camera": len(results.cameras), "row": results.grid.rows, "col": results.grid.cols,
            "action": results.horizon, "text": results.tokens, "head": results.heads, "target": len(self.targets),
            "step": len(results.steps),
        }  # fmt: skip
        for name, (axes, _) in effects_schema.DESCRIPTIONS.items():
            names = axes.split(", ")
            dataset = self._guard.find(name, len(names))
            if dataset is None:
                continue
            lengths["layer"] = len(results.layers)
            if name.startswith(OF_ALL_LAYERS):
                lengths["layer"] = dataset.shape[names.index("layer")]
                if lengths["layer"] <= max(results.layers, default=0):
                    raise self._guard.damaged(f"{name} has {lengths['layer']} layers")
            for axis, length in zip(names, dataset.shape, strict=True):
                if lengths.setdefault(axis, length) != length:
                    raise self._guard.damaged(f"{name} has shape {dataset.shape}, which does not fit the other data")
        self._lengths = lengths

    @property
    def frames(self) -> tuple[int, ...]:
        """Frames of the results file on which something was measured, ascending."""
        return tuple(sorted(self._places))

    @property
    def method(self) -> Method:
        """How regions, words and heads were removed."""
        run = self.run
        return Method(
            mode=_read_word(run, "mode", "knockout"), queries=_read_word(run, "from", "actions"),
            layers=_read_numbers(run, "layers"), heads=_read_numbers(run, "in_heads"),
            fill=_read_word(run, "fill", "mean"), masks=_read_count(run, "masks"),
        )  # fmt: skip

    @property
    def block(self) -> int:
        """Side in patches of the blocks of its effect map; 0 without a map."""
        return _read_count(self.run, "map")

    def has(self, name: str) -> bool:
        """Return whether the file holds a dataset."""
        axes = len(effects_schema.DESCRIPTIONS[name][0].split(", "))
        with self._read_lock:
            return self._guard.find(name, axes) is not None

    def row(self, name: str, frame: int) -> Floats | None:
        """Return a dataset's values of one frame as float32; None where the file has none of it."""
        place = self._places.get(frame)
        if place is None:
            return None
        axes = len(effects_schema.DESCRIPTIONS[name][0].split(", "))

        def make() -> Floats | None:
            with self._read_lock:
                dataset = self._guard.find(name, axes)
                if dataset is None or dataset.dtype.kind not in "fiub":
                    return None
                return to_float32(np.asarray(hdf5_guard.read(dataset, (place,))))

        return self._cache.get((name, place), make, lambda values: 0 if values is None else values.nbytes)

    def floor(self, frame: int, actions: tuple[int, ...] = ()) -> float:
        """Return the noise floor of some actions or, without any, of the whole chunk; NaN where it is not measured."""
        name = "noise/floor_of_action" if actions else "noise/floor"
        floors = self.row(name, frame)
        if floors is None:
            return float("nan")
        return root_mean_square(floors[list(actions)]) if actions else float(floors)

    def effect_map(self, frame: int, actions: tuple[int, ...] = (), dim: int | None = None) -> EffectMap | None:
        """Return the effect of each patch on some actions or, without any, on the whole chunk; None without a map.

        Several actions are joined by the root mean square, as the chunk is. `dim` is the action dimension whose change
        is meant, that of the whole chunk in any case; None for all of them.
        """
        if dim is not None:
            return self._effect_map_of_dim(frame, dim)
        name = "map/effect" if actions else "map/effect_of_chunk"
        values, floor = self.row(name, frame), self.floor(frame, actions)
        if values is None:
            return None
        if actions:
            values = np.sqrt(np.square(values[list(actions)]).mean(0, dtype=np.float32))
        scale = np.float32(multiple_of(1.0, floor))
        return self._make_map(frame, (values * scale).astype(np.float32), floor)

    def _make_map(self, frame: int, values: Floats, floor: float, dims: tuple[int, ...] | None = None) -> EffectMap:
        stored = self.row("masks/explained", frame)
        explained = float("nan") if stored is None else float(stored)
        return EffectMap(
            values, self.method, self.block, floor, dims, seeds=self.count_seeds(frame), explained=explained
        )

    def count_seeds(self, frame: int) -> int:
        """Return how many untouched calls with other noise the noise floor of a frame is from; 0 if unknown."""
        noise = self.row("noise/actions", frame)
        return 0 if noise is None else len(noise)

    def effect_dims(self, frame: int) -> tuple[int, ...]:
        """Return the action dimensions on which the effect of each patch was measured in a frame; empty without any."""
        values, noise = self.row("map/effect_of_dim", frame), self.row("noise/actions", frame)
        if values is None or noise is None:
            return ()
        return tuple(range(min(len(values), noise.shape[-1])))

    def floor_of_dim(self, frame: int, dim: int) -> float:
        """Return the noise floor of one dimension of the whole chunk, model units: that of two untouched calls."""
        noise = self.row("noise/actions", frame)  # (S, H, A)
        if noise is None or len(noise) < FEWEST_SEEDS or dim >= noise.shape[-1]:
            return float("nan")
        return float(np.sqrt(2 * np.var(noise[..., dim].astype(np.float64), axis=0, ddof=1).mean()))

    def _effect_map_of_dim(self, frame: int, dim: int) -> EffectMap | None:
        values = self.row("map/effect_of_dim", frame)
        if values is None or dim not in self.effect_dims(frame):
            return None
        floor = self.floor_of_dim(frame, dim)
        scaled = (values[dim] * np.float32(multiple_of(1.0, floor))).astype(np.float32)
        return self._make_map(frame, scaled, floor, (dim,))

    def gradient_dims(self, frame: int) -> tuple[int, ...]:
        """Return the action dimensions whose gradients weight the attention in a frame; empty without any."""
        values, dims = self.row("gradient/relevance", frame), self.row("gradient/dim", frame)
        if values is None or dims is None or not values.shape[0]:
            return ()
        return tuple(int(dim) for dim in dims)

    def gradient_map(self, frame: int, actions: tuple[int, ...] = (), dim: int | None = None) -> EffectMap | None:
        """Return the relevance of each patch by gradients, mean of some actions or, without any, of all.

        `dim` is the action dimension that was differentiated; None for the mean over all of them. Returns None where
        there is none.
        """
        values = self._read_relevance("gradient/relevance", frame, actions, dim)
        dims = self.gradient_dims(frame) if dim is None else (dim,)
        return None if values is None else EffectMap(values, self.method, 0, float("nan"), dims, is_gradient=True)

    def word_relevances(self, frame: int, actions: tuple[int, ...] = (), dim: int | None = None) -> Floats | None:
        """Return the relevance of each text token by gradients, (T,); actions and `dim` as for `gradient_map`."""
        return self._read_relevance("gradient/text_relevance", frame, actions, dim)

    def _read_relevance(self, name: str, frame: int, actions: tuple[int, ...], dim: int | None) -> Floats | None:
        values, dims = self.row(name, frame), self.gradient_dims(frame)
        if values is None or not dims or (dim is not None and dim not in dims):
            return None
        values = values if dim is None else values[[dims.index(dim)]]
        mean: Floats = (values[:, list(actions)] if actions else values).mean((0, 1), dtype=np.float32)
        return mean

    def word_effects(self, frame: int, actions: tuple[int, ...] = ()) -> Floats | None:
        """Return the effect of leaving out the word of each text token, (T,) multiples of the noise.

        On some actions, joined by the root mean square, or, without any, on the whole chunk. NaN for tokens of no
        word; None where the file has no effects of all words.
        """
        values = self.row("map/text_effect" if actions else "map/text_effect_of_chunk", frame)
        if values is None:
            return None
        if actions:
            values = np.sqrt(np.square(values[list(actions)]).mean(0, dtype=np.float32))
        return values * np.float32(multiple_of(1.0, self.floor(frame, actions)))

    def target_effects(self, frame: int) -> tuple[TargetEffect, ...]:
        """Return what was measured of each region and word in a frame."""
        if frame not in self._places or not self.targets:
            return ()
        return self._cache.get(
            ("targets", frame), lambda: self._read_targets(frame), lambda targets: 4096 * len(targets)
        )

    def _read_targets(self, frame: int) -> tuple[TargetEffect, ...]:
        names = ("targets/effect", "targets/effect_of_action", "targets/patches", "targets/tokens",
                 "controls/effect", "targets/robot_change", "targets/change", "baseline/robot_actions")  # fmt: skip
        effect, of_action, patches, tokens, controls, change, model_change, baseline = (
            self.row(name, frame) for name in names
        )
        floor, floor_of_action = self.row("noise/floor", frame), self.row("noise/floor_of_action", frame)
        if effect is None or of_action is None or floor is None or floor_of_action is None:
            return ()
        optional = [self.row(name, frame) for name in ("controls/effect_of_action", "controls/robot_change")]
        targets = []
        for number, (name, kind) in enumerate(zip(self.targets, self.kinds, strict=True)):
            is_measured = np.zeros(0, bool) if controls is None else np.isfinite(controls[number])
            of_controls, control_changes = (
                None if values is None else values[number][is_measured] for values in optional
            )
            targets.append(
                TargetEffect(
                    name=name, kind=kind, method=self.method,
                    cells=frozenset() if patches is None else _cells(patches[number]),
                    tokens=() if tokens is None else tuple(np.flatnonzero(tokens[number]).tolist()),
                    effect=float(effect[number]), effect_of_action=of_action[number],
                    floor=float(floor), floor_of_action=floor_of_action,
                    controls=np.zeros(0, np.float32) if controls is None else controls[number][is_measured],
                    controls_of_action=of_controls, baseline=baseline,
                    change=None if change is None else change[number], control_changes=control_changes,
                    model_change=None if model_change is None else model_change[number],
                    seeds=self.count_seeds(frame),
                )
            )  # fmt: skip
        return tuple(targets)

    def close(self) -> None:
        """Close the file."""
        with self._read_lock, contextlib.suppress(OSError, RuntimeError, ValueError):
            self._file.close()


def attach(results: ResultsFile, effects: Effects) -> None:
    """Let a results file have the effects of a file; they come before those that it has.

    The same file, opened earlier, is closed. Where this thread must not wait for the results file, the caller calls
    `check_actions` in another one.

    Raises:
        UserError: The effects are about another results file or other calls, or damaged.
    """
    effects.attach_to(results)
    if results.access.may_wait:
        check_actions(effects, results)
    others = []
    for effect in results.effects:
        if effect.path == effects.path or (effect.uuid and effect.uuid == effects.uuid):
            effect.close()
        else:
            others.append(effect)
    results.effects = (effects, *others)


def detach(results: ResultsFile, effects: Effects, reason: str) -> None:
    """Detach the effects of a file, and keep the reason as a sentence."""
    results.effects = tuple(effect for effect in results.effects if effect is not effects)
    results.effects_left_out += (reason,)
    effects.close()


def _cells(mask: Floats) -> frozenset[tuple[int, int, int]]:
    return frozenset((int(camera), int(row), int(col)) for camera, row, col in np.argwhere(mask > 0))


def _read_word(run: dict[str, Any], name: str, default: str) -> str:
    text = run.get(name)
    return clean_text(text, 40) if isinstance(text, str) and text else default


def _read_count(run: dict[str, Any], name: str) -> int:
    number = run.get(name)
    return number if type(number) is int and number > 0 else 0


def _read_numbers(run: dict[str, Any], name: str) -> tuple[int, ...]:
    numbers = run.get(name)
    if not isinstance(numbers, list) or len(numbers) > 1024 or not all(type(number) is int for number in numbers):
        return ()
    return tuple(sorted(numbers))
