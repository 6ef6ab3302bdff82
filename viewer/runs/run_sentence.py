"""Sentences that describe an answer over a run: its score, words, region, step, episodes and frames. No Qt."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from viewer.analysis.scores import find_score
from viewer.model.plain_text import capitalise, clean_text, shorten_line
from viewer.runs.query import OBJECT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from viewer.analysis.scores import Score
    from viewer.runs.answers import Contrast, GroupAtlas, RunAtlas
    from viewer.runs.query import RunQuery

FALSE_RATE: Final = 0.05
"""Rate of false discoveries among the marked cells."""
LEAST_EPISODES: Final = 5
"""Fewer episodes have bootstrap intervals that are clearly too short."""
MOST_PROMPT: Final = 60
MOST_TEXT: Final = 60
"""Characters of a word or region in a sentence."""


@dataclass(frozen=True)
class Phrase:
    """A part of a sentence."""

    text: str
    is_subject: bool = False
    """Whether it is what the sentence is about."""
    is_note: bool = False
    """Whether it explains the rest."""
    starts_line: bool = False


def describe_query(query: RunQuery, *, is_contrast: bool = False) -> list[Phrase]:
    """Return what is asked: score with its region, words or actions, and what is left out."""
    title = name_score(query)
    phrases = [Phrase(capitalise(title), True), Phrase(" for "), Phrase(name_subject(query), True)]
    limits = describe_limits(query, is_contrast=is_contrast)
    return [*phrases, Phrase(f", {', '.join(limits)}")] if limits else phrases


def name_score(query: RunQuery) -> str:
    """Return the score with the region that it is about: `lift of region duck`, `mass in the named object`."""
    title = find_score(query.score).title
    return title.replace("region", name_region(query.region)) if query.region else title


def describe_limits(query: RunQuery, *, is_contrast: bool = False) -> list[str]:
    """Return the denoise step, and which frames, episodes and prompts are counted, where that is not all of them."""
    parts = []
    if query.actions and "steps" not in find_score(query.score).needs:
        parts.append("mean of the denoise steps" if query.step is None else f"denoise step {query.step}")
    if query.times != (0.0, 1.0):
        parts.append(f"from {100 * query.times[0]:.3g} % to {100 * query.times[1]:.3g} % of each episode")
    if query.frames is not None:
        first, last = query.frames
        parts.append(f"frame {first}" if first == last else f"frames {first} to {last}")
    if query.outcomes and not is_contrast and query.group != "outcome":
        parts.append("episodes of " + " or ".join(outcome or "unknown outcome" for outcome in query.outcomes))
    if query.prompts:
        more = f" and {len(query.prompts) - 1} more" if len(query.prompts) > 1 else ""
        parts.append(f"prompt “{shorten_line(query.prompts[0], MOST_PROMPT)}”{more}")
    return parts


def name_subject(query: RunQuery) -> str:
    """Return whose attention is asked about: “duck”, `the word of the named object`, `all actions`."""
    if query.actions:
        return query.subject.title
    if query.words != OBJECT:
        return f"“{shorten_line(query.words, MOST_TEXT)}”"
    return "its own word" if _is_about_object(query) else "the word of the object that the prompt names"


def name_region(region: str) -> str:
    """Return a region within a sentence."""
    if region == OBJECT:
        return "the object that the prompt names"
    text = shorten_line(region, MOST_TEXT)
    return text if ":" in text else f"region {text}"


def _is_about_object(query: RunQuery) -> bool:
    return query.region == OBJECT and find_score(query.score).needs_region


def describe_atlas(atlas: RunAtlas, *, is_contrast: bool) -> list[Phrase]:
    """Return the heading of an answer: what the numbers are, of how many episodes and frames, and what marks mean."""
    phrases = describe_query(atlas.query, is_contrast=is_contrast)
    contrast = atlas.contrast if is_contrast else None
    if contrast is None:
        episodes, frames = _count_most(atlas.all)
        phrases.append(Phrase(f": mean over {count_of(episodes, 'episode')} with {count_of(frames, 'frame')}."))
        note = describe_interval(episodes)
    else:
        groups = {group.name: group for group in atlas.groups}
        first, second = (
            _count_most(groups[name])[0] if name in groups else 0 for name in (contrast.first, contrast.second)
        )
        frames = sum(_count_most(group)[1] for group in atlas.groups)
        phrases.append(
            Phrase(
                f": mean of {count_of(first, _name_group(contrast.first))} minus mean of "
                f"{count_of(second, _name_group(contrast.second))}, {count_of(frames, 'frame')} in all."
            )
        )
        note = f"{describe_marks(contrast)} Frames of one episode are not independent."
        note += describe_few(first, second)
    phrases.append(Phrase(note, is_note=True, starts_line=True))
    if contrast is None and atlas.query.group == "outcome":
        phrases.append(Phrase(f" {explain_no_contrast(atlas)}", is_note=True))
    return [*phrases, *(Phrase(f" {clean_text(text, 400)}", is_note=True) for text in atlas.notes)]


def explain_no_contrast(atlas: RunAtlas) -> str:
    """Return why an answer that was asked for success against failure has no contrast."""
    names = {group.name for group in atlas.groups}
    missing = [noun for name, noun in (("success", "successes"), ("failure", "failures")) if name not in names]
    return f"There is nothing to compare: no {' and no '.join(missing)} among these episodes."


def describe_interval(episodes: int) -> str:
    """Return what the intervals of a mean over so many episodes are, and how far they are to be trusted."""
    if episodes < 2:
        return "One episode has no interval: intervals are over episodes, as frames of one are not independent."
    text = "Intervals are of 95 %, by a bootstrap over episodes, not frames: frames of one episode are not independent."
    return text + describe_few(episodes)


def describe_few(*counts: int) -> str:
    """Return, for the sizes of groups, that intervals of few episodes are too short; empty where they are not.

    A mean of episodes that are drawn with replacement lies between the smallest and the largest of them, and the truth
    lies outside with a probability of at least 2 / 2ⁿ where it is their median.
    """
    few = min((count for count in counts if 1 < count < LEAST_EPISODES), default=0)
    if not few:
        return ""
    share = 100 * (1 - 2 / 2**few)
    most = f"about {share:.0f} % of runs at most"
    return f" Bootstrap intervals of {few} episodes are too short: they hold the truth in {most}."


def describe_marks(contrast: Contrast) -> str:
    """Return how many heads differ by which test, and that those are ringed: `Ringed: 3 of 144 heads differ by …`."""
    tested = int(np.isfinite(contrast.q).sum())
    if not tested:
        return "No head can be tested: Welch’s test needs two episodes or more of each outcome."
    with np.errstate(invalid="ignore"):
        marked = int((contrast.q <= FALSE_RATE).sum())
    of = f"of {tested} {'tested ' * (tested < contrast.q.size)}head{'s' * (tested != 1)} differ"
    differ = f"Ringed: {marked} {of}{'s' * (marked == 1)}" if marked else f"None {of}s"
    return (
        f"{differ} by Welch’s test over episodes, adjusted by Benjamini and Hochberg at a false discovery rate of "
        f"{100 * FALSE_RATE:.0f} %."
    )


def describe_cell(atlas: RunAtlas, layer: int, head: int, *, is_contrast: bool) -> list[str]:
    """Return lines about a head, by number: its mean with interval and counts, or the difference with effect and q."""
    if layer not in atlas.layers or not 0 <= head < atlas.heads:
        return []
    place, score = (atlas.layers.index(layer), head), find_score(atlas.query.score)
    contrast = atlas.contrast if is_contrast else None
    if contrast is None:
        return [describe_group(atlas.all, place, score)]
    return [
        *describe_difference(contrast, place, score),
        *(f"{group.name}: {describe_group(group, place, score)}" for group in atlas.groups),
    ]


def describe_group(group: GroupAtlas, place: tuple[int, int], score: Score) -> str:
    """Return mean, interval and counts of a cell: `4.2 % (3.1 to 5.3), 20 episodes, 412 frames`."""
    mean, low, high = (float(values[place]) for values in (group.mean, group.low, group.high))
    counts = f"{count_of(int(group.episodes[place]), 'episode')}, {count_of(int(group.frames[place]), 'frame')}"
    if not np.isfinite(mean):
        return f"no value ({score.undefined})"
    interval = f" ({format_bare(low, score)} to {format_bare(high, score)})" if np.isfinite([low, high]).all() else ""
    return f"{format_number(mean, score)}{interval}, {counts}"


def describe_difference(contrast: Contrast, place: tuple[int, int], score: Score) -> list[str]:
    """Return a line with difference and interval of a cell, and one with effect size and q."""
    difference, low, high = (float(values[place]) for values in (contrast.difference, contrast.low, contrast.high))
    effect, q = float(contrast.effect[place]), float(contrast.q[place])
    if not np.isfinite(difference):
        return ["no difference: one of the groups has no value"]
    first = f"difference {format_number(difference, score, signed=True)}"
    if np.isfinite([low, high]).all():
        first += f" ({format_bare(low, score, signed=True)} to {format_bare(high, score, signed=True)})"
    parts = []
    if np.isfinite(effect):
        parts.append(f"effect size g {_write_minus(f'{effect:+.2f}')}")
    if np.isfinite(q):
        parts.append(f"q {format_q(q)}" + (", marked" if q <= FALSE_RATE else ""))
    return [first, ", ".join(parts)] if parts else [first]


def format_q(q: float) -> str:
    """Return an adjusted p value: `= 0.031`, or `< 0.001`."""
    return "< 0.001" if q < 0.001 else f"= {q:.3f}"


def format_number(value: float, score: Score, *, signed: bool = False) -> str:
    """Return a mean or difference with its unit; of yes or no, the share of the frames."""
    unit = "%" if score.unit == "yes or no" else score.unit
    return f"{format_bare(value, score, signed=signed)} {unit}".rstrip()


def format_bare(value: float, score: Score, *, signed: bool = False) -> str:
    """Return a mean or difference in the score's unit, without it."""
    if not np.isfinite(value):
        return "–"
    decimals = max(score.decimals, 1)
    return _write_minus(f"{find_factor(score) * value:{'+' if signed else ''}.{decimals}f}")


def format_cell(value: float, score: Score, *, signed: bool = False) -> str:
    """Return a value as it is written in a cell."""
    if not np.isfinite(value):
        return "–"
    shown = find_factor(score) * value
    decimals = 0 if abs(shown) >= 9.95 else 1 if abs(shown) >= 0.995 or score.cell_decimals < 2 else 2
    text = f"{shown:{'+' if signed else ''}.{decimals}f}"
    return _write_minus(text.replace("0.", ".", 1) if decimals == 2 else text)


def find_factor(score: Score) -> float:
    """Return what a mean is multiplied by to be in its unit: 100 also for the share of frames with yes."""
    return 100.0 if score.unit in {"%", "yes or no"} else 1.0


def label_scale(query: RunQuery, *, is_contrast: bool) -> str:
    """Return the text beside the colour bar."""
    score = find_score(query.score)
    unit = "% of frames" if score.unit == "yes or no" else score.unit
    name = "difference" if is_contrast else score.title
    return f"{name}, {unit}".removesuffix(", ")


def count_of(count: int, noun: str) -> str:
    """Return `1 episode`, `20 episodes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{count:,} {noun if count == 1 else plural}"


def attach_punctuation(phrases: Sequence[Phrase]) -> list[Phrase]:
    """Return phrases of which none begins with a colon or comma, for what sets blanks between them."""
    joined: list[Phrase] = []
    for phrase in phrases:
        if joined and phrase.text[:1] in {":", ","}:
            joined[-1] = replace(joined[-1], text=joined[-1].text + phrase.text[0])
            phrase = replace(phrase, text=phrase.text[1:])
        joined.append(phrase)
    return joined


def join_phrases(phrases: Sequence[Phrase]) -> str:
    """Return phrases as one text."""
    return "".join((" " if phrase.starts_line else "") + phrase.text for phrase in phrases)


def _name_group(group: str) -> str:
    return group if group in {"success", "failure"} else f"episode of “{shorten_line(group, 40)}”"


def _count_most(group: GroupAtlas) -> tuple[int, int]:
    """Return episodes and frames behind the cell that has most of them."""
    return int(group.episodes.max(initial=0)), int(group.frames.max(initial=0))


def _write_minus(text: str) -> str:
    """Return a number with a true minus; without a sign where it is 0 as it is written."""
    return text.replace("-", "−") if text.strip("+-0.") else text.lstrip("+-")
