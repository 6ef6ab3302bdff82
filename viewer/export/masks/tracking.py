"""Follow a region through the pictures of a camera with optical flow, and stop where that can no longer be trusted.

Points inside the region are followed from picture to picture by the pyramidal Lucas-Kanade method (Bouguet 2000) and
back again; those that do not return to where they began are left out (Kalal et al. 2010, "Forward-backward error").
A similarity (move, turn, scale) fitted to the rest with RANSAC carries the region on. It is then refined against the
picture in which the region was drawn, so that small errors do not add up, and the two are compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

Picture = npt.NDArray[np.uint8]
"""(height, width, 3) RGB."""
Mask = npt.NDArray[np.bool_]
"""(height, width), True inside the region."""
Matrix = npt.NDArray[np.float64]
"""(2, 3): maps (x, y, 1) of one picture to (x, y) of another, pixels."""

MOST_POINTS: Final = 150
FEWEST_POINTS: Final = 4
"""Points that must agree on a movement; two determine it, the others confirm it."""
ENOUGH_POINTS: Final = 10
"""Points well inside the region, with which those near its edge are not needed."""
LEAST_AGREEMENT: Final = 0.35
"""Least share of the points that must return and follow the fitted movement."""
LEAST_LIKENESS: Final = 0.7
"""Least correlation of brightness between the region where it was drawn and where it is found, within [-1, 1]."""
LEAST_VISIBLE: Final = 0.35
"""Least share of the region that must lie inside the picture."""
_WINDOW: Final = 11
"""Side of the square that Lucas-Kanade compares, pixels of a picture 320 wide; larger pictures get a larger one."""


@dataclass(frozen=True)
class TrackedFrame:
    """A region found in one picture, or why it was not found."""

    frame: int
    mask: Mask | None
    """None in the frame at which tracking stopped."""
    likeness: float
    """Correlation with the picture in which the region was drawn, within [-1, 1]; NaN where nothing was compared."""
    reason: str = ""
    """Why tracking stopped here, as the end of a sentence; empty where it continues."""


def track_region(
    read_picture: Callable[[int], Picture], frame: int, mask: Mask, frames: Sequence[int]
) -> Iterator[TrackedFrame]:
    """Yield the region in each of `frames`, in their order, until it is lost.

    `frame` and `mask` say where the region was drawn. `frames` are consecutive pictures that lead away from it,
    forwards or backwards. The last item has no mask where the region was lost before the frames ended.
    """
    tracker = _Tracker(_to_grey(read_picture(frame)), mask)
    for number in frames:
        moved_mask = tracker.advance(_to_grey(read_picture(number)))
        yield TrackedFrame(number, moved_mask, tracker.likeness, tracker.reason)
        if moved_mask is None:
            return


def find_ways(drawn: Iterable[int], first: int, last: int) -> list[tuple[int, range]]:
    """Return the ways of `track_both_ways`: a drawn frame, and the frames that lead away from it, in their order."""
    anchors = sorted(drawn)
    ways: list[tuple[int, range]] = []
    for place, anchor in enumerate(anchors):
        before = anchors[place - 1] if place else first - 1
        after = anchors[place + 1] if place + 1 < len(anchors) else last + 1
        ways.append((anchor, range(anchor + 1, min(after, last + 1))))
        ways.append((anchor, range(anchor - 1, max(before, first - 1), -1)))
    return [(anchor, way) for anchor, way in ways if way and max(way) >= first and min(way) <= last]


def track_both_ways(
    read_picture: Callable[[int], Picture],
    drawn: Mapping[int, Mask],
    first: int,
    last: int,
    note_visited: Callable[[int], object] = lambda _: None,
) -> Iterator[TrackedFrame]:
    """Yield the region in the frames from `first` to `last` that the drawn frames lead to, as they are reached.

    `drawn` maps frames to masks that a person drew; they are not yielded and never changed. Between two of them each
    frame is reached from the nearer one, forwards or backwards; where that one is lost, the other one goes on until it
    is lost too. A frame that is reached from both may come twice; the later item counts. Frames that neither reaches
    have an item without a mask only where a track stopped. `note_visited` is called with how many frames of `find_ways`
    are done since it was called last.
    """
    anchors = sorted(drawn)
    reached: dict[int, TrackedFrame] = {}
    for anchor, frames in find_ways(anchors, first, last):
        visited = 0
        for tracked in track_region(read_picture, anchor, drawn[anchor], frames):
            earlier = reached.get(tracked.frame)
            if earlier is None or earlier.mask is None or _is_nearer(tracked, anchor, anchors):
                reached[tracked.frame] = tracked
                if first <= tracked.frame <= last:
                    yield tracked
            visited += 1
            note_visited(1)
        note_visited(len(frames) - visited)  # beyond where it was lost


def _is_nearer(tracked: TrackedFrame, anchor: int, anchors: Sequence[int]) -> bool:
    return tracked.mask is not None and all(
        abs(tracked.frame - anchor) <= abs(tracked.frame - other) for other in anchors
    )


class _Tracker:
    """The state of one track: where the region was drawn, and where it is now."""

    def __init__(self, grey: npt.NDArray[np.uint8], mask: Mask) -> None:
        import cv2

        self._cv2: Any = cv2
        self._drawn, self._mask = grey, mask.astype(np.uint8)
        self._area = int(mask.sum())
        self._previous, self._matrix = grey, np.eye(2, 3)
        self._window = max(_WINDOW, round(_WINDOW * grey.shape[1] / 320)) | 1
        self._unit = grey.shape[1] / 320
        self._drawn_points = self._choose_points(grey, self._mask)
        self.likeness, self.reason = float("nan"), ""

    def advance(self, grey: npt.NDArray[np.uint8]) -> Mask | None:
        """Return the region's mask in the next picture, or None where it is lost."""
        if len(self._drawn_points) < FEWEST_POINTS:
            return self._stop("the region has too little texture to be followed")
        place = self._warp_mask(self._matrix)
        points = self._choose_points(self._previous, place)
        step = self._fit(self._previous, grey, points)
        if step is None:
            return self._stop("too few points of the region can be followed")
        matrix = _compose(step, self._matrix)
        matrix = self._refine(grey, matrix)
        moved_mask = self._warp_mask(matrix)
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        if moved_mask.sum() < LEAST_VISIBLE * self._area * scale**2:
            return self._stop("the region leaves the picture")
        self.likeness = self._compare(grey, matrix, moved_mask)
        if not self.likeness >= LEAST_LIKENESS:
            return self._stop("it no longer looks like the region that was drawn")
        self._previous, self._matrix = grey, matrix
        inside: Mask = moved_mask > 0
        return inside

    def _stop(self, reason: str) -> Mask | None:
        self.reason = reason
        return None

    def _choose_points(self, grey: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return corners inside the mask, (points, 2) float32: well inside where there are enough.

        Near the edge what is behind the region would be compared too.
        """
        side = 2 * (self._window // 3) + 1
        inner = self._cv2.erode(mask, np.ones((side, side), np.uint8), borderValue=0)
        corners = self._find_corners(grey, inner)
        return corners if len(corners) >= ENOUGH_POINTS else self._find_corners(grey, mask)

    def _find_corners(self, grey: npt.NDArray[np.uint8], mask: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        corners = self._cv2.goodFeaturesToTrack(
            grey, MOST_POINTS, qualityLevel=0.01, minDistance=max(2, 2 * self._unit), mask=mask, blockSize=3
        )
        return np.zeros((0, 2), np.float32) if corners is None else corners.reshape(-1, 2)

    def _fit(
        self, one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8], points: npt.NDArray[np.float32]
    ) -> Matrix | None:
        """Return the similarity that carries `points` of one picture to the other, or None without enough agreement."""
        if len(points) < FEWEST_POINTS:
            return None
        flow = {
            "winSize": (self._window, self._window),
            "maxLevel": 3,
            "criteria": (self._cv2.TERM_CRITERIA_EPS | self._cv2.TERM_CRITERIA_COUNT, 20, 0.03),
        }
        moved_points, is_found, _ = self._cv2.calcOpticalFlowPyrLK(one, other, points, None, **flow)
        back, seen_back, _ = self._cv2.calcOpticalFlowPyrLK(other, one, moved_points, None, **flow)
        error = np.linalg.norm(back - points, axis=1)
        returned = (is_found.ravel() > 0) & (seen_back.ravel() > 0) & (error < self._unit)
        if returned.sum() < FEWEST_POINTS:
            return None
        matrix, inliers = self._cv2.estimateAffinePartial2D(
            points[returned], moved_points[returned], method=self._cv2.RANSAC, ransacReprojThreshold=1.5 * self._unit
        )
        if matrix is None or inliers.sum() < max(FEWEST_POINTS, LEAST_AGREEMENT * len(points)):
            return None
        scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
        return np.asarray(matrix, np.float64) if 0.7 < scale < 1.4 else None

    def _refine(self, grey: npt.NDArray[np.uint8], matrix: Matrix) -> Matrix:
        """Return `matrix` corrected against the picture in which the region was drawn, where that can be done."""
        size = grey.shape[1], grey.shape[0]
        moved = self._cv2.warpAffine(self._drawn, matrix, size, borderMode=self._cv2.BORDER_REPLICATE)
        points = (self._drawn_points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)
        inside = (points >= 0).all(1) & (points < size).all(1)
        correction = self._fit(moved, grey, points[inside])
        if correction is None:
            return matrix
        centre = np.array([*points[inside].mean(0), 1.0])
        if np.linalg.norm(correction @ centre - centre[:2]) > 4 * self._unit:
            return matrix  # no small error: another thing of the same look
        return _compose(correction, matrix)

    def _warp_mask(self, matrix: Matrix) -> npt.NDArray[np.uint8]:
        size = self._drawn.shape[1], self._drawn.shape[0]
        warped = self._cv2.warpAffine(self._mask * 255, matrix, size, flags=self._cv2.INTER_LINEAR)
        inside: npt.NDArray[np.uint8] = (warped >= 128).astype(np.uint8)
        return inside

    def _compare(self, grey: npt.NDArray[np.uint8], matrix: Matrix, moved_mask: npt.NDArray[np.uint8]) -> float:
        """Return the correlation of brightness between the drawn and the found region."""
        size = grey.shape[1], grey.shape[0]
        moved = self._cv2.warpAffine(self._drawn, matrix, size, borderMode=self._cv2.BORDER_REPLICATE)
        inside = moved_mask > 0
        blur = self._cv2.GaussianBlur
        before = blur(moved, (5, 5), 0)[inside].astype(np.float64)
        after = blur(grey, (5, 5), 0)[inside].astype(np.float64)
        spread = before.std() * after.std()
        return (
            float(((before - before.mean()) * (after - after.mean())).mean() / spread) if spread > 0 else float("nan")
        )


def _compose(after: Matrix, before: Matrix) -> Matrix:
    """Return the map that applies `before`, then `after`."""
    return np.hstack([after[:, :2] @ before[:, :2], (after[:, :2] @ before[:, 2] + after[:, 2])[:, None]])


def _to_grey(picture: Picture) -> npt.NDArray[np.uint8]:
    import cv2

    grey: npt.NDArray[np.uint8] = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)  # type: ignore[assignment]
    return grey
