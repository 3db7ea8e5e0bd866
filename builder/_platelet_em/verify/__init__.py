"""Checks of archives and built repositories, alone and against each other."""
