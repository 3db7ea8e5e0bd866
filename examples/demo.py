"""Reads a built repository with `datasets` alone, without this project.

Usage: python examples/demo.py REPOSITORY
"""

import sys
import tempfile

import datasets


def main(repository: str) -> None:
    """Load the repository's slices, and print a row as a table."""
    datasets.disable_progress_bars()
    with tempfile.TemporaryDirectory() as cache:
        slices = datasets.load_dataset(repository, "slices", cache_dir=cache)
        print(f"datasets.load_dataset({repository!r}, 'slices')")
        for split, dataset in slices.items():
            width, height = dataset[0]["image"].size
            print(f"  {split}: {dataset.num_rows} rows of {height} x {width} pixels")
        row = slices["train"][5]
        class_id = slices["train"].features["organelles"]["class_id"]
        # A list in datasets 3, a feature of its own in later versions.
        names = (class_id[0] if isinstance(class_id, list) else class_id.feature).names
    organelles = row["organelles"]
    print(f"\nslice z = {row['z']} of volume {row['volume']}: {row['n_cells']} cells, ", end="")
    print(f"{row['n_organelles']} organelles, the largest of which are")
    head = f"  {'id':>4}  {'class':<20} {'pixels':>7}  {'purity':>6}  {'cell':>4}"
    print(f"{head}  box (y0, x0, y1, x1)")
    order = sorted(range(len(organelles["id"])), key=lambda i: -organelles["area"][i])
    for i in order[:8]:
        print(
            f"  {organelles['id'][i]:>4}  {names[organelles['class_id'][i]]:<20} "
            f"{organelles['area'][i]:>7}  {organelles['purity'][i]:>6.2f}  "
            f"{organelles['cell'][i]:>4}  {organelles['bbox'][i]}"
        )


if __name__ == "__main__":
    main(sys.argv[1])
