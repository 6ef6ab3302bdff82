"""Tracking on sequences whose masks are known: a textured object that moves, turns, grows, leaves or is covered."""

import cv2
import numpy as np
import pytest

from viewer.export.masks.tracking import track_both_ways, track_region

HEIGHT, WIDTH, FRAMES = 180, 320, 24


def texture(seed, height=HEIGHT, width=WIDTH):
    noise = np.random.default_rng(seed).uniform(0, 255, (height, width, 3)).astype(np.float32)
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    return np.clip((smooth - 127) * 6 + 127, 0, 255).astype(np.uint8)


def build_sequence(motion, *, seed=0, radius=22, is_covered_from=FRAMES, background_motion=None):
    """Return pictures and masks of a textured disc that `motion(frame)` (2, 3) carries over a textured background."""
    ground, object_texture = texture(seed), texture(seed + 1)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    disc = ((x - 100) ** 2 + (y - 80) ** 2 < radius**2).astype(np.uint8)
    pictures, masks = [], []
    for frame in range(FRAMES):
        matrix = np.asarray(motion(frame), np.float64)
        mask = cv2.warpAffine(disc, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_NEAREST) > 0
        moved = cv2.warpAffine(object_texture, matrix, (WIDTH, HEIGHT))
        behind = (
            ground
            if background_motion is None
            else cv2.warpAffine(
                ground, np.asarray(background_motion(frame), np.float64), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT
            )
        )
        picture = np.where(mask[..., None], moved, behind)
        if frame >= is_covered_from:
            picture[40:170, 60:220] = texture(seed + 2)[40:170, 60:220]
            mask = np.zeros_like(mask)
        pictures.append(picture)
        masks.append(mask)
    return pictures, masks


def moving_motion(frame):
    return [[1, 0, 3.3 * frame], [0, 1, 1.1 * frame]]


def turning_motion(frame):
    matrix = cv2.getRotationMatrix2D((100, 80), 3.0 * frame, 1.0 + 0.02 * frame)
    matrix[:, 2] += (1.5 * frame, 0.5 * frame)
    return matrix


def overlap(first, second):
    return (first & second).sum() / max((first | second).sum(), 1)


def follow(pictures, masks, frame=0, frames=range(1, FRAMES)):
    return list(track_region(lambda number: pictures[number], frame, masks[frame], frames))


@pytest.mark.parametrize("motion", [moving_motion, turning_motion])
@pytest.mark.parametrize("seed", [0, 10])
def test_region_is_followed_to_the_end(motion, seed):
    pictures, masks = build_sequence(motion, seed=seed)
    track = follow(pictures, masks)
    assert [tracked.frame for tracked in track] == list(range(1, FRAMES))
    assert min(overlap(tracked.mask, masks[tracked.frame]) for tracked in track) > 0.85


def test_region_is_followed_while_the_camera_moves():
    pictures, masks = build_sequence(
        moving_motion, background_motion=lambda frame: [[1, 0, -4 * frame], [0, 1, 2 * frame]]
    )
    track = follow(pictures, masks)
    assert min(overlap(tracked.mask, masks[tracked.frame]) for tracked in track) > 0.85


def test_region_is_followed_backwards():
    pictures, masks = build_sequence(moving_motion)
    track = follow(pictures, masks, FRAMES - 1, range(FRAMES - 2, -1, -1))
    assert track[-1].frame == 0
    assert overlap(track[-1].mask, masks[0]) > 0.85


def test_track_stops_where_the_region_is_covered():
    pictures, masks = build_sequence(moving_motion, is_covered_from=9)
    track = follow(pictures, masks)
    assert track[-1].frame == 9
    assert track[-1].mask is None
    assert track[-1].reason in {
        "too few points of the region can be followed", "it no longer looks like the region that was drawn",
    }  # fmt: skip


def test_track_stops_where_the_region_leaves_the_picture():
    pictures, masks = build_sequence(lambda frame: [[1, 0, -8 * frame], [0, 1, 0]])
    track = follow(pictures, masks)
    assert track[-1].mask is None
    shares = [masks[tracked.frame].sum() / masks[0].sum() for tracked in track]
    assert shares[-1] < 0.5 < shares[-4]
    assert min(overlap(tracked.mask, masks[tracked.frame]) for tracked in track[:-1]) > 0.75


def test_track_stops_at_a_cut_to_another_picture():
    pictures, masks = build_sequence(moving_motion)
    pictures[7:] = [texture(99)] * (FRAMES - 7)
    track = follow(pictures, masks)
    assert (track[-1].frame, track[-1].mask) == (7, None)


def test_region_without_texture_is_not_followed():
    pictures = [np.full((HEIGHT, WIDTH, 3), 90, np.uint8)] * 3
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[50:90, 50:90] = True
    [tracked] = track_region(lambda number: pictures[number], 0, mask, [1, 2])
    assert (tracked.mask, tracked.reason) == (None, "the region has too little texture to be followed")


def test_frames_between_two_drawn_ones_come_from_the_nearer():
    pictures, masks = build_sequence(moving_motion)
    shifted = np.roll(masks[20], 6, axis=1)  # a person's correction, not quite where the thing is
    masks_drawn = {0: masks[0], 20: shifted}
    mask_by_frame = {
        tracked.frame: tracked.mask
        for tracked in track_both_ways(lambda number: pictures[number], masks_drawn, 0, FRAMES - 1)
    }
    assert sorted(mask_by_frame) == [*range(1, 20), *range(21, FRAMES)]
    assert overlap(mask_by_frame[4], masks[4]) > 0.9
    assert overlap(mask_by_frame[17], np.roll(masks[17], 6, axis=1)) > overlap(mask_by_frame[17], masks[17])
    assert overlap(mask_by_frame[22], np.roll(masks[22], 6, axis=1)) > 0.85


def test_second_mask_continues_where_the_first_is_lost():
    pictures, masks = build_sequence(moving_motion)
    pictures[10] = texture(55)  # one bad picture
    masks_drawn = {0: masks[0], 16: masks[16]}
    frame_by_number = {
        tracked.frame: tracked
        for tracked in track_both_ways(lambda number: pictures[number], masks_drawn, 0, FRAMES - 1)
    }
    assert frame_by_number[9].mask is not None
    assert frame_by_number[10].mask is None
    assert overlap(frame_by_number[11].mask, masks[11]) > 0.85
