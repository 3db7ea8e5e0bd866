"""Stream few columns and few rows of repositories on the test Hub.

`user/NAME` is the repository from which the query of that name is read, so that the Hub counts its
bytes. Prints per query its name, and z and the area of all cells of each row.
"""

import datasets

LABELS = {"columns": ["z", "cells"]}
QUERIES = {
    "labels": LABELS,
    "slice": {**LABELS, "filters": [("z", "==", 10)]},
    "all-columns-of-a-slice": {"filters": [("z", "==", 10)]},
    "nothing": {**LABELS, "filters": [("volume", "==", "24")]},
    "everything": {},
}


def main():
    datasets.config.USE_PARQUET_EXPORT = False  # the test Hub has no datasets-server
    for query, options in QUERIES.items():
        load = {"split": "train", "streaming": True, **options}
        ds = datasets.load_dataset(f"user/{query}", "slices", **load)
        assert ds.num_shards == 8
        print(query + "=" + ",".join(f"{row['z']}:{sum(row['cells']['area'])}" for row in ds))


if __name__ == "__main__":
    main()
