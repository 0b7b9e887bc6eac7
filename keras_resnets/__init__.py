"""Residual networks in Keras 3: every variant, and the studies that take them apart.

The names are listed in `__init__.pyi` and imported when first used, so that `keras-resnets --help`
does not wait for Keras.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
