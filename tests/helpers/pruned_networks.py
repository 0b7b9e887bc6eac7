"""A small network to drop blocks from, and greedy pruning by brute force."""

import numpy as np

import keras_resnets as kr

STAGES = (kr.Stage(3, (4, 4)), kr.Stage(2, (8, 8), stride=2))
SPEC = kr.Spec("small", STAGES, (8, 8, 1), 5, stem_width=4, placement="pre")


def measured(model, x, y):
    """Error and loss, by NumPy from the outputs."""
    p = answers(model, x).astype("float64")
    return float(np.mean(p.argmax(1) != y)), float(-np.mean(np.log(p[np.arange(len(y)), y])))


def answers(model, x):
    return np.asarray(model(np.asarray(x, "float32"), training=False))


def brute_force(model, data, count, keep=()):
    """Greedy by rebuilding: names, errors, and whether a tie of errors was broken against the order of the network."""
    gone, errors, tie = [], [measured(model, *data)[0]], False
    for _ in range(count):
        tried = {
            i: measured(kr.delete(model, [*gone, i]), *data)
            for i in range(len(model.blocks))
            if i not in (*gone, *keep)
        }
        best = min(tried, key=lambda i: (*tried[i], i))
        tie |= any(tried[i][0] == tried[best][0] and i < best for i in tried)
        gone.append(best)
        errors.append(tried[best][0])
    return [model.blocks[i].name for i in gone], errors, tie
