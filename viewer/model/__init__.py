"""The view as a value, words, geometry and attention in numpy; no Qt and no file."""
