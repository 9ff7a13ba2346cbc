"""What a job leaves in its log and on the terminal when it ends badly."""

import signal

import pytest

from meanfield.errors import DataError
from meanfield.logs import logged_to


@pytest.mark.parametrize(
    ("raised", "code", "on_terminal", "in_log"),
    [
        (DataError("weights.nc: no such file"), 1, "error: weights.nc: no such file\n", "weights.nc: no such file"),
        (OSError(28, "No space left on device", "a.nc"), 1, "error: a.nc: No space left on device\n", "a.nc: No space"),
        (KeyError("gamma"), 1, "error: unexpected KeyError: 'gamma' (traceback in {log})\n", "Traceback"),
        (KeyboardInterrupt(), 128 + signal.SIGINT, "", "interrupted"),
    ],
)
def test_a_bad_end(tmp_path, capsys, raised, code, on_terminal, in_log):
    log = tmp_path / "logs/job.log"
    with pytest.raises(SystemExit) as left, logged_to(log):
        raise raised
    assert left.value.code == code
    assert capsys.readouterr().err == on_terminal.format(log=log)
    text = log.read_text(encoding="utf-8")
    assert in_log in text
    assert ("Traceback" in text) == (in_log == "Traceback")
