"""Logs of the jobs and progress of long runs.

Under the workflow a job's log file gets every line; on a terminal a progress bar shows rate and time left.
"""

import logging
import signal
import sys
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tqdm import tqdm

from meanfield.errors import UserError

_FORMAT = "%(asctime)s %(levelname)s %(message)s"
logger = logging.getLogger("meanfield")


@contextmanager
def logged_to(path: str | Path) -> Iterator[logging.Logger]:
    """Send log lines and warnings to a file, and end the process with one line if something goes wrong.

    A `UserError` is logged as its one line; anything else, which is a bug of ours, with its traceback in the log
    file and one line on the terminal. Either way the exit code is 1. An interrupt from the keyboard is logged in a
    word, and the exit code is 130.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.setFormatter(logging.Formatter(_FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logging.captureWarnings(True)
    warnings.simplefilter("default")
    try:
        yield logger
    except UserError as error:
        _leave(str(error))
    except OSError as error:
        name = getattr(error, "filename", None)
        _leave(f"{name + ': ' if isinstance(name, str) else ''}{error.strerror or error}")
    except KeyboardInterrupt:
        logger.error("interrupted")
        sys.exit(128 + signal.SIGINT)
    except MemoryError:
        _leave("out of memory: fewer replicates_per_job or neurons need less")
    except Exception as error:
        logger.exception("unexpected error")
        _leave(f"unexpected {type(error).__name__}: {error} (traceback in {path})")
    finally:
        root.removeHandler(handler)
        handler.close()


def _leave(line: str) -> None:
    logger.error(line)
    print(f"error: {line}", file=sys.stderr)
    sys.exit(1)


class Progress:
    """Progress of a run of many iterations: a bar on a terminal, else a log line every few seconds.

    Parameters
    ----------
    total : int
        Iterations in all.
    label : str
        What runs.
    interval : float
        Seconds between two log lines.

    """

    def __init__(self, total: int, label: str, interval: float = 5.0):
        self.total = total
        self.label = label
        self.interval = interval
        self.done = 0
        self._lock = threading.Lock()
        self._counted = 0
        self._begin = self._start = self._last = time.monotonic()
        under_workflow = bool(logging.getLogger().handlers)
        self._bar = None
        if sys.stderr.isatty() and not under_workflow:
            self._bar = tqdm(total=total, desc=label, unit="it", unit_scale=True, mininterval=0.2)

    def __call__(self, iterations: int) -> None:
        """Count iterations that are done; safe to call from several threads."""
        with self._lock:
            if self._counted == 0:  # the clock starts with the first news: compiling is no part of the rate
                self._start = time.monotonic()
                self._counted = max(self.done + iterations, 1)
            self.done += iterations
            if self._bar is not None:
                self._bar.update(iterations)
                return
            now = time.monotonic()
            if now - self._last >= self.interval and self._counted < self.done < self.total:
                self._last = now
                rate = (self.done - self._counted) / max(now - self._start, 1e-9)
                logger.info(
                    "%s: %d of %d iterations (%.0f %%), %.3g per second, %.0f s left",
                    self.label, self.done, self.total, 100 * self.done / self.total, rate,
                    (self.total - self.done) / max(rate, 1e-9),
                )  # fmt: skip

    def close(self) -> None:
        """Finish: close the bar, or log the total and the mean rate."""
        if self._bar is not None:
            self._bar.close()
            return
        seconds = max(time.monotonic() - self._begin, 1e-9)
        logger.info(
            "%s: %d iterations in %.1f s, %.3g per second",
            self.label,
            self.done,
            seconds,
            self.done / seconds,
        )
