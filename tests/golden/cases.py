"""The runs that are told in `histories`: every kind of step, of fact and of input, and each rule at work."""

from tests.golden import cases_kinds, cases_order
from tests.golden.casebook import CASES

__all__ = ["CASES", "cases_kinds", "cases_order"]
