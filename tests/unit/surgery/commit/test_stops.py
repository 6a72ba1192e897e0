"""Signals that ask to stop are answered outside of what they must not disturb, and never lost."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from gte_surgery.surgery.commit.stops import STOPS, HeldStops


@pytest.fixture(autouse=True)
def as_python_starts() -> Iterator[None]:
    """Other tests' libraries set answers of their own, and whoever started us may have had signals ignored."""
    before = [signal.getsignal(number) for number in STOPS]
    for number in STOPS:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    yield
    for number, answer in zip(STOPS, before, strict=True):
        signal.signal(number, answer)


def interrupt() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def test_a_stop_is_answered_only_when_the_hold_ends() -> None:
    steps = []

    def work() -> None:
        with HeldStops():
            interrupt()
            steps.append("undisturbed")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["undisturbed"]


def test_inside_a_hold_a_block_lets_stops_through_those_that_came_before_as_well() -> None:
    steps = []
    with HeldStops() as stops:

        def work(is_interrupted: bool) -> None:
            with stops.let_through():
                if is_interrupted:
                    interrupt()
                steps.append("at work")

        with pytest.raises(KeyboardInterrupt):
            work(is_interrupted=True)
        interrupt()
        with pytest.raises(KeyboardInterrupt):
            work(is_interrupted=False)
        assert steps == []
        work(is_interrupted=False)
    assert steps == ["at work"]


def test_a_stop_that_came_in_an_inner_hold_waits_for_the_end_of_the_outer() -> None:
    steps = []

    def work() -> None:
        with HeldStops():
            with HeldStops():
                interrupt()
            steps.append("undisturbed")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert steps == ["undisturbed"]


def test_what_answered_before_answers_again_and_signals_of_the_system_are_left_alone() -> None:
    before = [signal.getsignal(number) for number in STOPS]
    with HeldStops() as stops:
        assert signal.getsignal(signal.SIGTERM) == before[STOPS.index(signal.SIGTERM)] == signal.SIG_DFL
        with stops.let_through():
            assert [signal.getsignal(number) for number in STOPS] == before
        assert signal.getsignal(signal.SIGINT) != before[0]
    assert [signal.getsignal(number) for number in STOPS] == before


def test_outside_the_main_thread_nothing_is_held() -> None:
    seen = []

    def hold() -> None:
        with HeldStops() as stops, stops.let_through():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=hold)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGINT)]
