"""The reference of the command line in the documentation is that of the program."""

from tests.unit.service.cli.reference import PAGE, commands, page


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == page(), "write it: python -m tests.unit.service.cli.reference"


def test_the_page_has_every_command_but_hidden_ones() -> None:
    text = PAGE.read_text()
    for words, command in commands():
        assert (f"\n## tandemcal {words}\n" in text) != command.hidden
