"""From a fork to the end of a worker process.

Rules, in the order in which they are kept after the fork:
- The arbiter's signals are blocked until the child has handlers of its own: none is lost, none
  runs the parent's code.
- Stacks can be asked for before anything else happens.
- The process dies with its master: the kernel's parent-death signal, and a check that the master
  was still there when that was asked for.
- Descriptors that are the arbiter's alone are closed.
- Nothing of the parent's call stack is ever returned to: the process leaves through `leave`.
"""

import atexit
import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import setproctitle

import monoceros
from monoceros.arbiter.generation import Generation
from monoceros.arbiter.signals import SIGNALS, ignore
from monoceros.arbiter.stacks import StackFile
from monoceros.errors import AppImportError, StartupFailed, format_foreign_exception
from monoceros.parentage import die_with
from monoceros.workers.doors import DOORS_SIGNAL, close_doors
from monoceros.workers.seat import Seat

if TYPE_CHECKING:
    from monoceros.arbiter.arbiter import Arbiter

#: Exit codes of a process that did not get as far as serving (Gunicorn's contract).
BOOT_ERROR: Final = 3
APP_LOAD_ERROR: Final = 4
#: An exception after boot.
CRASHED: Final = 255

_SERVER_FOLDER: Final = str(Path(monoceros.__file__).parent)


def title(role: str, name: str) -> None:
    """What `ps` shows: `monoceros: worker [NAME]`."""
    setproctitle.setproctitle(f"monoceros: {role} [{name}]")


def make_worker(server: "Arbiter", generation: Generation, age: int, seat: Seat) -> Any:
    """The worker object, in the process that forks; runs `pre_fork`.

    Raises what the class's constructor or the hook raises.
    """
    cfg = generation.cfg
    worker = generation.worker_class(
        age, server.pid, generation.listeners, server.app, cfg.timeout / 2.0, cfg, server.log
    )
    if hasattr(worker, "take_seat"):
        worker.take_seat(seat)
    cfg.pre_fork(server, worker)
    return worker


def take_own_signals(server: "Arbiter", on_end: Callable[[], None]) -> None:
    """Replace the arbiter's handlers in a fresh child and let the blocked signals in.

    Args:
        on_end: called on TERM, INT and QUIT until the child installs its own handlers.
    """

    def end(_number: int, _frame: FrameType | None) -> None:
        on_end()

    def reopen(_number: int, _frame: FrameType | None) -> None:
        server.log.reopen_files()

    signal.set_wakeup_fd(-1)
    for number in SIGNALS:
        signal.signal(number, ignore)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, reopen)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, end)


def deafen() -> None:
    """The process ends already: an order to end must not run into that. ABRT and KILL do."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, ignore)


def leave_boot() -> None:
    """Told to end while booting."""
    raise SystemExit(0)


def live_as_worker(
    server: "Arbiter",
    worker: Any,
    seat: Seat,
    stacks: StackFile,
    generation: Generation,
    adopted: Callable[[], None] | None = None,
) -> NoReturn:
    """The whole life of a worker process; call it right after fork, with signals blocked.

    Args:
        adopted: waits until the master is our parent, where it is not from the start.
    """
    code = CRASHED
    try:
        take_own_signals(server, leave_boot)
        if not generation.uses_engine:
            signal.signal(DOORS_SIGNAL, lambda _sig, _frame: close_doors(generation.listeners))
        stacks.register()
        if adopted is not None:
            adopted()
        die_with(server.pid)
        server.release_in_child(generation, stacks)
        worker.pid = os.getpid()
        seat.arrive(worker.pid)
        code = _work(server, worker, generation)
    except SystemExit as end:
        # Told to end in a moment in which nothing else could take it.
        code = exit_code(end)
    except BaseException:
        # Nothing that may fail is left to be told through the log here.
        traceback.print_exc()
    finally:
        leave(code, quick=bool(getattr(worker, "quick", False)))


def _work(server: "Arbiter", worker: Any, generation: Generation) -> int:
    cfg, log = generation.cfg, server.log
    code = 0
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        title("worker", server.proc_name)
        log.info("Booting worker with pid: %s", worker.pid)
        cfg.post_fork(server, worker)
        worker.init_process()
    except SystemExit as end:
        deafen()
        code = exit_code(end)
    except BaseException as error:
        deafen()
        booted = bool(getattr(worker, "booted", False))
        code = tell_failure(log, generation, error, booted=booted, who="Worker")
    finally:
        code = _say_goodbye(server, worker, generation, code)
    return code


def _say_goodbye(server: "Arbiter", worker: Any, generation: Generation, code: int) -> int:
    log = server.log
    try:
        deafen()
        log.info("Worker exiting (pid: %s)", worker.pid)
        if hasattr(worker, "tmp"):
            worker.tmp.close()
        generation.cfg.worker_exit(server, worker)
    except SystemExit as end:
        code = exit_code(end)
    except BaseException:
        log.exception("Exception in worker_exit hook of worker %s", worker.pid)
    return code


def tell_failure(
    log: Any, generation: Generation, error: BaseException, *, booted: bool, who: str
) -> int:
    """Log why a worker or mold ends, and return its exit code. The traceback of a boot failure
    is told by the first process of the generation that meets it."""
    if booted:
        log.error("Exception in worker process", exc_info=error)
        return CRASHED
    code = APP_LOAD_ERROR if isinstance(error, AppImportError) else BOOT_ERROR
    speaks = isinstance(error, AppImportError | StartupFailed)
    summary = str(error) if speaks else _one_line(error)
    if not generation.seen.first(error):
        summary = summary.partition("\n")[0]  # a framework's reason may be a whole traceback
        log.error("%s (pid:%s) failed to boot, as told above: %s", who, os.getpid(), summary)
    elif isinstance(error, StartupFailed):
        cause = error.__cause__
        told = f"\n{format_foreign_exception(cause).rstrip()}" if cause is not None else ""
        log.error("%s (pid:%s) failed to boot: %s%s", who, os.getpid(), summary, told)
    elif code == APP_LOAD_ERROR or not _is_of_the_app(error):
        log.error("%s (pid:%s) failed to load the app: %s", who, os.getpid(), summary)
        log.debug("Where that was:", exc_info=error)
    else:
        log.error(
            "%s (pid:%s) failed to boot:\n%s", who, os.getpid(), format_foreign_exception(error)
        )
    return code


def _one_line(error: BaseException) -> str:
    text = traceback.format_exception_only(error)[-1].strip()
    return text.splitlines()[0] if text else type(error).__name__


def _is_of_the_app(error: BaseException) -> bool:
    """Whether any code beside the server's and the import system's was running; a syntax error
    in the app has run nothing but shows its place."""
    if isinstance(error, SyntaxError):
        return True
    for frame in traceback.extract_tb(error.__traceback__):
        name = frame.filename
        own = name.startswith((_SERVER_FOLDER + os.sep, "<frozen importlib"))
        if not own and f"{os.sep}importlib{os.sep}" not in name:
            return True
    return False


def exit_code(end: SystemExit) -> int:
    """The status that Python would exit with."""
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    print(end.code, file=sys.stderr)
    return 1


def leave(code: int, *, quick: bool = False) -> NoReturn:
    """End this process as the interpreter would, but for one thing: daemon threads may be stuck in
    the app or in the engine, and must not be run into by a dying interpreter.

    Args:
        quick: do not wait for the app's own threads.
    """
    try:
        if not quick:
            # As the interpreter's own end: executors' threads are told to stop, then the
            # non-daemon threads are joined. multiprocessing ends its children this way too.
            threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)
