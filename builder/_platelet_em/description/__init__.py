"""Descriptions of datasets as files: parsed, written, and drafted by looking at a folder."""
