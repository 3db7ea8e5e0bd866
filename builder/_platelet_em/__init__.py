"""The works behind `platelet_em`; everything public is exported there."""

__version__ = "0.1.0"
