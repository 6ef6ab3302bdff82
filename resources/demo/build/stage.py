"""The stage as MuJoCo XML: table, room, arm and cameras, with wood textures drawn from a seed."""

from __future__ import annotations

import io
from typing import Final

import numpy as np
from PIL import Image

from resources.demo.build.arm import LINKS
from resources.demo.build.things import THINGS

CAMERAS: Final = ("exterior", "wrist")
WRIST_TILT: Final = 0.38
"""Angle between the wrist camera's axis and the hand's, radians, towards the fingers."""

TABLES: Final = ("oak", "walnut", "birch", "slate")

_WOOD: Final = {
    "oak": ((186, 142, 92), (150, 106, 62)),
    "walnut": ((138, 98, 66), (96, 64, 42)),
    "birch": ((214, 186, 146), (184, 150, 108)),
    "slate": ((150, 154, 160), (122, 126, 134)),
}
_SHELL, _JOINT, _DARK = "0.86 0.87 0.89 1", "0.22 0.24 0.28 1", "0.10 0.11 0.13 1"

_LIMBS: Final[tuple[tuple[str, ...], ...]] = (
    ("capsule 0.062 0 0 -0.20 0 0 -0.04 shell", "cylinder 0.067 0 -0.075 0 0 0.075 0 joint"),
    ("capsule 0.060 0 -0.05 0 0 -0.20 0 shell",),
    ("capsule 0.056 0 0 -0.06 0 0 -0.03 shell", "cylinder 0.061 0.0825 -0.068 0 0.0825 0.068 0 joint"),
    ("capsule 0.055 -0.0825 0.06 0 -0.0825 0.16 0 shell", "capsule 0.050 0 0 0 -0.075 0.06 0 shell"),
    ("capsule 0.050 0 0 -0.22 0 0 -0.05 shell", "cylinder 0.054 0 -0.062 0 0 0.062 0 joint"),
    ("capsule 0.046 0.02 0 0 0.088 0 0 shell",),
    ("cylinder 0.046 0 0 -0.045 0 0 0.06 shell", "cylinder 0.034 0 0 0.06 0 0 0.107 joint"),
)
"""Per joint: geom type, radius, from x y z, to x y z, colour; metres in the joint's frame."""


def stage(width: int, height: int) -> tuple[str, dict[str, bytes]]:
    """Return MuJoCo XML of the whole stage and the texture files it names, for pictures of width x height pixels."""
    rng = np.random.default_rng(7)
    textures = {f"{name}.png": _planks(rng, *_WOOD[name]) for name in TABLES}
    assets = "".join(
        f'<texture name="{name}" type="2d" file="{name}.png"/>'
        f'<material name="{name}" texture="{name}" texrepeat="1 1" specular="0.25" shininess="0.35"/>'
        for name in TABLES
    )
    things = "".join(
        f'<body name="thing{number}" pos="0 0 -3">{"".join(thing.geoms)}</body>' for number, thing in enumerate(THINGS)
    )
    xml = f"""
<mujoco>
  <compiler angle="radian" eulerseq="XYZ"/>
  <visual>
    <global offwidth="{width}" offheight="{height}"/>
    <headlight ambient="0.30 0.30 0.32" diffuse="0.26 0.26 0.26" specular="0.1 0.1 0.1"/>
    <quality shadowsize="2048" offsamples="4"/>
    <map znear="0.02" zfar="12"/>
  </visual>
  <statistic center="0.4 0 0.1" extent="1.2"/>
  <default><geom contype="0" conaffinity="0"/></default>
  <asset>
    <texture type="skybox" builtin="gradient" rgb1="0.63 0.67 0.72" rgb2="0.30 0.33 0.38" width="64" height="384"/>
    {assets}
    <material name="shell" rgba="{_SHELL}" specular="0.5" shininess="0.6"/>
    <material name="joint" rgba="{_JOINT}" specular="0.4" shininess="0.5"/>
    <material name="dark" rgba="{_DARK}" specular="0.3" shininess="0.4"/>
    <material name="wall" rgba="0.50 0.54 0.60 1" specular="0"/>
    <material name="floor" rgba="0.34 0.36 0.40 1" specular="0"/>
  </asset>
  <worldbody>
    <light name="sun" pos="1.1 -0.9 2.2" dir="-0.35 0.45 -1" cutoff="32" exponent="0" castshadow="true"
      attenuation="1 0 0" diffuse="0.62 0.62 0.62" specular="0.3 0.3 0.3"/>
    <geom type="plane" size="4 4 0.1" pos="0 0 -0.75" material="floor"/>
    <geom type="box" size="0.02 4 2" pos="-0.75 0 0.9" material="wall"/>
    <geom name="table" type="box" size="0.58 0.62 0.02" pos="0.38 0 -0.02" material="{TABLES[0]}"/>
    <geom type="box" size="0.03 0.03 0.355" pos="0.90 0.56 -0.395" material="dark"/>
    <geom type="box" size="0.03 0.03 0.355" pos="0.90 -0.56 -0.395" material="dark"/>
    <camera name="exterior" pos="1.20 -0.42 0.66" fovy="38"/>
    <geom type="cylinder" size="0.085 0.02" pos="0 0 0.02" material="joint"/>
    <geom type="capsule" size="0.070" fromto="0 0 0.03 0 0 0.15" material="shell"/>
    {_chain()}
    {things}
  </worldbody>
</mujoco>"""
    return xml, textures


def _chain() -> str:
    """Return the nested bodies of the seven joints, the hand at the end."""
    inner = f"""
      <body name="hand" pos="0 0 0.107" euler="0 0 {-np.pi / 4}">
        <geom type="box" size="0.030 0.098 0.026" pos="0 0 0.026" material="joint"/>
        <geom type="box" size="0.024 0.060 0.012" pos="0 0 0.058" material="dark"/>
        <camera name="wrist" pos="-0.085 0 0.010" fovy="70"
          xyaxes="0 1 0 {np.cos(WRIST_TILT)} 0 {-np.sin(WRIST_TILT)}"/>
        {_finger(0, 1)}{_finger(1, -1)}
      </body>"""
    for number in reversed(range(7)):
        a, alpha, d = LINKS[number]
        place = f"{a} {-np.sin(alpha) * d:.6f} {np.cos(alpha) * d:.6f}"
        limbs = "".join(_limb(line) for line in _LIMBS[number])
        joint = f'<joint name="joint{number}" type="hinge" axis="0 0 1" limited="false"/>'
        weight = '<inertial pos="0 0 0" mass="1" diaginertia="0.01 0.01 0.01"/>'
        inner = f'<body pos="{place}" euler="{alpha:.8f} 0 0">{joint}{weight}{limbs}{inner}</body>'
    return inner


def _finger(number: int, side: int) -> str:
    return f"""
        <body name="finger{number}" pos="0 0 0.058">
          <joint name="finger{number}" type="slide" axis="0 {side} 0" limited="false"/>
          <inertial pos="0 0 0" mass="0.1" diaginertia="0.001 0.001 0.001"/>
          <geom type="box" size="0.011 0.006 0.022" pos="0 {side * 0.010} 0.012" material="dark"/>
          <geom type="box" size="0.009 0.005 0.014" pos="0 {side * 0.006} 0.034" material="joint"/>
        </body>"""


def _limb(line: str) -> str:
    kind, radius, *rest, color = line.split()
    return f'<geom type="{kind}" size="{radius}" fromto="{" ".join(rest)}" material="{color}"/>'


def _planks(rng: np.random.Generator, light: tuple[int, int, int], dark: tuple[int, int, int]) -> bytes:
    """Return a PNG of a table top of six planks with a grain along x, 512 x 512."""
    size, planks = 512, 6
    x = np.linspace(0, 1, size)[None, :]
    tone = np.zeros((size, size))
    rows = np.arange(size) * planks // size  # plank of each row
    for plank in range(planks):
        inside = rows == plank
        v = np.linspace(0, 1, int(inside.sum()))[:, None]
        bend = sum(
            rng.uniform(0.01, 0.05) * np.sin(2 * np.pi * (rng.uniform(0.4, 2.2) * x + rng.random())) for _ in range(3)
        )
        grain = sum(
            np.sin(2 * np.pi * ((v + bend) * rng.uniform(3, 16) + rng.random())) * rng.uniform(0.05, 0.16)
            for _ in range(5)
        )
        tone[inside] = 0.45 + 0.18 * rng.standard_normal() + grain
        tone[np.flatnonzero(inside)[:2]] = 1.15  # the gap between two planks
    tone += rng.normal(0, 0.025, tone.shape)
    part = np.clip(tone, 0, 1.2)[..., None]
    pixels = np.clip(np.array(light) * (1 - part) + np.array(dark) * part, 0, 255).astype(np.uint8)
    store = io.BytesIO()
    Image.fromarray(pixels).save(store, "PNG")
    return store.getvalue()
