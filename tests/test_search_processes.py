"""A search in one process, killed at several moments: every trial once, and the table of the undisturbed search."""

import pytest
from helpers.searches import ASKED, MOMENTS, check, until

pytestmark = pytest.mark.thorough


def test_the_only_process_is_killed(start_search, tmp_path, undisturbed_search):
    out = tmp_path / "search"
    for moment in MOMENTS:
        process = start_search(*ASKED, out=out)
        until(lambda moment=moment: moment(out), process)
        process.kill()
    start_search(*ASKED, out=out).end()
    check(out, undisturbed_search)
