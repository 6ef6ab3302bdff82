"""Fingerprints of weights: the same for a copy, another one after any training step."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from capture.checkpoints.fingerprint import EDGE, SAMPLE, SAMPLES, fingerprint


def test_fingerprint_equal_for_copy_and_different_after_change(checkpoint: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(checkpoint, copy)
    before = fingerprint(checkpoint)
    assert fingerprint(copy) == before
    (copy / "notes.txt").write_text("no weights")
    assert fingerprint(copy) == before
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1
    (copy / "model.safetensors").write_bytes(weights)
    assert fingerprint(copy) != before


def test_fingerprint_samples_large_files(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    weights = np.random.default_rng(0).integers(0, 256, 4 * EDGE + 2 * SAMPLES * SAMPLE, dtype=np.uint8)
    path.write_bytes(weights.tobytes())
    before = fingerprint(tmp_path)
    path.write_bytes((weights + 1).astype(np.uint8).tobytes())  # training changes every weight
    assert fingerprint(tmp_path) != before
    path.write_bytes(weights.tobytes() + b"x")
    assert fingerprint(tmp_path) != before


def test_fingerprint_includes_every_file_of_jax_folders(tmp_path: Path) -> None:
    (tmp_path / "params" / "d").mkdir(parents=True)
    (tmp_path / "params" / "d" / "0").write_bytes(b"abc")
    before = fingerprint(tmp_path)
    (tmp_path / "params" / "d" / "0").write_bytes(b"abd")
    assert fingerprint(tmp_path) != before
