"""Wrong calls of taps and the gradient by path: each gets one sentence."""

from helpers import wrong_calls

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.instruments.timing import latency

CALLS = [
    (
        "taps of another network",
        lambda p: kr.taps.Reader(p.tiny, kr.taps.taps_of(p.plain)[:1]),
        ArgumentError,
        ["taps", "of 'tiny'", "'stem/conv' of another", "Take"],
    ),
    ("time of nothing", lambda p: latency(None), ArgumentError, ["Keras model", "NoneType"]),
    (
        "time of any size",
        lambda p: latency(kr.build("resnet8", (None, None, 3))),
        ArgumentError,
        ["known size", "(None, None, 3)"],
    ),
    ("precision", lambda p: kr.spectrum.Spectrum(p.tiny, "float16"), ArgumentError, ["precision", "'float16'"]),
]


@wrong_calls.table(CALLS)
def test_wrong_call_gets_one_sentence(call, kind, parts, place):
    wrong_calls.assert_refused(call, kind, parts, place)
