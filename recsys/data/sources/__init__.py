"""One file per data set or file format."""
