"""The command line `platelet-em`."""
