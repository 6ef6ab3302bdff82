"""Help sheet: what is shown, what attention does and does not show, scores and keys."""

from __future__ import annotations

from html import escape

from PySide6.QtWidgets import QTextBrowser, QWidget

from viewer.analysis.scores import SCORES
from viewer.controllers import commands
from viewer.rendering import theme
from viewer.widgets.overlays.overlay import Overlay

ATTENTION = """
<h3>What you see</h3>
<p>A row of attention says how one query divides its weight, 1 in all, over everything that it can look at: the
patches of each camera, the words of the prompt and, for actions, the other actions. Words belong to the <b>prefix</b>,
which runs once; actions belong to the <b>suffix</b>, which runs once a denoise step. A word’s attention is never what
the action looks at.</p>
<h3>Attention is not cause</h3>
<p>A high weight says that a head reads there, not that the action depends on it: values may be small, other heads may
cancel it, and weight gathers on sinks such as BOS, newline and the letterbox bars whatever the picture shows. To find
a cause, take a region away and watch the actions: drag a box and press <b>Ctrl+Shift+E</b>. Where an effects file is
there, hold <b>E</b> to see how far the actions move without each patch. See Jain and Wallace,
<a href="https://arxiv.org/abs/1902.10186">Attention is not Explanation</a>.</p>
<h3>Numbers</h3>
<p>Frames, actions, layers, heads and denoise steps carry the file’s own numbers, from 0, everywhere: “layer 1 of 0–3”
is the second of four. Digits choose the head of that number, <b>M</b> the mean of all. Words go by their text; their
tokens carry the file’s numbers too.
Weights are raw, on one scale for all cameras: from 1 × uniform, the weight of a row that is spread evenly, which is
transparent, to the 99th percentile, and to 8 × uniform at least, unless you choose otherwise. A picture that holds
little weight stays as it is; <b>From 0</b> stretches it.
A thumbnail has the colours of the picture that it leads to; the wall of heads (<b>O</b>) has one scale for all.
Hover anything for its number, click it to go there; drag a box on a picture to ask who looks there;
Shift-drag paints patches, and the squares on a box’s outline resize it. <b>Ctrl+R</b> gives what is marked a name and
follows it through the frames; where that fails it stops and says so, and <b>J</b> goes there: mark it again, and it
goes on in both directions. A named region has patches of its own in each frame, and none where it is not known.
The wheel zooms a picture or a plot about the pointer; the middle button drags it (a picture also the left one while
Space is held, a plot also Shift and the wheel), and a double click shows it whole again. The timeline and the masses
over frames zoom together. A right click copies a picture, a plot or its numbers, and offers a logarithmic axis.</p>
<h3>Over a whole run</h3>
<p>A run answers questions over all its episodes: <b>Shift+R</b> shows every layer and head by its mean over episodes,
or success minus failure. Frames of one episode are not independent, so that each episode counts once: intervals of the
mean are bootstrapped over episodes, differences are tested over episodes, and a ring marks those that stay after
Benjamini and Hochberg at a false discovery rate of 5 %. The effect size is Hedges’ g. Click a head to rank the episodes
by it, and an episode to open it at the frame nearest to its mean, or farthest from it.</p>
<h3>Scores of heads</h3>
"""


GLOSSARY = (
    ("Query", "A word of the prompt, or an action, whose attention is shown."),
    ("Weight", "How much of its attention a query gives to one patch, word or action; from 0 to 1."),
    ("Row", "All weights of one query in one layer and head, or their mean over heads. They add up to 1."),
    ("Mass", "The weights of a group added up, such as all patches of a camera, as a percentage of the row."),
    ("Uniform", "The weight that everything would have if a row were spread evenly. 3 × is three times that."),
    ("Patch", "A square of the model’s picture, which is one token; the grid shows their edges."),
    ("Range", "The weights between which the colours run. Weights above it have the last colour."),
    ("Locked", "The range stays as it is for other frames, words and heads, so that equal colours are equal weights."),
    ("Scale", "How weights become colours: linear, by their logarithm, or by rank alone."),
    ("Effect", "How far the actions move when something is removed; measured, and read from an effects file."),
    (
        "× noise",
        "The effect as a multiple of how far two calls lie apart that differ in their noise alone.",
    ),
    (
        "Random regions",
        "Regions of the same shape elsewhere on the picture, removed in the same way: what matters has more effect.",
    ),
    ("Agreement", "Rank correlation of a head’s weights with the effects: 1 if it looks most where it matters most."),
    ("Score", "One number for each head, by which heads are compared in the atlas and on the wall of heads."),
    ("× value norm", "The weight times the length of the value that is read: what a patch can contribute."),
    (
        "Letterbox bars",
        "Padding of a picture to the model’s shape. The model sees it; it shows nothing of the scene.",
    ),
    ("Sinks", "BOS, newline and bars: tokens that take much weight whatever the picture shows."),
    ("Prefix, suffix", "The part of the model’s input with pictures and words, and that with the actions."),
    ("Denoise step", "One pass over the actions; the first begins with noise. Words have one pass."),
    ("Pinned", "A view that is kept to compare others with it."),
    ("Region", "Patches that are marked with a box; heads and words are ranked by their weight on it."),
    ("Run, episode", "A folder of results files, and one recorded task in it."),
)
"""Terms and what they mean, in the order in which a reader meets them."""


class HelpSheet(Overlay):
    """Shows the help as HTML; keys and scores come from their tables."""

    def __init__(self, window: QWidget) -> None:
        super().__init__(window, 760, 720)
        colors = theme.active()
        text = QTextBrowser()
        text.setOpenExternalLinks(True)
        text.setAccessibleName("Help")
        text.setStyleSheet(theme.sheet())
        text.setFont(theme.font(13))
        text.document().setDefaultStyleSheet(
            f"h3 {{ color: {colors.text}; }} p, td {{ color: {colors.text}; }} a {{ color: {colors.accent_text}; }}"
            f".key {{ color: {colors.accent_text}; }} .quiet {{ color: {colors.secondary}; }}"
        )
        text.setHtml(
            ATTENTION
            + create_scores_html()
            + "<h3>Terms</h3>"
            + create_glossary_html()
            + "<h3>Keys</h3>"
            + create_keys_html()
        )
        self.column.addWidget(text)
        self.text = text
        text.setFocus()


def create_scores_html() -> str:
    """Return the scores of heads and their descriptions as an HTML table."""
    rows = [f'<tr><td width="170">{escape(score.title)}</td><td>{escape(score.description)}</td></tr>'
            for score in SCORES.values()]  # fmt: skip
    return f"<table cellpadding=2>{''.join(rows)}</table>"


def create_glossary_html() -> str:
    """Return the terms and their meanings as an HTML table."""
    rows = [f'<tr><td width="170"><b>{escape(term)}</b></td><td>{escape(meaning)}</td></tr>'
            for term, meaning in GLOSSARY]  # fmt: skip
    return f"<table cellpadding=2>{''.join(rows)}</table>"


def create_keys_html() -> str:
    """Return all keys and their commands as an HTML table."""
    rows: list[str] = []
    section = ""
    for command in commands.TABLE:
        if not command.keys:
            continue
        if command.section != section:
            section = command.section
            rows.append(f'<tr><td colspan="2"><br><b>{escape(section)}</b></td></tr>')
        shown = " &nbsp; ".join(escape(key) for key in command.keys[:2])
        rows.append(f'<tr><td class="key" width="170">{shown}</td><td>{escape(command.title)}</td></tr>')
    held_rows = "".join(f'<tr><td class="key">{key}</td><td>{escape(title)}</td></tr>' for key, title in commands.HELD)
    return f"<table cellpadding=2>{''.join(rows)}{held_rows}</table>"
