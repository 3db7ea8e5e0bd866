"""Builds sdist and wheel into dist/, and checks them as a user would get them: `make dist`.

Usage: python .ci/dist.py [FOLDER]   (needs the packages of the extra `dist`)
"""

import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

TOP_OF_SDIST = {
    ".ci", "CHANGELOG.md", "CITATION.cff", "LICENSE", "Makefile", "PKG-INFO", "README.md",
    "benchmarks", "builder", "dataset_card.md", "docs", "examples", "hatch_build.py",
    "platelet_em.py", "pyproject.toml", "tests",
}  # fmt: skip
"""What the sdist may and must contain at its top, besides .gitignore."""


def main(folder: Path) -> None:
    """Build and check; prints what was found in order, raises at the first fault."""
    if folder.exists() and any(folder.iterdir()):
        raise SystemExit(f"{folder}: expected an empty folder")
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir"]
    run([*build, folder, "--sdist", "--wheel", ROOT])
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    with tempfile.TemporaryDirectory() as temporary:
        check_sdist(sdist, wheel, build, Path(temporary))
        check_wheel(wheel)
        run([sys.executable, "-m", "twine", "check", "--strict", sdist, wheel])
        check_installed(wheel, Path(temporary, "environment"))
    print(f"{sdist.name} and {wheel.name} are complete")
    if (ROOT / ".git").exists() and (changed := run(["git", "-C", ROOT, "status", "--short"])):
        print(f"They have what is not committed: do not upload them\n{changed}", end="")


def check_sdist(sdist: Path, wheel: Path, build: list[object], temporary: Path) -> None:
    """The sdist has what it should have, and gives the same wheel."""
    with tarfile.open(sdist) as archive:
        names = [Path(member.name) for member in archive.getmembers()]
        archive.extractall(temporary / "sdist", filter="data")
    found = {name.parts[1] for name in names} - {".gitignore"}
    if found != TOP_OF_SDIST:
        raise SystemExit(f"{sdist.name}: missing or too much: {found ^ TOP_OF_SDIST}")
    (unpacked,) = (temporary / "sdist").iterdir()
    run([*build, temporary / "again", "--wheel", unpacked])
    if (temporary / "again" / wheel.name).read_bytes() != wheel.read_bytes():
        raise SystemExit(f"{sdist.name}: gives another wheel than the checkout")


def check_wheel(wheel: Path) -> None:
    """The wheel has every module and its data, the type markers and the template of the card."""
    files = (ROOT / "builder").rglob("*")
    of_package = {
        path.relative_to(ROOT / "builder").as_posix()
        for path in files
        if path.suffix in (".py", ".json", ".toml", ".yaml")
    }
    others = {"_platelet_em/py.typed", "_platelet_em/dataset_card.md"}
    face = {"platelet_em/__init__.py", "platelet_em/py.typed"}
    expected = of_package | others | face
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    if names != expected:
        raise SystemExit(f"{wheel.name}: missing or too much: {names ^ expected}")


def check_installed(wheel: Path, environment: Path) -> None:
    """The wheel and its dependencies are enough for the command and the import."""
    venv.create(environment, with_pip=True)
    python = environment / "bin" / "python"
    run([python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel])
    version = wheel.name.split("-")[1]
    code = "import platelet_em; print('platelet-em', platelet_em.__version__)"
    for command in ([environment / "bin" / "platelet-em", "--version"], [python, "-Ic", code]):
        if (printed := run(command).strip()) != f"platelet-em {version}":
            raise SystemExit(f"{command}: expected version {version}, printed {printed}")


def run(command: list[object]) -> str:
    """Run a command outside the checkout, which it must not import from; returns its output."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    words = [str(word) for word in command]
    done = subprocess.run(
        words, check=False, stdout=subprocess.PIPE, text=True, env=clean, cwd=tempfile.gettempdir()
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: failed\n{done.stdout}")
    return done.stdout


if __name__ == "__main__":
    main(Path(*sys.argv[1:] or ["dist"]).absolute())
