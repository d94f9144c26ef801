"""Test the benchmarks' pure parts: wrk's output, /proc's numbers, medians and shares. No test asserts a time."""

from __future__ import annotations

import pytest

from benchmarks.cpu import by_kind, microseconds_each, parse_stat, tree_ticks
from benchmarks.material import player_id
from benchmarks.recovery import players_of
from benchmarks.report import CPU_HEAD, HEAD, cells, cpu_cells, markdown_table, write_lines
from benchmarks.scenarios import SCENARIOS, Turn
from benchmarks.summary import medians, rows_of
from benchmarks.whole_calls import compared
from benchmarks.wrk import SCRIPTS, Load, WrkError, parse

REPORT = (
    'BENCH {"requests": 5000, "seconds": 2.0, "p50_ms": 1.5, "p90_ms": 2.0, "p99_ms": 9.25, "max_ms": 12.0, '
    '"connect": 1, "read": 2, "write": 0, "timeout": 0, "status": 4, "refused": 0}'
)


def load(rate: float, errors: int = 0) -> Load:
    return Load(requests=int(rate * 2), seconds=2.0, p50_ms=1.0, p90_ms=2.0, p99_ms=3.0, max_ms=4.0, errors=errors)


def turn(scenario: str, floor: float, rate: float, *, errors: int = 0, drain: float = 0.0) -> Turn:
    floors = (load(floor * 0.9), load(floor * 1.1))
    return Turn(scenario, floors, load(rate, errors), load(rate / 2), {"redis": rate}, 7, drain)


def test_the_line_of_our_script_is_read_and_every_kind_of_error_counted() -> None:
    found = parse(f"Running 2s test\n  Requests/sec: 1\n{REPORT}\n")
    assert (found.rate, found.p99_ms, found.errors) == (2500.0, 9.25, 7)


@pytest.mark.parametrize("output", ["", "Running 2s test\n", f"{REPORT}\n{REPORT}\n"])
def test_output_without_our_one_line_is_an_error(output: str) -> None:
    with pytest.raises(WrkError):
        parse(output)


def test_shares_are_of_the_floor_of_the_same_turn_and_their_median_is_taken() -> None:
    turns = [turn("rank", 1000, 100), turn("rank", 2000, 600, errors=3), turn("rank", 1000, 200)]
    (row,) = rows_of(turns)
    assert row["share"] == 0.2  # of 0.1, 0.3 and 0.2
    assert row["floor_spread"] == pytest.approx(0.2)
    assert (row["rate"], row["floor_rate"], row["errors"], row["cpu_us"]) == (200, 1000, 3, {"redis": 200})
    assert "events_rate" not in row


def test_a_batch_counts_its_scores_and_the_time_until_they_were_saved() -> None:
    (row,) = rows_of([turn("batch", 1000, 20, drain=2.0)])
    assert (row["events_rate"], row["saved_rate"], row["queue"]) == (10_000, 5_000, 7)
    assert write_lines([row])[0].startswith("POST /scores × 500: 10,000 events/s")


def test_medians_of_maps_take_what_is_there() -> None:
    assert medians([{"a": 1, "b": 5}, {"a": 3}]) == {"a": 2, "b": 5}


def test_a_process_name_may_hold_brackets_and_blanks() -> None:
    stat = "42 (a) (b c) S 7 1 1 0 -1 4194560 1 2 3 4 10 20 300 400 20 0 1 0 99"
    assert parse_stat(stat) == (7, 30, 700)


def test_descendants_are_counted_once() -> None:
    stats = {1: (0, 5, 0), 2: (1, 10, 1), 3: (2, 20, 0), 9: (1, 1000, 0)}
    assert tree_ticks(stats, [2]) == 31
    assert tree_ticks(stats, [2, 3, 77]) == 31


def test_processes_are_grouped_by_kind() -> None:
    assert by_kind({"nginx": 1, "gateway-1": 2, "gateway-2": 3, "worker-1": None}) == {"nginx": [1], "gateway": [2, 3]}
    assert microseconds_each({"nginx": 1.0}, {"nginx": 1.5}, 1000) == {"nginx": 500.0}


def test_chosen_players_are_loaded_players() -> None:
    regions = ("ASIA", "EU")
    loaded = {record[0] for region in regions for record in players_of(region, 5)}
    assert {player_id(regions, 11, place) for place in range(10)} == loaded


def test_every_scenario_has_a_script_and_a_line_in_the_tables() -> None:
    for scenario in SCENARIOS:
        assert (SCRIPTS / f"{scenario.name}.lua").exists()
        (row,) = rows_of([turn(scenario.name, 1000, 100)])
        assert len(cells(row)) == len(HEAD)
        assert len(cpu_cells(row)) == len(CPU_HEAD)


def test_a_markdown_table_aligns_numbers() -> None:
    assert markdown_table(("a", "b"), [("x", "1")]) == "| a | b |\n| --- | --: |\n| x | 1 |"


def test_costs_are_compared_round_by_round() -> None:
    # The machine was twice as slow in the second round, and the base had a bad third one.
    found = compared([11, 22, 11, 12], [10, 20, 20, 10])
    assert found["ratio"] == 1.1
    assert found["cpu_us"] == 11.5
    assert found["base_us"] == 15
    assert compared([3], [2])["lower_quartile"] == 1.5
