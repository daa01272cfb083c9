"""The back-off: how often a failing app is booted, whatever its workers do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monoceros.arbiter import backoff
from monoceros.arbiter.backoff import CEILING, HEALTHY, ROUNDS, Backoff


def simulate(workers: int, boot: float, horizon: float, base: float = 0.5) -> list[float]:
    """Boots of an app that dies `boot` seconds after each start, before it is ready; their times.
    Ends when the server gives up or at `horizon`."""
    pauses = Backoff(base)
    now, starts, alive = 0.0, [], []
    while now < horizon:
        for started in [s for s in alive if now - s >= boot]:
            alive.remove(started)
            pauses.failed(now, started, served=False)
        if pauses.exhausted:
            break
        allowed = pauses.allowance(now, len(alive))
        missing = workers - len(alive)
        for _ in range(missing if allowed is None else min(missing, allowed)):
            alive.append(now)
            starts.append(now)
        now = round(now + 0.01, 6)
    return starts


@pytest.mark.parametrize("boot", [0.0, 0.05, 0.3])
def test_two_workers_that_never_boot_make_at_most_eight_boots_in_ten_seconds(boot: float) -> None:
    starts = simulate(workers=2, boot=boot, horizon=60)
    assert len([at for at in starts if at < 10]) <= 8
    assert starts[-1] < 10, "it gave up within ten seconds"


@given(workers=st.integers(1, 64), boot=st.floats(0, 5))
def test_boots_before_giving_up_are_one_round_of_all_and_single_tries(
    workers: int, boot: float
) -> None:
    starts = simulate(workers, boot, horizon=200)
    assert len(starts) <= workers + ROUNDS - 1


def test_the_first_death_of_a_worker_that_served_is_forgiven() -> None:
    pauses = Backoff(0.5)
    assert pauses.failed(100.0, started_at=10.0, served=True)
    assert pauses.allowance(100.0, booting=0) is None
    assert not pauses.in_doubt


def test_four_deaths_of_one_cause_are_one_failure() -> None:
    pauses = Backoff(0.5)
    rounds = [pauses.failed(100.0 + i / 100, started_at=10.0, served=True) for i in range(4)]
    assert rounds == [True, False, False, False]
    assert pauses.allowance(100.1, booting=0) is None


def test_pauses_double_up_to_the_ceiling() -> None:
    pauses = Backoff(0.5)
    now, found = 0.0, []
    for _ in range(10):
        now = max(now, pauses.next_at) + 0.1
        pauses.failed(now, started_at=now - 0.05, served=False)
        found.append(round(pauses.next_at - now, 3))
    assert found == [0.5, 1, 2, 4, 8, 16, CEILING, CEILING, CEILING, CEILING]


def test_in_doubt_one_worker_boots_at_a_time() -> None:
    pauses = Backoff(0.5)
    pauses.failed(1.0, started_at=0.0, served=False)
    assert pauses.allowance(1.2, booting=0) == 0
    assert pauses.allowance(1.5, booting=0) == 1
    assert pauses.allowance(1.5, booting=1) == 0


def test_only_a_worker_started_after_the_failure_ends_the_doubt() -> None:
    pauses = Backoff(0.5)
    pauses.failed(100.0, started_at=99.0, served=False)
    pauses.ready(200.0, started_at=50.0, ready_at=51.0)
    assert pauses.failures == 1, "an old worker proves nothing about what fails now"
    pauses.ready(105.0, started_at=101.0, ready_at=102.0)
    assert pauses.failures == 1, "not for long enough"
    pauses.ready(102.0 + HEALTHY, started_at=101.0, ready_at=102.0)
    assert pauses.failures == 0
    assert pauses.allowance(112.0, booting=5) is None


def test_it_is_exhausted_after_its_rounds() -> None:
    pauses = Backoff(0.0)
    for number in range(1, ROUNDS + 1):
        assert not pauses.exhausted
        pauses.failed(float(number), started_at=number - 0.5, served=False)
    assert pauses.exhausted


def test_a_base_of_zero_still_boots_one_at_a_time() -> None:
    pauses = Backoff(0.0)
    pauses.failed(1.0, started_at=0.0, served=False)
    assert pauses.allowance(1.0, booting=0) == 1
    assert pauses.allowance(1.0, booting=1) == 0


def test_thousands_of_failures_do_not_overflow() -> None:
    pauses = Backoff(0.5)
    pauses.failures = 100_000
    assert pauses.pause() == backoff.CEILING
