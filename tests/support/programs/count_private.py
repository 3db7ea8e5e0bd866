"""Print the number of rows of a private dataset without and with a token; argument: the token.

Prints "hidden" instead of a number where the dataset is not found.
"""

import sys

import datasets

datasets.config.USE_PARQUET_EXPORT = False  # the test Hub has no datasets-server
for token in (False, sys.argv[1]):
    load = {"path": "user/platelet-em", "name": "preview", "split": "train", "token": token}
    try:
        print(len(datasets.load_dataset(**load)))
    except datasets.exceptions.DatasetNotFoundError:
        print("hidden")
