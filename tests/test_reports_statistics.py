"""Statistics of paired differences against SciPy and every choice of signs."""

import itertools

import numpy as np
import pytest
import scipy.stats

from keras_resnets.errors import ArgumentError
from keras_resnets.reports.statistics import paired, verdict


@pytest.mark.parametrize(
    "d",
    [[0.01, 0.02, 0.03, -0.01], [0.1, 0.1, 0.1], [-0.2, 0.1], [0.05, 0.01, 0.02, 0.07, 0.03, 0.01, 0.0]],
    ids=["four", "alike", "two", "seven"],
)
def test_paired_against_scipy_and_every_choice_of_signs(d):
    found = paired(d)
    assert found["mean"] == pytest.approx(np.mean(d))
    assert found["sd"] == pytest.approx(np.sqrt(sum((x - np.mean(d)) ** 2 for x in d) / (len(d) - 1)), abs=1e-12)
    as_far = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True))) > abs(sum(d)) - 1e-9
        for signs in itertools.product((1, -1), repeat=len(d))
    ]
    assert found["p_signs"] == pytest.approx(np.mean(as_far))
    assert found["least_p_signs"] == 2 / 2 ** len(d)
    if len(set(d)) == 1:
        assert found["p_t"] is None
    else:
        test = scipy.stats.ttest_rel(np.add(d, 0.5), np.full(len(d), 0.5))
        assert found["p_t"] == pytest.approx(test.pvalue)
        assert (found["low"], found["high"]) == pytest.approx(tuple(test.confidence_interval(0.95)))


def test_paired_by_hand_and_its_verdict():
    # Mean 2, standard deviation 1, over the root of 3 and times 4.302653: 2 +- 2.484.
    found = paired([1, 2, 3])
    assert (found["low"], found["high"]) == pytest.approx((2 - 2.48414, 2 + 2.48414), abs=1e-4)
    assert "no significant difference" in verdict(found)
    assert verdict(paired([0.012, 0.013, 0.014])).endswith("significantly higher")
    assert verdict(paired([-0.012, -0.013, -0.014])).endswith("significantly lower")
    nothing = paired([0.0, 0.0])
    assert (nothing["p_t"], nothing["p_signs"], nothing["low"], nothing["high"]) == (None, 1, 0, 0)
    # 19/397 less each of these: alike but for rounding, and no proof of anything.
    assert "no spread" in verdict(paired([33 / 397 - 14 / 397, 43 / 397 - 24 / 397]))
    for few in ([0.1], [0.1] * 17):
        with pytest.raises(ArgumentError, match="2 to 16"):
            paired(few)
