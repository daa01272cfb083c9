"""Dumps of faulthandler as readable blocks."""

import faulthandler
import re
import sysconfig
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import monoceros
from monoceros.logging.stacks import MAX_LINES, format_stacks

OWN = str(Path(monoceros.__file__).parent)
STDLIB = sysconfig.get_paths()["stdlib"]


def thread(identity: int, *frames: str, current: bool = False, name: str = "") -> str:
    """A thread as faulthandler writes it; frames innermost first, "file:line function"."""
    head = "Current thread" if current else "Thread"
    label = f" [{name}]" if name else ""
    lines = [f"{head} {identity:#018x}{label} (most recent call first):"]
    for frame in frames:
        if place := re.fullmatch(r"(.*):(\d+) (.*)", frame):
            lines.append(f'  File "{place[1]}", line {place[2]} in {place[3]}')
        else:
            lines.append(frame)
    return "\n".join(lines) + "\n\n"


BOOTSTRAP = (
    f"{STDLIB}/threading.py:982 run",
    f"{STDLIB}/threading.py:1045 _bootstrap_inner",
    f"{STDLIB}/threading.py:1002 _bootstrap",
)
ENGINE = (f"{OWN}/workers/engine.py:88 run_thread", *BOOTSTRAP)
MAIN = (
    f"{OWN}/workers/base.py:140 run",
    f"{OWN}/arbiter/spawn.py:30 spawn",
    f"{OWN}/__main__.py:5 <module>",
    "<frozen runpy>:88 _run_code",
    "<frozen runpy>:198 _run_module_as_main",
)
APP = ("/srv/shop/cart.py:10 total", "/srv/shop/views.py:20 index")


def test_a_stuck_request_reads_like_a_traceback() -> None:
    text = thread(1, *APP, *ENGINE) + thread(2, *ENGINE) + thread(3, *ENGINE)
    text += thread(4, *MAIN, current=True)
    assert format_stacks(text, {1: "app-1", 4: "MainThread"}) == (
        "Thread app-1 (most recent call last):\n"
        '  File "/srv/shop/views.py", line 20, in index\n'
        '  File "/srv/shop/cart.py", line 10, in total\n'
        f'Thread MainThread: idle in File "{OWN}/workers/base.py", line 140, in run\n'
        f'2 idle threads in File "{OWN}/workers/engine.py", line 88, in run_thread'
    )


def test_the_current_thread_comes_first() -> None:
    text = thread(1, *APP) + thread(2, "/srv/a.py:1 f", current=True) + thread(3, "/srv/b.py:1 g")
    heads = [line for line in format_stacks(text, {}).splitlines() if line.startswith("Thread")]
    assert [head.split()[1] for head in heads] == ["0x2", "0x3", "0x1"]


def test_equal_stacks_of_busy_threads_are_shown_once() -> None:
    text = "".join(thread(number, *APP, *ENGINE) for number in (1, 2, 3))
    block = format_stacks(text, {3: "app-3"})
    assert block.splitlines()[0] == (
        "3 threads with this stack (Thread app-3 and others) (most recent call last):"
    )
    assert block.count("cart.py") == 1


def test_our_own_innermost_frame_is_not_hidden() -> None:
    """Stuck in the server itself: the frame that tells it stays."""
    text = thread(1, f"{OWN}/logging/files.py:50 write_whole", *MAIN)
    assert format_stacks(text, {}) == (
        "Thread 0x1 (most recent call last):\n"
        f'  File "{OWN}/logging/files.py", line 50, in write_whole'
    )


def test_own_frames_between_those_of_the_app_stay() -> None:
    text = thread(
        1, "/srv/a.py:1 inner", f"{OWN}/compat/x.py:2 bridge", "/srv/a.py:3 outer", *ENGINE
    )
    assert [line.split()[-1] for line in format_stacks(text, {}).splitlines()[1:]] == [
        "outer",
        "bridge",
        "inner",
    ]


@pytest.mark.parametrize(
    ("frames", "idle"),
    [
        ((f"{STDLIB}/concurrent/futures/thread.py:81 _worker", *BOOTSTRAP), True),
        ((f"{STDLIB}/threading.py:327 wait", f"{STDLIB}/queue.py:171 get", *BOOTSTRAP), True),
        ((f"{STDLIB}/threading.py:327 wait", "/srv/locks.py:3 acquire", *BOOTSTRAP), False),
        ((f"{STDLIB}/ssl.py:1100 read", *BOOTSTRAP), False),
        (
            (f"{STDLIB}/threading.py:327 wait", f"{STDLIB}/site-packages/x.py:1 f", *BOOTSTRAP),
            False,
        ),
        (("  <no Python frame>",), True),
    ],
)
def test_who_is_idle(frames: tuple[str, ...], idle: bool) -> None:
    assert (": idle" in format_stacks(thread(7, *frames), {})) is idle


def test_names_in_the_dump_count() -> None:
    text = thread(1, *APP, name="Thread-1 (work)")
    assert format_stacks(text).startswith("Thread Thread-1 (work) (most recent")


def test_names_of_this_process_are_the_default() -> None:
    text = thread(threading.get_ident(), *APP)
    assert format_stacks(text).startswith(f"Thread {threading.current_thread().name} (")


def test_what_is_no_stack_is_kept() -> None:
    text = "Fatal Python error: Aborted\n\n" + thread(1, "  Garbage-collecting", *APP, "  ...")
    text += "Extension modules: a, b (total: 2)\n"
    lines = format_stacks(text, {}).splitlines()
    assert lines[:2] == ["Fatal Python error: Aborted", "Extension modules: a, b (total: 2)"]
    assert "  Garbage-collecting" in lines
    assert "  ... outer frames not in the dump" in lines


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_nothing_written(text: str) -> None:
    assert format_stacks(text) == "(no stack of any Python thread)"


def test_deep_stacks_show_both_ends() -> None:
    frames = [f"/srv/deep.py:{number} f{number}" for number in range(1, 101)]
    lines = format_stacks(thread(1, *frames), {}).splitlines()
    assert len(lines) <= MAX_LINES
    assert lines[1].endswith("in f100")
    assert lines[-1].endswith("in f1")
    (gap,) = (line for line in lines if "not shown" in line)
    assert int(gap.split()[1]) == 100 - (len(lines) - 2)


@given(
    depths=st.lists(st.integers(0, 40), max_size=80),
    idle=st.lists(st.integers(0, 40), max_size=40),
    remarks=st.integers(0, 20),
)
def test_a_block_is_never_longer(depths: list[int], idle: list[int], remarks: int) -> None:
    text = "".join(f"remark {number}\n" for number in range(remarks)) + "\n"
    for number, depth in enumerate(depths):
        text += thread(number + 1, *(f"/srv/{number}.py:{line} f" for line in range(depth + 1)))
    for number, line in enumerate(idle):
        text += thread(1000 + number, f"{OWN}/workers/engine.py:{line} run", *BOOTSTRAP)
    lines = format_stacks(text, {}).splitlines()
    assert len(lines) <= MAX_LINES
    # Every busy thread is shown with its innermost frame, or counted as not shown.
    shown = [
        number for number in range(len(depths)) if f'"/srv/{number}.py", line 0,' in str(lines)
    ]
    hidden = sum(int(line[1:].split()[0]) for line in lines if "more busy threads" in line)
    assert len(shown) + hidden == len(depths)


@given(st.text())
def test_any_text_is_taken(text: str) -> None:
    assert len(format_stacks(text, {}).splitlines()) <= MAX_LINES


def test_a_real_dump() -> None:
    entered, leave = threading.Event(), threading.Event()

    def stuck_in_the_app() -> None:
        entered.set()
        assert leave.wait(30)

    with ThreadPoolExecutor(3, thread_name_prefix="pool") as pool:
        barrier = threading.Barrier(4)
        for _ in range(3):
            pool.submit(barrier.wait, 10)
        barrier.wait(10)
        busy = threading.Thread(target=stuck_in_the_app, name="busy")
        busy.start()
        assert entered.wait(10)
        with tempfile.TemporaryFile("w+") as file:
            faulthandler.dump_traceback(file, all_threads=True)
            file.seek(0)
            block = format_stacks(file.read())
        leave.set()
        busy.join(10)
    main, *others = block.split("\nThread ")
    assert main.startswith("Thread MainThread (most recent call last):")
    assert main.rstrip().endswith("in test_a_real_dump")
    (text,) = (other for other in others if other.startswith("busy ("))
    assert "in stuck_in_the_app" in text
    assert "_bootstrap" not in block
