"""Residual networks in Keras 3: every variant, and the studies that take them apart.

The names are listed in `__init__.pyi` and imported when first used, so that `keras-resnets --help`
does not wait for Keras.
"""

import lazy_loader

from keras_resnets import registered

registered.install()

_listed, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str):
    if name == "__version__":
        from importlib import metadata

        return metadata.version(__name__)
    try:
        return _listed(name)
    except AttributeError:
        # A variant that is a new row of the table has its function, whether editors know of it yet or not.
        if not name[:1].isupper():
            raise
        from keras_resnets.models import applications

        if name not in vars(applications):
            raise
        return getattr(applications, name)
