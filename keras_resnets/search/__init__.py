"""Depth against width at a budget: a space for keras-tuner, and a search that survives what stops it.

The names are listed in `__init__.pyi` and imported when first used: keras-tuner takes its time.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
