"""Whom workers run as: what the settings mean, and that nothing of the master is left."""

import json
import os
import pwd
from collections.abc import Callable

import pytest

from monoceros.config import Config
from monoceros.errors import ConfigError
from monoceros.privileges import Identity, group_id, user_id

#: An account that every Debian and most other systems have, without a login.
NOBODY = pwd.getpwnam("nobody")
#: Ids that no account has.
STRANGER = 123_456_789

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


def test_names_and_numbers() -> None:
    assert user_id("nobody") == user_id(str(NOBODY.pw_uid)) == user_id(NOBODY.pw_uid)
    assert group_id("root") == group_id(0) == 0
    with pytest.raises(ValueError, match="No such user: 'nobody-at-all'"):
        user_id("nobody-at-all")
    with pytest.raises(ValueError, match="No such group: 'nobody-at-all'"):
        group_id("nobody-at-all")


def test_a_user_brings_his_own_group() -> None:
    assert Identity.resolve(NOBODY.pw_uid, None, False).gid == NOBODY.pw_gid
    assert Identity.resolve(NOBODY.pw_uid, 0, False).gid == 0
    assert Identity.resolve(STRANGER, None, False).gid == os.getegid()
    ours = Identity.resolve(None, None, False)
    assert (ours.uid, ours.gid) == (os.geteuid(), os.getegid())
    assert ours.is_ours


@pytest.mark.parametrize("value", ["", "no-such-user", "12x", -1, True, 1.5, ["nobody"]])
def test_what_is_no_user_is_refused(value: object) -> None:
    with pytest.raises((ValueError, TypeError), match="user: "):
        Config().set("user", value)


def test_the_configuration_answers_with_numbers() -> None:
    cfg = Config()
    assert (cfg.user, cfg.group) == (cfg.uid, cfg.gid) == (os.geteuid(), os.getegid())
    cfg.set("user", "nobody")
    assert (cfg.uid, cfg.gid) == (NOBODY.pw_uid, NOBODY.pw_gid)
    cfg.set("group", "0")
    assert (cfg.user, cfg.group) == (NOBODY.pw_uid, 0)


def in_child(work: Callable[[], object]) -> object:
    """What `work` returns, in a process of its own."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, json.dumps(work()).encode())
        except BaseException as error:
            os.write(write, json.dumps(repr(error)).encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as file:
        text = file.read()
    os.waitpid(child, 0)
    return json.loads(text)


def facts() -> dict[str, object]:
    return {
        "user": os.getresuid(),
        "group": os.getresgid(),
        "groups": sorted(os.getgroups()),
    }


def regained() -> list[str]:
    """The calls by which this process gets rights of root back."""
    found = []
    calls: list[tuple[Callable[..., None], tuple[object, ...]]] = [
        (os.setuid, (0,)),
        (os.seteuid, (0,)),
        (os.setresuid, (0, 0, 0)),
        (os.setgid, (0,)),
        (os.setgroups, ([0],)),
    ]
    for call, arguments in calls:
        try:
            call(*arguments)
        except PermissionError:
            continue
        found.append(call.__name__)
    return found


@needs_root
def test_everything_of_the_master_goes_for_good() -> None:
    def work() -> object:
        os.setgroups([0, 4, 24])
        changed = Identity.resolve(NOBODY.pw_uid, None, False).assume()
        return [changed, facts(), regained()]

    uid, gid = NOBODY.pw_uid, NOBODY.pw_gid
    wanted = {"user": [uid] * 3, "group": [gid] * 3, "groups": [gid]}
    assert in_child(work) == [True, wanted, []]


@needs_root
def test_all_groups_of_the_user_on_demand() -> None:
    def work() -> object:
        Identity.resolve(NOBODY.pw_uid, 4, True).assume()
        return facts()

    groups = sorted(set(os.getgrouplist("nobody", 4)))
    assert in_child(work) == {"user": [NOBODY.pw_uid] * 3, "group": [4] * 3, "groups": groups}


@needs_root
def test_nobody_else_can_become_somebody() -> None:
    def work() -> object:
        Identity.resolve(NOBODY.pw_uid, None, False).assume()
        again = Identity.resolve(NOBODY.pw_uid, None, False)
        again.check()
        unchanged = again.assume()
        try:
            Identity.resolve(STRANGER, None, False).check()
        except ConfigError as error:
            return [unchanged, str(error)]
        return "nothing was raised"

    unchanged, text = in_child(work)  # type: ignore[misc]
    assert unchanged is False
    assert f"user {STRANGER} " in text
    assert "only root can" in text
