"""Episodes as real files, written by the libraries that write them elsewhere; each picture carries its own number."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
from PIL import Image

BITS = 10
CAMERAS = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")


def picture(number: int, *, height: int = 32, width: int = 80, tint: int = 0) -> np.ndarray:
    """(height, width, 3) uint8: the number as bright and dark bars, and `tint` as the brightness of the foot."""
    shown = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        shown[:, bit * width // BITS : (bit + 1) * width // BITS] = 235 if number >> bit & 1 else 20
    shown[height * 3 // 4 :] = 40 + 60 * tint
    return shown


def number_of(shown: np.ndarray) -> int:
    """The number that a picture carries, whatever a codec did to it."""
    row = shown[shown.shape[0] // 4 : shown.shape[0] // 2].mean(axis=(0, 2))
    width = len(row)
    return sum(int(row[int((bit + 0.5) * width / BITS)] > 128) << bit for bit in range(BITS))


def tint_of(shown: np.ndarray) -> int:
    """The tint of a picture."""
    return round((float(shown[-4:].mean()) - 40) / 60)


def write_video(path: Path, pictures, *, rate: int = 15, codec: str = "libx264", movflags: str = "", **options) -> Path:
    """A video of these pictures as PyAV writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if codec == "libsvtav1":
        options = {"preset": "12", "crf": "30", "svtav1-params": "lp=1", **options}
    with av.open(str(path), "w", options={"movflags": movflags} if movflags else {}) as container:
        stream = None
        for shown in pictures:
            if stream is None:
                stream = container.add_stream(codec, rate=Fraction(rate), options=options)
                stream.height, stream.width = shown.shape[:2]
                stream.pix_fmt = "yuv420p"
            container.mux(stream.encode(av.VideoFrame.from_ndarray(shown, format="rgb24")))
        container.mux(stream.encode())
    return path


def cut(path: Path, share: float = 0.5) -> None:
    """Lose the end of a file."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])


def write_droid(folder: Path, frames: int = 20, *, form: str = "mp4", uuid: str = "LAB+1", metadata=None) -> Path:
    """A DROID episode: state row t is t + 0.1 * joint, action row t is -t - 0.1 * joint."""
    folder.mkdir(parents=True)
    serials = {"wrist_image": "13062452", "exterior_image_1": "20036094", "exterior_image_2": "24259877"}
    with h5py.File(folder / "trajectory.h5", "w") as file:
        rows = np.arange(frames)[:, None] + 0.1 * np.arange(7)
        robot = file.create_group("observation/robot_state")
        robot["joint_positions"], robot["gripper_position"] = rows, np.linspace(0, 1, frames)
        robot["cartesian_position"] = np.zeros((frames, 6))
        for name, values in (("joint_velocity", -rows), ("joint_position", rows + 100)):
            file[f"action/{name}"] = values
        file["action/gripper_position"] = np.linspace(1, 0, frames)
        file["observation/timestamp/control/step_start"] = 1_680_000_000_000 + 67 * np.arange(frames)
        file["observation/timestamp/skip_action"] = np.arange(frames) < 3
        for role, serial in serials.items():
            file[f"observation/camera_type/{serial}"] = np.full(frames, 0 if role == "wrist_image" else 1)
        file.attrs["current_task"] = "Move the duck"
    told = {
        "uuid": uuid,
        "current_task": "Move the duck",
        "success": True,
        "trajectory_length": frames,
        "wrist_cam_serial": "13062452",
        "ext1_cam_serial": "20036094",
        "ext2_cam_serial": "24259877",
        **(metadata or {}),
    }
    (folder / f"metadata_{uuid}.json").write_text(json.dumps(told))
    for tint, (role, serial) in enumerate(serials.items()):
        shown = [picture(number, tint=tint) for number in range(frames)]
        if form == "mp4":
            write_video(folder / "recordings/MP4" / f"{serial}.mp4", shown)
        elif form == "stereo":
            both = [np.concatenate([one, picture(number + 500, tint=tint)], 1) for number, one in enumerate(shown)]
            write_video(folder / "recordings/MP4" / f"{serial}-stereo.mp4", both)
        else:
            place = folder / "recordings/frames" / (f"{role}_left" if form == "named" else serial)
            place.mkdir(parents=True)
            for number, one in enumerate(shown):
                Image.fromarray(one).save(place / f"{number:05}.jpg", quality=95)
    return folder
