"""Who the workers run as."""

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_bool, validate_group, validate_user

SECTION = "Server Mechanics"


class User(Setting):
    """The user that workers run as, by name or number. Only root can set another than himself.

    The master stays who it is: it binds ports below 1024, reopens log files and signals workers.
    Workers, and with `preload_app` the process that imports the app, become the user before the
    app is imported. Without `group` they get the user's own group, and none of the master's.
    """

    name = "user"
    section = SECTION
    cli = ("-u", "--user")
    meta = "USER"
    validator = validate_user


class Group(Setting):
    """The group that workers run as, by name or number. Only root can set another than his own."""

    name = "group"
    section = SECTION
    cli = ("-g", "--group")
    meta = "GROUP"
    validator = validate_group


class InitGroups(Setting):
    """Let workers be in every group that their user is a member of, and not only in `group`."""

    name = "initgroups"
    section = SECTION
    cli = ("--initgroups",)
    action = "store_true"
    validator = validate_bool
    default = False
