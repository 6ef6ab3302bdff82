"""Regions, words and random controls."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.effects.targets import (
    draw_controls,
    find_word,
    list_blocks,
    list_words,
    parse_box,
    read_regions,
    replace_word,
)
from capture.errors import UserError

CAMERAS, GRID = ("exterior", "wrist"), (8, 6)


def test_box_names_rows_then_columns_inclusively():
    mask = parse_box("wrist:2-3,4", CAMERAS, GRID)
    assert mask.shape == (2, 8, 6)
    assert np.argwhere(mask).tolist() == [[1, 2, 4], [1, 3, 4]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("2-3,4", "cannot be read; write camera:rows,columns"),
        ("wrist:2-3", "cannot be read"),
        ("wrist:2,3,4", "cannot be read"),
        ("left:2,3", "no camera 'left'; its cameras are exterior, wrist"),
        ("wrist:2-8,3", "rows run from 0 to 7"),
        ("wrist:2,6", "columns run from 0 to 5"),
        ("wrist:3-2,1", "rows run from 0 to 7"),
    ],
)
def test_boxes_outside_the_grid_and_other_forms_are_refused(text, sentence):
    with pytest.raises(UserError, match=sentence):
        parse_box(text, CAMERAS, GRID)


def test_regions_of_a_file_join_their_boxes(tmp_path):
    file = tmp_path / "regions.json"
    file.write_text(json.dumps({"duck": ["exterior:0,0-1", "wrist:7,5"], "bowl": "exterior:3,3"}))
    duck, bowl = read_regions(file, CAMERAS, GRID)
    assert (duck.name, bowl.name) == ("duck", "bowl")
    assert np.argwhere(duck.patches).tolist() == [[0, 0, 0], [0, 0, 1], [1, 7, 5]]
    assert np.argwhere(bowl.patches).tolist() == [[0, 3, 3]]


@pytest.mark.parametrize("content", ["[]", "{}", '{"duck": 3}', '{"duck": []}', "{", '{"duck": [1]}'])
def test_files_that_are_no_regions_are_refused(tmp_path, content):
    file = tmp_path / "regions.json"
    file.write_text(content)
    with pytest.raises(UserError, match="regions.json"):
        read_regions(file, CAMERAS, GRID)


def test_word_is_found_by_whole_word_and_all_its_pieces():
    text = "Task: put the Duckling on the duck, State: duck"
    spans = [(0, 5), (6, 9), (14, 22), (30, 32), (32, 34), (34, 35), (43, 47)]
    start, stop = (np.array(column, np.int32) for column in zip(*spans, strict=True))
    prompt = np.array([False, True, True, True, True, True, False])
    assert find_word("DUCK", text, start, stop, prompt).tokens == (3, 4)
    assert find_word("The duck", text, start, stop, prompt).tokens == (3, 4)
    with pytest.raises(UserError, match="no word 'duck the'"):
        find_word("duck the", text, start, stop, prompt)
    with pytest.raises(UserError, match="no word 'bowl'"):
        find_word("bowl", text, start, stop, prompt)


def test_blocks_cover_every_pictured_patch_once():
    pictured = np.zeros((2, *GRID), bool)
    pictured[:, 2:7] = True
    squares = list_blocks(pictured, 4)
    assert [block for block, _ in squares] == [
        (camera, row, col) for camera in range(2) for row in range(2) for col in range(2)
    ]
    total = np.sum([target.patches for _, target in squares], axis=0)
    assert (total[pictured] == 1).all()
    pictured[:] = False
    assert list_blocks(pictured, 4) == []


@given(st.integers(0, 3), st.integers(0, 3), st.integers(1, 2), st.integers(1, 2), st.integers(0, 99))
def test_controls_have_the_shape_lie_in_the_picture_and_do_not_touch(top, left, height, width, seed):
    region = np.zeros((2, *GRID), bool)
    region[0, top + 2 : top + 2 + height, left : left + width] = True
    region[0, top + 2, left] = False  # no rectangle
    if not region.any():
        return
    pictured = np.zeros((2, *GRID), bool)
    pictured[:, 1:7] = True
    controls = draw_controls(region, pictured, 5, seed)
    rows, cols = np.nonzero(region[0])
    for control in controls:
        assert not control[1].any()
        moved_rows, moved_cols = np.nonzero(control[0])
        assert (moved_rows - moved_rows.min()).tolist() == (rows - rows.min()).tolist()
        assert (moved_cols - moved_cols.min()).tolist() == (cols - cols.min()).tolist()
        assert (control & pictured).sum() == control.sum()
        distance = np.maximum(abs(rows[:, None] - moved_rows), abs(cols[:, None] - moved_cols))
        assert distance.min() >= 2
    assert len({control.tobytes() for control in controls}) == len(controls)


def test_controls_are_limited_by_positions_and_repeatable_by_seed():
    region = np.zeros((1, 8, 1), bool)
    region[0, 0] = True
    pictured = np.ones((1, 8, 1), bool)
    controls = draw_controls(region, pictured, 20, seed=3)
    assert sorted(int(np.argmax(control)) for control in controls) == [2, 3, 4, 5, 6, 7]
    same_seed = draw_controls(region, pictured, 20, seed=3)
    assert all(np.array_equal(first, second) for first, second in zip(controls, same_seed, strict=True))
    assert draw_controls(pictured, pictured, 20, seed=3) == []


def test_word_is_replaced_wherever_the_task_has_it():
    spans = np.array([0, 4], np.int32), np.array([3, 8], np.int32)
    target = find_word("duck", "the duck", *spans, np.array([True, True]))
    replaced = replace_word(target, "red mug", "Put the Duck by the_duck, not ducks")
    assert replaced.prompt == "Put the red mug by the_red mug, not ducks"
    assert (replaced.name, replaced.kind, replaced.tokens) == ("duck -> red mug", "replacement", (1,))


def test_words_of_a_text_are_its_numbers_without_minus_one():
    words = list_words(np.array([-1, 0, 0, 2, 1, -1], np.int32))
    assert [word.tokens for word in words] == [(1, 2), (4,), (3,)]
