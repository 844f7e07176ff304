"""What the report says of the airports."""

from __future__ import annotations

import pytest

from example_project.fieldbook.reporting import Place, Report, StateLine, summarise

PLACES = [
    Place("NYA", "South", "NY", 40.0, -74.0),
    Place("NYB", "North", "NY", 44.0, -76.0),
    Place("AKA", "Alone", "AK", 70.123456, -150.0),
]


def test_an_empty_book_has_no_total() -> None:
    assert summarise([]) == Report(states=[], total=None)


def test_states_stand_in_alphabetical_order_with_their_numbers() -> None:
    report = summarise(PLACES)
    assert report.states == [
        StateLine("AK", 1, "AKA", "Alone", 70.123456, 70.1235, -150.0),
        StateLine("NY", 2, "NYB", "North", 44.0, 42.0, -75.0),
    ]


def test_the_total_is_over_all_airports() -> None:
    total = summarise(PLACES).total
    assert total is not None
    assert (total.state, total.airports, total.northernmost_iata) == ("all", 3, "AKA")


def test_the_order_of_the_airports_does_not_matter() -> None:
    assert summarise(PLACES) == summarise(reversed(PLACES))


def test_the_mean_longitude_knows_the_180th_meridian() -> None:
    report = summarise([Place("A", "", "AK", 52, 174.0), Place("B", "", "AK", 52, -176.0)])
    assert report.states[0].mean_longitude == pytest.approx(179.0)
