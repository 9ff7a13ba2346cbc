"""The trials themselves: their page is current, and they see what they are there to see."""

import os
import random
import signal
import time
from collections import Counter

from conftest import ROOT
from hypothesis import given
from hypothesis import strategies as st

from tests.reliability import __main__ as trials
from tests.reliability.common import in_a_child, tally
from tests.reliability.damages import damaged


def test_the_page_is_that_of_the_recorded_rows():
    rows = trials.recorded()
    assert rows
    assert trials.PAGE.read_text(encoding="utf-8") == trials.page(rows), "python -m tests.reliability --render"


def test_the_tests_that_the_page_names_exist():
    for _, file, name in trials.TESTED:
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)


@given(st.binary(min_size=1, max_size=300), st.integers())
def test_a_damage_is_one(contents, seed):
    assert damaged(contents, random.Random(seed))[1] != contents


def test_a_crash_a_hang_and_an_exception_in_a_child_are_told_apart():
    assert in_a_child(lambda: "well", 60) == "well"
    assert in_a_child(lambda: 1 / 0, 60) == "traceback: ZeroDivisionError"
    assert in_a_child(lambda: time.sleep(60), 1) == "hang"
    assert in_a_child(lambda: os.kill(os.getpid(), signal.SIGKILL), 60) == "crash by signal 9"


def test_what_is_not_as_expected_counts_against():
    row = tally("n", "t", "e", Counter({"right": 3, "wrong": 1}), {"right"})
    assert (row.good, row.count) == (3, 4)
