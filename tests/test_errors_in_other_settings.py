"""Every wrong call gets its sentence whatever Keras is set to: channels first, half precision, XLA."""

import functools

import keras
import pytest
import test_architecture_errors
import test_commands_errors
import test_data_door
import test_data_errors
import test_export_errors
import test_instruments_errors
import test_models_errors
import test_network_errors
import test_paths_errors
import test_studies_errors
import test_training_errors
from helpers import wrong_calls

from keras_resnets.commands import cli
from keras_resnets.data.batches import batches
from keras_resnets.errors import ArgumentError

pytestmark = pytest.mark.thorough

TABLES = (
    test_architecture_errors,
    test_data_errors,
    test_export_errors,
    test_instruments_errors,
    test_models_errors,
    test_network_errors,
    test_paths_errors,
    test_studies_errors,
    test_training_errors,
)
CALLS = {
    f"{table.__name__.removeprefix('test_').removesuffix('_errors')}: {row[0]}": row[1:]
    for table in TABLES
    for row in table.CALLS
}


@pytest.fixture(scope="module", params=["channels_first", "mixed_float16", "jit_compile"])
def place(request, tmp_path_factory):
    """What wrong calls are made with, made under the setting."""
    before = keras.config.image_data_format(), keras.config.dtype_policy(), keras.Model.compile
    if request.param == "channels_first":
        keras.config.set_image_data_format("channels_first")
    elif request.param == "mixed_float16":
        keras.config.set_dtype_policy("mixed_float16")
    else:
        keras.Model.compile = functools.partialmethod(before[2], jit_compile=True)
    place = wrong_calls.Place(tmp_path_factory.mktemp(request.param))
    yield place
    place.release()
    place.unharmed()
    keras.config.set_image_data_format(before[0])
    keras.config.set_dtype_policy(before[1])
    keras.Model.compile = before[2]


def test_there_are_many():
    assert len(CALLS) + len(test_commands_errors.COMMANDS) + len(test_data_door.WRONG) >= 150


@pytest.mark.parametrize("name", CALLS)
def test_a_wrong_call_gets_one_sentence(name, place):
    call, kind, parts = CALLS[name]
    if keras.config.image_data_format() == "channels_first" and name == "network: loss of a branch that may be off":
        parts = ["channels must come last", "'loud'", "channels_last"]  # its network is refused before it is compiled
    wrong_calls.assert_refused(call, kind, parts, place)


@pytest.mark.parametrize("row", test_commands_errors.COMMANDS, ids=[row[0] for row in test_commands_errors.COMMANDS])
def test_a_wrong_command_gets_one_sentence(row, place, capsys):
    _, arguments, status, parts = row
    assert cli.main(wrong_calls.filled(arguments, place)) == status
    told = capsys.readouterr().err
    for part in parts:
        assert str(part).format_map(place) in told
    assert "Traceback" not in told


@pytest.mark.parametrize("case", test_data_door.WRONG)
def test_wrong_data_are_refused(case, place):
    data, sentence = test_data_door.WRONG[case]
    with pytest.raises(ArgumentError, match=sentence):
        list(batches(data, 4, shape=test_data_door.SHAPE, classes=2))
