"""Options of the tests of made inputs, and at their end what was tried."""

import time

import pytest
from helpers import input_watch


def pytest_addoption(parser):
    group = parser.getgroup("made inputs")
    group.addoption("--all-faults", action="store_true", help="go on after a fault, and list all kinds at the end")
    group.addoption("--seconds", type=float, default=float("inf"), help="how long each test may look for faults")
    group.addoption("--tried", help="file for the table of what was tried, in JSON")


@pytest.fixture(autouse=True)
def _search(request):
    input_watch.SEARCH.all = request.config.getoption("--all-faults", False)
    input_watch.SEARCH.until = time.monotonic() + request.config.getoption("--seconds", float("inf"))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem):
    try:
        return (yield)
    except input_watch.Enough:
        return True


def pytest_terminal_summary(terminalreporter, config):
    rows = input_watch.table()
    for row in rows:
        line = "{name}: {examples} examples, {answered} answered, {refused} refused, {seconds} s".format(**row)
        terminalreporter.write_line(line)
        for fault, count in row["faults"].items():
            terminalreporter.write_line(f"    {count} times {fault}")
    if rows and config.getoption("--tried", None):
        input_watch.write_table(config.getoption("--tried"))
