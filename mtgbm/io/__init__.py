"""Models in files: the native format, and those of other libraries."""
