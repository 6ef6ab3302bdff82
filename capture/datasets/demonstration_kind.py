"""Tell whose demonstrations an HDF5 file holds, and whether its pictures are stored upside down.

LIBERO stores pictures as its simulator renders them, upside down (`scripts/create_dataset.py`); copies without the
pauses (`regenerate_libero_dataset.py` of OpenVLA) keep the pictures and the names but no attribute. robomimic and
RoboCasa turn pictures upright before they store them. LIBERO's simulator itself uses robomimic's names, so names like
`agentview_image` decide nothing where no attribute says who wrote the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py

from capture.datasets import hdf5
from capture.errors import UserError
from capture.provenance import Decision

_LIBERO_CAMERAS: Final = frozenset({"agentview_rgb", "eye_in_hand_rgb"})
_LIBERO_STATES: Final = frozenset({"ee_pos", "ee_ori", "ee_states", "gripper_states", "joint_states"})
_LIBERO_ATTRIBUTES: Final = ("problem_info", "bddl_file_name")
_LIBERO_SIZES: Final = frozenset({(128, 128), (256, 256)})
"""Height and width of LIBERO's own pictures and of those rendered for OpenVLA."""
_LIBERO_FILE: Final = re.compile(r"(?i)libero|_SCENE\d+_|_demo$")


@dataclass(frozen=True)
class DemonstrationKind:
    """Who wrote a file of demonstrations, and what follows for its pictures."""

    name: str
    """"LIBERO", "robomimic", "RoboCasa" or "HDF5"."""
    is_upside_down: bool
    """Whether the pictures are stored upside down, so that the policy gets them turned by 180 degrees."""
    reason: str
    """Why, for the user."""
    is_certain: bool
    """False where the file does not say so itself."""

    @property
    def decision(self) -> Decision:
        """Whether the pictures are turned, and why."""
        otherwise = "" if self.is_certain else f"; --turned {'no' if self.is_upside_down else 'yes'} if that is wrong"
        choice = "by 180 degrees" if self.is_upside_down else "none"
        return Decision("turn of the pictures", choice, self.reason + otherwise, self.is_certain)


def find_kind(
    path: Path,
    data: h5py.Group,
    demonstration: h5py.Group | None,
    cameras: Mapping[str, tuple[int, int]],
    parts: Collection[str],
    *,
    turned: bool | None,
    is_needed: bool,
) -> DemonstrationKind:
    """Return the kind of a demonstration from its attributes, names, picture sizes and file name.

    `cameras` maps names to (height, width), `parts` are the names of the state. `turned` is the user's choice, which
    takes precedence; None to decide here. Raises UserError where nothing decides and it `is_needed`.
    """
    name, is_upside_down, reason, is_certain = _weigh(path, data, demonstration, cameras, parts)
    if turned is not None:
        return DemonstrationKind(name, turned, f"by --turned {'yes' if turned else 'no'}", is_certain=True)
    if is_upside_down is None:
        if not is_needed:
            return DemonstrationKind(name, is_upside_down=False, reason=reason, is_certain=False)
        raise UserError(
            f"{path} does not tell whether its pictures ({', '.join(cameras)}) are stored upside down: {reason}; add "
            "--turned yes to turn them by 180 degrees, as LIBERO's are stored, or --turned no where they are upright"
        )
    return DemonstrationKind(name, is_upside_down, reason, is_certain)


def read_json_attribute(parent: h5py.Group, attribute: str) -> dict[str, Any]:
    """Return the object in a JSON attribute; empty where it is missing or something else."""
    try:
        values = json.loads(hdf5.text(parent, attribute) or "{}")
    except (ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _weigh(
    path: Path,
    data: h5py.Group,
    demonstration: h5py.Group | None,
    cameras: Mapping[str, tuple[int, int]],
    parts: Collection[str],
) -> tuple[str, bool | None, str, bool]:
    """Return name, whether upside down (None: not known), reason and certainty."""
    has_libero_cameras = bool(_LIBERO_CAMERAS & cameras.keys())
    attribute = next(_find_libero_attributes(data), None)
    if attribute:
        if not has_libero_cameras:
            names = "its pictures do not have LIBERO's names, so that another program may have stored them"
            return "LIBERO", None, f"its attribute {attribute} is LIBERO's, but {names}", False
        if hdf5.text(data, "macros_image_convention") == "opencv":
            return "LIBERO", False, "macros_image_convention is opencv, so LIBERO stored them upright", True
        return "LIBERO", True, f"LIBERO stores pictures upside down, and the attribute {attribute} is LIBERO's", True
    if has_libero_cameras:
        return _weigh_libero_names(path, cameras, parts)
    if demonstration is not None and read_json_attribute(demonstration, "ep_meta"):
        return "RoboCasa", False, "RoboCasa, whose attribute ep_meta they have, stores pictures upright", True
    if read_json_attribute(data, "env_args"):
        return "robomimic", False, "robomimic, whose attribute env_args the file has, stores pictures upright", True
    return "HDF5", None, "it has no attribute of LIBERO, robomimic or RoboCasa, and other names than LIBERO's", False


def _find_libero_attributes(data: h5py.Group) -> Iterator[str]:
    """Yield the attributes that only LIBERO writes."""
    yield from (name for name in _LIBERO_ATTRIBUTES if name in data.attrs)
    if (hdf5.text(data, "tag") or "").lower().startswith("libero"):
        yield "tag"
    environment = read_json_attribute(data, "env_args")
    if str(environment.get("env_name", "")).lower().startswith("libero") or "bddl_file" in environment:
        yield "env_args"
    if hdf5.text(data, "macros_image_convention") is not None:
        yield "macros_image_convention"


def _weigh_libero_names(
    path: Path, cameras: Mapping[str, tuple[int, int]], parts: Collection[str]
) -> tuple[str, bool | None, str, bool]:
    """Weigh a file whose pictures have LIBERO's names but which has none of LIBERO's attributes."""
    signs = []
    if len(_LIBERO_STATES & set(parts)) > 1:
        signs.append(f"its state has LIBERO's names ({', '.join(sorted(_LIBERO_STATES & set(parts)))})")
    if any(_LIBERO_FILE.search(name) for name in (path.stem, *path.absolute().parts[-3:-1])):
        signs.append("its file is called as LIBERO's are")
    if set(cameras.values()) <= _LIBERO_SIZES:
        signs.append("its pictures have LIBERO's size")
    named = f"its pictures have LIBERO's names ({', '.join(sorted(_LIBERO_CAMERAS & cameras.keys()))})"
    if not signs[1:] and not (signs and signs[0].startswith("its state")):
        return "HDF5", None, f"{named}, but {signs[0] if signs else 'nothing else'} alone is not enough", False
    return "LIBERO", True, f"{', '.join([named, *signs])}, and LIBERO stores them upside down", False
