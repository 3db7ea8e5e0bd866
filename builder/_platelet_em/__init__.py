"""The implementation of `platelet_em`, which exports everything public."""

__version__ = "0.1.0"
"""Version of this package, a str."""
