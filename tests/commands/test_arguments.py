"""Arguments: the help of each command, and options that are refused."""

import pytest

from _platelet_em.commands.cli import main

COMMANDS = ("build", "push", "sample", "info", "show", "convert", "verify")


def help_of(capsys, *command):
    with pytest.raises(SystemExit, match="0"):
        main([*command, "--help"])
    return " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command, capsys):
    text = help_of(capsys, command)
    assert "examples: " in text
    assert f" platelet-em {command} " in text


def test_help_lists_all_commands(capsys):
    text = help_of(capsys)
    assert all(f" {command} " in text for command in COMMANDS)


def test_help_says_what_the_depth_of_a_sample_is(capsys):
    expected = "slices of volume 50; volume 24 gets 24/50 of this depth (default: 12)"
    assert expected in help_of(capsys, "sample")


def test_the_default_label_source_of_push_is_that_of_the_folder(capsys):
    assert "(default: json)" in help_of(capsys, "build")
    assert "(default: that of a complete FOLDER, otherwise json)" in help_of(capsys, "push")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["build", "repo", "--sample", "--data-dir", "x"], "leave out --data-dir"),
        (["build", "repo", "--depth", "3", "--seed", "1"], "--depth, --seed: only for the"),
        (["show", "repo", "--volume", "51"], "invalid choice: '51'"),
        (["show", "repo", "--z", "1.5"], "invalid int value: '1.5'"),
        (["verify"], "the following arguments are required: PATH"),
    ],
)
def test_arguments_that_are_not_accepted_end_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err
