"""Time of calls that take turns, by a clock that is set by hand."""

import pytest

from keras_resnets.instruments import timing


def test_turns_are_taken_and_quartiles_told(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def call(name, seconds):
        def run():
            calls.append(name)
            clock[0] += seconds[min(len(calls) // 2, len(seconds) - 1)]

        return run

    found = timing.interleaved({"a": call("a", [9, 1, 2, 3, 4]), "b": call("b", [9, 10])}, rounds=4, warm_up=1)
    assert calls == ["a", "b"] * 5
    assert found["a"] == pytest.approx({"median": 2.5, "low": 1.75, "high": 3.25})
    assert found["b"] == {"median": 10, "low": 10, "high": 10}
