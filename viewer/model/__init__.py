"""View state, words, geometry and attention arithmetic: numpy and the standard library only, no Qt and no files."""
