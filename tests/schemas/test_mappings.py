"""What may be said in a mapping, and what is refused when it is saved."""

from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from schemas.japanese import GRADES, KANA_TO_FULL
from schemas.mapping_checks import faults
from schemas.mappings import FileMapping, fingerprint
from schemas.roster import BY_FILE, ROSTERING, AnyEntity
from schemas.roster.people import User
from schemas.templates import TEMPLATES, Template

NAME = {"kind": "direct", "source": "名"}


def mapping(**columns: object) -> FileMapping:
    """A mapping of users that is right, changed; a column that is None is left out."""
    required = {c.csv: [NAME] for c in User.columns if c.required}
    flag = {"kind": "lookup", "entries": {"1": "true", "0": "false"}}
    right = required | {"enabledUser": [NAME, flag]}
    said = {name: chain for name, chain in (right | columns).items() if chain is not None}
    return FileMapping.model_validate({"columns": said})


def wrong(file: str, said: FileMapping, **tables: dict[str, str]) -> list[str]:
    return [f"{fault.field}: {fault.detail}" for fault in faults(BY_FILE[file], said, tables)]


def test_a_right_mapping_has_no_fault() -> None:
    assert wrong("users", mapping()) == []


@pytest.mark.parametrize("entity", ROSTERING, ids=lambda entity: entity.file)
def test_a_required_column_must_be_mapped(entity: AnyEntity) -> None:
    said = FileMapping.model_validate({"columns": {"status": [NAME]}})
    missing = {fault.field for fault in faults(entity, said, {})}
    assert missing == {f"columns.{column.csv}" for column in entity.columns if column.required}


@pytest.mark.parametrize(
    ("chain", "said"),
    [
        ([{"kind": "trim"}], "columns.email.0: trim changes a value"),
        ([NAME, NAME], "columns.email.1: direct begins a chain"),
        ([NAME, {"kind": "lookup", "table": "gone"}], "columns.email.1.table: there is no lookup"),
        (
            [NAME, {"kind": "school_code"}],
            "columns.email.1.table: there is no lookup table schools",
        ),
        (
            [{"kind": "conditional", "test": "filled", "then": NAME}],
            "columns.email.0: conditional changes a value",
        ),
    ],
)
def test_a_chain_that_cannot_work_is_refused(chain: list[Any], said: str) -> None:
    (fault,) = wrong("users", mapping(email=chain))
    assert fault.startswith(said)


def test_a_column_that_does_not_exist_is_refused_and_metadata_is_not() -> None:
    (fault,) = wrong("users", mapping(nickname=[NAME]))
    assert fault == "columns.nickname: is no column of users.csv"
    assert wrong("users", mapping(**{"metadata.city.ward": [NAME]})) == []
    assert wrong("users", mapping(**{"metadata.": [NAME]})) != []


def test_one_column_in_two_spellings_is_refused() -> None:
    spellings = ("metadata.jp.ShussekiNo", "metadata.jp.shussekiNo")
    template = TEMPLATES["enrollments"].mapping.model_dump()["columns"]
    said = FileMapping.model_validate({"columns": template | {name: [NAME] for name in spellings}})
    assert wrong("enrollments", said) == [
        f"columns.{spellings[1]}: is mapped twice, in two spellings"
    ]


@pytest.mark.parametrize(
    ("file", "column", "chain", "fine"),
    [
        ("users", "enabledUser", [{"kind": "constant", "value": "true"}], True),
        ("users", "enabledUser", [{"kind": "constant", "value": "はい"}], False),
        ("users", "enabledUser", [NAME, {"kind": "default", "value": "yes"}], False),
        ("users", "enabledUser", [NAME, {"kind": "lookup", "entries": {"1": "on"}}], False),
        ("users", "enabledUser", [NAME, {"kind": "era_date"}], False),
        ("users", "enabledUser", [NAME, {"kind": "lower"}], True),
        ("users", "sourcedId", [{"kind": "constant", "value": "x"}], False),
        ("users", "primaryOrgSourcedId", [{"kind": "constant", "value": "学校"}], False),
        ("users", "userIds", [{"kind": "constant", "value": "{Koumu:1}"}], True),
        ("users", "userIds", [{"kind": "constant", "value": "Koumu:1"}], False),
        ("users", "grades", [NAME, {"kind": "grade"}], True),
        ("demographics", "birthDate", [NAME], True),
        ("demographics", "birthDate", [NAME, {"kind": "trim"}], True),
        ("demographics", "birthDate", [NAME, {"kind": "era_date"}], True),
        ("demographics", "birthDate", [NAME, {"kind": "date_format", "format": "D.M.YYYY"}], True),
        ("demographics", "birthDate", [NAME, {"kind": "lower"}], False),
        ("demographics", "birthDate", [NAME, {"kind": "grade"}], False),
        ("demographics", "birthDate", [{"kind": "constant", "value": "2026-02-30"}], False),
        ("demographics", "birthDate", [{"kind": "constant", "value": "2026-02-28"}], True),
        (
            "demographics",
            "birthDate",
            [NAME, {"kind": "date_format", "format": "YYYY/M/D hh:mm"}],
            False,
        ),
        ("demographics", "sex", [{"kind": "constant", "value": "ext:x"}], True),
        ("demographics", "sex", [{"kind": "constant", "value": "男"}], False),
        ("enrollments", "role", [{"kind": "constant", "value": "guardian"}], True),
        ("enrollments", "role", [{"kind": "constant", "value": "parent"}], False),
        ("enrollments", "metadata.jp.shussekiNo", [{"kind": "constant", "value": "07"}], False),
        (
            "users",
            "enabledUser",
            [
                {
                    "kind": "conditional",
                    "source": "区分",
                    "test": "equals",
                    "values": ["1"],
                    "then": {"kind": "constant", "value": "true"},
                    "otherwise": {"kind": "constant", "value": "no"},
                }
            ],
            False,
        ),
    ],
)
def test_what_a_chain_is_sure_to_give_must_fit_its_column(
    file: str, column: str, chain: list[Any], *, fine: bool
) -> None:
    said = FileMapping.model_validate({"columns": {column: chain}})
    found = [fault for fault in wrong(file, said) if "is required and not mapped" not in fault]
    assert (found == []) == fine, found
    assert all(fault.startswith(f"columns.{column}") for fault in found)


def test_the_words_of_a_table_are_looked_at() -> None:
    said = mapping(enabledUser=[NAME, {"kind": "lookup", "table": "flags"}])
    assert wrong("users", said, flags={"在籍": "true"}) == []
    assert "takes true or false" in wrong("users", said, flags={"在籍": "はい"})[0]


@pytest.mark.parametrize(
    "step",
    [
        {"kind": "script", "code": "x"},
        {"kind": "trim", "sides": "both"},
        {"kind": "split", "separator": ",", "part": 0},
        {"kind": "split", "separator": "", "part": 1},
        {"kind": "lookup"},
        {"kind": "lookup", "table": "a", "entries": {"1": "2"}},
        {"kind": "lookup", "entries": {}},
        {"kind": "lookup", "table": "Tabelle"},
        {"kind": "date_format", "format": "YYYY/MM"},
        {"kind": "date_format", "format": "YY/MM/DD"},
        {"kind": "date_format", "format": "YYYY/MM/DD MM"},
        {"kind": "date_format", "format": "YYYY-MM-DD hh"},
        {"kind": "date_format", "format": "YYYY-MM-DD", "zone": "JST"},
        {"kind": "conditional", "test": "equals"},
        {"kind": "conditional", "test": "blank", "values": ["x"]},
        {"kind": "constant", "value": ""},
        {"kind": "constant", "value": "two\nlines"},
        {"kind": "direct", "source": ""},
        {"kind": "substring", "start": 0},
        {"kind": "grade", "school": "大"},
    ],
)
def test_what_is_no_transformation_is_refused_with_its_path(step: dict[str, Any]) -> None:
    with pytest.raises(ValidationError) as refusal:
        mapping(email=[NAME, step])
    assert refusal.value.errors()[0]["loc"][:3] == ("columns", "email", 1)


def test_a_chain_has_an_end() -> None:
    mapping(email=[NAME, *[{"kind": "trim"}] * 15])
    with pytest.raises(ValidationError):
        mapping(email=[NAME, *[{"kind": "trim"}] * 16])


class TestFingerprint:
    table: ClassVar = {"kind": "lookup", "table": "t"}

    def test_it_is_the_same_for_the_same_and_fixed_for_ever(self) -> None:
        assert fingerprint("orgs", mapping(), {}) == fingerprint("orgs", mapping(), {})
        said = FileMapping.model_validate({"columns": {"name": [NAME]}})
        assert fingerprint("orgs", said, {})[:16] == "83ab0794d7df5848"

    def test_it_changes_with_whatever_changes_a_row(self) -> None:
        said = mapping(email=[NAME, self.table])
        prints = {
            fingerprint("users", mapping(), {}),
            fingerprint("orgs", mapping(), {}),
            fingerprint("users", said, {"t": {"a": "b"}}),
            fingerprint("users", said, {"t": {"a": "c"}}),
            fingerprint("users", mapping(email=[NAME]), {}),
        }
        assert len(prints) == 5

    def test_it_does_not_change_with_what_no_row_can_tell(self) -> None:
        said = mapping(email=[NAME, self.table])
        one = fingerprint("users", said, {"t": {"a": "b", "c": "d"}, "other": {"x": "y"}})
        assert one == fingerprint("users", said, {"t": {"c": "d", "a": "b"}})


@pytest.mark.parametrize("template", TEMPLATES.values(), ids=lambda template: template.id)
def test_a_template_can_be_saved_as_it_is(template: Template) -> None:
    assert wrong(template.entity, template.mapping) == []
    assert set(template.mapping.sources) <= set(template.sample[0].split(","))


def test_there_are_templates_for_most_of_a_package() -> None:
    entities = {template.entity for template in TEMPLATES.values()}
    assert entities >= {"users", "roles", "classes", "enrollments", "orgs", "demographics"}
    assert all(name == template.id for name, template in TEMPLATES.items())


def test_the_tables_of_japanese_are_whole() -> None:
    assert KANA_TO_FULL["ｶﾞ"] == "ガ"
    assert KANA_TO_FULL["ﾊﾟ"] == "パ"
    assert KANA_TO_FULL["ｳﾞ"] == "ヴ"
    assert KANA_TO_FULL["ﾞ"] == "゛"
    assert [sign for sign in KANA_TO_FULL if len(sign) == 1] == [*map(chr, range(0xFF61, 0xFFA0))]
    codes = {
        f"{level}{n}"
        for level, years in (("P", 6), ("J", 3), ("H", 3))
        for n in range(1, years + 1)
    }
    assert set(GRADES.values()) == codes
