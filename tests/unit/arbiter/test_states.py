"""The tables of moves: complete, closed, and enforced."""

import enum
from collections.abc import Mapping
from typing import Any

import pytest

from monoceros.arbiter import states
from monoceros.arbiter.states import (
    MoldEvent,
    MoldState,
    ReloadEvent,
    ReloadState,
    ServerEvent,
    ServerState,
    UpgradeEvent,
    UpgradeState,
    WorkerEvent,
    WorkerState,
)

TABLES: list[tuple[Mapping[Any, Any], type[enum.Enum], type[enum.Enum], enum.Enum]] = [
    (states.WORKER_MOVES, WorkerState, WorkerEvent, WorkerState.GONE),
    (states.MOLD_MOVES, MoldState, MoldEvent, MoldState.GONE),
    (states.SERVER_MOVES, ServerState, ServerEvent, ServerState.STOPPED),
    (states.RELOAD_MOVES, ReloadState, ReloadEvent, ReloadState.IDLE),
    (states.UPGRADE_MOVES, UpgradeState, UpgradeEvent, UpgradeState.IDLE),
]


@pytest.mark.parametrize(("table", "kind", "events", "end"), TABLES)
def test_every_state_can_be_reached_and_left(
    table: Mapping[Any, Any], kind: type[enum.Enum], events: type[enum.Enum], end: enum.Enum
) -> None:
    sources = {state for state, _ in table}
    targets = set(table.values())
    first = next(iter(kind))
    for state in kind:
        assert state in targets or state is first or state is WorkerState.BOOTING
        assert state in sources or state is end
    assert {event for _, event in table} == set(events), "an event that no state takes"


@pytest.mark.parametrize("state", sorted(states.LIVING, key=str))
def test_a_living_worker_can_always_be_reaped_and_only_then_is_gone(state: WorkerState) -> None:
    assert states.step(states.WORKER_MOVES, state, WorkerEvent.REAPED) is WorkerState.GONE


def test_a_worker_never_goes_back() -> None:
    order = list(WorkerState)
    for (state, _), target in states.WORKER_MOVES.items():
        assert order.index(target) >= order.index(state)


def test_nothing_leaves_gone() -> None:
    for event in WorkerEvent:
        with pytest.raises(states.IllegalMove, match="GONE"):
            states.step(states.WORKER_MOVES, WorkerState.GONE, event)


def test_a_quick_stop_may_overtake_a_graceful_one_but_not_the_reverse() -> None:
    quick = states.step(
        states.SERVER_MOVES, ServerState.STOPPING_GRACEFULLY, ServerEvent.STOP_QUICKLY
    )
    assert quick is ServerState.STOPPING_QUICKLY
    with pytest.raises(states.IllegalMove):
        states.step(states.SERVER_MOVES, quick, ServerEvent.STOP_GRACEFULLY)


def test_staying_and_leaving_states_share_nothing() -> None:
    leaving = {WorkerState.DRAINING, WorkerState.ABORTING, WorkerState.KILLED, WorkerState.GONE}
    assert states.STAYING | leaving == set(WorkerState)
    assert not states.STAYING & leaving
