"""Exports: a dataset in the formats of other tools, one module per format."""
