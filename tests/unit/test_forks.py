"""Jobs as forks: what is forked, what is not, exit codes, and that Snakemake sees no difference."""

import os
import signal
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

from meanfield import forks

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere jobs start as usual")
SCRIPT = "/some/project/.snakemake/scripts/tmp1.analyse.py"


def options(**changed):
    """Return what Snakemake asks `subprocess.Popen` for, with some entries changed."""
    return {"shell": True, "stdout": None, "env": {"OMP_NUM_THREADS": "1"}, **changed}


def test_a_script_of_this_python_is_recognised():
    command = f"set -euo pipefail;  {sys.executable} {SCRIPT}"
    assert forks.script_of(command, options()) == SCRIPT
    assert forks.script_of(command, options(stdout=sys.stdout)) == SCRIPT
    assert forks.script_of(f"{sys.executable} '/a folder/one.py'", options()) == "/a folder/one.py"


@pytest.mark.parametrize(
    ("command", "changed"),
    [
        (f"/usr/bin/other-python {SCRIPT}", {}),
        (f"{sys.executable} {SCRIPT} --flag", {}),
        (f"{sys.executable} {SCRIPT}; rm x", {}),
        (f"cd elsewhere && {sys.executable} {SCRIPT}", {}),
        (f"{sys.executable} -m snakemake", {}),
        (f"source activate x; {sys.executable} {SCRIPT}", {}),
        (f"{sys.executable} 'unfinished", {}),
        (f"{sys.executable} {SCRIPT}", {"shell": False}),
        (f"{sys.executable} {SCRIPT}", {"stdout": subprocess.PIPE}),
        (f"{sys.executable} {SCRIPT}", {"env": None}),
        (f"{sys.executable} {SCRIPT}", {"env": {"OPENBLAS_NUM_THREADS": "2"}}),
        ([sys.executable, SCRIPT], {}),
    ],
)
def test_anything_else_is_not(command, changed):
    assert forks.script_of(command, options(**changed)) is None


@pytest.mark.parametrize(
    ("jobs", "switch", "name"),
    [(forks.FEWEST_JOBS - 1, "1", "snakemake"), (100, "0", "snakemake"), (100, "1", "of_a_user"), (100, "1", None)],
)
def test_jobs_start_as_usual(monkeypatch, jobs, switch, name):
    shell = SimpleNamespace(sp=subprocess)
    monkeypatch.setitem(sys.modules, "snakemake.shell", shell)
    file = {"__file__": f"/bin/{name}"} if name else {}
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None, **file))
    monkeypatch.setenv(forks.SWITCH, switch)
    assert forks.serve(jobs) is None
    assert shell.sp is subprocess


# The file that starts Snakemake has this name; each fork runs it again as another module than __main__.
MAIN = """
import os, signal, subprocess, sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import snakemake.shell
from meanfield import forks

if __name__ == "__main__":
    folder, shell = Path(sys.argv[1]), sys.modules["snakemake.shell"]
    server = forks.serve(100)
    {body}
"""
READY = """
    assert shell.sp is server and server.PIPE is subprocess.PIPE
    assert server.ready.wait(120)
"""


def as_snakemake(tmp_path, body, before=READY, **variables):
    """Run some lines in a program that looks like Snakemake's, with a server that is ready; return what they print."""
    main = tmp_path / "snakemake"
    main.write_text(
        MAIN.replace("    {body}", before + textwrap.indent(textwrap.dedent(body), "    ")), encoding="utf-8"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(
        [sys.executable, str(main), str(tmp_path)],
        env=environment, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@linux
def test_every_fork_returns_its_own_exit_code(tmp_path):
    # Starting one reaps others: the codes must not get lost or mixed up between threads.
    (tmp_path / "code.py").write_text("import os, sys\nsys.exit(int(os.environ['CODE']))\n", encoding="utf-8")
    printed = as_snakemake(
        tmp_path,
        """
        def code(n):
            command = f"set -euo pipefail; {sys.executable} {folder}/code.py"
            return server.Popen(command, shell=True, env={**os.environ, "CODE": str(n)}, executable="/bin/bash").wait()
        with ThreadPoolExecutor(8) as pool:
            print(*pool.map(code, range(200)))
        """,
    )
    assert printed == [str(n) for n in range(200)]


@linux
def test_a_fork_is_a_script_of_its_own(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "say.py").write_text(
        "import os, sys, threading\n"
        "print(__name__, sys.argv[0], os.getcwd(), os.environ.get('ONLY_HERE'), os.environ.get('MEANFIELD_PRELOAD'))\n"
        "print(open(f'/proc/{os.getppid()}/cmdline').read().count('forkserver'), threading.active_count())\n"
        "print('numba' in sys.modules, 'meanfield.simulation' in sys.modules)\n",
        encoding="utf-8",
    )
    printed = as_snakemake(
        tmp_path,
        """
        os.chdir(folder / "elsewhere")
        assert "MEANFIELD_PRELOAD" not in os.environ
        server.Popen(f"{sys.executable} {folder}/say.py", shell=True, env={**os.environ, "ONLY_HERE": "yes"}).wait()
        """,
    )
    assert printed[:5] == ["__main__", f"{tmp_path}/say.py", f"{tmp_path}/elsewhere", "yes", "None"]
    assert int(printed[5]) >= 1
    assert printed[6:] == ["1", "True", "True"]


@linux
def test_forks_end_by_signals_and_without_the_server_jobs_start_as_usual(tmp_path):
    (tmp_path / "sleep.py").write_text("import time\ntime.sleep(60)\n", encoding="utf-8")
    (tmp_path / "parent.py").write_text(
        "import os\nprint(open(f'/proc/{os.getppid()}/cmdline').read().count('forkserver') > 0)\n", encoding="utf-8"
    )
    printed = as_snakemake(
        tmp_path,
        """
        import psutil
        def start(name):
            return server.Popen(f"{sys.executable} {folder}/{name}", shell=True, env=dict(os.environ))
        for end in ("kill", "terminate"):
            process = start("sleep.py")
            getattr(process, end)()
            print(process.wait())
        start("parent.py").wait()
        for child in psutil.Process().children():
            if "forkserver" in " ".join(child.cmdline()):
                child.kill()
                child.wait()
        start("parent.py").wait()
        """,
    )
    # A new server loads again; whichever way the job goes, it runs.
    assert printed[:3] == [str(-signal.SIGKILL), str(-signal.SIGTERM), "True"]
    assert printed[3] in ("True", "False")


@linux
def test_without_room_for_a_socket_jobs_start_as_usual(tmp_path):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    printed = as_snakemake(tmp_path, "print(server, shell.sp is subprocess)", before="", TMPDIR=str(deep))
    assert printed == ["None", "True"]


SNAKEFILE = """
from meanfield import forks

onstart:
    forks.serve(20).ready.wait(120)

rule all:
    input:
        expand("{n}.txt", n=range(10)),

rule one:
    output:
        "{n}.txt",
    log:
        "{n}.log",
    benchmark:
        "{n}.tsv"
    threads: 1
    script:
        "one.py"
"""
ONE = """
import os, sys, time
n = int(snakemake.wildcards.n)
print("says", n)
if n == 7:
    open(snakemake.output[0], "w").write("half")
    sys.exit(3)
time.sleep(0.6 if n == 8 else 0)
parent = open(f"/proc/{os.getppid()}/cmdline").read()
open(snakemake.output[0], "w").write("fork" if "forkserver" in parent else "other")
"""


@linux
def test_snakemake_sees_no_difference(tmp_path):
    (tmp_path / "Snakefile").write_text(SNAKEFILE, encoding="utf-8")
    (tmp_path / "one.py").write_text(ONE, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "snakemake", "--cores", "3", "--keep-going"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Error in rule one" in done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(int(word) for word in done.stdout.split() if word.isdigit()) == list(range(10))
    for n in range(10):
        file = tmp_path / f"{n}.txt"
        assert file.exists() == (n != 7)  # a failed job's output is removed
        if n != 7:
            assert file.read_text(encoding="utf-8") == "fork"
    names, row = ((tmp_path / "8.tsv").read_text(encoding="utf-8").splitlines()[k].split("\t") for k in (0, 1))
    measured = dict(zip(names, row, strict=True))
    assert 0.6 <= float(measured["s"]) < 30
    assert float(measured["max_rss"]) > 10  # of the fork, not of a shell around it
