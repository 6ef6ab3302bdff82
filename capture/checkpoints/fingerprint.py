"""Fingerprint of a checkpoint's weights from the sizes of its files and samples of their bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

EDGE: Final = 1 << 16
"""Bytes read at each end of a file; SAMPLE bytes are read at each of SAMPLES places in between."""
SAMPLES: Final = 64
SAMPLE: Final = 4096


def fingerprint(folder: Path) -> str:
    """Return the SHA-256 (hex) of names, lengths and samples of the weight files: safetensors, or orbax's `params/`.

    Training changes every weight, so a few hundred kilobytes of each file distinguish two checkpoints. It does not
    depend on where the folder lies. Raises OSError if a file cannot be read.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        params = folder / "params" if (folder / "params").is_dir() else folder
        files = sorted(path for path in params.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for path in files:
        length = path.stat().st_size
        digest.update(f"{path.relative_to(folder).as_posix()}\0{length}\0".encode())
        with path.open("rb") as file:
            if length <= 2 * EDGE + SAMPLES * SAMPLE:
                digest.update(file.read())
                continue
            digest.update(file.read(EDGE))
            for sample in range(1, SAMPLES + 1):
                file.seek(length * sample // (SAMPLES + 1))
                digest.update(file.read(SAMPLE))
            file.seek(-EDGE, 2)
            digest.update(file.read(EDGE))
    return digest.hexdigest()
