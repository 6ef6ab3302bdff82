"""Find a telling frame of an episode for the window: `python -m viewer.export.runs.find_frame JSON`. No Qt.

In a process of its own, as it reads all frames and the regions file, which the window's process does not. Prints one
line of JSON: the frame with what was asked about in it, or why there is none.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from capture.remote.address import parse_location
from viewer.analysis.probe import create_early_probe
from viewer.errors import READ_ERRORS, UserError
from viewer.export import cancellation
from viewer.io import run_index
from viewer.io.results import Results
from viewer.regions.in_frames import is_box
from viewer.runs.episode_scores import EpisodeScores
from viewer.runs.frame_ranking import rank_frames
from viewer.runs.query import read_query
from viewer.runs.summary_files import find_objects_file

if TYPE_CHECKING:
    from collections.abc import Sequence


def find_frame(request: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a view of the frame of an episode that a head's values single out, and its value.

    Args:
        request: `run`, the path of the run; `query`; `file` of the episode; `layer` and `head` by number; and `which`,
            `typical` for the frame nearest to the episode's mean or `extreme` for the one farthest from it.

    Raises:
        UserError: No frame has a value, or the episode cannot be read.
    """
    run = run_index.read_run(parse_location(request["run"]))
    query, file = read_query(request["query"]), request["file"]
    episode = next((episode for episode in run.episodes if episode.file == file), None)
    if episode is None:
        raise UserError("It is no longer in the run.")
    path = run_index.find_episode_path(run, episode)
    reason = create_early_probe(path).wait()
    if reason:
        raise UserError(reason)
    ranking = rank_frames(run, query, file, request["layer"], request["head"], check=cancellation.check)
    chosen = ranking.most_typical if request["which"] == "typical" else ranking.most_extreme
    if chosen is None:
        raise UserError("None of its frames has a value.")
    results = Results(path)
    try:
        reader = EpisodeScores.prepare(results, path, query.subject, find_objects_file(run, query.subject))
        shown, region = reader.find_query(chosen.frame), reader.find_region(chosen.frame)
        name = "" if region is None or is_box(query.region) else reader.name_region(chosen.frame)
    except READ_ERRORS as error:
        raise UserError(f"It cannot be read ({error}).") from None
    finally:
        results.close()
    answer = {"frame": chosen.frame, "value": chosen.value, "query": shown._asdict()}
    return answer if region is None else answer | {"region": region, "region_name": name}


def main(words: Sequence[str] | None = None) -> int:
    """Find what the one argument asks for; return 0, 2 for a sentence to the user, 130 if it was stopped."""
    request: dict[str, Any] = json.loads((sys.argv[1:] if words is None else list(words))[0])
    with cancellation.handle_signals(lambda: os._exit(130), restore=words is not None):
        try:
            answer, code = find_frame(request), 0
        except UserError as error:
            answer, code = {"error": str(error)}, 2
        except cancellation.Cancelled:
            return 130
    sys.stdout.write(json.dumps(answer) + "\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
