"""Tables for TensorBoard's Text tab, and pictures of bars."""

import numpy as np
import pandas as pd
import pytest
from helpers.board import table

from keras_resnets.reports import events, figures


@pytest.mark.backends
def test_a_table_says_what_it_leaves_out():
    rows = pd.DataFrame(np.arange(250 * 50).reshape(250, 50))
    text = events.table(rows)
    first, *shown = table(text)
    assert first == [str(name) for name in range(40)]
    assert [int(row[39]) for row in shown] == [50 * i + 39 for i in range(200)]
    assert "first 200 of 250 rows and 40 of 50 columns" in text
    assert "first" not in events.table(rows.iloc[:200, :40])


@pytest.mark.backends
def test_a_cell_stays_a_cell():
    rows = pd.DataFrame({"a|b": ["c|d", "two\nlines"], "e": [0.123456789, None], "f": [(1, np.int64(2)), {"g": 3}]})
    lines = events.table(rows).splitlines()
    assert lines[0] == "| a\\|b | e | f |"
    assert lines[2] == '| c\\|d | 0.123457 | [1, "2"] |'
    assert lines[3].startswith("| two lines | ")
    assert len(lines) == 4


@pytest.mark.backends
def test_bars_are_the_values_beside_their_names():
    values = pd.Series([0.5, np.nan, 0.25], index=["stage1_block1", "stage1_block2", "stem"])
    (axes,) = figures.bars(values, "error", "block", "a network").axes
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_array_equal(heights, values)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(values.index)
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("block", "error", "a network")
    (crowd,) = figures.bars(pd.Series(range(300)), "error", "class").axes
    # As one artist: 21,000 classes as bars took minutes.
    assert not crowd.patches
    assert [line[1].tolist() for line in crowd.collections[0].get_segments()] == [[i, i] for i in range(300)]
    assert len(crowd.get_xticks()) <= 75
