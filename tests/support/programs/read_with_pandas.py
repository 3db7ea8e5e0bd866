"""Print, as JSON, volume, z and the area of all cells per slice, read by pandas from the Hub."""

import json
import os
import sys

import pandas as pd

folder = "hf://datasets/user/platelet-em/slices"
rows = pd.read_parquet(folder, columns=["volume", "z", "cells.area"])
print(json.dumps([[volume, z, int(area.sum())] for volume, z, area in rows.to_numpy()]))
sys.stdout.flush()
os._exit(0)  # reading threads of pyarrow and fsspec sometimes abort an ordinary exit
