"""The volumes of a dataset, from the publisher's archives or from the user's own files."""
