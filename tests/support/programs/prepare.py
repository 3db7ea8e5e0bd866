"""Load two configurations, which prepares them in a cache; arguments: the archives, the cache."""

import sys

import platelet_em

for config in ("slices", "volumes"):
    platelet_em.load_dataset(config, data_dir=sys.argv[1], cache_dir=sys.argv[2])
