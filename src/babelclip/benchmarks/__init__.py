"""Named data sets: readers, splits, provenance."""
