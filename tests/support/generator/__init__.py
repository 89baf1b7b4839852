"""Random valid specs and calls: the one generator that all tests of meaning share.

It owns every production of the grammar, every function of the catalogue, and every kind of operand
in every position where it may stand; `census.py` counts them, in the text of a spec alone.
"""

from support.generator.spec import Spec
from support.generator.whole import random_spec

__all__ = ["Spec", "random_spec"]
