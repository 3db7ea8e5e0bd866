"""Files that patterns find."""

from _platelet_em.sources.paths import find_files


def test_links_to_folders_find_no_file_twice(tmp_path):
    for name in ("a/1.tif", "a/b/2.tif", "c/3.tif"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "a" / "circle").symlink_to(tmp_path)
    (tmp_path / "c" / "again").symlink_to(tmp_path / "a" / "b")
    (tmp_path / "c" / "4.tif").symlink_to("3.tif")
    found = [str(path.relative_to(tmp_path)) for path in find_files(tmp_path, "**/*.tif")]
    assert found == ["a/1.tif", "a/b/2.tif", "c/3.tif", "c/4.tif"]
