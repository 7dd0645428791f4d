"""The published layouts, against the model and against real packages."""

import csv
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from schemas.checks import SchoolYear
from schemas.columns import Column, Flag
from schemas.profiles import (
    JP_1_2_1,
    K12_1_0,
    PROFILES,
    PSE_6_00,
    V1_2,
    V1_2_1,
    Profile,
    detect,
)
from schemas.roster import BINDING, BY_FILE, BY_TABLE, AnyEntity
from schemas.roster.people import User
from schemas.roster.teaching import Class, Enrollment

JAPAN = (JP_1_2_1, PSE_6_00, K12_1_0)
every_profile = pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda p: p.name)
every_japanese = pytest.mark.parametrize("profile", JAPAN, ids=lambda p: p.name)

# The model leaves specialNeeds out of PSE-6.00, the tables of japan-profile.md (2 and 6) have it.
DISPUTED = {("PSE-6.00", "metadata.jp.specialNeeds")}


@every_profile
@pytest.mark.parametrize("entity", BINDING, ids=lambda entity: entity.file)
def test_a_header_is_the_models_columns_and_the_extensions_of_the_profile(
    profile: Profile, entity: AnyEntity, csv_model: dict[str, Any]
) -> None:
    model = csv_model[entity.file]
    names = [column["name"] for column in model["columns"]]
    if profile is V1_2 and entity is User:
        names.insert(names.index("preferredGivenName"), "resourceSourcedIds")
    for column in model["extension_columns"]:
        listed = {profile.name, "all"} & {*column["jp"]["profiles"]}
        disputed = (profile.name, column["name"]) in DISPUTED
        if (listed and profile in JAPAN) or disputed:
            names.append(column["name"])
    assert list(profile.header(entity)) == names


@pytest.mark.parametrize(
    ("folder", "profile"), [("jp-1.2.1", JP_1_2_1), ("k12-1.0", K12_1_0)], ids=["JP", "K12"]
)
def test_headers_are_those_of_the_shared_samples(
    folder: str, profile: Profile, samples: Path
) -> None:
    files = [path for path in (samples / folder).glob("*.csv") if path.stem != "manifest"]
    assert len(files) == 9
    for path in files:
        with path.open(encoding="utf-8", newline="") as text:
            assert tuple(next(csv.reader(text))) == profile.header(BY_FILE[path.stem])


@every_japanese
def test_japan_requires_what_the_model_calls_required_always(
    profile: Profile, csv_model: dict[str, Any]
) -> None:
    if profile is K12_1_0:
        assert not profile.required  # 1EdTech's own profile asks for nothing beyond the binding
        return
    always = {
        (file, column["name"])
        for file, model in csv_model.items()
        if file in BY_FILE
        for column in (*model["columns"], *model["extension_columns"])
        if column["jp"]["required"] == "always" and column["bulk_required"] is False
    }
    required = {(BY_TABLE[column.entity].file, column.csv) for column in profile.required}
    assert required >= {entry for entry in always if entry[0] == "users"}


@every_japanese
def test_japan_leaves_empty_what_the_model_prohibits_or_fixes_as_blank(
    profile: Profile, csv_model: dict[str, Any]
) -> None:
    empty = {
        (file, column["name"])
        for file, model in csv_model.items()
        if file in BY_FILE
        for column in model["columns"]
        if column["jp"]["required"] == "prohibited" or column["jp"]["rule"].startswith("blank,")
    }
    assert {(BY_TABLE[c.entity].file, c.csv) for c in profile.prohibited} == empty


@every_japanese
def test_japan_fixes_what_the_model_calls_fixed(
    profile: Profile, csv_model: dict[str, Any]
) -> None:
    fixed = {
        (file, column["name"])
        for file, model in csv_model.items()
        if file in BY_FILE
        for column in model["columns"]
        if column["jp"]["required"] == "fixed"
    }
    years = next(check for check in profile.checks if isinstance(check, SchoolYear))
    told: set[Column] = {*profile.only, *profile.prohibited, years.start, years.end}
    assert fixed <= {(BY_TABLE[column.entity].file, column.csv) for column in told}


@every_japanese
def test_a_closed_vocabulary_holds_words_of_the_binding_or_of_the_profile(
    profile: Profile,
) -> None:
    for column, words in profile.only.items():
        known = {"true", "false"} if isinstance(column, Flag) else {*getattr(column, "words", ())}
        assert {*words} <= known | {*profile.words.get(column, ())}, column


@every_profile
def test_a_check_is_about_columns_of_one_file(profile: Profile) -> None:
    for check in (*profile.checks, *(c for entity in BINDING for c in entity.checks)):
        said = (getattr(check, field.name) for field in fields(check))
        assert {c.entity for c in said if isinstance(c, Column)} == {check.column.entity}
        assert check.column in BY_TABLE[check.column.entity].columns


def test_the_binding_asks_the_same_under_every_profile() -> None:
    asked = [check for entity in BINDING for check in entity.checks]
    assert len(asked) == 9
    assert not {*asked} & {check for profile in PROFILES.values() for check in profile.checks}


@every_japanese
def test_files_are_required_or_unused_as_the_model_says(
    profile: Profile, csv_model: dict[str, Any]
) -> None:
    said = {file: model["jp_file"] for file, model in csv_model.items() if file in BY_FILE}
    assert profile.required_files == {file for file, use in said.items() if use == "required"}
    assert profile.unused_files == {file for file, use in said.items() if use == "not used"}


def test_domestic_japan_spells_with_capitals_and_k12_does_not() -> None:
    assert JP_1_2_1.header(Enrollment)[-2:] == ("metadata.jp.ShussekiNo", "metadata.jp.PublicFlg")
    assert K12_1_0.header(Enrollment)[-2:] == ("metadata.jp.shussekiNo", "metadata.jp.publicFlg")


def test_only_1_2_has_resources_of_users() -> None:
    having = [p.name for p in PROFILES.values() if "resourceSourcedIds" in p.header(User)]
    assert having == ["1.2"]


@every_profile
def test_a_profile_reads_what_it_writes(profile: Profile) -> None:
    assert profile.manifest in profile.accepts
    found = detect(profile.manifest, {"users": profile.header(User)})
    assert found is profile or (profile is PSE_6_00 and found is K12_1_0)


@pytest.mark.parametrize(
    ("version", "headers", "profile"),
    [
        ("1.2", {}, V1_2_1),
        ("1.2.1", {"users": ("sourcedId",)}, V1_2_1),
        ("1.2", {"users": ("sourcedId", "resourceSourcedIds")}, V1_2),
        ("1.2", {"users": ("sourcedId", "METADATA.JP.kanaGivenName")}, JP_1_2_1),
        ("1.2", {"enrollments": ("sourcedId", "metadata.jp.ShussekiNo")}, JP_1_2_1),
        ("1.2_JP", {}, K12_1_0),
    ],
)
def test_the_profile_follows_from_version_and_header(
    version: str, headers: dict[str, tuple[str, ...]], profile: Profile
) -> None:
    assert detect(version, headers) is profile


def test_special_needs_is_japans_alone() -> None:
    column = Class.special_needs.csv
    assert [p for p in PROFILES.values() if column in p.header(Class)] == list(JAPAN)
