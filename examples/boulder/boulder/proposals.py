"""Proposed talks: what makes one acceptable, and where they are kept.

They are kept in SQLite, because every worker process writes to the same file: SQLite's locks
put the writers in a row, and each waits for the others up to LOCK_WAIT.
"""

import contextlib
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from flask import current_app, g

LEVELS = ("Beginner", "Intermediate", "Advanced")

#: Seconds to wait for another process that is writing; a write takes milliseconds.
LOCK_WAIT = 10.0

#: A title has to fit on one line of the programme.
LONGEST_TITLE = 100
LONGEST_NAME = 80
#: The longest address that mail can carry (RFC 5321, 4.5.3.1.3, less the brackets).
LONGEST_EMAIL = 254
SHORTEST_ABSTRACT = 40
LONGEST_ABSTRACT = 3000


@dataclass(frozen=True)
class Proposal:
    """What somebody sent by the form, stripped of space around it."""

    title: str = ""
    speaker: str = ""
    email: str = ""
    level: str = LEVELS[0]
    abstract: str = ""

    @classmethod
    def from_form(cls, form: Mapping[str, str]) -> "Proposal":
        """Read the fields of a form; those that are missing are empty."""
        return cls(**{field.name: form.get(field.name, "").strip() for field in fields(cls)})

    def mistakes(self) -> dict[str, str]:
        """For each field that will not do: what is wrong with it, for the person who filled it."""
        found = {}
        if not self.title:
            found["title"] = "Give your talk a title."
        elif len(self.title) > LONGEST_TITLE:
            found["title"] = f"Keep the title under {LONGEST_TITLE + 1} characters."
        if not self.speaker:
            found["speaker"] = "Tell us who speaks."
        elif len(self.speaker) > LONGEST_NAME:
            found["speaker"] = f"Keep the name under {LONGEST_NAME + 1} characters."
        mailbox, _, host = self.email.rpartition("@")
        if not mailbox or "." not in host.strip(".") or len(self.email) > LONGEST_EMAIL:
            found["email"] = "We need an e-mail address to answer to."
        if self.level not in LEVELS:
            found["level"] = "Choose one of the three levels."
        if not SHORTEST_ABSTRACT <= len(self.abstract) <= LONGEST_ABSTRACT:
            found["abstract"] = (
                f"Describe your talk in {SHORTEST_ABSTRACT} to {LONGEST_ABSTRACT} characters."
            )
        return found


def create(path: Path) -> None:
    """Make the table where there is none yet."""
    with contextlib.closing(sqlite3.connect(path, timeout=LOCK_WAIT)) as connection, connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS proposals ("
            " id INTEGER PRIMARY KEY, title TEXT NOT NULL, speaker TEXT NOT NULL,"
            " email TEXT NOT NULL, level TEXT NOT NULL, abstract TEXT NOT NULL,"
            " sent_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
        )


def add(proposal: Proposal) -> None:
    """Keep a proposal; it is on disk when this returns."""
    with connection() as session:
        session.execute(
            "INSERT INTO proposals (title, speaker, email, level, abstract) VALUES (?, ?, ?, ?, ?)",
            (
                proposal.title,
                proposal.speaker,
                proposal.email,
                proposal.level,
                proposal.abstract,
            ),
        )


def titles() -> list[sqlite3.Row]:
    """Title, speaker and level of what has been proposed, the latest first, at most ten."""
    return (
        connection()
        .execute("SELECT title, speaker, level FROM proposals ORDER BY id DESC LIMIT 10")
        .fetchall()
    )


def connection() -> sqlite3.Connection:
    """The connection of this request. Opened after the fork, as SQLite demands."""
    opened: sqlite3.Connection | None = g.get("proposals")
    if opened is None:
        opened = sqlite3.connect(current_app.config["PROPOSALS"], timeout=LOCK_WAIT)
        opened.row_factory = sqlite3.Row
        g.proposals = opened
    return opened


def close(_error: BaseException | None) -> None:
    """Close the request's connection, if it has one."""
    opened = g.pop("proposals", None)
    if opened is not None:
        opened.close()
