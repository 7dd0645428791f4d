"""Digests that no record has."""

GONE = "00000000-0000-0000-0000-000000000000"
"""The digest of a tombstone: whatever comes back differs from it."""
ERASED = "ffffffff-ffff-ffff-ffff-ffffffffffff"
"""The digest of what was erased: a digest of personal values would tell who guesses them."""
