"""The declarations against the models of the standard, and against themselves."""

from typing import Any

import pytest

from schemas.columns import (
    AnyColumn,
    Choice,
    Choices,
    Day,
    Decimal,
    Flag,
    Instant,
    Key,
    Pairs,
    Ref,
    Refs,
    Text,
    Texts,
    Whole,
    Year,
)
from schemas.ddl import BOOKKEEPING, sql_type
from schemas.entity import SERVICES
from schemas.profiles import MANIFEST_HEADER, MANIFEST_VERSION, MODES, SPELLINGS, VERSIONS
from schemas.roster import BINDING, BY_FILE, BY_TABLE, PARTS, ROSTERING, AnyEntity
from schemas.roster.people import Role, User, UserProfile

STATE = ("status", "dateLastModified")
KINDS: dict[str, tuple[type[AnyColumn], ...]] = {
    "GUID": (Key,),
    "GUID Reference": (Ref,),
    "List of GUID References": (Refs,),
    "String": (Text,),
    "ID": (Text,),
    "List of Strings": (Texts, Pairs),
    "Enumeration": (Choice, Flag),
    "Enumeration List": (Choices,),
    "Date": (Day,),
    "DateTime": (Instant,),
    "Year": (Year,),
    "Integer": (Whole,),
    "Float": (Decimal,),
}

every_entity = pytest.mark.parametrize("entity", BINDING, ids=lambda entity: entity.file)
every_rostering_entity = pytest.mark.parametrize(
    "entity", ROSTERING, ids=lambda entity: entity.file
)


def columns_of_1_2_1(entity: AnyEntity) -> list[AnyColumn]:
    """The defined columns, left of the extensions."""
    legacy = User.resource_sourced_ids
    return [column for column in entity.columns if not column.extension and column != legacy]


def pairs(entity: AnyEntity, model: dict[str, Any]) -> list[tuple[AnyColumn, dict[str, Any]]]:
    """Each defined column beside its entry of the model."""
    return list(zip(columns_of_1_2_1(entity), model[entity.file]["columns"], strict=True))


def vocabulary(column: AnyColumn) -> tuple[tuple[str, ...] | None, bool]:
    match column:
        case Flag():
            return ("true", "false"), False
        case (
            Choice(words=words, extensible=extensible) | Choices(words=words, extensible=extensible)
        ):
            return words, extensible
        case _:
            return None, False


def target(column: AnyColumn) -> str | None:
    match column:
        case Ref(to=to, kind=kind):
            return f"{to}(type={kind})" if kind else to
        case Key(to=to) | Refs(to=to):
            return to or None
        case _:
            return None


class TestAgainstTheCsvBinding:
    def test_the_21_files_are_declared_and_no_other(self, csv_model: dict[str, Any]) -> None:
        assert {*csv_model} - {"_about", "manifest"} == {entity.file for entity in BINDING}
        assert len(BINDING) == 21

    @every_entity
    def test_the_columns_are_the_models_in_their_order(
        self, entity: AnyEntity, csv_model: dict[str, Any]
    ) -> None:
        names = [column["name"] for column in csv_model[entity.file]["columns"]]
        assert [column.csv for column in columns_of_1_2_1(entity)] == names

    @every_entity
    def test_the_service_is_the_models(self, entity: AnyEntity, csv_model: dict[str, Any]) -> None:
        assert entity.service == csv_model[entity.file]["service"]

    @every_entity
    def test_each_column_is_of_the_models_type(
        self, entity: AnyEntity, csv_model: dict[str, Any]
    ) -> None:
        for column, model in pairs(entity, csv_model):
            assert isinstance(column, KINDS[model["type"]]), column

    @every_entity
    def test_lists_of_pairs_are_those_the_model_describes_in_braces(
        self, entity: AnyEntity, csv_model: dict[str, Any]
    ) -> None:
        for column, model in pairs(entity, csv_model):
            braces = "{" in model.get("description", "")
            assert isinstance(column, Pairs) == braces, column

    @every_entity
    def test_each_column_is_required_where_the_model_says_so(
        self, entity: AnyEntity, csv_model: dict[str, Any]
    ) -> None:
        for column, model in pairs(entity, csv_model):
            state = column.csv in STATE
            assert model["bulk_required"] == ("blank" if state else column.required), column
            assert model["delta_required"] == (state or column.required), column

    @every_entity
    def test_vocabularies_are_the_models_and_open_where_it_says_so(
        self, entity: AnyEntity, csv_model: dict[str, Any]
    ) -> None:
        for column, model in pairs(entity, csv_model):
            words, extensible = vocabulary(column)
            assert words == (tuple(model["enum"]) if model["enum"] else None), column
            assert extensible == model["extensible"], column

    @every_entity
    def test_references_point_where_the_model_says(
        self, entity: AnyEntity, csv_model: dict[str, Any]
    ) -> None:
        for column, model in pairs(entity, csv_model):
            assert target(column) == (model["references"] or [None])[0], column

    @every_entity
    def test_extension_columns_are_the_models_in_its_order(
        self, entity: AnyEntity, csv_model: dict[str, Any]
    ) -> None:
        known = [
            SPELLINGS[model["name"].lower()]
            for model in csv_model[entity.file]["extension_columns"]
        ]
        declared = [column for column in entity.columns if column.extension]
        assert list(dict.fromkeys(known)) == declared

    @every_entity
    def test_extension_columns_are_of_the_models_type(
        self, entity: AnyEntity, csv_model: dict[str, Any]
    ) -> None:
        for model in csv_model[entity.file]["extension_columns"]:
            column = next(c for c in entity.columns if c == SPELLINGS[model["name"].lower()])
            assert isinstance(column, KINDS[model["type"]]), column
            assert column.required == model["bulk_required"] == model["delta_required"]
            assert vocabulary(column)[0] == (tuple(model["enum"]) if model["enum"] else None)
            assert target(column) == (model["references"] or [None])[0]

    def test_the_column_that_only_1_2_has_stands_where_1_2_has_it(self) -> None:
        names = [column.csv for column in User.columns]
        at = names.index("resourceSourcedIds")
        assert names[at - 1 : at + 2] == [
            "userMasterIdentifier",
            "resourceSourcedIds",
            "preferredGivenName",
        ]

    def test_the_manifest_is_the_models(self, csv_model: dict[str, Any]) -> None:
        manifest = csv_model["manifest"]
        properties = {entry["name"]: entry for entry in manifest["properties"]}
        assert tuple(manifest["header"]) == MANIFEST_HEADER
        assert properties["manifest.version"]["fixed"] == MANIFEST_VERSION
        assert {*properties["oneroster.version"]["accept_on_import"]} == VERSIONS
        files = {name.removeprefix("file.") for name in properties if name.startswith("file.")}
        assert files == {*BY_FILE}
        assert {tuple(properties[f"file.{file}"]["enum"]) for file in BY_FILE} == {MODES}


class TestAgainstRest:
    @every_entity
    def test_each_column_feeds_a_property_of_its_class(
        self, entity: AnyEntity, rest_model: dict[str, Any]
    ) -> None:
        for column in entity.columns:
            own_id = entity in PARTS and column.csv in ("sourcedId", *STATE)
            if column.json is None or own_id:
                continue
            assert exists(rest_model, entity.rest, column.json), column

    @every_entity
    def test_the_halves_of_a_pair_are_properties(
        self, entity: AnyEntity, rest_model: dict[str, Any]
    ) -> None:
        for column in entity.columns:
            if isinstance(column, Pairs):
                assert exists(rest_model, entity.rest, f"{column.json}.{column.left}")
                assert exists(rest_model, entity.rest, f"{column.json}.{column.right}")

    @every_rostering_entity
    def test_each_property_is_fed_by_a_column_or_made_by_us(
        self, entity: AnyEntity, rest_model: dict[str, Any]
    ) -> None:
        made = {"children", "dateLastModified", "metadata", "resources"}
        parts = {"roles", "userProfiles"} if entity is User else set()
        renamed = {"profileId"} if entity is UserProfile else set()  # a URI made of its sourcedId
        fed = {(column.json or "").split(".")[0] for column in entity.columns}
        properties = {entry["name"] for entry in rest_model[entity.rest]["properties"]}
        assert properties - fed <= made | parts | renamed

    @every_rostering_entity
    def test_what_the_class_requires_is_fed_by_a_stored_column(
        self, entity: AnyEntity, rest_model: dict[str, Any]
    ) -> None:
        fed = {(column.json or "").split(".")[0] for column in entity.stored()}
        required = {*rest_model[entity.rest]["required"]} - {"dateLastModified", "profileId"}
        assert required - {"roles"} <= fed

    @every_rostering_entity
    def test_the_noun_is_the_wrapper_of_a_single_record(
        self, entity: AnyEntity, rest_model: dict[str, Any]
    ) -> None:
        model = rest_model[entity.rest]
        assert entity.noun == model.get("single_wrapper", entity.noun)
        if entity not in PARTS:
            assert entity.file == model["collection_wrapper"]

    def test_parts_are_what_a_user_embeds(self) -> None:
        assert {*PARTS} == {Role, UserProfile}


def exists(model: dict[str, Any], name: str, path: str) -> bool:
    """Whether a dotted path leads through the classes; below metadata everything is free."""
    head, _, rest = path.partition(".")
    known = {entry["name"]: entry for entry in model[name]["properties"]}
    if head not in known:
        return False
    if not rest or head == "metadata":
        return True
    return exists(model, known[head]["ref_schema"].removesuffix("DType"), rest)


class TestConformance:
    """What every entity must be; a new one is tested by being declared."""

    @every_entity
    def test_it_begins_with_key_status_and_date(self, entity: AnyEntity) -> None:
        assert [column.csv for column in entity.columns[:3]] == ["sourcedId", *STATE]
        assert isinstance(entity.columns[0], Key)
        assert entity.columns[0].required

    @every_entity
    def test_names_occur_once(self, entity: AnyEntity) -> None:
        for names in (
            [column.name for column in entity.columns],
            [column.csv.lower() for column in entity.columns],
        ):
            assert len({*names}) == len(names)

    @every_entity
    def test_no_column_has_a_name_of_the_bookkeeping(self, entity: AnyEntity) -> None:
        assert not {column.name for column in entity.columns} & {*BOOKKEEPING, "line"}

    @every_entity
    def test_each_column_knows_its_entity_and_explains_itself(self, entity: AnyEntity) -> None:
        for column in entity.columns:
            assert column.entity == entity.table
            assert column.doc.endswith(".") or column.doc.endswith(")."), column
            assert column.doc[0].isupper() or column.doc.split(" ")[0].strip(":;") in (
                "true",
                "false",
            ), column

    @every_entity
    def test_it_explains_itself(self, entity: AnyEntity) -> None:
        assert entity.__doc__

    @every_entity
    def test_extension_columns_stand_to_the_right(self, entity: AnyEntity) -> None:
        marks = [column.extension for column in entity.columns]
        assert marks == sorted(marks)

    @every_entity
    def test_each_reference_points_at_a_file_loaded_before_or_itself(
        self, entity: AnyEntity
    ) -> None:
        legacy_or_forward = {User.resource_sourced_ids}
        for column in entity.references():
            order = BINDING.index(BY_FILE[column.to])
            assert order <= BINDING.index(entity) or column in legacy_or_forward, column

    @every_entity
    def test_a_kind_narrows_to_a_word_of_the_target(self, entity: AnyEntity) -> None:
        for column in entity.columns:
            if isinstance(column, Ref) and column.kind:
                kinds = next(c for c in BY_FILE[column.to].columns if c.name == "type")
                assert isinstance(kinds, Choice)
                assert column.kind in kinds.words

    @every_entity
    def test_each_column_has_a_type_in_the_database(self, entity: AnyEntity) -> None:
        assert all(sql_type(column) for column in entity.columns)

    @every_entity
    def test_no_password_is_stored(self, entity: AnyEntity) -> None:
        assert "password" not in {column.name for column in entity.stored()}

    @every_entity
    def test_it_is_found_by_file_and_by_table(self, entity: AnyEntity) -> None:
        assert BY_FILE[entity.file] is BY_TABLE[entity.table] is entity
        assert entity.service in SERVICES
