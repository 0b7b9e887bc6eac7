"""What libraries print to the terminal, held back."""

import os

import pytest

from keras_resnets.quiet import quiet


def test_what_libraries_say_is_held_back_unless_something_fails(capfd):
    def spoken(what, over):
        with quiet():
            os.write(2, what)
            return 1 / over

    spoken(b"a message of the start\n", 1)
    with pytest.raises(ZeroDivisionError):
        spoken(b"the reason\n", 0)
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "the reason\nafterwards\n"
