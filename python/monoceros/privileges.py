"""Who the workers run as.

Rules:
- The app's code never runs with rights that its operator wanted to be given up: a worker gives
  them up before it imports the app, and so does a mold.
- They are given up for good: real, effective and saved ids change together, and none of the
  master's supplementary groups stays.
- Only root can become somebody else. A configuration that asks it of anybody else is refused when
  the server starts, and not found out by a worker.
"""

import grp
import os
import pwd
from dataclasses import dataclass

from monoceros.errors import ConfigError


def user_id(value: int | str) -> int:
    """The id of a user given by number or name. Raises ValueError for an unknown name."""
    text = str(value).strip()
    if text.isdigit():
        return int(text)
    try:
        return pwd.getpwnam(text).pw_uid
    except KeyError:
        raise ValueError(f"No such user: {text!r}") from None


def group_id(value: int | str) -> int:
    """The id of a group given by number or name. Raises ValueError for an unknown name."""
    text = str(value).strip()
    if text.isdigit():
        return int(text)
    try:
        return grp.getgrnam(text).gr_gid
    except KeyError:
        raise ValueError(f"No such group: {text!r}") from None


@dataclass(frozen=True)
class Identity:
    """User and group of a process.

    all_groups: every group that the user is a member of, and not only `gid`.
    """

    uid: int
    gid: int
    all_groups: bool = False

    @classmethod
    def resolve(cls, user: int | None, group: int | None, all_groups: bool) -> "Identity":
        """What the settings `user`, `group` and `initgroups` ask for.

        A user without a group comes with his own: the master's, root's as a rule, is no part of
        what was asked for. Only a user without an entry in the database keeps it, because there
        is no other.
        """
        uid = os.geteuid() if user is None else user
        if group is not None:
            return cls(uid, group, all_groups)
        entry = None if user is None else _entry(uid)
        return cls(uid, os.getegid() if entry is None else entry.pw_gid, all_groups)

    @property
    def is_ours(self) -> bool:
        """This process has these ids already."""
        return os.getresuid() == (self.uid,) * 3 and os.getresgid() == (self.gid,) * 3

    def check(self) -> None:
        """Raises ConfigError when this process could never take on these ids."""
        if os.geteuid() != 0 and not self.is_ours:
            raise ConfigError(
                f"workers can't run as user {self.uid} and group {self.gid}: only root can "
                f"become somebody else, and this is user {os.geteuid()}. Start the server as "
                "that user, without the settings user and group"
            )

    def assume(self) -> bool:
        """Take on these ids, for good. False when there was nothing to change.

        Raises OSError when the system refuses.
        """
        if self.is_ours:
            return False
        entry = _entry(self.uid)
        if self.all_groups and entry is not None:
            os.initgroups(entry.pw_name, self.gid)
        else:
            os.setgroups([self.gid])
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)
        return True


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None
