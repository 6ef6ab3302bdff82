"""Table scenes in MuJoCo: what stands where, how it is lit and seen, and the pictures with their masks."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from resources.demo.build import arm
from resources.demo.build.stage import CAMERAS, TABLES, stage
from resources.demo.build.things import THINGS

WIDTH, HEIGHT = 480, 270
"""Source pictures, pixels: larger than what the model sees, so that its resize and bars are exercised."""

AREA: Final = ((0.33, 0.68), (-0.30, 0.30))
"""Where things stand, metres: range of x (away from the arm's base) and of y."""

HOVER: Final = 0.03
"""Metres between the top of the named thing and the finger tips at the goal; more when something is carried."""

CARRY: Final = 0.11

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """One arrangement: everything that the renderer needs, as plain numbers."""

    kinds: tuple[int, ...]
    """Numbers of the things present (places in `THINGS`)."""
    places: npt.NDArray[np.float64]
    """(n, 2) x and y of each, metres."""
    yaws: npt.NDArray[np.float64]
    """(n,) radians."""
    joints: npt.NDArray[np.float64]
    """(7,) radians."""
    gripper: float
    """0 open, 1 closed."""
    carried: int
    """Place in `kinds` of the thing between the fingers, or -1."""
    table: int
    look: npt.NDArray[np.float64]
    """(12,) jitter in [-1, 1]: camera place 3, target 3, light direction 2, brightness, tint 3."""


def draw_scene(rng: np.random.Generator, *, carrying: float = 0.25, near: float = 0.0) -> Scene:
    """Draw a random scene of three to five things and a random posture.

    A share `carrying` of them hold one of the things, if any can be held. In a share `near` the arm is well on its way
    to one of the others, as it is when the policy is asked again while it moves.
    """
    count = int(rng.integers(3, 6))
    while True:
        kinds = tuple(int(kind) for kind in rng.choice(len(THINGS), count, replace=False))
        places = np.stack([rng.uniform(*AREA[0], count), rng.uniform(*AREA[1], count)], axis=-1)  # (n, 2)
        radii = np.array([THINGS[kind].radius for kind in kinds])
        gaps = np.linalg.norm(places[:, None] - places[None], axis=-1) - radii[:, None] - radii[None] - 0.02
        if (gaps[~np.eye(count, dtype=bool)] > 0).all():
            break
    takers = [place for place, kind in enumerate(kinds) if THINGS[kind].takes]
    can_lift = [place for place, kind in enumerate(kinds) if kind != 1 and takers not in ([], [place])]
    carried = int(rng.choice(can_lift)) if can_lift and rng.random() < carrying else -1
    scene = Scene(
        kinds=kinds,
        places=places,
        yaws=rng.uniform(-np.pi, np.pi, count),
        joints=draw_posture(rng, low=0.24 if carried >= 0 else 0.17),
        gripper=float(carried >= 0),
        carried=carried,
        table=int(rng.integers(len(TABLES))),
        look=rng.uniform(-1, 1, 12),
    )
    if near and rng.random() < near:
        goal = goals(scene)[int(rng.choice([place for place in range(count) if place != carried]))]
        joints = scene.joints + rng.uniform(0.5, 1.0) * (goal - scene.joints) + rng.normal(0, 0.01, 7)
        scene = replace(scene, joints=joints)
    return scene


def draw_posture(rng: np.random.Generator, *, low: float = 0.17) -> npt.NDArray[np.float64]:
    """Draw joint positions (7,) with the tip somewhere above the table and the hand roughly downwards."""
    place = np.array([rng.uniform(0.30, 0.62), rng.uniform(-0.28, 0.28), rng.uniform(low, 0.42)])
    tilt = rng.normal(0, 0.08, 3) * (1, 1, 2)
    angle = float(np.linalg.norm(tilt))
    axis = tilt / angle
    cross = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross
    posture = arm.REST + rng.normal(0, 0.15, 7) * (0, 0, 1, 0, 1, 0, 0)
    joints: npt.NDArray[np.float64] = arm.inverse(place[None], (turn @ arm.DOWN)[None], posture)[0]
    return joints


def goals(scene: Scene) -> npt.NDArray[np.float64]:
    """Return joint positions (n, 7) with the tip above each thing of the scene."""
    return arm.inverse(reach_points(scene))


def reach_points(scene: Scene) -> npt.NDArray[np.float64]:
    """Return where the tip shall go for each thing of the scene, (n, 3) metres."""
    over = CARRY if scene.carried >= 0 else HOVER
    tops = np.array([THINGS[kind].height + over for kind in scene.kinds])
    return np.concatenate([scene.places, tops[:, None]], axis=-1)


class Renderer:
    """Pictures of scenes: one compiled model, moved about for each scene.

    Needs the package mujoco and, unless MUJOCO_GL says otherwise, EGL (a software one will do).
    """

    def __init__(self, *, width: int = WIDTH, height: int = HEIGHT) -> None:
        os.environ.setdefault("MUJOCO_GL", "egl")  # read at import
        import mujoco

        self._mujoco: Any = mujoco
        xml, textures = stage(width, height)
        self.model = mujoco.MjModel.from_xml_string(xml, textures)
        self.data = mujoco.MjData(self.model)
        self._pictures = mujoco.Renderer(self.model, height, width)
        # The number of samples a pixel is read when a renderer is made. Masks have one: where a driver blends the
        # samples at an edge, the mean of two numbers is the number of a third thing.
        self.model.vis.quality.offsamples = 0
        self._masks = mujoco.Renderer(self.model, height, width)
        self._masks.enable_segmentation_rendering()
        model = self.model
        self._body = [model.body(f"thing{number}").id for number in range(len(THINGS))]
        self._joint = [model.jnt_qposadr[model.joint(f"joint{number}").id] for number in range(7)]
        self._finger = [model.jnt_qposadr[model.joint(f"finger{number}").id] for number in range(2)]
        self._camera = model.camera("exterior").id
        self._camera_home = model.cam_pos[self._camera].copy()
        self._light = model.light("sun").id
        self._table = model.geom("table").id
        self._tables = [model.material(name).id for name in TABLES]
        self._owner = np.full(model.ngeom + 1, 0, dtype=np.uint8)  # thing number + 1 of a geom; last row: background
        for number, body in enumerate(self._body):
            self._owner[:-1][model.geom_bodyid == body] = number + 1

    def close(self) -> None:
        """Give the graphics contexts back."""
        self._pictures.close()
        self._masks.close()

    def draw(self, scene: Scene) -> dict[str, tuple[Pixels, Pixels]]:
        """Return picture (h, w, 3) RGB and mask (h, w) of each camera; a mask holds thing number + 1, else 0."""
        self._arrange(scene)
        drawn: dict[str, tuple[Pixels, Pixels]] = {}
        for camera in CAMERAS:
            self._pictures.update_scene(self.data, camera)
            picture = self._pictures.render().copy()
            self._masks.update_scene(self.data, camera)
            ids = self._masks.render()
            geoms = np.where(ids[..., 1] == int(self._mujoco.mjtObj.mjOBJ_GEOM), ids[..., 0], -1)
            drawn[camera] = picture, self._owner[geoms]
        return drawn

    def _arrange(self, scene: Scene) -> None:
        model, data, look = self.model, self.data, scene.look
        for address, value in zip(self._joint, scene.joints, strict=True):
            data.qpos[address] = value
        width = THINGS[scene.kinds[scene.carried]].radius * 0.62 if scene.carried >= 0 else 0.012
        for address in self._finger:
            data.qpos[address] = width if scene.gripper > 0.5 else 0.045
        model.body_pos[self._body] = (0.0, 0.0, -3.0)
        for index, kind in enumerate(scene.kinds):
            x, y = scene.places[index]
            model.body_pos[self._body[kind]] = (x, y, 0.0)
            half = scene.yaws[index] / 2
            model.body_quat[self._body[kind]] = (np.cos(half), 0, 0, np.sin(half))
        if scene.carried >= 0:
            place, turn, _ = arm.forward(scene.joints)
            thing = THINGS[scene.kinds[scene.carried]]
            body = self._body[scene.kinds[scene.carried]]
            upright = turn @ arm.DOWN.T
            model.body_pos[body] = place - upright @ np.array([0, 0, thing.height * 0.72])
            self._mujoco.mju_mat2Quat(model.body_quat[body], upright.reshape(-1))
        self._light_up(scene)
        camera = self._camera
        home, target = self._camera_home, np.array([0.46, 0.0, 0.07])
        place = home + look[:3] * (0.02, 0.02, 0.015)
        forward = target + look[3:6] * 0.012 - place
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, (0, 0, 1))
        right /= np.linalg.norm(right)
        frame = np.stack([right, np.cross(right, forward), -forward], axis=-1)
        model.cam_pos[camera] = place
        self._mujoco.mju_mat2Quat(model.cam_quat[camera], frame.reshape(-1))
        self._mujoco.mj_kinematics(model, data)
        self._mujoco.mj_camlight(model, data)

    def _light_up(self, scene: Scene) -> None:
        model, look = self.model, scene.look
        lamp = np.array([0.95 + 0.35 * look[6], -0.55 + 0.75 * look[7], 2.3])
        model.light_pos[self._light] = lamp
        model.light_dir[self._light] = np.array([0.42, 0.0, 0.0]) - lamp
        model.light_diffuse[self._light] = 0.62 + 0.13 * look[8]
        model.vis.headlight.diffuse[:] = 0.26 - 0.05 * look[8]
        model.geom_matid[self._table] = self._tables[scene.table]
        model.geom_rgba[self._table, :3] = 0.93 + 0.035 * look[9:12]


def moved(scene: Scene, joints: npt.NDArray[np.float64], gripper: float, carried: int) -> Scene:
    """Return the same scene with the arm elsewhere."""
    return replace(scene, joints=joints, gripper=gripper, carried=carried)


def png(picture: Pixels) -> bytes:
    """Return a picture or mask as the bytes of a PNG file."""
    store = io.BytesIO()
    Image.fromarray(picture).save(store, "PNG", optimize=True)
    return store.getvalue()
