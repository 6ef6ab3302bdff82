"""Runs a Pi0.5 policy offline and writes its attention to one HDF5 file."""

__version__ = "0.1.0"
