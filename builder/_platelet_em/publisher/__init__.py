"""What the publisher ships: fetched, opened, read, and label files written."""
