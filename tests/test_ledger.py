"""What the harness itself promises: effects are read while others write them."""

from __future__ import annotations

from pathlib import Path

from tests.harness.ledger import BEGIN, END, Ledger


def test_a_line_that_is_being_written_is_not_read_yet(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger")
    ledger.write(BEGIN, job=1)
    ledger.write(END, job=1)
    whole = ledger.path.read_bytes()
    for length in range(len(whole)):
        ledger.path.write_bytes(whole[:length])
        lines = whole[:length].count(b"\n")
        assert [entry.act for entry in ledger.read()] == [BEGIN, END][:lines]
