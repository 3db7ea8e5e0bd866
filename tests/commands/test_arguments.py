"""Arguments: the help of each command, and options that are refused."""

import re

import pytest

from _platelet_em.commands.arguments import parse_arguments
from _platelet_em.commands.cli import main

NUMBER_OF_VALUES = {
    "build": 9, "push": 12, "sample": 4, "info": 0, "show": 5, "convert": 4, "verify": 0,
    "describe": 1, "export": 7,
}  # fmt: skip
"""Options of each command that take a value."""

REQUIRED = ("--to FORMAT",)

COMMANDS = ("build", "push", "sample", "info", "show", "convert", "export", "verify", "describe")


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
        (["build", "repo", "--sample", "--data-dir", "x"], "leave out --data-dir"),
        (["build", "repo", "--depth", "3", "--seed", "1"], "--depth, --seed: only for the"),
        (["show", "repo", "--z", "1.5"], "--z: expected slices such as 0, 0-5 or all, got '1.5'"),
        (["show", "repo", "--z", "5-0"], "--z: expected a range of 1 to 16384 slices, got '5-0'"),
        (["show", "repo", "--z", "0-99999999"], "of 1 to 16384 slices, got '0-99999999'"),
        (["show", "repo", "--z", "all", "x"], "such as 0, 0-5 or all, got 'x'"),
        (["show", "repo", "--z", "all", "3-2"], "got '3-2'"),
        (["show", "--z", "0"], "show: expected a SOURCE"),
        (["show"], "show: expected a SOURCE"),
        (["verify"], "the following arguments are required: PATH"),
    ],
)
def test_arguments_that_are_not_accepted_end_with_2(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_each_option_with_a_value_has_its_default_in_the_help(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        main([command, "--help"])
    text = capsys.readouterr().out.partition("\nexamples:")[0]
    options = re.split(r"\n  (?=-)", text)[1:]
    with_value = [o for o in options if re.match(r"--[\w-]+ [A-Z{]", o)]
    assert len(with_value) == NUMBER_OF_VALUES[command]
    for option in with_value:
        if option.startswith(REQUIRED):
            continue
        assert "(default: " in " ".join(option.split()), option


def test_without_a_command_the_help_is_printed(capsys):
    with pytest.raises(SystemExit, match="0"):
        main([])
    assert capsys.readouterr().out.startswith("usage: platelet-em")


@pytest.mark.parametrize("option", ["debug", "quiet"])
@pytest.mark.parametrize("before", [True, False])
def test_common_options_stand_before_or_after_the_command(option, before):
    words = [f"--{option}", "info"] if before else ["info", f"--{option}"]
    options = parse_arguments(words)
    assert getattr(options, option)
    assert not getattr(parse_arguments(["info"]), option)


@pytest.mark.parametrize(
    ("words", "slices"),
    [
        (["repo"], [0]),
        (["repo", "--z", "3"], [3]),
        (["repo", "--z", "0", "5", "10-12"], [0, 5, 10, 11, 12]),
        (["--z", "0", "repo"], [0]),
        (["--z", "0", "2-3", "repo"], [0, 2, 3]),
        (["--z", "all", "repo"], None),
        (["repo", "--z", "1", "all"], None),
        (["repo", "--z", "2-4", "3", "0", "3-5"], [2, 3, 4, 0, 5]),
        (["--z", "5", "--z", "6", "repo"], [5, 6]),
    ],
)
def test_the_slices_and_the_source_of_show(words, slices):
    options = parse_arguments(["show", *words])
    assert options.z == slices
    assert str(options.source) == "repo"
