"""The Hub repository: written, described, read and pushed."""
