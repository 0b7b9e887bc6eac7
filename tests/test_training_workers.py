"""What is asked for in several processes, and refused before anything starts. The trainings: test_training_cluster."""

import keras
import pytest

import keras_resnets as kr
from keras_resnets.errors import ArgumentError
from keras_resnets.training.devices import check_even


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"workers": -1}, "workers must be a whole number of at least 0; got -1"),
        ({"workers": 2, "devices": 2}, "devices are those of one process; got 2 and 2 workers"),
        ({"workers": 2, "gpus": 0.5}, "gpus must be a whole number for each of the workers that train one network"),
        ({"workers": 2, "gpus": float("nan")}, "gpus must be a number from 0; got nan"),
        ({"gpus": 1}, "gpus are those of each of the workers; got 1 and no workers"),
        ({"ray": "10.0.0.1:6379"}, "workers must be at least 1 for a training on the Ray cluster '10.0.0.1:6379'"),
    ],
)
def test_an_execution_that_has_no_meaning_is_refused(asked, words):
    with pytest.raises(ArgumentError, match=words):
        kr.Execution(**asked)


def test_what_runs_in_one_process_refuses_more(few, tmp_path):
    network, two = kr.build("resnet8", (8, 8, 1)), kr.Execution(workers=2)
    with pytest.raises(ArgumentError, match=r"^Fine-tuning runs in one process; got an execution with 2 workers"):
        kr.fine_tune(network, few, out=tmp_path / "a", epochs=1, execution=two)
    with pytest.raises(ArgumentError, match=r"^Fine-tuning runs in one process"):
        kr.prune(network, few, blocks=1, fine_tune=1, execution=two)
    space = kr.search.DepthWidth("preresnet8", "digits", parameters=3_000, blocks=(1,), epochs=1)
    with pytest.raises(ArgumentError, match=r"^Each trial of a search runs in one process"):
        kr.search.search(space, out=tmp_path / "b", trials=1, execution=two)


@pytest.mark.skipif(keras.config.backend() == "jax", reason="for the backends that train in one process")
def test_other_backends_are_told_what_to_set(few, tmp_path):
    with pytest.raises(ArgumentError, match=r"runs on JAX, and Keras runs on '.*' here\. Set KERAS_BACKEND=jax"):
        kr.train("resnet8", few, out=tmp_path / "run", execution=kr.Execution(workers=2))
    assert not (tmp_path / "run").exists()


def test_batches_that_cannot_be_shared_are_refused(few):
    check_even(few.batched(batch_size=64, drop_remainder=True), 4)
    with pytest.raises(ArgumentError, match=r"batch_size must be a multiple of 3, .*; got 64\. Give 63"):
        check_even(few.batched(batch_size=64, drop_remainder=True), 3)
    with pytest.raises(ArgumentError, match=r"share each batch evenly.* leave a last batch of 5\."):
        check_even(few.batched(batch_size=37, drop_remainder=False).first(5), 37)
    last = few.sizes["train"] % 36
    with pytest.raises(ArgumentError, match=rf"leave a last batch of {last}\. Drop it"):
        check_even(few.batched(batch_size=36, drop_remainder=False), 36)
