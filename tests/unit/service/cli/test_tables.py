"""Tables fold words, and cut neither ids nor figures."""

import pytest

from service.cli.tables import Column, show_table


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().out.splitlines() if line.strip()]


def test_words_are_folded_and_ids_are_not(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    sentence = "the chip is offline since its agent stopped"
    show_table(["Job", Column("Reason", words=True)], [("0badcafe", sentence)])
    shown = lines(capsys)
    assert max(map(len, shown)) <= 40
    assert "0badcafe" in shown[2]
    assert " ".join(" ".join(line[9:].split()) for line in shown[2:]) == sentence


def test_a_table_without_a_row_is_a_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["Job", "Chip"], [], "There is no job yet.")
    assert lines(capsys) == ["There is no job yet."]


def test_figures_that_are_wider_than_the_terminal_are_whole(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    show_table(["One", "Other"], [("1234567890123456", "6543210987654321")])
    assert lines(capsys)[2].split() == ["1234567890123456", "6543210987654321"]
