"""Where files lie in the object store. Keys begin with the tenant, so one rule can guard each."""

from uuid import UUID


def upload_key(tenant_id: int, upload_id: UUID) -> str:
    """The bytes of an upload, exactly as they came."""
    return f"uploads/{tenant_id}/{upload_id}"
