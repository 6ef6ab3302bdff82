"""What is measured in the demo's card: how it was trained, and tables, each between two marks of its README."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Final

from resources.demo.build.stage import CAMERAS

BEGIN: Final = "<!-- figures: written by build/card.py -->"
END: Final = "<!-- end of figures -->"

EFFECTS_BEGIN: Final = "<!-- effects: written by build/card.py -->"
EFFECTS_END: Final = "<!-- end of effects -->"

ROLLOUTS_BEGIN: Final = "<!-- rollouts: written by build/card.py -->"
ROLLOUTS_END: Final = "<!-- end of rollouts -->"

RUN_BEGIN: Final = "<!-- run: written by build/card.py -->"
RUN_END: Final = "<!-- end of run -->"

_ROWS: Final = (
    ("noun", "noun (prefix)"),
    ("action 0", "action tokens, first denoise step"),
    ("action 5", "action tokens, sixth"),
    ("action 9", "action tokens, last"),
)


_ENDS: Final = (
    ("end point nearest to the named thing", "goal nearest", 3, ""),
    ("… by chance", "goal nearest by chance", 3, ""),
    ("median error of the end point", "median end point error in cm", 1, " cm"),
    ("… nine in ten below", "90th percentile of the error in cm", 1, " cm"),
    ("another noun: nearest to the other thing", "other goal nearest after the swap", 3, ""),
    ("… and to the first before", "both prompts right", 3, ""),
)


def write_figures(card: Path, figures: dict[str, Any]) -> None:
    """Put the tables of `figures` (model name to what `evaluate` told) into the card."""
    _replace(card, BEGIN, END, tables(figures))


def write_run(card: Path, run: dict[str, Any]) -> None:
    """Put what the rebuild's journal tells into the card."""
    _replace(card, RUN_BEGIN, RUN_END, story(run))


def write_effects(card: Path, effects: dict[str, Any]) -> None:
    """Put what `build/effects.py` measured into the card."""
    _replace(card, EFFECTS_BEGIN, EFFECTS_END, effects_text(effects))


def write_rollouts(card: Path, selection: dict[str, Any]) -> None:
    """Put what `build/rollouts.py` drew and kept into the card."""
    _replace(card, ROLLOUTS_BEGIN, ROLLOUTS_END, rollouts_text(selection))


def rollouts_text(selection: dict[str, Any]) -> str:
    """Return which seeds were drawn, what became of them, and how far the kept episodes ended from their goals."""
    drawn = selection["drawn"]
    lines = [
        "",
        f"| outcome of {len(drawn)} scenes, seeds 0 to {drawn[-1]['seed']} | scenes | kept | not kept, seeds | "
        "kept ones end, cm from the goal |",
        "|---|---|---|---|---|",
    ]
    for outcome, what in ((True, "success"), (False, "failure")):
        those = [one for one in drawn if one["success"] is outcome]
        kept = [one for one in those if one["is_kept"]]
        left = ", ".join(str(one["seed"]) for one in those if not one["is_kept"]) or "none"
        ends = sorted(one["end_cm"] for one in kept)
        lines.append(f"| {what} | {len(those)} | {len(kept)} | {left} | {ends[0]:.1f} to {ends[-1]:.1f} |")
    return "\n".join([*lines, "", ""])


def effects_text(effects: dict[str, Any]) -> str:
    """Return two tables: things that are covered, and heads whose attention is compared with the effects."""
    lines = [
        "",
        "| covered in the pictures | scenes | the end of the chunk moves by | random areas of its shape | "
        "ratio of means (95 % interval) | beyond all of its random areas |",
        "|---|---|---|---|---|---|",
    ]
    for name, what in (("named", "the named thing"), ("another", "another thing")):
        one, ratio = effects[name], effects[name]["ratio"]
        lines.append(
            f"| {what} | {one['scenes']} | {one['cm']:.2f} cm | {one['random areas, cm']:.2f} cm | {ratio['mean']:.1f} "
            f"({ratio['low']:.1f} to {ratio['high']:.1f}) | {one['beyond all random areas']:.0%} |"
        )
    lines += [
        "",
        f"| head of the action expert, {effects['agreement']['scenes']} scenes | taught head (95 % interval) | "
        "its place | best head | median head |",
        "|---|---|---|---|---|",
    ]
    for name, what in (
        ("agreement", "rank correlation of its attention with the effect map"),
        ("same block", "its block of most weight is the one of most effect"),
        ("silenced, cm", "silenced: the end of the chunk moves by, cm"),
    ):
        one = effects[name]
        best = f"{one['best']['value']:.2f} (layer {one['best']['layer']}, head {one['best']['head']})"
        low, high = one["interval"]
        taught = f"{one['taught head']:.2f} ({low:.2f} to {high:.2f})"
        lines.append(f"| {what} | {taught} | {one['place']} of {one['heads']} | {best} | {one['median head']:.2f} |")
    return "\n".join([*lines, "", ""])


def _replace(card: Path, begin: str, end: str, inner: str) -> None:
    text = card.read_text(encoding="utf-8")
    before, rest = text.split(begin)
    card.write_text(f"{before}{begin}\n{inner}{end}{rest.split(end)[1]}", encoding="utf-8")


def story(run: dict[str, Any]) -> str:
    """Return one training run as a table: each stage with its amounts, and the losses at its end."""
    train, render = run["train"], run["render"]
    log = {each["stage"]: each for each in train["log"]}  # the last report of every stage
    counts = ", ".join(f"{count:,} to {name}" for name, count in render["scenes"].items())
    versions = f"Python {train['python']}, torch {train['torch']}, transformers {train['transformers']}"
    text = (
        f"One run of the command under Rebuild, seed {train['seed']}, on one {train['device']} with {train['cores']} "
        f"CPU cores ({versions}, MuJoCo {train['mujoco']}): scenes ({counts}) in {render['seconds']:.0f} s, "
        f"training in {train['seconds']:.0f} s, all figures in {run['evaluate']['seconds']:.0f} s. The losses at the "
        f"end of each stage are those below; `run.json` has them every {train['stages'][0]['report']} steps."
    )
    lines = [
        "",
        *textwrap.wrap(text, 118, break_on_hyphens=False),
        "",
        "| stage | patches a camera | steps × scenes | seconds | flow | what a patch shows | where | words | actions |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for number, (stage, seconds) in enumerate(zip(train["stages"], train["stage_seconds"], strict=True)):
        losses = " | ".join(f"{log[number][name]:.3f}" for name in ("flow", "shows", "place", "noun", "action"))
        amounts = f"{stage['patches']} | {stage['steps']:,} × {stage['batch']} | {seconds:.0f}"
        lines.append(f"| {number + 1} | {amounts} | {losses} |")
    return "\n".join([*lines, "", ""])


def tables(figures: dict[str, Any]) -> str:
    """Return both tables as Markdown."""
    lines = ["", f"| where the arm goes | {' | '.join(figures)} |", f"|---|{'---|' * len(figures)}"]
    rows: list[tuple[str, list[str]]] = [
        (what, [f"{figure[key]:.{digits}f}{unit}" for figure in figures.values()]) for what, key, digits, unit in _ENDS
    ]
    loops = [figure["closed loop"] for figure in figures.values()]
    rows.append(("closed loop: episodes that end within 4 cm", [f"{loop['ended within 4 cm']:.2f}" for loop in loops]))
    paths = [loop["median distance in cm, start and after each call"] for loop in loops]
    rows.append(("… median distance at the start and after each call, cm", [_numbers(path) for path in paths]))
    lines += [f"| {what} | {' | '.join(values)} |" for what, values in rows]
    lines += ["", f"| pointing, hit (lift) | head | {' | '.join(CAMERAS)} |", f"|---|---|{'---|' * len(CAMERAS)}"]
    for name, one in figures.items():
        for key, what in _ROWS:
            for which in ("best", "best unsupervised"):
                head = one[key][which]
                cells = " | ".join(f"{head[camera]['hit']:.3f} ({head[camera]['lift']:.1f})" for camera in CAMERAS)
                lines.append(f"| {name}, {what} | {which}: layer {head['layer']}, head {head['head']} | {cells} |")
    first = next(iter(figures.values()))["noun"]["best"]
    chance = " | ".join(f"{first[camera]['chance']:.3f} (1.0)" for camera in CAMERAS)
    lines += [f"| chance | | {chance} |", ""]
    return "\n".join(lines)


def _numbers(values: list[float]) -> str:
    return ", ".join(f"{value:.1f}" for value in values)
