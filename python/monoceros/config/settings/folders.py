"""Folders for temporary files that Gunicorn's deployments name."""

from monoceros.config.setting import Setting
from monoceros.config.validators import validate_string

SECTION = "Server Mechanics"


class WorkerTmpDir(Setting):
    """A folder that must exist. Nothing is written to it.

    Gunicorn keeps its workers' heartbeats there, and is told to use a file system in memory. Here
    they are in memory always.
    """

    name = "worker_tmp_dir"
    section = SECTION
    cli = ("--worker-tmp-dir",)
    meta = "DIR"
    validator = validate_string


class TmpUploadDir(Setting):
    """The folder for request bodies that do not fit in memory, where `spool_dir` names none."""

    name = "tmp_upload_dir"
    section = SECTION
    meta = "DIR"
    validator = validate_string
