"""Keys: what they look like, what is stored of them, and how the secret is changed."""

import re

import pytest

from schemas.secrets import ApiKey, Vault, WeakSecret, checksum, keyed, new_key, parse_key

OLD, NEW = "o" * 32, "n" * 32


def test_a_new_key_has_its_published_shape() -> None:
    text = str(new_key("live"))
    assert re.fullmatch(r"rh_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9a-f]{8}", text)


def test_no_two_keys_are_alike() -> None:
    keys = [new_key("live") for _ in range(500)]
    assert len({key.id for key in keys}) == len({key.secret for key in keys}) == 500


@pytest.mark.parametrize("kind", ["live", "admin"])
def test_a_key_reads_back_as_it_was(kind: str) -> None:
    key = new_key("live" if kind == "live" else "admin")
    assert parse_key(str(key)) == key


@pytest.mark.parametrize("sign", ["\0", " ", "é", "-", "'"])
def test_what_we_never_write_is_no_key_whatever_its_checksum(sign: str) -> None:
    for key in (ApiKey("live", f"a{sign}", "b"), ApiKey("live", "a", f"b{sign}")):
        assert parse_key(str(key)) is None


@pytest.mark.parametrize("at", range(4, 72, 5))
def test_one_wrong_sign_is_seen_without_a_look_up(at: int) -> None:
    text = str(ApiKey("live", "a" * 12, "b" * 43))
    wrong = text[:at] + ("c" if text[at] != "c" else "d") + text[at + 1 :]
    assert parse_key(wrong) is None


@pytest.mark.parametrize("text", ["", "_", "rh", "rh_live_a_b", "Bearer x", "rh_live__", "日本"])
def test_what_has_no_checksum_is_no_key(text: str) -> None:
    assert parse_key(text) is None


@pytest.mark.parametrize("body", ["", "_", "rh", "rh_live_a", "rh_other_a_b", "rh_live_a_b_c"])
def test_a_right_checksum_makes_no_key_of_something_else(body: str) -> None:
    assert parse_key(f"{body}_{checksum(body)}") is None


def test_the_hash_holds_no_secret_and_depends_on_every_part() -> None:
    key = ApiKey("live", "id", "secret")
    hashes = {
        keyed(b"pepper", key),
        keyed(b"other", key),
        keyed(b"pepper", ApiKey("admin", "id", "secret")),
        keyed(b"pepper", ApiKey("live", "other", "secret")),
        keyed(b"pepper", ApiKey("live", "id", "other")),
    }
    assert len(hashes) == 5
    assert b"secret" not in keyed(b"pepper", key)


def test_only_the_key_itself_verifies() -> None:
    vault, key = Vault(NEW), new_key("live")
    assert vault.verifies(key, vault.hash(key))
    assert not vault.verifies(new_key("live"), vault.hash(key))
    assert not vault.verifies(key, b"")


def test_after_a_rotation_old_hashes_verify_and_new_ones_use_the_new_secret() -> None:
    key = new_key("admin")
    before, rotated, after = Vault(OLD), Vault(f"{NEW}, {OLD}"), Vault(NEW)
    assert rotated.verifies(key, before.hash(key))
    assert rotated.hash(key) == after.hash(key) != before.hash(key)
    assert not after.verifies(key, before.hash(key))


def test_each_purpose_has_its_own_key() -> None:
    vault = Vault(f"{NEW},{OLD}")
    assert len({*vault.derive("cursor"), *vault.derive("api-key")}) == 4


@pytest.mark.parametrize("configured", ["", "short", f"{NEW},", f"{NEW},short", "n" * 31])
def test_a_short_secret_is_refused(configured: str) -> None:
    with pytest.raises(WeakSecret):
        Vault(configured)
