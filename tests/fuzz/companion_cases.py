"""Folders with a results file and one kind of file beside it, of which the fuzzer damages one at a time."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import h5py
import make_effects
import make_results
import moving_regions
import numpy as np
import planted_run
from damage import damage
from hostile_values import change_hdf5, change_json, change_parquet, change_text, damage_text

from viewer.export import metadata
from viewer.export.__main__ import main as export
from viewer.export.runs import build_summary
from viewer.io import run_index
from viewer.runs.query import Subject

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WORDS: Final = "duck"
INFO_VALUES: Final = {
    "noise/floor_error": np.full(2, 0.05, np.float32),
    "targets/multiple": np.full((2, 1), 4, np.float32),
    "controls/smaller": np.full((2, 1), 4),
    "controls/count": np.full((2, 1), 4),
    "agreement/relevance": np.zeros((2, 2), np.float32),
}
"""What `pi0-capture info` reads of an effects file, besides what `make_effects` writes."""
SMALL: Final = {"layers": 2, "heads": 2, "steps": 2, "horizon": 3}
FRAMES: Final = 4
EFFECTS_RUN: Final = {"region": ["exterior:6,6-7"], "regions": None, "controls": 4, "seeds": 3, "fill": "mean"}
"""What an effects file says of its run, besides what `make_effects` writes."""
FIGURES: Final = ("png", "jpg", "svg", "pdf")


@dataclass(frozen=True)
class Case:
    """A folder as targets take it, and the files in it that are damaged."""

    folder: Path
    victims: tuple[Path, ...]


def write_effects(folder: Path) -> Case:
    """Write a results file with measured effects beside it."""
    results = make_results.write(folder / "a.h5", make_results.Recipe(frames=2, size=(36, 64), **SMALL))  # type: ignore[arg-type]
    effects = make_effects.write(folder / "a.effects.h5", results, (0, 1), **EFFECTS_RUN)
    with h5py.File(effects, "r+") as file:
        for name, value in INFO_VALUES.items():
            if name not in file:
                file[name] = value
    return Case(folder, (effects,))


def write_regions(folder: Path) -> Case:
    """Write a results file with named regions beside it."""
    results = moving_regions.write(folder / "a.h5", frames=FRAMES, **SMALL)
    return Case(folder, (moving_regions.write_duck(results),))


def write_masks(folder: Path) -> Case:
    """Write a results file, and masks as other programs make them."""
    from viewer.export.masks.__main__ import main as regions

    path = moving_regions.write(folder / "a.h5", frames=FRAMES, **SMALL)
    moving_regions.write_duck(path)
    for form, name in (("coco", "coco.json"), ("npz", "masks.npz"), ("labels", "labels")):
        if regions(["export", str(path), "--format", form, "-o", str(folder / name)]) != 0:
            raise RuntimeError(f"the masks were not exported as {form}")
    path.with_name("a.regions.h5").unlink()
    pictures = sorted(one for one in (folder / "labels").rglob("*") if one.is_file())
    labels = np.zeros((FRAMES, *moving_regions.SIZE), np.int32)
    labels[:, 60:90, 40:80] = 7
    with h5py.File(folder / "segmentation.h5", "w") as file:
        file.create_dataset("exterior/labels", data=labels, chunks=(1, *moving_regions.SIZE), compression=4)
    files = [folder / name for name in ("coco.json", "coco.json", "masks.npz", "segmentation.h5", "segmentation.h5")]
    return Case(folder, (*files, *pictures[:2]))


def write_run(folder: Path) -> Case:
    """Write a run with its index, a summary of it in two Parquet files, and what `{object}` stands for."""
    planted_run.write_planted_run(folder / "run", 4)
    objects = folder / "run" / "objects.json"
    objects.write_text(json.dumps({planted_run.TASK: WORDS, "put": "bowl"}))
    run = run_index.read_run(folder / "run")
    subject = Subject(WORDS, "", planted_run.BOX)
    build_summary.build(run, [subject], None, lambda _: None, processes=1)
    summary = sorted(path for path in (folder / "run" / "summary").rglob("*") if path.suffix in {".json", ".parquet"})
    return Case(folder, (folder / "run" / "index.json", *summary, *summary, objects))


def write_figures(folder: Path) -> Case:
    """Write a results file and figures of it in every format, which carry their view."""
    path = make_results.write(folder / "a.h5", make_results.Recipe(frames=2, size=(36, 64), **SMALL))  # type: ignore[arg-type]
    figures = []
    for form in FIGURES:
        words = ["summary", str(path), "-o", str(folder / "out"), "--frames", "0", "--layers", "1", "--format", form]
        if export([*words, "--words", WORDS]) != 0:
            raise RuntimeError(f"no figure was written as {form}")
        figures.append(shutil.copy(next((folder / "out").rglob(f"*.{form}")), folder / f"figure.{form}"))
    shutil.rmtree(folder / "out")
    return Case(folder, tuple(figures))


WRITERS: Final[dict[str, Callable[[Path], Case]]] = {
    "effects": write_effects,
    "regions": write_regions,
    "masks": write_masks,
    "run": write_run,
    "figures": write_figures,
}


def damage_file(path: Path, content: bytes, rng: np.random.Generator) -> None:
    """Write a file anew with one damage, or whole with contents that cannot be."""
    kind = path.suffix
    if kind == ".h5" and rng.random() < 0.5:
        path.write_bytes(content)
        change_hdf5(path, rng)
    elif kind == ".h5":
        path.write_bytes(damage(content, rng))
    elif kind == ".json":
        path.write_bytes(change_text(content, rng))
    elif kind == ".parquet" and rng.random() < 0.6:
        path.write_bytes(change_parquet(content, rng))
    elif path.stem == "figure" and rng.random() < 0.7:
        path.write_bytes(_change_view(path, content, rng))
    else:
        path.write_bytes(damage_text(content, rng))


def _change_view(path: Path, content: bytes, rng: np.random.Generator) -> bytes:
    """Return a figure whose view has other values, also of a run."""
    value = json.loads(metadata.read_view_json(str(path)))
    if rng.random() < 0.3:
        query = {"score": "lift", "words": WORDS, "region": planted_run.BOX, "times": [0.0, 1.0], "frames": [0, 3]}
        value["run"] = {"query": query, "contrast": True, "layer": 1, "head": 0}
    view = json.dumps(change_json(value, rng))
    if path.suffix == ".png":  # the first of two chunks counts, as the first of two segments and elements does
        return metadata.embed_in_png(content, view)
    if path.suffix == ".jpg":
        return metadata.embed_in_jpg(content.replace(metadata.MARK.encode(), b"?" * len(metadata.MARK)), view)
    if path.suffix == ".svg":
        return metadata.embed_in_svg(content.replace(b"pi0-attention-view", b"none", 1), view)
    begin, end = content.find(b"<pi0:view>") + 10, content.find(b"</pi0:view>")
    return content[:begin] + metadata.to_ascii_json(view).encode() + content[end:]
