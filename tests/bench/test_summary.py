"""The summary page: what it takes for a change, and what it says of planted ones."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("asv", reason="asv is not installed: pip install '.[bench]'")
pytest.importorskip("jinja2", reason="jinja2 is not installed: pip install '.[bench]'")


@pytest.fixture
def summary() -> Any:
    import summary

    return summary


def found(summary: Any, values: Any, benchmark: str = "elementwise.Value.time_value") -> Any:
    series = summary.Series(benchmark, (), (), "seconds", tuple(values))
    return [(step.index, step.worse, step.sure) for step in summary.steps(series, 0.2)]


def test_a_lasting_change_is_a_step_in_its_commit(summary: Any) -> None:
    assert found(summary, [1.0, 1.1, 0.9, 2.0, 2.1, 1.9]) == [(3, True, True)]
    assert found(summary, [2.0, 2.1, 1.9, 1.0, 1.1]) == [(3, False, True)]


def test_one_slow_run_is_none(summary: Any) -> None:
    assert found(summary, [1.0, 1.0, 5.0, 1.0, 1.0]) == []


def test_less_than_the_threshold_is_none(summary: Any) -> None:
    assert found(summary, [1.0, 1.0, 1.19, 1.19]) == []


def test_a_change_at_the_newest_commit_is_not_sure(summary: Any) -> None:
    assert found(summary, [1.0, 1.0, 2.0]) == [(2, True, False)]


def test_an_error_is_sure_at_once(summary: Any) -> None:
    values = [0.5, 0.5, 4.5, 0.5]
    assert found(summary, values, "accuracy.Batch.track_max_ulp") == [
        (2, True, True),
        (3, False, True),
    ]


def test_commits_that_were_not_measured_are_passed_over(summary: Any) -> None:
    assert found(summary, [1.0, None, 1.0, None, 2.0, 2.0]) == [(4, True, True)]


def test_planted_changes_are_found_in_their_commits(summary: Any, planted: Any) -> None:
    import dashboard
    import history

    configuration = dashboard.configured(planted.configuration)
    commits = history.commits(planted.configuration.parent / "../repository", "main")
    measured = summary.load(configuration, commits)
    changes = [
        (step.series.parameters[0], measured.commits[step.index].hash)
        for step in summary.changes(measured)
    ]
    assert changes == [("huber_loss", planted.slower), ("huber_loss: bulk", planted.worse)]
    page = summary.page(measured, commits, None, "planted")
    said = page[page.index('id="changes"') : page.index('id="now"')]
    assert f"{planted.slower[:8]}</code></a> Change number 14" in said
    assert "2.02×" in said  # the nearest numbers of the two sides
    assert "mse_loss" not in said


def test_no_results_give_a_page_that_says_so(summary: Any) -> None:
    assert "Nothing has been measured yet" in summary.page(None, [], None, "planted")


@pytest.mark.parametrize(
    ("value", "unit", "said"),
    [
        (0.0123, "seconds", "12.3 ms"),
        (2.5e-6, "seconds", "2.5 µs"),
        (1.5, "seconds", "1.5 s"),
        (3 * 2**20, "bytes", "3 MiB"),
        (2.0**53, "ulp", "9.0e+15 ulp"),
        (1.0, "times torch", "1×"),
        (0.0, "ulp", "0 ulp"),
    ],
)
def test_numbers_as_people_read_them(value: float, unit: str, said: str) -> None:
    import drawing

    assert drawing.number(value, unit) == said


def test_what_is_measured_next(summary: Any) -> None:
    import history

    names = [str(number) for number in range(9)]
    assert history.spread(names, set(), 3) == ["0", "4", "8"]
    assert history.spread(names, {"0", "4", "8"}, 3) == []
    assert history.spread([*names, "9"], {"0", "4", "8"}, 3) == ["9"]
    assert history.spread(names, {"0", "4", "8"}, 5) == ["2", "6"]
    assert history.spread(names[:2], set(), 5) == ["0", "1"]
    assert history.spread([], set(), 5) == []
