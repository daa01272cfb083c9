"""The talks that have been given, and when the next evening is."""

import datetime as dt
from dataclasses import dataclass

TUESDAY = 1


@dataclass(frozen=True)
class Talk:
    """A talk. `slug` is its name in the address."""

    slug: str
    title: str
    speaker: str
    minutes: int
    level: str
    abstract: tuple[str, ...]


TALKS = (
    Talk(
        "generators-on-the-trail",
        "Generators on the trail",
        "Ana Whitfield",
        30,
        "Beginner",
        (
            "A gigabyte of GPS tracks, a laptop with little memory and a slow bus home. We turn "
            "a script that loads everything into one that walks through its data a step at a "
            "time.",
            "On the way: what `yield` does to a function, why a pipeline of generators reads "
            "like a recipe, and the two traps that everybody falls into once.",
        ),
    ),
    Talk(
        "a-weather-station-with-asyncio",
        "A weather station with asyncio",
        "Jonas Okafor",
        45,
        "Intermediate",
        (
            "Nine sensors on a roof above Pearl Street, each with its own idea of time. One "
            "process listens to them all.",
            "We build it live, unplug things, and look at how cancellation and timeouts keep the "
            "rest of it standing.",
        ),
    ),
    Talk(
        "types-for-a-team-of-three",
        "Types for a team of three",
        "Priya Lindqvist",
        30,
        "Intermediate",
        (
            "Annotations are cheap to write and dear to maintain, or the other way round. What "
            "three people learned from typing forty thousand lines in a year: where to begin, "
            "what to leave alone, and which errors it really found.",
        ),
    ),
    Talk(
        "what-fork-does",
        "What fork() does, and what it does not",
        "Marek Duval",
        45,
        "Advanced",
        (
            "A process becomes two, and most of what you know about locks, threads and files "
            "becomes wrong. A tour through the copy: memory, descriptors, signals, and the "
            "thread that did not come along.",
        ),
    ),
    Talk(
        "maps-from-open-data",
        "Maps from open data",
        "Ines Carter",
        20,
        "Beginner",
        (
            "The county publishes every trailhead, creek and snow report. Twenty minutes from a "
            "CSV file to a map that you can zoom.",
        ),
    ),
)


def find(slug: str) -> Talk | None:
    """The talk of that name in the address, or None."""
    return next((talk for talk in TALKS if talk.slug == slug), None)


def next_meetup(today: dt.date) -> dt.date:
    """The second Tuesday of this month, or of the next one when it has passed."""
    meetup = second_tuesday(today.year, today.month)
    if meetup < today:
        following = today.replace(day=28) + dt.timedelta(days=7)
        meetup = second_tuesday(following.year, following.month)
    return meetup


def second_tuesday(year: int, month: int) -> dt.date:
    """The second Tuesday of a month."""
    first = dt.date(year, month, 1)
    return first + dt.timedelta(days=(TUESDAY - first.weekday()) % 7 + 7)


def tonight(meetup: dt.date) -> tuple[Talk, Talk]:
    """The two talks of an evening: they go round, month by month."""
    turn = meetup.year * 12 + meetup.month
    return TALKS[turn % len(TALKS)], TALKS[(turn + 2) % len(TALKS)]
