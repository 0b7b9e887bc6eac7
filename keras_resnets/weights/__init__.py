"""Public weight files: read safely, matched by name and shape, and loaded completely or not at all.

The names are listed in `__init__.pyi` and imported when first used: the command line asks for the table alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
