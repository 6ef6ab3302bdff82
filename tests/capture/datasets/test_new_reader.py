"""A new reader needs one file, one registration and one line in the README; the reader below is a whole example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from decisions import choices_by_subject

from capture.datasets import registry
from capture.datasets.array_episode import ArrayEpisode, EpisodeData, frame_times
from capture.datasets.base import Source, SourceCamera, SourceOptions
from capture.datasets.episode_list import EpisodeList
from capture.datasets.key_mapping import KeyMapping
from capture.errors import UserError

README = Path(__file__).parents[3] / "README.md"


@dataclass(frozen=True)
class GreyFile:
    """A text file with one grey level, 0 to 255, in each line: a frame of 4 x 6 pixels."""

    path: Path
    name: str
    number: int
    levels: tuple[int, ...]

    @property
    def cameras(self) -> tuple[str, ...]:
        return ("image",)

    @property
    def state_parts(self) -> Mapping[str, int]:
        return {"state": 1}

    @property
    def action_parts(self) -> Mapping[str, int]:
        return {}

    @property
    def place(self) -> str:
        return str(self.path)


def read_file(path: Path, number: int) -> GreyFile:
    try:
        return GreyFile(path, path.stem, number, tuple(map(int, path.read_text().split())))
    except ValueError as error:
        raise UserError(f"{path} holds something other than grey levels; mend it") from error


class GreyEpisode(ArrayEpisode):
    rate, success, prompts = 10.0, None, ("look",)

    def __init__(self, info: GreyFile, mapping: KeyMapping, horizon: int) -> None:
        super().__init__(info.name, info.number, mapping, horizon)
        self.length, self._levels = len(info.levels), info.levels

    @property
    def shapes(self) -> Mapping[str, tuple[int, int]]:
        return dict.fromkeys(self._mapping.cameras, (4, 6))

    def _open(self) -> AbstractContextManager[EpisodeData]:
        state = np.array(self._levels, np.float64)[:, None]
        times = frame_times(self.length, self.rate)
        return nullcontext(EpisodeData(["look"] * self.length, times, state, None, self._pictures))

    def _pictures(self, frames: Sequence[int]) -> Iterator[Mapping[str, np.ndarray]]:
        for frame in frames:
            yield {slot: np.full((4, 6, 3), self._levels[frame], np.uint8) for slot in self._mapping.cameras}


class GreyReader:
    name = "grey levels"
    looks_for = "files that end in .grey"

    def detect(self, path: Path) -> bool:
        return next(path.glob("*.grey"), None) is not None

    def open(self, path: Path, options: SourceOptions) -> Source:
        listing: EpisodeList[GreyFile] = EpisodeList()
        for file in sorted(path.glob("*.grey")):
            listing.add(file.stem, partial(read_file, file))
        _, mapping, episodes = listing.map_episodes(
            path, options, lambda info, mapping: GreyEpisode(info, mapping, options.horizon)
        )
        return Source(
            "grey levels", path, (SourceCamera("image", 4, 6),), mapping.decisions, episodes, listing.unusable
        )


@pytest.fixture
def grey_reader(monkeypatch):
    monkeypatch.setattr(registry, "READERS", list(registry.READERS))
    registry.register(GreyReader())


@pytest.mark.usefixtures("grey_reader")
def test_registered_reader_opens_its_format(tmp_path):
    (tmp_path / "a.grey").write_text("10 20 30")
    (tmp_path / "b.grey").write_text("ten")
    source = registry.open_source(tmp_path, SourceOptions(("exterior",), 2, 1))
    assert source.kind == "grey levels"
    assert choices_by_subject(source.decisions) == {
        "exterior camera": "image",
        "state": "state (1)",
        "true actions": "none",
    }
    (episode,) = source.episodes
    assert (episode.name, episode.number, episode.length) == ("a", 0, 3)
    first, last = episode.read([0, 2])
    assert first.pictures["exterior"].tolist() == [[[10] * 3] * 6] * 4
    assert (last.index, last.time, last.prompt, last.state.tolist()) == (2, pytest.approx(0.2), "look", [30.0])
    assert last.true_actions is None
    assert source.unusable["b"].number == 1
    assert source.unusable["b"].reason.endswith("b.grey holds something other than grey levels; mend it")


@pytest.mark.usefixtures("grey_reader")
def test_registered_reader_is_named_where_no_format_is_found(tmp_path):
    with pytest.raises(UserError, match=r"looked for .*, files that end in \.grey \(grey levels\)$"):
        registry.open_source(tmp_path, SourceOptions((), 1))


def test_unregistered_format_is_not_opened(tmp_path):
    (tmp_path / "a.grey").write_text("10")
    with pytest.raises(UserError, match="no episodes of a known format"):
        registry.open_source(tmp_path, SourceOptions((), 1))


@pytest.mark.parametrize("reader", registry.READERS, ids=lambda reader: reader.name)
def test_every_reader_has_a_line_in_the_readme(reader):
    rows = [line for line in README.read_text().splitlines() if line.startswith("| ")]
    assert any(row.split("|")[1].strip().strip("`").startswith(reader.name) for row in rows)
