"""Class names and probabilities for pictures, by a network in memory or in a file of any kind.

The names are listed in `__init__.pyi` and imported when first used: the command line looks for the pictures first.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
