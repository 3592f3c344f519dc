"""Each of the twelve rules has tests that bear its number."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[2]
NUMBER = re.compile(r"def test_rule_(\d+)_")
RULES = set(range(1, 13))


def test_each_rule_has_a_test_with_its_number() -> None:
    """None is missing, and none is made up."""
    found = {
        int(number)
        for path in TESTS.rglob("test_*.py")
        for number in NUMBER.findall(path.read_text(encoding="utf-8"))
    }
    assert found == RULES
