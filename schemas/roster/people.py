"""Users and what belongs to them: roles, profiles, demographics."""

from schemas.checks import NotBefore
from schemas.columns import Choice, Day, Flag, Key, Pairs, Ref, Refs, Text, Texts
from schemas.entity import Entity
from schemas.rules import values


class User(Entity, file="users", rest="User"):
    """A student, teacher, guardian or administrator."""

    enabled_user = Flag(required=True, doc="false: the record is active but access is curtailed.")
    username = Text(required=True, personal=True, doc="Login name.")
    user_ids = Pairs(
        left="type", right="identifier", personal=True, doc="Identifiers elsewhere, {type:id}."
    )
    given_name = Text(required=True, personal=True, doc="Given name.")
    family_name = Text(required=True, personal=True, doc="Family name.")
    middle_name = Text(personal=True, doc="Middle names, separated by a blank.")
    identifier = Text(personal=True, doc="Human readable identifier.")
    email = Text(personal=True, doc="E-mail address.")
    sms = Text(personal=True, doc="Number for text messages.")
    phone = Text(personal=True, doc="Phone number.")
    agent_sourced_ids = Refs(to="users", personal=True, doc="Related people, usually guardians.")
    grades = Texts(personal=True, doc="Grade codes.")
    password = Text(personal=True, stored=False, doc="Never stored and never sent.")
    user_master_identifier = Text(personal=True, doc="Identifier across systems.")
    resource_sourced_ids = Refs(to="resources", doc="Resources; in 1.2 files only, not in 1.2.1.")
    preferred_given_name = Text(
        json="preferredFirstName", personal=True, doc="Given name the person goes by."
    )
    preferred_middle_name = Text(personal=True, doc="Middle name the person goes by.")
    preferred_family_name = Text(
        json="preferredLastName", personal=True, doc="Family name the person goes by."
    )
    primary_org_sourced_id = Ref(to="orgs", doc="Main org; the person should hold a role there.")
    pronouns = Text(personal=True, doc="Pronouns.")
    kana_given_name = Text(
        csv="metadata.jp.kanaGivenName", personal=True, doc="Given name in katakana (Japan)."
    )
    kana_family_name = Text(
        csv="metadata.jp.kanaFamilyName", personal=True, doc="Family name in katakana (Japan)."
    )
    kana_middle_name = Text(
        csv="metadata.jp.kanaMiddleName", personal=True, doc="Middle name in katakana (Japan)."
    )
    home_class = Ref(to="classes", csv="metadata.jp.homeClass", doc="Home class (Japan).")
    kana_preferred_family_name = Text(
        csv="metadata.jp.kanaPreferredFamilyName",
        personal=True,
        doc="Preferred family name in katakana (Japan).",
    )
    kana_preferred_given_name = Text(
        csv="metadata.jp.kanaPreferredGivenName",
        personal=True,
        doc="Preferred given name in katakana (Japan).",
    )
    kana_preferred_middle_name = Text(
        csv="metadata.jp.kanaPreferredMiddleName",
        personal=True,
        doc="Preferred middle name in katakana (Japan).",
    )


class UserProfile(Entity, file="userProfiles", rest="UserProfile"):
    """An account of a person in another system. A part of its user."""

    user_sourced_id = Ref(to="users", required=True, json=None, doc="The person.")
    profile_type = Text(required=True, doc="Human readable label.")
    vendor_id = Text(required=True, doc="Vendor of the system that uses the profile.")
    application_id = Text(doc="The application.")
    description = Text(personal=True, doc="Free text without secrets.")
    credential_type = Text(required=True, json="credentials.type", doc="Kind of credential.")
    username = Text(
        required=True, personal=True, json="credentials.username", doc="Login name there."
    )
    password = Text(
        personal=True,
        stored=False,
        json="credentials.password",
        doc="Never stored and never sent.",
    )


class Role(Entity, file="roles", rest="Role"):
    """What a person is at an org. A part of its user."""

    user_sourced_id = Ref(to="users", required=True, json=None, doc="The person.")
    role_type = Choice(
        words=("primary", "secondary"), required=True, doc="At most one primary per person and org."
    )
    role = Choice(
        words=(
            "aide",
            "counselor",
            "districtAdministrator",
            "guardian",
            "parent",
            "principal",
            "proctor",
            "relative",
            "siteAdministrator",
            "student",
            "systemAdministrator",
            "teacher",
        ),
        extensible=True,
        required=True,
        doc="The role.",
    )
    begin_date = Day(doc="First day, inclusive.")
    end_date = Day(doc="End day, exclusive.")
    org_sourced_id = Ref(to="orgs", required=True, doc="The org where the role holds.")
    user_profile_sourced_id = Ref(to="userProfiles", doc="A profile of the same person.")

    checks = (NotBefore(rule=values.ORDER, column=end_date, begin=begin_date),)


class Demographics(Entity, file="demographics", rest="Demographics"):
    """Privileged facts about a person; its sourcedId is the user's."""

    sourced_id = Key(required=True, to="users", doc="The user's sourcedId.")
    birth_date = Day(personal=True, doc="Date of birth.")
    sex = Choice(
        words=("male", "female", "unspecified", "other"),
        extensible=True,
        personal=True,
        doc="Sex.",
    )
    american_indian_or_alaska_native = Flag(personal=True, doc="Race flag.")
    asian = Flag(personal=True, doc="Race flag.")
    black_or_african_american = Flag(personal=True, doc="Race flag.")
    native_hawaiian_or_other_pacific_islander = Flag(personal=True, doc="Race flag.")
    white = Flag(personal=True, doc="Race flag.")
    demographic_race_two_or_more_races = Flag(personal=True, doc="Race flag.")
    hispanic_or_latino_ethnicity = Flag(personal=True, doc="Ethnicity flag.")
    country_of_birth_code = Text(personal=True, doc="Country of birth.")
    state_of_birth_abbreviation = Text(personal=True, doc="State of birth.")
    city_of_birth = Text(personal=True, doc="City of birth.")
    public_school_residence_status = Text(personal=True, doc="Residence status.")
