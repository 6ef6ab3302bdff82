"""The session and its controllers: commands, files, playback, prefetching."""
