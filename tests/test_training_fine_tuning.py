"""Fine-tuning by a recipe: the loss that it tells, against NumPy."""

import json

import numpy as np
import pytest
from helpers.pruned_networks import answers

import keras_resnets as kr
from keras_resnets.runs import read_csv


@pytest.mark.backends
def test_fine_tuning_knows_logits_and_weight_decay(digits, tmp_path, scramble):
    """With a rate of next to nothing and still statistics, the loss told is that of the logits."""
    spec = kr.Spec("logits", (kr.Stage(1, (4, 4)),), (8, 8, 1), 10, stem_width=4, frozen_bn=True, weight_decay=1e-3)
    model = scramble(kr.build(spec, classifier_activation=None))
    tuned = kr.fine_tune(model, digits, out=tmp_path / "run", epochs=1, rate=1e-9, verbose=0)
    x, y = (np.concatenate(parts) for parts in zip(*digits.validation.as_numpy_iterator(), strict=True))
    z = answers(model, x).astype("float64")
    loss = np.mean(np.log(np.exp(z - z.max(1, keepdims=True)).sum(1)) + z.max(1) - z[np.arange(len(y)), y])
    # Keras adds the layers' own decay.
    decay = sum(1e-3 / 2 * float((np.asarray(v) ** 2).sum()) for v in model.trainable_variables if v.name == "kernel")
    history = read_csv(tmp_path / "run" / "history.csv")
    assert history["val_loss"].iloc[0] == pytest.approx(loss + decay, rel=1e-4)
    assert tuned.spec == spec
    assert json.loads((tmp_path / "run" / "run.json").read_text())["asked"]["recipe"]["weight_decay"] == 0
    assert {id(v) for v in tuned.weights}.isdisjoint({id(v) for v in model.weights})
