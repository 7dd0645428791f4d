"""A sealed secret opens for its owner, with a key that is configured, and for nobody else."""

from uuid import uuid4

import pytest

from schemas.sealing import BrokenSeal, Seal
from schemas.secrets import Vault

OLD, NEW = ("an old secret of thirty-two characters", "a new secret of thirty-two characters")
OWNER, SECRET = uuid4(), b"0123456789abcdef0123456789abcdef"


def test_it_opens_for_its_owner_and_says_nothing_of_itself() -> None:
    seal = Seal(Vault(OLD), "test")
    sealed = seal.close(OWNER, SECRET)
    assert SECRET not in sealed
    assert seal.close(OWNER, SECRET) != sealed
    assert seal.open(OWNER, sealed) == SECRET


def test_not_for_another_owner_or_purpose_nor_when_it_was_changed() -> None:
    sealed = Seal(Vault(OLD), "test").close(OWNER, SECRET)
    changed = sealed[:20] + (b"A" if sealed[20:21] != b"A" else b"B") + sealed[21:]
    for seal, owner, given in (
        (Seal(Vault(OLD), "test"), uuid4(), sealed),
        (Seal(Vault(OLD), "another"), OWNER, sealed),
        (Seal(Vault(NEW), "test"), OWNER, sealed),
        (Seal(Vault(OLD), "test"), OWNER, changed),
        (Seal(Vault(OLD), "test"), OWNER, b""),
    ):
        with pytest.raises(BrokenSeal):
            seal.open(owner, given)
        assert seal.renewed(owner, given) is None or given == sealed


def test_it_is_renewed_once_the_configured_secret_has_changed() -> None:
    sealed = Seal(Vault(OLD), "test").close(OWNER, SECRET)
    both = Seal(Vault(f"{NEW},{OLD}"), "test")
    assert both.open(OWNER, sealed) == SECRET
    renewed = both.renewed(OWNER, sealed)
    assert renewed is not None
    assert Seal(Vault(NEW), "test").open(OWNER, renewed) == SECRET
    assert both.renewed(OWNER, renewed) is None
