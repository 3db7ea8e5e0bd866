"""Completion by bash itself: what is on the line after Tab."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time

import pytest

pytest.importorskip("argcomplete")
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")

# The command prints its arguments, except to the completion.
COMMAND = """\
#!/bin/sh
if [ -n "$_ARGCOMPLETE" ]; then exec {python} -m _platelet_em; fi
for word; do printf '<%s>' "$word"; done
echo " end"
"""
PROMPT = b"ready> "


@pytest.fixture
def complete(tmp_path):
    """The words of a command line that was typed, with its tabs, into an interactive bash."""
    command = tmp_path / "bin" / "platelet-em"
    command.parent.mkdir()
    command.write_text(COMMAND.format(python=sys.executable))
    command.chmod(0o755)
    folder = tmp_path / "work"
    (folder / "archives").mkdir(parents=True)
    environment = {
        **os.environ,
        "PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path))),
        "PS1": PROMPT.decode(),
        "TERM": "dumb",
    }
    code = [sys.executable, "-c", "import argcomplete as a; print(a.shellcode(['platelet-em']))"]
    registration = subprocess.run(
        code, check=True, capture_output=True, text=True, env=environment
    ).stdout
    (tmp_path / "registration").write_text(registration)
    (tmp_path / "inputrc").write_text("set enable-bracketed-paste off\nset bell-style none\n")
    environment["INPUTRC"] = str(tmp_path / "inputrc")
    ours, theirs = pty.openpty()
    shell = subprocess.Popen(
        ["bash", "--norc", "--noprofile", "-i"],
        stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder,
        start_new_session=True,
    )  # fmt: skip
    os.close(theirs)

    def wait_for(pattern):
        found, end = b"", time.monotonic() + 60
        while not (match := re.search(pattern, found)):
            assert time.monotonic() < end, found
            if select.select([ours], [], [], 1)[0]:
                found += os.read(ours, 4096)
        return match

    def typed(line):
        os.write(ours, line.encode() + b"\n")
        return wait_for(rb"((?:<[^>]*>)*) end\r?\n")[1].decode()

    wait_for(PROMPT)
    os.write(ours, f". {tmp_path}/registration; PS1=; echo set\n".encode())
    wait_for(rb"\nset\r?\n")
    yield typed
    os.close(ours)
    shell.terminate()
    shell.wait()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ver\t", "<verify>"),
        ("verify arch\t --ver\t", "<verify><archives/><--verbose>"),
        ("build repo --label-source j\t", "<build><repo><--label-source><json>"),
        ("convert arch\tx.json --kind sem\t", "<convert><archives/x.json><--kind><semantic>"),
        ("--qu\tinfo --js\t", "<--quiet><info><--json>"),
        ("show --volume 2\t", "<show><--volume><24>"),
    ],
)
def test_tab_completes_commands_options_choices_and_files(line, words, complete):
    assert complete(f"platelet-em {line}") == words


def test_help_says_how_to_switch_it_on(capsys):
    from _platelet_em.commands.cli import main

    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    assert "pip\ninstall argcomplete" in out
    assert '  eval "$(register-python-argcomplete platelet-em)"\n' in out
