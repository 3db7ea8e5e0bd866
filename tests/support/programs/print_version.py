"""Print the version of the installed `datasets`."""

from importlib.metadata import version

print(version("datasets"))
