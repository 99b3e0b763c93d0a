"""SIGTERM and Ctrl-C: when they act, when they wait, and what is said."""

import os
import signal
import subprocess
import sys

import pytest

from pointadapt.core import stops

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no process gets SIGTERM there")


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def test_sigterm_stops_at_once(sigterm):
    with pytest.raises(stops.Stopped):
        terminate()
    terminate()  # while it is on its way, asking again changes nothing


def test_sigterm_waits_where_it_is_told_to(sigterm):
    seen = []
    with pytest.raises(stops.Stopped), stops.later():
        terminate()
        seen.append(stops.asked())
        with stops.later():
            terminate()
        seen.append("after the inner block")
    assert seen == [True, "after the inner block"]
    stops.forget()
    with pytest.raises(stops.Stopped), stops.later():
        stops.check("without a reason, nothing", "happens")
        terminate()
        stops.check()
        seen.append("not reached")
    assert len(seen) == 2


def test_another_error_is_not_replaced(sigterm):
    with pytest.raises(KeyError), stops.later():
        terminate()
        raise KeyError
    assert stops.asked()


def test_a_process_that_ignores_signals_goes_on_doing_so():
    code = (
        "import signal; from pointadapt.core import stops;"
        "signal.signal(signal.SIGINT, signal.SIG_IGN); signal.signal(signal.SIGTERM, print);"
        "stops.install(); stops.uninstall();"
        "print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN,"
        " signal.getsignal(signal.SIGTERM) is print)"
    )
    assert python(code) == (0, "True True\n", "")


IMPORTING = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it in the background
from pathlib import Path
from pointadapt.core import stops
from pointadapt.core.folders import only_run_in
stops.install()
stops.say(lambda what: f"{what}; start again")
try:
    with only_run_in(Path("a run")):
        import slow
except BaseException:
    print("an exception went through the import")
    raise
"""


@pytest.mark.parametrize(
    ("name", "status", "said"),
    [("SIGINT", 130, "interrupted"), ("SIGTERM", 143, "stopped by SIGTERM")],
)
def test_in_the_middle_of_an_import_there_is_one_line(tmp_path, name, status, said):
    """Numpy, for one, makes an ImportError of whatever happens while it is imported."""
    (tmp_path / "slow.py").write_text(
        f"import os, signal\ntry:\n    os.kill(os.getpid(), signal.{name})\n"
        "except BaseException as error:\n    raise ImportError('numpy is broken') from error\n"
    )
    assert python(IMPORTING, tmp_path) == (status, "", f"pointadapt: error: {said}; start again\n")
    assert [path.name for path in tmp_path.iterdir() if path.name != "__pycache__"] == ["slow.py"]


def test_the_signals_are_handled_before_anything_is_imported():
    """All that is loaded by then; imports of torch and its kin take seconds."""
    code = (
        "import sys; before = set(sys.modules); import pointadapt.__main__;"
        "print(sorted(m for m in set(sys.modules) - before if not m.startswith('_')))"
    )
    status, out, _ = python(code)
    loaded = {name.split(".")[0] for name in eval(out)}
    known = set(sys.stdlib_module_names) | {"pointadapt"}
    assert status == 0 and loaded <= known
    assert len(eval(out)) < 40, out


def python(code, path=None):
    """(status, standard output, standard error) of a program."""
    there = os.pathsep.join([*([str(path)] if path else []), os.environ.get("PYTHONPATH", "")])
    env = {**os.environ, "PYTHONPATH": there.rstrip(os.pathsep)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=path, check=False)
    return done.returncode, done.stdout, done.stderr
