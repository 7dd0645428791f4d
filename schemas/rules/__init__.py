"""The rule book: what can be wrong with a package, in both languages.

A rule has a stable id, a severity, one sentence and one hint in English and Japanese. A finding
names a rule, a place and the facts that the sentence needs; its message is made from the rule.
Sentences may use {file}, {line}, {column}, {value} and the finding's own facts.
"""

from collections.abc import Mapping

from schemas.rules import header, manifest, mapping, package, records, repairs, text, undo, values
from schemas.rules.rule import Finding, Rule, Severity, Value

__all__ = ["RULES", "SECTIONS", "Finding", "Rule", "Severity", "Value"]

SECTIONS = (package, manifest, text, header, repairs, mapping, values, records, undo)

RULES: Mapping[str, Rule] = {
    rule.id: rule
    for section in SECTIONS
    for rule in vars(section).values()
    if isinstance(rule, Rule)
}
"""The whole book, by id, in the order in which a package is read."""
