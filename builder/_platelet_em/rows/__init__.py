"""One volume as the rows of each configuration, and the statistics of its gray values."""
