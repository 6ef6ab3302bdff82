"""The effects file: `duck.effects.h5` beside `duck.h5`, described in FORMAT.md and read with h5py alone.

It is small and replaced as a whole after each frame, so that a killed run leaves a file that can be read and resumed.
"""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import h5py
import numpy as np
import numpy.typing as npt

from capture import __version__
from capture.datasets import hdf5
from capture.datasets.hdf5_check import check_parts, check_values
from capture.errors import UserError
from capture.results.atomic_write import write_atomically
from capture.results.effects_schema import DESCRIPTIONS, FORMAT, FORMAT_VERSION
from capture.terminal_text import escape_control_characters

READ_ERRORS: Final = (
    OSError, KeyError, IndexError, ValueError, TypeError, RuntimeError, AttributeError, OverflowError,
)  # fmt: skip
"""What h5py and json raise for a damaged file; RecursionError is a RuntimeError."""
Frame = dict[str, npt.NDArray[Any]]
"""Dataset name -> its value for one frame, without the frame axis."""


@dataclass
class EffectsFile:
    """Results of one run, kept in memory and written as a whole."""

    path: Path
    run: Mapping[str, Any]
    """What defines the run; only the same run resumes the file."""
    attributes: Mapping[str, Any]
    names: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    frames: list[Frame] = field(default_factory=list)
    keep_existing: bool = False
    """Whether a file of the final name that appears while this one is measured stays as it is."""
    uuid: str = ""
    created: str = ""

    def __post_init__(self) -> None:
        self.uuid = self.uuid or str(uuid.uuid4())
        self.created = self.created or datetime.now(UTC).isoformat(timespec="seconds")

    @property
    def partial(self) -> Path:
        """Where it lies until the run has completed."""
        return self.path.with_name(self.path.name + ".partial")

    def resume(self) -> None:
        """Take over the frames of an interrupted run, which another process reads first.

        Raises UserError where the file is of another run or damaged.
        """
        if not self.partial.exists():
            return
        try:
            check_parts(self.partial)
            with h5py.File(self.partial) as file:
                is_same = json.loads(file.attrs["run"]) == json.loads(json.dumps(self.run))
                if is_same:
                    origin = str(file.attrs["uuid"]), str(file.attrs["created"])
                    frames = _read_frames(file)
        except UserError as error:
            raise UserError(f"{error}; or begin anew with --overwrite") from None
        except READ_ERRORS as error:
            reason = escape_control_characters(" ".join(str(error).split())[:120])
            raise UserError(f"{self.partial} cannot be resumed ({reason}); begin anew with --overwrite") from None
        if not is_same:
            raise UserError(
                f"{self.partial} is of a run with other settings; repeat that command, name another file "
                "with -o, or begin anew with --overwrite"
            )
        self.uuid, self.created = origin
        self.frames = frames

    def write(self, *, complete: bool) -> None:
        """Replace the partial file, or with `complete` write the final one. Raises UserError where it cannot."""
        content = io.BytesIO()
        with h5py.File(content, "w") as file:
            self._fill(file, complete=complete)
        try:
            path = self.path if complete else self.partial
            keep = complete and self.keep_existing
            if not write_atomically(path, content.getvalue(), keep_existing=keep):
                self.write(complete=False)
                raise UserError(
                    f"{self.path} appeared while this run was measuring, and is left as it is; the result is "
                    f"{self.partial}: move one of them away, and repeat the command for the final file"
                )
            if complete:
                self.partial.unlink(missing_ok=True)
        except OSError as error:
            raise UserError(f"{self.path} cannot be written ({(error.strerror or str(error)).lower()})") from None

    def _fill(self, file: h5py.File, *, complete: bool) -> None:
        file.attrs.update(
            {
                "format": FORMAT, "format_version": np.array(FORMAT_VERSION), "uuid": self.uuid,
                "created": self.created, "generator": f"pi0-capture {__version__}", "complete": complete,
                "run": json.dumps(self.run), **self.attributes,
            }
        )  # fmt: skip
        datasets: dict[str, npt.NDArray[Any]] = {
            name: np.stack([frame[name] for frame in self.frames]) for name in (self.frames[0] if self.frames else {})
        }
        if self.names:
            datasets["targets/name"] = np.array(self.names, object)
            datasets["targets/kind"] = np.array(self.kinds, object)
        for name, value in datasets.items():
            is_text = value.dtype == object
            is_large = value.nbytes > 1 << 16
            dataset = file.create_dataset(
                name,
                data=value,
                dtype=h5py.string_dtype() if is_text else None,
                compression="gzip" if is_large and not is_text else None,
                shuffle=True if is_large and not is_text else None,
            )
            axes, description = DESCRIPTIONS[name]
            dataset.attrs["axes"] = axes.split(", ")
            dataset.attrs["description"] = description


def is_finished(path: Path, run: Mapping[str, Any]) -> bool:
    """Return whether `path` is the complete effects file of a run with these settings."""
    try:
        check_parts(path)
        with h5py.File(path) as file:
            is_same: bool = json.loads(file.attrs["run"]) == json.loads(json.dumps(run))
            return is_same and bool(file.attrs["complete"])
    except (UserError, *READ_ERRORS):
        return False


def _read_frames(file: h5py.File) -> list[Frame]:
    """Return what a file holds of each frame.

    Raises UserError or one of READ_ERRORS where it is damaged.
    """
    datasets: Frame = {}
    for name, (axes, _) in DESCRIPTIONS.items():
        values = hdf5.dataset(file, name) if axes.startswith("frame") else None
        if values is not None:
            if not values.shape or values.size > hdf5.MAX_NUMBERS:
                raise ValueError(f"{name} has shape {values.shape}")
            check_values(values)
            datasets[name] = values[()]
    counts = {len(values) for values in datasets.values()}
    if len(counts) != 1 or "frames/number" not in datasets:
        raise ValueError("its datasets are of different numbers of frames")
    return [{name: values[index] for name, values in datasets.items()} for index in range(*counts)]
