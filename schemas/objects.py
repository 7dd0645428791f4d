"""Where files lie in the object store. Keys begin with the tenant, so one rule can guard each."""

from uuid import UUID


def uploads_prefix(tenant_id: int) -> str:
    """What the keys of a district's uploads begin with."""
    return f"uploads/{tenant_id}"


def upload_key(tenant_id: int, upload_id: UUID) -> str:
    """The bytes of an upload, exactly as they came."""
    return f"{uploads_prefix(tenant_id)}/{upload_id}"


def lines_prefix(tenant_id: int) -> str:
    """What the keys of a district's known lines begin with."""
    return f"lines/{tenant_id}"


def export_folder(tenant_id: int) -> str:
    """Where the files of a district's exports lie."""
    return f"exports/{tenant_id}"


def export_key(tenant_id: int, export_id: UUID, fence: int, name: str) -> str:
    """The file that one attempt writes; it is known to nobody until the attempt has succeeded."""
    return f"{export_folder(tenant_id)}/{export_id}-{fence}/{name}"


def packages_prefix(tenant_id: int) -> str:
    """What the keys of a district's delta packages begin with."""
    return f"packages/{tenant_id}"


def package_key(tenant_id: int, package_id: UUID) -> str:
    """A delta package; it is known to nobody until its row is there."""
    return f"{packages_prefix(tenant_id)}/{package_id}"
