"""The synthetic scene, and archives of it in the publisher's layout."""
