"""Named regions of a view: carried over frames, as lanes of a timeline, read in another process. No Qt."""
