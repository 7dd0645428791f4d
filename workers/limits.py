"""The ceilings of a package, as the settings have them."""

from pipeline.limits import Limits
from schemas.settings import Settings


def limits(settings: Settings) -> Limits:
    """The ceilings of a package, from the settings."""
    return Limits(
        zip_entries=settings.zip_entries,
        zip_ratio=settings.zip_ratio,
        zip_max=settings.zip_max,
        row_max=settings.row_max,
        field_max=settings.field_max,
        columns_max=settings.columns_max,
        findings_max=settings.findings_max,
    )
