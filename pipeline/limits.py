"""The ceilings of what a package may hold. Values come from the settings."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes, unless the name says otherwise (reliability 3.3)."""

    zip_entries: int = 64
    zip_ratio: int = 200
    zip_max: int = 4096 * MIB
    row_max: int = 1 * MIB
    field_max: int = 32 * KIB
    columns_max: int = 200
    findings_max: int = 100_000
    piece: int = 2 * MIB
    partition: int = 16 * MIB
