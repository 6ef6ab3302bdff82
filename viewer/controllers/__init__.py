"""The session and what acts on it: commands, files, playback, prefetching."""
