"""Print the number of rows of a private dataset, or "hidden" if this token may not see it."""

import datasets

datasets.config.USE_PARQUET_EXPORT = False  # the test Hub has no datasets-server
try:
    print(len(datasets.load_dataset("user/platelet-em", "preview", split="train")))
except datasets.exceptions.DatasetNotFoundError:
    print("hidden")
