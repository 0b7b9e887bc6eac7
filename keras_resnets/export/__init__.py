"""Exports networks to files that run without this package, and compares each file with its network.

The names are listed in `__init__.pyi` and imported when first used: the command line asks for the formats alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
