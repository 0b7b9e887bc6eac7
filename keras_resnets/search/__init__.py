"""Depth against width at a budget: a search space for keras-tuner, and a search that can be interrupted and resumed.

`__init__.pyi` lists the names, which are imported at first use because importing keras-tuner is slow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
