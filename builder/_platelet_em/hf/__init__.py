"""The `datasets` side: the format, the builder and `load_dataset`."""
