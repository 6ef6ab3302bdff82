"""Every command that reads a file beside a results file, called in this process on a folder of `companion_cases`."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import h5py
import planted_run
from companion_cases import EFFECTS_RUN, FIGURES, WORDS
from synthetic_episodes import SyntheticEpisode

from capture.errors import UserError as CaptureError
from viewer.analysis import probe
from viewer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Mapping

RIGHT_CODES: Final = (0, 1, 2)
CAMERAS: Final = ("exterior", "wrist")
GRID: Final = (16, 16)


class UncaughtError(Exception):
    """A command did what must not be."""


class PicturedEpisode(SyntheticEpisode):
    """An episode whose pictures have the size of those that `moving_regions` draws in."""

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        """Height and width of the cameras' pictures."""
        return dict.fromkeys(CAMERAS, (180, 320))


class CompanionCommands:
    """Runs the commands on one folder after another; `note_step` is called after each."""

    def __init__(self, kind: str, note_step: Callable[[], None]) -> None:
        self._act = {
            "effects": self._read_effects,
            "regions": self._read_regions,
            "masks": self._import_masks,
            "run": self._ask_run,
            "figures": self._open_figures,
        }[kind]
        self._note_step = note_step
        probe.create_early_probe = probe.ForkedProbe  # type: ignore[assignment] - 0.02 s of processor time in place of 0.5
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - as long as this process
        os.dup2(self._errors.fileno(), 2)
        self._codes: list[int] = []
        self._refusal = ""
        """The last sentence with which a command refused a file."""

    def __call__(self, folder: Path) -> str:
        """Return `opened` where all commands succeeded, `partly`, `refused`, or `uncaught` and what was wrong."""
        self._codes = []
        try:
            self._act(folder)
        except UncaughtError as error:
            return f"uncaught {error}"
        except Exception as error:
            import traceback

            where = traceback.extract_tb(error.__traceback__)[-1]
            return f"uncaught {type(error).__name__}: {error} ({Path(where.filename).name} {where.lineno})"
        if 0 not in self._codes:
            return f"refused {self._refusal}"
        return f"partly {self._refusal}" if any(self._codes) else "opened"

    def _call(self, main: Callable[[Sequence[str]], int], *words: str | Path) -> None:
        """Run a command: it must end with a code of ours, and where it fails with sentences alone."""
        os.ftruncate(2, 0)
        os.lseek(2, 0, os.SEEK_SET)
        try:
            code = main([str(word) for word in words])
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        stderr = os.pread(2, 1 << 20, 0).decode(errors="replace")
        if code not in RIGHT_CODES or "Traceback" in stderr:
            raise UncaughtError(f"{words[0]}: exit code {code}: {stderr[-500:]}")
        if code == 2 and not stderr.strip():
            raise UncaughtError(f"{words[0]}: no sentence")
        if any(len(line) > 2000 for line in stderr.splitlines()):
            raise UncaughtError(f"{words[0]}: a sentence of {len(stderr)} characters: {stderr[:300]}")
        self._codes.append(code)
        if code:
            self._refusal = f"{words[0]}: {stderr[-300:]}"
        self._note_step()

    def _try(self, read: Callable[[], object]) -> None:
        """Call a reader, which may refuse a file with a sentence."""
        try:
            read()
            self._codes.append(0)
        except (UserError, CaptureError) as error:
            if "\n" in str(error) or not str(error):
                raise UncaughtError(f"a message of several lines: {error}") from None
            self._codes.append(2)
            self._refusal = str(error)
        self._note_step()

    def _read_effects(self, folder: Path) -> None:
        from capture.__main__ import main as capture
        from capture.effects.effects_file import EffectsFile, is_finished
        from viewer.export.__main__ import main as export

        results, effects = folder / "a.h5", folder / "a.effects.h5"
        out = ("-o", folder / "out", "--frames", "0", "--overwrite")
        self._call(capture, "info", effects)
        self._call(export, "arrays", results, *out)
        self._call(export, "table", results, *out, "--actions", "all")
        self._call(export, "summary", results, *out, "--actions", "0", "--measure", "effect", "--effects", effects)
        shutil.copy(effects, folder / "b.effects.h5.partial")
        run = {"mode": "knockout", "from": "actions", "map": 2, **EFFECTS_RUN}
        self._try(EffectsFile(folder / "b.effects.h5", run, {}).resume)
        self._try(lambda: is_finished(effects, run))

    def _read_regions(self, folder: Path) -> None:
        from capture.datasets.regions.region_files import RegionFiles
        from capture.effects.named_regions import read_named_regions
        from viewer.export.__main__ import main as export
        from viewer.export.masks.__main__ import main as regions

        results, file = folder / "a.h5", folder / "a.regions.h5"
        self._call(regions, "list", results)
        for form, name in (("coco", "a.json"), ("npz", "a.npz"), ("labels", "labels")):
            self._call(regions, "export", results, "--format", form, "-o", folder / name)
        self._call(export, "table", results, "-o", folder / "out", "--frames", "1-2", "--region", "duck")
        self._call(
            export, "atlas", results, "-o", folder / "out", "--frames", "1", "--region", "duck", "--words", WORDS
        )
        with h5py.File(results) as whole:
            uuid, frames = str(whole.attrs["uuid"]), len(whole["frames/index"])
        self._try(lambda: read_named_regions(file, uuid, CAMERAS, GRID, frames))
        episode = PicturedEpisode("episode 3", length=frames)
        self._try(lambda: list(RegionFiles(file).open(episode, episode.shapes).read(range(frames))))
        shutil.copy(file, folder / "other.regions.h5")
        for words in (("rename", "duck", "mug"), ("remove", "cup"), ("track", "thing=exterior:7-8,4-5@1"), ("undo",)):
            self._call(regions, words[0], results, *words[1:], "--regions", folder / "other.regions.h5")

    def _import_masks(self, folder: Path) -> None:
        from viewer.export.masks.__main__ import main as regions

        for number, name in enumerate(("coco.json", "masks.npz", "labels", "segmentation.h5:exterior/labels")):
            file = folder / f"{number}.regions.h5"
            self._call(
                regions, "import", folder / "a.h5", f"{folder}/{name}", "--regions", file, "--camera", "exterior"
            )

    def _ask_run(self, folder: Path) -> None:
        from viewer.export.__main__ import main as export

        run, out = folder / "run", ("-o", folder / "out", "--processes", "1")
        query = ("--words", WORDS, "--region", planted_run.BOX)
        self._call(export, "run", run, *out, *query, "--format", "csv")
        self._call(
            export, "run", run, *out, *query, "--compare", "--head", "1,0", "--frames", "0-50%", "--format", "csv"
        )
        self._call(export, "table", run, *out, "--frames", "0", "--layers", "1", "--words", "{object}",
                   "--objects", run / "objects.json")  # fmt: skip

    def _open_figures(self, folder: Path) -> None:
        from viewer import __main__ as program
        from viewer.analysis.initial_view import parse_view
        from viewer.export.__main__ import main as export

        for form in FIGURES:
            figure = folder / f"figure.{form}"
            words = ("-o", folder / form, "--view", figure, "--frames", "0", "--layers", "1")
            self._call(export, "summary", folder / "a.h5", *words)

            def read(figure: Path = figure) -> None:
                text = program._view_text(str(figure))
                parse_view(text)
                program._run_view(text)

            self._try(read)
