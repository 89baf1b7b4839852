"""A second oracle: the meaning of a spec, from the manual alone, in plain NumPy, row by row.

It shares the parser, the expansion of `for` and `if` and the library's texts with rnnc, and nothing
of its elaboration, its reference or its compiler. Derivatives are dual numbers, forward mode.
"""

from support.second_oracle.evaluation import evaluate
from support.second_oracle.segments import RowArguments, RowResult, Tangents
from support.second_oracle.values import Unsupported

__all__ = ["RowArguments", "RowResult", "Tangents", "Unsupported", "evaluate"]
