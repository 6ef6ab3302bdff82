"""Episodes as folders with an `episode.json`: picture files for each frame, or a video for each camera.

    {"prompt": "pick up the duck",
     "frames": [{"index": 0, "time": 0.0, "pictures": {"exterior": "exterior_00.jpg", "wrist": "wrist_00.jpg"},
                 "state": [0.1, ...], "actions": [[0.1, ...], ...]}, ...]}

    {"prompt": "pick up the duck", "videos": {"exterior": "ext.mp4", "wrist": "wrist.mp4"},
     "states": [[0.1, ...], ...], "actions": [[0.1, ...], ...]}

Optional are `time` (seconds), `state`, `index` (the position in the list by default), `rate` (frames per second),
`success`, `actions` (in robot units; of a frame: the true actions from this frame on; beside videos: one row per frame,
as `states`) and masks (`masks.label_pictures`). Further keys are ignored. The files lie in the folder.
"""
