"""Masks of objects in the camera pictures of an episode."""
