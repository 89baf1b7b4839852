"""Generate random valid specs and calls, shared by all semantic tests.

It covers every production of the grammar, every function of the catalogue, and every kind of
operand in every position where it is valid; `census.py` counts them from a spec's text alone.
"""

from support.generator.spec import Spec
from support.generator.whole import random_spec

__all__ = ["Spec", "random_spec"]
