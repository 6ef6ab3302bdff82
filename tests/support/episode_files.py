"""Episodes as real files, written by the usual libraries; each picture encodes its frame number."""

from __future__ import annotations

import io
import json
import struct
from fractions import Fraction
from pathlib import Path

import av
import h5py
import numpy as np
from PIL import Image

BITS = 10
CAMERAS = ("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left")


def picture(number: int, *, height: int = 32, width: int = 80, tint: int = 0) -> np.ndarray:
    """Return (height, width, 3) uint8 with the number as bright and dark bars, and `tint` as the brightness below."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        pixels[:, bit * width // BITS : (bit + 1) * width // BITS] = 235 if number >> bit & 1 else 20
    pixels[height * 3 // 4 :] = 40 + 60 * tint
    return pixels


def read_number(shown: np.ndarray) -> int:
    """Return the number that a picture encodes, also after lossy coding."""
    row = shown[shown.shape[0] // 4 : shown.shape[0] // 2].mean(axis=(0, 2))
    width = len(row)
    return sum(int(row[int((bit + 0.5) * width / BITS)] > 128) << bit for bit in range(BITS))


def read_tint(shown: np.ndarray) -> int:
    """Return the tint of a picture."""
    return round((float(shown[-4:].mean()) - 40) / 60)


def write_video(path: Path, pictures, *, rate: int = 15, codec: str = "libx264", movflags: str = "", **options) -> Path:
    """Write a video of the pictures with PyAV."""
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


DISPLAY_MATRICES = {
    1: (1, 0, 0, 1),
    2: (-1, 0, 0, 1),
    3: (-1, 0, 0, -1),
    4: (1, 0, 0, -1),
    5: (0, 1, 1, 0),
    6: (0, 1, -1, 0),
    7: (0, -1, -1, 0),
    8: (0, -1, 1, 0),
}
"""EXIF's orientation -> a, b, c, d of the display matrix that means the same (ISO 14496-12)."""


def store_turned(shown: np.ndarray, orientation: int) -> np.ndarray:
    """Return the stored form of a picture that is shown as `shown` after Pillow has applied the orientation."""
    methods = Image.Transpose
    undo = {
        2: methods.FLIP_LEFT_RIGHT,
        3: methods.ROTATE_180,
        4: methods.FLIP_TOP_BOTTOM,
        5: methods.TRANSPOSE,
        6: methods.ROTATE_90,
        7: methods.TRANSVERSE,
        8: methods.ROTATE_270,
    }
    return np.array(Image.fromarray(shown).transpose(undo[orientation])) if orientation in undo else shown


def set_display_matrix(path: Path, a: float, b: float, c: float, d: float) -> Path:
    """Write a display matrix into the track header of an MP4, as phones do."""
    data = bytearray(path.read_bytes())
    start = data.find(b"tkhd")
    offset = start + 4 + (52 if data[start + 4] else 40)
    numbers = [round(a * 65536), round(b * 65536), 0, round(c * 65536), round(d * 65536), 0, 0, 0, 1 << 30]
    data[offset : offset + 36] = struct.pack(">9i", *numbers)
    path.write_bytes(data)
    return path


def truncate(path: Path, share: float = 0.5) -> None:
    """Truncate a file to a share of its length."""
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
    metadata_json = {
        "uuid": uuid,
        "current_task": "Move the duck",
        "success": True,
        "trajectory_length": frames,
        "wrist_cam_serial": "13062452",
        "ext1_cam_serial": "20036094",
        "ext2_cam_serial": "24259877",
        **(metadata or {}),
    }
    (folder / f"metadata_{uuid}.json").write_text(json.dumps(metadata_json))
    for tint, (role, serial) in enumerate(serials.items()):
        shown = [picture(number, tint=tint) for number in range(frames)]
        if form == "mp4":
            write_video(folder / "recordings/MP4" / f"{serial}.mp4", shown)
        elif form == "stereo":
            stereo = [np.concatenate([left, picture(number + 500, tint=tint)], 1) for number, left in enumerate(shown)]
            write_video(folder / "recordings/MP4" / f"{serial}-stereo.mp4", stereo)
        else:
            frames_folder = folder / "recordings/frames" / (f"{role}_left" if form == "named" else serial)
            frames_folder.mkdir(parents=True)
            for number, left in enumerate(shown):
                Image.fromarray(left).save(frames_folder / f"{number:05}.jpg", quality=95)
    return folder


def write_lerobot(
    folder: Path,
    lengths,
    *,
    version: str = "3.0",
    codec: str | None = "libx264",
    rate: int = 10,
    cameras=("observation.images.image", "observation.images.image2"),
    state=("observation.state", 8),
    action=("action", 7),
    per_file: int = 2,
    contents=None,
    stamps=None,
    **options: str,
) -> Path:
    """Write a LeRobot data set in its published layout; `codec` None stores pictures in parquet.

    Frame t of episode e is picture 100 e + t (tints 0, 1), its state 100 e + t + 0.1 * dim, its action minus that; or
    what `contents` gives for each episode: "task", "state" and "action" (frames, dims), and "pictures", a list a camera.
    `stamps(episode, frames)` gives the rows' times in seconds instead of a constant rate.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    old = version.startswith("2")
    shape = list(contents[0]["pictures"][0][0].shape) if contents else [32, 80, 3]
    features = {
        key: {
            "dtype": "video" if codec else "image",
            "shape": shape,
            "names": ["height", "width", "channels"],
        }
        for key in cameras
    }
    features |= {name: {"dtype": "float32", "shape": [dims], "names": None} for name, dims in (state, action)}
    for name in ("timestamp", "frame_index", "episode_index", "index", "task_index"):
        features[name] = {"dtype": "float32" if name == "timestamp" else "int64", "shape": [1], "names": None}
    info = {"codebase_version": f"v{version}", "robot_type": "panda", "fps": rate, "features": features}
    info |= {"total_episodes": len(lengths), "total_frames": sum(lengths), "chunks_size": 1000}
    if old:
        info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        info["video_path"] = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
    else:
        info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        info["video_path"] = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info))
    tasks = (
        [shown_picture["task"] for shown_picture in contents]
        if contents
        else ["pick up the duck", "put it in the bowl"]
    )

    def shown(episode, tint):
        if contents:
            return contents[episode]["pictures"][tint]
        return [picture(100 * episode + number, tint=tint) for number in range(lengths[episode])]

    def table(episode):
        count = lengths[episode]
        values = 100 * episode + np.arange(count)[:, None] + 0.1 * np.arange(16)
        states, actions = values[:, : state[1]], -values[:, : action[1]]
        if contents:
            states, actions = contents[episode]["state"], contents[episode]["action"]
        columns = {
            state[0]: pa.array(list(states.astype(np.float32)), pa.list_(pa.float32(), state[1])),
            action[0]: pa.array(list(actions.astype(np.float32)), pa.list_(pa.float32())),
            "timestamp": pa.array((stamps(episode, count) if stamps else np.arange(count) / rate).astype(np.float32)),
            "frame_index": pa.array(np.arange(count)),
            "episode_index": pa.array(np.full(count, episode)),
            "index": pa.array(sum(lengths[:episode]) + np.arange(count)),
            "task_index": pa.array(np.full(count, episode % len(tasks))),
        }
        if codec is None:
            for tint, key in enumerate(cameras):
                stored = []
                for pixels in shown(episode, tint):
                    buffer = io.BytesIO()
                    Image.fromarray(pixels).save(buffer, "PNG")
                    stored.append({"bytes": buffer.getvalue(), "path": f"frame-{len(stored):06d}.png"})
                columns[key] = pa.array(stored, pa.struct({"bytes": pa.binary(), "path": pa.string()}))
        return pa.table(columns)

    if old:
        (folder / "meta/tasks.jsonl").write_text(
            "".join(json.dumps({"task_index": index, "task": task}) + "\n" for index, task in enumerate(tasks))
        )
        lines = [
            {"episode_index": e, "tasks": [tasks[e % len(tasks)]], "length": count} for e, count in enumerate(lengths)
        ]
        (folder / "meta/episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (folder / "data/chunk-000").mkdir(parents=True)
        for episode in range(len(lengths)):
            pq.write_table(table(episode), folder / f"data/chunk-000/episode_{episode:06d}.parquet")
            for tint, key in enumerate(cameras if codec else ()):
                path = folder / f"videos/chunk-000/{key}/episode_{episode:06d}.mp4"
                write_video(path, shown(episode, tint), rate=rate, codec=codec, **options)
        return folder
    pq.write_table(
        pa.table({"task_index": list(range(len(tasks))), "__index_level_0__": tasks}), folder / "meta/tasks.parquet"
    )  # as pandas stores its index
    episode_columns = {name: [] for name in ("episode_index", "tasks", "length", "data/chunk_index", "data/file_index")}
    episode_columns |= {"dataset_from_index": [], "dataset_to_index": []}
    for key in cameras if codec else ():
        episode_columns |= {
            f"videos/{key}/{name}": [] for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp")
        }
    (folder / "data/chunk-000").mkdir(parents=True)
    for file, first in enumerate(range(0, len(lengths), per_file)):
        episodes = range(first, min(first + per_file, len(lengths)))
        with pq.ParquetWriter(folder / f"data/chunk-000/file-{file:03d}.parquet", table(first).schema) as writer:
            for episode in episodes:
                writer.write_table(table(episode))
        for tint, key in enumerate(cameras if codec else ()):
            path = folder / f"videos/{key}/chunk-000/file-{file:03d}.mp4"
            pictures = [shown_picture for episode in episodes for shown_picture in shown(episode, tint)]
            write_video(path, pictures, rate=rate, codec=codec, **options)
        start = 0.0
        for episode in episodes:
            end = start + lengths[episode] / rate
            before = sum(lengths[:episode])
            row = {"episode_index": episode, "tasks": [tasks[episode % len(tasks)]], "length": lengths[episode]}
            row |= {"data/chunk_index": 0, "data/file_index": file}
            row |= {"dataset_from_index": before, "dataset_to_index": before + lengths[episode]}
            for key in cameras if codec else ():
                video_fields = {"chunk_index": 0, "file_index": file, "from_timestamp": start, "to_timestamp": end}
                row |= {f"videos/{key}/{name}": value for name, value in video_fields.items()}
            for name, value in row.items():
                episode_columns[name].append(value)
            start = end
    (folder / "meta/episodes/chunk-000").mkdir(parents=True)
    pq.write_table(pa.table(episode_columns), folder / "meta/episodes/chunk-000/file-000.parquet")
    return folder


def rewrite_parquet(path: Path, change) -> None:
    """Replace a parquet file by `change(table)`."""
    import pyarrow.parquet as pq

    pq.write_table(change(pq.read_table(path)), path)


def write_libero(
    path: Path,
    lengths=(6, 9),
    *,
    convention: str | None = "opengl",
    libero: bool = True,
    has_attributes: bool = True,
    cameras=None,
    **attributes,
) -> Path:
    """Write a file as LIBERO's create_dataset.py or robomimic does: row t of demo d holds 100 d + t.

    Without attributes it is as OpenVLA's regenerate_libero_dataset.py leaves it. `cameras`: other names of the two.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        environment = "Libero_Kitchen" if libero else "Lift"
        attributes_json = {
            "env_args": json.dumps({"env_name": environment, "type": 1, "env_kwargs": {"control_freq": 25}})
        }
        if libero:
            attributes_json["problem_info"] = json.dumps({"language_instruction": '"put the bowl on the plate"'})
            attributes_json["bddl_file_name"] = "x.bddl"
        if convention:
            attributes_json["macros_image_convention"] = convention
        for name, value in (attributes_json | attributes).items() if has_attributes else ():
            data.attrs[name] = value
        names = ("agentview_rgb", "eye_in_hand_rgb") if libero else ("agentview_image", "robot0_eye_in_hand_image")
        names = cameras or names
        for demo, count in enumerate(lengths):
            group = data.create_group(f"demo_{demo}")
            values = 100 * demo + np.arange(count)[:, None] + 0.1 * np.arange(16)
            for tint, name in enumerate(names):
                group[f"obs/{name}"] = np.stack([picture(100 * demo + t, tint=tint) for t in range(count)])
            if libero:
                for name, columns in (
                    ("ee_pos", slice(0, 3)),
                    ("ee_ori", slice(3, 6)),
                    ("gripper_states", slice(6, 8)),
                ):
                    group[f"obs/{name}"] = values[:, columns]
                group["obs/ee_states"], group["obs/joint_states"] = values[:, :6], values[:, :7]
            else:
                group["obs/robot0_eef_pos"], group["obs/robot0_gripper_qpos"] = values[:, :3], values[:, 6:8]
                group["obs/robot0_eef_quat"] = np.tile([0, 0, np.sin(0.5), np.cos(0.5)], (count, 1))
            group["actions"], group["rewards"] = -values[:, :7], np.arange(count) == (count - 1 if demo != 1 else -1)
            group["states"] = np.zeros((count, 40))
            group.attrs["num_samples"] = count
    return path


def write_aloha(path: Path, frames: int = 6, *, form: str = "rgb", cameras=None, first: int = 0) -> Path:
    """Write an episode as ALOHA's record_episodes.py does: row t holds t + 0.1 * joint, its action minus that.

    `form` is "rgb", "padded" (JPEG files of one length, as Mobile ALOHA stores them) or "variable". The number of
    picture t is `first` + t.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    names = cameras or ("cam_high", "cam_low", "cam_left_wrist", "cam_right_wrist")
    with h5py.File(path, "w") as file:
        file.attrs["sim"], file.attrs["compress"] = False, form != "rgb"
        rows = np.arange(frames)[:, None] + 0.1 * np.arange(14)
        file["action"], file["observations/qpos"] = np.float32(-rows), np.float32(rows)
        file["observations/qvel"] = file["observations/effort"] = np.zeros((frames, 14), np.float32)
        for tint, name in enumerate(names):
            shown = [picture(first + number, tint=tint) for number in range(frames)]
            path_in_file = f"observations/images/{name}"
            if form == "rgb":
                file[path_in_file] = np.stack(shown)
                continue
            encoded = []
            for content in shown:
                buffer = io.BytesIO()
                Image.fromarray(content).save(buffer, "JPEG", quality=90)
                encoded.append(np.frombuffer(buffer.getvalue(), np.uint8))
            if form == "padded":
                longest = max(map(len, encoded))
                file[path_in_file] = np.stack([np.pad(content, (0, longest - len(content))) for content in encoded])
            else:
                column = file.create_dataset(path_in_file, (frames,), h5py.vlen_dtype(np.uint8))
                for number, content in enumerate(encoded):
                    column[number] = content
    return path


def write_videos(folder: Path, frames: int = 12, *, codec: str = "libx264", **changes) -> Path:
    """Write a folder with two videos and an episode.json."""
    folder.mkdir(parents=True)
    for tint, camera in enumerate(("exterior", "wrist")):
        shown = [picture(number, tint=tint) for number in range(frames)]
        write_video(folder / f"{camera}.mp4", shown, rate=12, codec=codec)
    rows = [[number + 0.5, 1.0] for number in range(frames)]
    episode = {"prompt": "find the duck", "videos": {"exterior": "exterior.mp4", "wrist": "wrist.mp4"}}
    episode |= {"states": rows, "actions": rows, "success": True}
    (folder / "episode.json").write_text(json.dumps(episode | changes))
    return folder


def npz_arrays(frames: int = 6) -> dict:
    """Return the arrays of an npz episode."""
    shown = [np.stack([picture(number, tint=tint) for number in range(frames)]) for tint in (0, 1)]
    rows = np.arange(frames)[:, None] + 0.1 * np.arange(8)
    metadata = {"prompt": "find the duck", "rate": 10.0, "success": False}
    return {"exterior": shown[0], "wrist": shown[1], "state": rows, "actions": -rows[:, :7], **metadata}
