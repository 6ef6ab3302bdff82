"""LeRobot data sets on disk, versions 2.0, 2.1 and 3.0, without lerobot: parquet and videos, or pictures in parquet."""
