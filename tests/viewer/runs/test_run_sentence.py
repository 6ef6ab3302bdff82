"""Sentences about answers over a run, of numbers set by hand."""

from dataclasses import replace

import numpy as np
import pytest

from viewer.analysis.scores import find_score
from viewer.runs.answers import Contrast, GroupAtlas, RunAtlas
from viewer.runs.query import OBJECT, RunQuery
from viewer.runs.run_sentence import (
    attach_punctuation,
    describe_atlas,
    describe_cell,
    describe_few,
    describe_interval,
    describe_marks,
    describe_query,
    format_cell,
    format_number,
    join_phrases,
    label_scale,
)


def make_group(name, mean, episodes=3, frames=12):
    values = np.full((1, 2), mean)
    counts = np.full((1, 2), episodes), np.full((1, 2), frames)
    return GroupAtlas(name, values, values - 0.01, values + 0.02, *counts)


def make_contrast(q=(0.03, 0.2)):
    difference = np.array([[0.05, -0.004]])
    p = np.array([q])
    return Contrast("success", "failure", difference, difference - 0.02, difference + 0.02, difference * 40, p, p)


def make_atlas(query, **more):
    return RunAtlas(query, (7,), 2, make_group("all", 0.0412, 20, 400), **{"groups": (), "contrast": None, **more})


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (RunQuery("lift", "duck", region="duck"), "Lift of region duck for “duck”"),
        (RunQuery("lift"), "Lift of the object that the prompt names for its own word"),
        (
            RunQuery("picture", OBJECT, region=""),
            "Picture mass for the word of the object that the prompt names",
        ),
        (
            RunQuery("region", "", "all", "exterior:4-7,8-11", step=3),
            "Mass in exterior:4-7,8-11 for all actions, denoise step 3",
        ),
        (
            RunQuery("entropy", "", "0-4", "", times=(0.0, 0.5), outcomes=("failure",)),
            "Entropy for actions 0-4, mean of the denoise steps, from 0 % to 50 % of each episode, episodes of failure",
        ),
        (
            RunQuery("hit", "cup", region="cup", frames=(2, 9), prompts=("get the cup", "x")),
            "Hit in region cup for “cup”, frames 2 to 9, prompt “get the cup” and 1 more",
        ),
    ],
)
def test_question_names_score_region_words_and_what_is_left_out(query, expected):
    assert join_phrases(describe_query(query)) == expected


def test_heading_gives_the_number_of_episodes_and_frames_and_the_unit_of_the_interval():
    text = join_phrases(describe_atlas(make_atlas(RunQuery("region", "duck", region="duck")), is_contrast=False))
    assert text == (
        "Mass in region duck for “duck”: mean over 20 episodes with 400 frames. Intervals are of 95 %, by a bootstrap "
        "over episodes, not frames: frames of one episode are not independent."
    )


def test_heading_of_a_contrast_gives_both_groups_and_the_rate_of_false_discoveries():
    atlas = make_atlas(
        RunQuery("region", "duck", region="duck", group="outcome"),
        groups=(make_group("success", 0.07, 11, 44), make_group("failure", 0.02, 1, 5)),
        contrast=make_contrast(),
        notes=("A note.",),
    )
    text = join_phrases(describe_atlas(atlas, is_contrast=True))
    assert text == (
        "Mass in region duck for “duck”: mean of 11 successes minus mean of 1 failure, 49 frames in all. Ringed: 1 of 2 "
        "heads differs by Welch’s test over episodes, adjusted by Benjamini and Hochberg at a false discovery rate of "
        "5 %. Frames of one episode are not independent. A note."
    )
    assert describe_marks(make_contrast((0.5, np.nan))).startswith("None of 1 tested head differs by Welch’s test ")


def test_heads_that_cannot_be_tested_are_not_reported_as_equal():
    atlas = make_atlas(
        RunQuery("region", "duck", region="duck", group="outcome"),
        groups=(make_group("success", 0.07, 1, 4), make_group("failure", 0.02, 1, 4)),
        contrast=make_contrast((np.nan, np.nan)),
    )
    text = join_phrases(describe_atlas(atlas, is_contrast=True))
    assert "No head can be tested: Welch’s test needs two episodes or more of each outcome." in text
    assert "differs" not in text


@pytest.mark.parametrize(
    ("episodes", "sentence"),
    [
        (1, "One episode has no interval: intervals are over episodes, as frames of one are not independent."),
        (2, "Bootstrap intervals of 2 episodes are too short: they hold the truth in about 50 % of runs at most."),
        (4, "Bootstrap intervals of 4 episodes are too short: they hold the truth in about 88 % of runs at most."),
        (5, "frames of one episode are not independent."),
    ],
)
def test_intervals_of_few_episodes_are_reported_as_too_short(episodes, sentence):
    assert describe_interval(episodes).endswith(sentence)
    assert describe_few(9, 1, episodes) == (f" {sentence}" if 1 < episodes < 5 else "")


def test_heading_names_the_missing_outcome_of_a_contrast():
    query = RunQuery("region", "duck", region="duck", outcomes=("success", "failure"), group="outcome")
    atlas = make_atlas(query, groups=(make_group("success", 0.07, 20, 400),))
    text = join_phrases(describe_atlas(atlas, is_contrast=False))
    assert text.startswith("Mass in region duck for “duck”: mean over 20 episodes with 400 frames.")
    assert text.endswith("There is nothing to compare: no failures among these episodes.")


def test_cell_is_described_with_interval_and_counts():
    atlas = make_atlas(RunQuery("region", "duck", region="duck"))
    assert describe_cell(atlas, 7, 1, is_contrast=False) == ["4.1 % (3.1 to 6.1), 20 episodes, 400 frames"]
    assert describe_cell(atlas, 8, 1, is_contrast=False) == []


def test_cell_of_a_contrast_is_described_with_effect_and_mark():
    atlas = make_atlas(
        RunQuery("region", "duck", region="duck", group="outcome"),
        groups=(make_group("success", 0.07), make_group("failure", 0.02)),
        contrast=make_contrast((0.0001, 0.2)),
    )
    assert describe_cell(atlas, 7, 0, is_contrast=True) == [
        "difference +5.0 % (+3.0 to +7.0)",
        "effect size g +2.00, q < 0.001, marked",
        "success: 7.0 % (6.0 to 9.0), 3 episodes, 12 frames",
        "failure: 2.0 % (1.0 to 4.0), 3 episodes, 12 frames",
    ]
    assert describe_cell(atlas, 7, 1, is_contrast=True)[:2] == [
        "difference −0.4 % (−2.4 to +1.6)",
        "effect size g −0.16, q = 0.200",
    ]


def test_cell_without_a_value_shows_the_reason():
    atlas = make_atlas(RunQuery("entropy", "duck", region=""))
    empty = replace(atlas, all=replace(atlas.all, mean=np.full((1, 2), np.nan)))
    assert describe_cell(empty, 7, 0, is_contrast=False) == ["no value (no weight on the picture)"]


def test_numbers_have_the_unit_of_their_score_and_a_true_minus():
    assert format_number(0.25, find_score("hit")) == "25.0 %"
    assert format_number(-1.25, find_score("lift"), signed=True) == "−1.2 × chance"
    assert format_cell(0.1234, find_score("region")) == "12"
    assert format_cell(-0.0001, find_score("region"), signed=True) == "0.0"
    assert format_cell(float("nan"), find_score("region")) == "–"
    assert label_scale(RunQuery("hit"), is_contrast=False) == "hit in region, % of frames"
    assert label_scale(RunQuery("lift"), is_contrast=True) == "difference, × chance"


def test_punctuation_ends_the_phrase_before_it():
    phrases = attach_punctuation(describe_atlas(make_atlas(RunQuery("picture", "duck", region="")), is_contrast=False))
    assert [phrase.text for phrase in phrases[:4]] == [
        "Picture mass",
        " for ",
        "“duck”:",
        " mean over 20 episodes with 400 frames.",
    ]


def test_text_of_a_run_is_bounded_and_cleaned():
    text = join_phrases(describe_query(RunQuery("picture", "a\u202eb\n" + "c" * 500, region="")))
    assert "\u202e" not in text
    assert "\n" not in text
    assert len(text) < 120
