"""Patterns: which weights of a matrix may survive.

A :class:`Pattern` is a set of matrices with a projection onto it. ``PATTERNS`` lists them by
name; :func:`parse_pattern` reads the text form that command lines and recipe files use.
"""

from csbrnn.patterns.bank_balanced import BankBalanced as BankBalanced
from csbrnn.patterns.base import MaskPattern as MaskPattern
from csbrnn.patterns.base import Pattern as Pattern
from csbrnn.patterns.block import Block as Block
from csbrnn.patterns.block_circulant import BlockCirculant as BlockCirculant
from csbrnn.patterns.csb import CSB as CSB
from csbrnn.patterns.csb import Support as Support
from csbrnn.patterns.n_m import NM as NM
from csbrnn.patterns.row_balanced import RowBalanced as RowBalanced
from csbrnn.patterns.row_column import RowColumn as RowColumn
from csbrnn.patterns.text import PATTERNS as PATTERNS
from csbrnn.patterns.text import parse_pattern as parse_pattern
from csbrnn.patterns.text import pattern_from_dict as pattern_from_dict
from csbrnn.patterns.unstructured import Unstructured as Unstructured

__all__ = [
    "CSB",
    "NM",
    "PATTERNS",
    "BankBalanced",
    "Block",
    "BlockCirculant",
    "MaskPattern",
    "Pattern",
    "RowBalanced",
    "RowColumn",
    "Support",
    "Unstructured",
    "parse_pattern",
    "pattern_from_dict",
]
