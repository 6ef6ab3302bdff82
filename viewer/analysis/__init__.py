"""Numbers of a view of a file: scenes, scores, films, curves and captions. No Qt."""
