"""Root attributes of a results file, and JSON in them."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import h5py
import numpy as np

from capture.results import schema
from capture.results.hdf5_storage import CHECKS_BYTES


def root_attributes(
    sizes: schema.Sizes,
    model: Mapping[str, object],
    generator: str,
    run: Mapping[str, object] | None,
    provenance: str | None,
) -> dict[str, object]:
    """Return the root attributes that a new file gets; see `ResultsWriter` for the arguments."""
    return {
        **({} if provenance is None else {schema.PROVENANCE_ATTRIBUTE: provenance}),
        **({} if run is None else {schema.RUN_ATTRIBUTE: json.dumps(dict(run), allow_nan=False)}),
        "format": schema.FORMAT,
        "format_version": np.array(schema.FORMAT_VERSION, dtype="<i8"),
        "uuid": str(uuid.uuid4()),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "generator": generator,
        "model": json.dumps(replace_non_finite(dict(model)), allow_nan=False),
        "cameras": np.array(sizes.cameras, dtype=h5py.string_dtype()),
        "layers": np.array(sizes.layers, dtype="<i8"),
        "steps": np.array(sizes.steps, dtype="<i8"),
    }


def encode_object(name: str, value: Mapping[str, object]) -> bytes:
    """Return JSON for an attribute of CHECKS_BYTES. Raises ValueError for more."""
    text = json.dumps(replace_non_finite(dict(value)), allow_nan=False).encode()
    if len(text) > CHECKS_BYTES:
        raise ValueError(f"{name} take {len(text)} bytes; {CHECKS_BYTES} are free")
    return text


def replace_non_finite(value: Any) -> Any:
    """Return `value` with strings such as "nan" for numbers that JSON cannot hold."""
    if isinstance(value, dict):
        return {key: replace_non_finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [replace_non_finite(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
