from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from paths import DATA
from PIL import Image

from capture.datasets.images import read_picture
from capture.errors import UserError
from capture.policies.letterbox import letterbox, resize_pil, resize_torch, to_pixels, to_uint8

SIZES = st.tuples(st.integers(8, 700), st.integers(8, 700))
SMALL = np.random.default_rng(3).integers(0, 256, (6, 9, 3), dtype=np.uint8)


def arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return dict(file)


def encode_image(image: Image.Image, kind: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


# Resizing


@pytest.mark.parametrize("size", ["40x30", "30x40", "7x5"])
def test_resizes_are_those_of_openpi_and_lerobot(size: str) -> None:
    known = arrays(DATA / "resize.npz")
    picture = known[f"{size}/input"]
    ours = resize_pil(picture)[::8, ::8].astype(int)
    assert np.abs(ours - known[f"{size}/pil_uint8_sub8"]).max() <= 1  # Pillow versions round differently
    pixels = resize_torch(picture).permute(1, 2, 0)[::8, ::8].numpy()
    np.testing.assert_allclose(pixels, known[f"{size}/lerobot_torch_f32_sub8"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(pixels, known[f"{size}/openpi_torch_f32_sub8"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", ["40x30", "30x40", "180x320", "7x5", "256x256", "225x223"])
def test_letterbox_matches_reference_at_every_pixel_of_all_sizes(size: str, shared: Path) -> None:
    folder = shared / "reference" / "golden" / "preprocess"
    known = arrays(folder / "resize_openpi.npz")
    picture = known[f"{size}/input"]
    assert np.abs(resize_pil(picture).astype(int) - known[f"{size}/pil_uint8"]).max() <= 1
    pixels = resize_torch(picture).permute(1, 2, 0)[::8, ::8].numpy()
    expected = arrays(folder / "resize_lerobot.npz")[f"{size}/lerobot_torch_f32_sub8"]
    np.testing.assert_allclose(pixels, expected, rtol=0, atol=1e-6)


def test_picture_of_model_size_is_unchanged() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    assert (resize_pil(picture) == picture).all()
    assert torch.equal(resize_torch(picture), to_pixels(picture))
    assert (to_uint8(to_pixels(picture)) == picture).all()


def test_pixels_are_scaled_to_minus_one_and_one() -> None:
    pixels = to_pixels(np.broadcast_to(np.array([0, 255, 51], np.uint8), (224, 224, 3)).copy())
    assert pixels.shape == (3, 224, 224)
    assert pixels.dtype == torch.float32
    assert pixels[0].unique().tolist() == [-1.0]
    assert pixels[1].unique().tolist() == [1.0]
    assert pixels[2].unique().item() == pytest.approx(-0.6)


def test_bars_are_minus_one_and_minus_three_for_lerobot_0_4() -> None:
    picture = np.full((90, 160, 3), 200, np.uint8)
    for bars in (-1.0, -3.0):
        pixels = resize_torch(picture, bars=bars)
        assert pixels[:, :49].unique().tolist() == [bars]
        assert pixels[:, 175:].unique().tolist() == [bars]
        assert pixels[:, 49:175].min() > 0.5
        assert (to_uint8(pixels)[:49] == 0).all()
    assert (resize_pil(picture)[:49] == 0).all()


# Geometry


def test_letterbox_box_of_16_to_9_picture() -> None:
    box = letterbox(720, 1280)
    assert (box.rows, box.cols, box.top, box.left) == (126, 224, 49, 0)
    assert box.to_model.tolist() == [[0.175, 0, 0], [0, 0.175, 49]]
    assert box.bars.sum() == 6 * 16  # 49 rows above and below are three and a half patches
    assert box.bars[[0, 2, 13, 15]].all()
    assert not box.bars[3:13].any()
    assert letterbox(720, 1280, turned=True).to_model.tolist() == [[-0.175, 0, 224], [0, -0.175, 175]]


@given(size=SIZES, turned=st.booleans())
def test_letterbox_maps_corners_to_box(size: tuple[int, int], turned: bool) -> None:
    height, width = size
    assume(min(size) * 224 >= max(size))
    box = letterbox(height, width, turned=turned)
    corners = np.array([[0, 0, 1], [width, height, 1]]).T
    mapped = (box.to_model @ corners).T
    first, last = mapped[::-1] if turned else mapped
    np.testing.assert_allclose(first, [box.left, box.top], atol=1e-9)
    np.testing.assert_allclose(last, [box.left + box.cols, box.top + box.rows], atol=1e-9)
    assert (mapped >= -1e-9).all()
    assert (mapped <= 224 + 1e-9).all()
    # The longer side fills the square, but for a pixel that the reference cuts off; the bars are even.
    assert max(box.rows, box.cols) in (223, 224)
    assert 224 - box.rows - 2 * box.top in (0, 1)
    assert 224 - box.cols - 2 * box.left in (0, 1)
    # Both directions have the same scale, but for the cut to whole pixels.
    assert box.cols / width <= 1 / box.ratio + 1e-9
    assert abs(box.cols - width / box.ratio) < 1
    assert abs(box.rows - height / box.ratio) < 1


@given(size=SIZES, turned=st.booleans(), x=st.floats(0, 1), y=st.floats(0, 1))
def test_letterbox_map_is_invertible(size: tuple[int, int], turned: bool, x: float, y: float) -> None:
    assume(min(size) * 224 >= max(size))
    forward = np.vstack([letterbox(*size, turned=turned).to_model, [0, 0, 1]])
    point = np.array([x * size[1], y * size[0], 1])
    np.testing.assert_allclose(np.linalg.inv(forward) @ (forward @ point), point, atol=1e-6)


@given(size=SIZES)
def test_bar_patches_are_black_under_white_picture(size: tuple[int, int]) -> None:
    assume(min(size) * 224 >= max(size))
    white = np.full((*size, 3), 255, np.uint8)
    for shown in (resize_pil(white), to_uint8(resize_torch(white))):
        brightness = shown.max(axis=2).reshape(16, 14, 16, 14).max(axis=(1, 3))
        assert (letterbox(*size).bars == (brightness == 0)).all()


@given(size=SIZES, turned=st.booleans(), position=st.tuples(st.floats(0, 1), st.floats(0, 1)))
def test_letterbox_map_locates_bright_spot(size: tuple[int, int], turned: bool, position: tuple[float, float]) -> None:
    assume(min(size) * 8 >= max(size))
    spot_size = 3 + min(size) // 8
    y, x = (int(share * (length - spot_size)) for share, length in zip(position, size, strict=True))
    picture = np.zeros((*size, 3), np.uint8)
    picture[y : y + spot_size, x : x + spot_size] = 255
    box = letterbox(*size, turned=turned)
    expected = box.to_model @ [x + spot_size / 2, y + spot_size / 2, 1]
    upright = np.ascontiguousarray(picture[::-1, ::-1]) if turned else picture
    for shown in (resize_pil(upright), to_uint8(resize_torch(upright))):
        weights = shown[..., 0].astype(float)
        rows, cols = np.indices(weights.shape) + 0.5
        centre = [(weights * cols).sum() / weights.sum(), (weights * rows).sum() / weights.sum()]
        np.testing.assert_allclose(centre, expected, atol=1.0)


@pytest.mark.parametrize("size", [(1, 300), (300, 1), (2, 600), (0, 5), (5, 0), (0, 0)])
def test_letterbox_refuses_too_narrow_pictures(size: tuple[int, int]) -> None:
    with pytest.raises(UserError, match="too narrow"):
        letterbox(*size)


# Files


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("PNG", {}),
        ("BMP", {}),
        ("PPM", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {"lossless": True}),
    ],
)
def test_lossless_files_are_read_without_change(tmp_path: Path, kind: str, options: dict) -> None:
    (tmp_path / "picture").write_bytes(encode_image(Image.fromarray(SMALL), kind, **options))  # the name tells nothing
    read = read_picture(tmp_path / "picture")
    assert read.dtype == np.uint8
    assert read.flags.writeable
    assert (read == SMALL).all()


def test_grey_palette_and_cmyk_pictures_become_rgb(tmp_path: Path) -> None:
    grey = np.arange(54, dtype=np.uint8).reshape(6, 9)
    palette = Image.fromarray(grey % 4).convert("P")
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 9, 9, 9])
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]])[grey % 4]
    path = tmp_path / "picture"
    for content, expected in (
        (encode_image(Image.fromarray(grey), "PNG"), np.stack([grey] * 3, axis=2)),
        (encode_image(Image.fromarray(grey % 2 == 0), "PNG"), np.stack([255 * (grey % 2 == 0)] * 3, axis=2)),
        (encode_image(palette, "PNG"), colours),
        (encode_image(palette, "PNG", transparency=b"\x00\x80\xff"), colours),
        (encode_image(palette, "PNG", transparency=1), colours),
        (encode_image(palette, "GIF"), colours),
    ):
        path.write_bytes(content)
        assert (read_picture(path) == expected).all()
    path.write_bytes(encode_image(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG"))
    assert np.abs(read_picture(path).astype(int) - [255, 0, 0]).max() < 8


def test_alpha_channel_is_dropped_without_blending(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    alpha = np.tile(np.array([0, 128, 255], np.uint8), (6, 3))
    path.write_bytes(encode_image(Image.fromarray(np.dstack([SMALL, alpha])), "PNG"))
    assert (read_picture(path) == SMALL).all()
    path.write_bytes(encode_image(Image.fromarray(np.dstack([SMALL[..., 0], alpha])), "PNG"))
    assert (read_picture(path) == SMALL[..., :1]).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_exif_rotation_is_applied(tmp_path: Path, kind: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to view
    left_red = np.zeros((16, 48, 3), np.uint8)
    left_red[:, :16, 0] = 255
    path = tmp_path / "picture"
    path.write_bytes(encode_image(Image.fromarray(left_red), kind, exif=exif))
    read = read_picture(path)
    assert read.shape == (48, 16, 3)
    assert read[:12, :, 0].min() > 200
    assert read[20:, :, 0].max() < 60


def test_multi_picture_jpeg_gives_its_first_picture(tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    first, second = (Image.new("RGB", (16, 16), color) for color in ("red", "blue"))
    path.write_bytes(encode_image(first, "MPO", save_all=True, append_images=[second]))
    with Image.open(path) as image:
        assert image.n_frames == 2
    assert np.abs(read_picture(path).astype(int) - [255, 0, 0]).max() < 8


def png_header(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds next to nothing."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def encode_npy(array: np.ndarray, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


FRAMES = [Image.new("RGB", (8, 8), color) for color in ("red", "blue")]
DEPTH = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a picture"),
        (b"not a picture at all", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
        (encode_image(Image.fromarray(SMALL), "PNG")[:-60], "may be damaged"),
        (encode_image(Image.fromarray(np.tile(SMALL, (20, 20, 1))), "JPEG")[:2000], "may be damaged"),
        (png_header(8000, 8000), "too large"),
        (png_header(60000, 60000), "too large"),
        (png_header(100, 100), "may be damaged"),
        (encode_image(FRAMES[0], "GIF", save_all=True, append_images=FRAMES[1:]), "holds 2 pictures"),
        (encode_image(FRAMES[0], "PNG", save_all=True, append_images=FRAMES[1:]), "holds 2 pictures"),
        (encode_image(FRAMES[0], "TIFF", save_all=True, append_images=FRAMES[1:]), "holds 2 pictures"),
        (encode_image(Image.fromarray(DEPTH), "PNG"), "depth maps"),
        (encode_image(Image.fromarray(DEPTH.astype(np.float32)), "TIFF"), "depth maps"),
        (encode_npy(SMALL.astype(np.int64)), "holds int64 values"),
        (encode_npy(SMALL.astype(np.float32)), "floats outside 0 to 1"),
        (encode_npy(np.full((4, 4, 3), np.nan)), "floats outside 0 to 1"),
        (encode_npy(SMALL[..., :2]), r"shape \(6, 9, 2\)"),
        (encode_npy(SMALL[None]), r"shape \(1, 6, 9, 3\)"),
        (encode_npy(np.zeros((0, 4, 3), np.uint8)), "may be damaged|shape"),
        (encode_npy(SMALL)[:-5], "may be damaged"),
        (encode_npy(SMALL)[:20], "may be damaged"),
        (encode_npy(np.array([{}]), allow_pickle=True), "may be damaged"),
    ],
)
def test_file_that_is_not_a_picture_raises_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        read_picture(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_picture_files_and_folders_are_reported(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        read_picture(tmp_path / "none.png")
    with pytest.raises(UserError, match="is not a file"):
        read_picture(tmp_path)


def test_picture_arrays_follow_openpi_dtype_and_layout_rules(tmp_path: Path) -> None:
    path = tmp_path / "picture.npy"
    path.write_bytes(encode_npy(SMALL))
    assert (read_picture(path) == SMALL).all()
    path.write_bytes(encode_npy(SMALL.transpose(2, 0, 1)))  # three planes, as torch has them
    assert (read_picture(path) == SMALL).all()
    floats = np.array([0.0, 0.1, 0.999, 1.0], np.float32)
    path.write_bytes(encode_npy(np.broadcast_to(floats[:, None, None], (4, 5, 3))))
    assert read_picture(path)[:, 0, 0].tolist() == [0, 25, 254, 255]  # cut, not rounded


@given(
    content=st.sampled_from(
        [encode_image(Image.fromarray(SMALL), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP")]
    )
    | st.just(encode_npy(SMALL)),
    changes=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
)
def test_damaged_picture_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, changes: list[tuple[int, int]]
) -> None:
    damaged = bytearray(content)
    for offset, value in changes:
        damaged[offset % len(damaged)] = value
    path = tmp_path_factory.getbasetemp() / "damaged"
    path.write_bytes(damaged)
    try:
        read = read_picture(path)
    except UserError as refused:
        sentence = str(refused)
    else:
        assert (read.ndim, read.shape[2], read.dtype) == (3, 3, np.uint8)
        return
    assert str(path) in sentence
    assert "\n" not in sentence
