"""From a file and a view to numbers: scenes, scores, films, curves and captions; no Qt."""
