"""Masks that clients send beside their observations: scored as an offline capture scores them, and checked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from masked_calls import (
    FRAMES,
    LABELS_SOURCE,
    VALUES,
    assert_same_scores,
    capture_offline,
    make_labels,
    make_masks,
)
from policy_server import (
    TOY_SETUP,
    TOY_SOURCE,
    RawClient,
    RunningServer,
    make_client_observation,
    run_client,
    running_server,
    toy_server,
)
from synthetic_episodes import with_options
from toy_policy import ToyPolicy

from capture.results import schema, scores_schema
from capture.serve.policy_runner import PolicyRunner
from capture.serve.wire_format import pack
from viewer.io.results import Results
from viewer.regions.known_patches import read_known_patches

SUMMARIES = with_options(TOY_SETUP, maps_every=0)

FRONT = "observation/exterior_image_1_left"


@pytest.fixture(scope="module")
def offline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("offline") / "offline.h5"
    capture_offline(path)
    return path


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with toy_server(None) as running:
        yield running


def send_frame(client: RawClient, frame: int, **request_options: Any) -> Any:
    return client.send(pack({**make_client_observation(frame), "pi0-capture": request_options}))


def record(folder: Path, setup: Any = SUMMARIES) -> Path:
    """Record the frames with masks in both forms; return the results file."""
    with running_server(setup, ToyPolicy(), folder, source=TOY_SOURCE) as server:
        client = RawClient(server)
        for frame in range(FRAMES):
            masks = {"masks": make_masks(frame)} if frame % 2 else {"masks": make_labels(frame), "mask_values": VALUES}
            assert "actions" in send_frame(client, frame, **masks if frame != 2 else {})
        client.close()
    assert server.writer is not None
    assert server.writer.counts.failures == ()
    return folder / "episode_000000.h5"


def test_real_client_gets_scores_of_an_offline_capture(offline: Path, tmp_path: Path) -> None:
    with running_server(SUMMARIES, ToyPolicy(), tmp_path, source=TOY_SOURCE) as server:
        run_client(
            server.port,
            LABELS_SOURCE
            + """
policy = connect()
for frame in range(given["frames"]):
    draw = np.random.default_rng(frame)
    labels = make_labels(frame)
    if frame % 2:  # masks of truth values
        masks = {"masks": {key: {"duck": each == 3, "bowl": (each == 5) | (each == 6)} for key, each in labels.items()}}
    else:
        masks = {"masks": labels, "mask_values": given["values"]} if labels else {}
    policy.infer({**observe(), "pi0-capture": masks})
print(json.dumps(None))
""",
            frames=FRAMES,
            values=VALUES,
        )
    assert_same_scores(tmp_path / "episode_000000.h5", offline)


@pytest.mark.parametrize("maps_every", [1, 2])
def test_recording_has_the_scores_of_an_offline_capture(offline: Path, tmp_path: Path, maps_every: int) -> None:
    path = record(tmp_path, with_options(TOY_SETUP, maps_every=maps_every))
    assert_same_scores(path, offline)
    with h5py.File(path) as file:
        maps = [int(scores_schema.keeps_maps(maps_every, frame)) for frame in range(FRAMES)]
        assert file[scores_schema.HAS_MAPS][:].tolist() == maps


class _EagerGraph:
    """A graph that runs its work again."""

    def record(self, work: Callable[[], None]) -> None:
        self._work = work

    def replay(self) -> None:
        self._work()


@pytest.mark.parametrize("maps_every", [0, 1])
def test_replayed_calls_have_the_same_scores(
    offline: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, maps_every: int
) -> None:
    """On a GPU the call knows nothing of the masks, and its regions are scored from its maps."""
    original, runners = PolicyRunner.__init__, []

    def with_graph(runner: PolicyRunner, *arguments: Any, **options: Any) -> None:
        original(runner, *arguments, **{**options, "graph": _EagerGraph})
        runners.append(runner)

    monkeypatch.setattr(PolicyRunner, "__init__", with_graph)
    assert_same_scores(record(tmp_path, with_options(TOY_SETUP, maps_every=maps_every)), offline)
    assert runners[0]._replayer is not None
    assert runners[0]._replayer.replayed == FRAMES - 2


def test_answers_are_those_without_masks(server: RunningServer) -> None:
    plain, masked = RawClient(server), RawClient(server)
    for frame in range(2):
        expected = send_frame(plain, frame, seed=frame)
        found = send_frame(masked, frame, seed=frame, masks=make_labels(frame), mask_values=VALUES)
        assert np.array_equal(expected["actions"], found["actions"])
        assert expected["pi0-capture"] == found["pi0-capture"]
    plain.close()
    masked.close()


def test_viewer_reads_the_regions_beside_the_recording(tmp_path: Path) -> None:
    path = record(tmp_path)
    results = Results(path)
    known = read_known_patches(path.with_name("episode_000000.regions.h5"), results).regions
    assert list(known) == list(results.regions) == ["duck", "bowl"]
    assert known["duck"].frames == (0, 1, 3, 4)
    for frame in range(FRAMES):
        for place, name in enumerate(known):
            assert known[name].find_cells(frame) == results.region_cells(frame, place)
    with h5py.File(path.with_name("episode_000000.regions.h5")) as file:
        np.testing.assert_array_equal(file["bowl/front/mask"][1] != 0, make_masks(1)["front"]["bowl"])
        assert file["duck/front/origin"][:].tolist() == [2, 2, 0, 2, 2]
        assert file["duck/top/origin"][:].tolist() == [2, 2, 0, 0, 2]
    results.close()


def test_object_that_is_named_later_begins_another_file(tmp_path: Path) -> None:
    with toy_server(tmp_path) as server:
        client = RawClient(server)
        for frame, names in enumerate((["duck"], [], ["duck"], ["duck", "bowl"], ["bowl"])):
            masks = {name: mask for name, mask in make_masks(0)["front"].items() if name in names}
            send_frame(client, frame, masks={FRONT: masks})
        client.close()
    found = []
    for path in sorted(tmp_path.glob("episode_00000?.h5")):
        with h5py.File(path) as file:
            coverage = file[scores_schema.COVERAGE]
            known = ~np.isnan(coverage[:, :, 0, 0, 0])
            found.append((coverage.attrs["regions"].tolist(), known.tolist()))
            assert np.isnan(coverage[:, :, 1]).all()  # no masks of the other camera came
            decisions = json.loads(file.attrs[schema.PROVENANCE_ATTRIBUTE])
            choices = {decision["subject"]: decision["choice"] for decision in decisions}
            assert choices["regions"] == ", ".join(found[-1][0])
    assert found == [
        (["duck"], [[True], [False], [True]]),
        (["duck", "bowl"], [[True, True], [False, True]]),
    ]


MASK = np.zeros((90, 160), np.bool_)
WRONG: list[tuple[dict[str, Any], str]] = [
    ({"masks": {FRONT: {"duck": MASK[:-1]}}}, "the masks of front have 160 x 89 pixels, and its picture 160 x 90"),
    ({"masks": {"front": {"duck": MASK.T}}}, "the masks of front have 90 x 160 pixels"),
    ({"masks": {"attic": {"duck": MASK}}}, "the masks are of a camera 'attic'; the message has pictures of observation/"),
    ({"masks": {FRONT: {"du/ck": MASK}}}, "name an object du/ck; a name has 1 to 60 characters"),
    ({"masks": {FRONT: {"du\nck": MASK}}}, r"name an object du\nck;"),
    ({"masks": {FRONT: {"": MASK}}}, "the masks name an object ;"),
    ({"masks": {FRONT: {"duck": MASK.astype(np.float32)}}}, "the mask of duck in observation/exterior_image_1_left holds"),
    ({"masks": {FRONT: {"duck": "all of it"}}}, "holds values of type <U9"),
    ({"masks": {FRONT: {"duck": np.zeros((90, 160, 3), np.uint8)}}}, "has the shape (90, 160, 3); a mask is (height,"),
    ({"masks": {FRONT: np.zeros((90, 160, 2), np.int32)}, "mask_values": VALUES}, "of MuJoCo's segmentation give"),
    ({"masks": {FRONT: np.zeros((90, 160), np.int32)}}, "say nothing without mask_values"),
    ({"masks": {FRONT: np.zeros((90, 160), np.int32)}, "mask_values": {"duck": "3"}}, "gives duck the number 3;"),
    ({"masks": {FRONT: MASK}, "mask_values": {"duck": True}}, "mask_values gives duck the number True"),
    ({"masks": {FRONT: MASK}, "mask_values": {"duck": 1, "mug": [2, 1]}}, "gives the number 1 to duck and to mug"),
    ({"masks": {FRONT: {f"thing {i}": MASK for i in range(65)}}}, "the masks are of 65 objects; 64 are the limit"),
    ({"masks": {FRONT: {"a": MASK}, "front": {"a": MASK}}}, "the masks name the front camera twice"),
    ({"masks": [MASK]}, "the masks are list; give each camera's, such as"),
    ({"mask_values": {"duck": 1}}, "says what the labels in masks are; send both"),
]  # fmt: skip


@pytest.mark.parametrize(("request_options", "sentence"), WRONG)
def test_wrong_masks_are_answered_with_a_sentence(
    server: RunningServer, request_options: dict[str, Any], sentence: str
) -> None:
    client = RawClient(server)
    answer = send_frame(client, 0, **request_options)
    assert isinstance(answer, str)
    assert sentence in answer
    assert len(answer) < 400
    assert "\n" not in answer
    assert "actions" in send_frame(client, 0)  # the connection goes on
    client.close()


def test_masks_of_pictures_that_the_policy_is_not_shown_are_left_out(tmp_path: Path) -> None:
    with toy_server(tmp_path) as server:
        client = RawClient(server)
        other = {"observation/exterior_image_2_left": np.zeros((48, 48, 3), np.uint8)}
        masks = {"masks": {FRONT: {"duck": MASK}, "observation/exterior_image_2_left": {"mug": MASK[:5, :5]}}}
        assert "actions" in client.send(pack({**make_client_observation(0), **other, "pi0-capture": masks}))
        client.close()
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file[scores_schema.COVERAGE].attrs["regions"].tolist() == ["duck"]


def test_masks_of_calls_that_are_not_recorded_cost_nothing(tmp_path: Path) -> None:
    with toy_server(tmp_path, every=2) as server:
        client = RawClient(server)
        for frame in range(4):
            assert "actions" in send_frame(client, frame, masks=make_masks(0))
        client.close()
    with h5py.File(tmp_path / "episode_000000.h5") as file:
        assert file["frames/index"][:].tolist() == [0, 2]
        assert np.isfinite(file[scores_schema.region_score("text", "lift")][...]).any()
