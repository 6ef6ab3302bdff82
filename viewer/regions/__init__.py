"""Named regions of camera pictures over the frames of a results file: tracked, imported, exported. No Qt."""
