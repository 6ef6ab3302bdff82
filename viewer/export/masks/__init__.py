"""The command pi0-regions: follow regions through the frames, import masks and export them. No Qt."""
