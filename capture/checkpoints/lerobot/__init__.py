"""lerobot's checkpoints: settings from config.json, the saved processors and their statistics files."""
