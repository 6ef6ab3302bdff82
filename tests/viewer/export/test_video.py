"""Videos that browsers play: decoded again and compared with what was painted."""

from __future__ import annotations

import builtins
import struct
from typing import TYPE_CHECKING

import numpy as np
import pytest
from export_driver import open_export

from viewer.errors import UserError
from viewer.export import encoding, video
from viewer.export.figures import camera_figures
from viewer.export.metadata import to_ascii_json

if TYPE_CHECKING:
    from pathlib import Path

    from PySide6.QtWidgets import QApplication

av = pytest.importorskip("av", reason="PyAV is not installed: no video is decoded")
Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed: no GIF or WebP is read")


def write_video(folder: Path, small: Path, words: str) -> tuple[Path, list[tuple[int, int]]]:
    reports: list[tuple[int, int]] = []
    with open_export("video", str(small), *words.split(), "-o", str(folder)) as export:
        file = export.plan.files[0]
        written = video.write_video(export.renderer, file, lambda *at: reports.append(at), 0, export.plan.pictures)
        assert written == len(file.sweep)
    assert [path.name for path in file.path.parent.iterdir()] == [file.path.name]
    return file.path, reports


def list_boxes(path: Path) -> list[str]:
    """Names of an MP4's outermost boxes in order."""
    content, offset, names = path.read_bytes(), 0, []
    while offset < len(content):
        size, name = struct.unpack(">I4s", content[offset : offset + 8])
        names.append(name.decode())
        offset += size
    return names


@pytest.mark.parametrize("words", ["--words duck", "--over layers --actions 2", "--over steps --scale 1.37 --size 121"])
def test_mp4_is_h264_with_even_sides_and_its_index_first(
    app: QApplication, small: Path, tmp_path: Path, words: str
) -> None:
    path, reports = write_video(tmp_path, small, f"{words} --rate 5")
    order = list_boxes(path)
    assert order.index("moov") < order.index("mdat")
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = list(container.decode(stream))
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert stream.average_rate == 5
        assert (stream.width % 2, stream.height % 2) == (0, 0)
        assert "pi0-attention view {" in container.metadata["comment"]
        assert stream.codec_context.colorspace == 1, "BT.709, as it was made"
    count = {"--over layers": 4, "--over steps": 3}.get(" ".join(words.split()[:2]), 3)
    assert len(frames) == count
    assert reports[-1] == (count, count)


def test_mp4_pictures_equal_the_figures(app: QApplication, small: Path, tmp_path: Path) -> None:
    path, _ = write_video(tmp_path, small, "--over layers --words duck --scale 1 --size 320")
    with av.open(str(path)) as container:
        shown = [frame.to_ndarray(format="rgb24", src_colorspace="ITU709") for frame in container.decode(video=0)]
    words = ("--over", "layers", "--words", "duck", "--size", "320", "-o", str(tmp_path / "b"))
    with open_export("video", str(small), *words) as export:
        sweep = export.plan.files[0].sweep
        scenes = [export.source.compose_shown(view) for view in sweep]
        top = max(scene.ranges[0][1] for scene in scenes)
        for number, page in enumerate(shown):
            renderer = export.renderer
            figure = camera_figures.create_camera_row(
                export.source, renderer.cameras, sweep[number], export.plan.request
            )
            image = figure.render(1.0, even=True)
            expected = encoding.pixels(image)[42:222, 20:340, 2::-1].astype(int)
            assert np.abs(page[42:222, 20:340].astype(int) - expected).mean() < (
                40 if scenes[number].ranges[0][1] < top else 10
            )
    assert np.abs(shown[0].astype(int) - shown[2]).mean() > 1, "the layers differ"


def test_video_has_one_scale_unless_range_is_map(
    app: QApplication, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scales = []
    create_camera_row = camera_figures.create_camera_row

    def spy(*given: object, **named: object) -> object:
        figure = create_camera_row(*given, **named)  # type: ignore[arg-type]
        scales.append([(scale.low, scale.high) for scale in figure.scales])
        return figure

    monkeypatch.setattr(camera_figures, "create_camera_row", spy)
    write_video(tmp_path, small, "--over layers --words duck")
    assert len(scales) == 4
    assert all(ranges == scales[0] and len(ranges) == 1 for ranges in scales)
    scales.clear()
    write_video(tmp_path / "b", small, "--over layers --words duck --range map")
    assert len({str(ranges) for ranges in scales}) == 4


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_gif_and_webp_have_all_pictures_at_the_rate(
    app: QApplication, small: Path, tmp_path: Path, suffix: str
) -> None:
    path, _ = write_video(
        tmp_path, small, f"--over layers --words duck --format {suffix} --rate 4 --scale 1 --size 200"
    )
    with Image.open(path) as image:
        assert (image.format.lower(), image.n_frames) == (suffix, 4)
        image.seek(1)
        image.load()
        assert image.info["duration"] == 250
        assert image.info["loop"] == 0


def test_missing_encoder_is_a_user_error(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: object) -> object:
        if name in {"av", "PIL"}:
            raise ImportError(name)
        return real(name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", without)
    for suffix, name in (("mp4", "PyAV"), ("gif", "Pillow"), ("webp", "Pillow")):
        with pytest.raises(UserError) as error:
            video.check_installed(suffix)
        assert str(error.value) == f'A {suffix} needs {name}: pip install "pi0-attention[export]"'


def test_mp4_comment_is_the_view_in_ascii(app: QApplication, small: Path, tmp_path: Path) -> None:
    path, _ = write_video(tmp_path, small, "--over layers --words duck")
    with av.open(str(path)) as container:
        comment = container.metadata["comment"].removeprefix("pi0-attention view ")
    assert to_ascii_json(comment) == comment


def interrupt_after_two(done: int, total: int) -> None:
    if done == 2:
        raise KeyboardInterrupt


@pytest.mark.parametrize("suffix", ["mp4", "gif"])
def test_interrupted_video_leaves_no_file(app: QApplication, small: Path, tmp_path: Path, suffix: str) -> None:
    arguments = ["video", str(small), "--over", "layers", "--words", "duck", "-o", str(tmp_path), "--format", suffix]
    with open_export(*arguments) as export:
        file = export.plan.files[0]
        with pytest.raises(KeyboardInterrupt):
            video.write_video(export.renderer, file, interrupt_after_two, 0, 4)
    assert list(file.path.parent.iterdir()) == []
