"""`platelet_em.register()`: `datasets` finds the builder by its name, and all else as before."""

from support import versions
from support.clients import WITHOUT_TORCH
from support.programs import PROGRAMS


def test_datasets_finds_the_builder_and_all_else_as_before(
    newest_or_oldest, archives, truth, tmp_path
):
    program = PROGRAMS / "load_by_name.py"
    versions.run(newest_or_oldest, program, truth, archives, cwd=tmp_path, **WITHOUT_TORCH)
