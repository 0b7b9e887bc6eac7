"""What the tests of the search share: a small space."""

import keras_resnets as kr


def space_of(data, **choices):
    given = {"parameters": 4_000, "blocks": (1, 2), "epochs": 2, "unit": ("basic", "B(3,1)"), **choices}
    return kr.search.DepthWidth("preresnet20", data, "digits", **given)
