"""A district as arithmetic: who exists, where they sit, what changed, all from a seed and an index.

Nothing is kept but one small record per school, so the size of a district costs time, never
memory, and any person can be asked for in any order. The rest is said in `sheets.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from hashlib import blake2b
from itertools import count, pairwise
from math import ceil, gcd
from typing import Literal, NamedTuple, TypeAlias

from loadtests.names import BOYS, FAMILIES, GIRLS, kanji
from schemas.profiles import PROFILES, Profile

LARGEST_CLASS = 35
SMALLEST_SCHOOL = 9  # a principal, a teacher for each of six grades, one more, one pupil
MOST_SCHOOLS = 9_999
REMEMBERED = 1 << 12
"""How many identifiers are kept at hand: a constant, so that memory is one too."""

VARIANT = dict(zip("0123456789abcdef", "89ab" * 4, strict=True))


@dataclass(frozen=True, kw_only=True)
class District:
    """Everything that decides the bytes of a package.

    `users` counts everybody in generation 0; `guardians` is the share of pupils who have one.
    `order` shuffles the rows of every file. In a later `generation` the share `mutations` of the
    pupils has another name, another class, has left, or has a new neighbour, all compared with
    generation 0. Another `year` seats the same people in new classes.
    """

    seed: int = 1
    schools: int = 4
    users: int = 2000
    enrollments_per_student: int = 10
    profile: str = "JP-1.2.1"
    year: int = 2026
    order: int = 0
    mutations: float = 0.0
    generation: int = 0
    guardians: float = 0.0

    def __post_init__(self) -> None:
        if self.profile not in PROFILES:
            raise ValueError(f"{self.profile} is none of {', '.join(PROFILES)}")
        if not 1 <= self.schools <= MOST_SCHOOLS:
            raise ValueError(f"a district has 1 to {MOST_SCHOOLS} schools")
        if self.users < self.schools * SMALLEST_SCHOOL:
            raise ValueError(f"every school needs at least {SMALLEST_SCHOOL} users")
        if self.enrollments_per_student < 1:
            raise ValueError("every pupil is enrolled at least in the home class")
        if not 0 <= self.mutations <= 1 or not 0 <= self.guardians <= 1:
            raise ValueError("a share lies between 0 and 1")

    @property
    def board(self) -> str:
        """The code of the board of education: Tokyo, and a board number that nobody bears."""
        return f"13{9999 - (self.seed - 1) % 100:04d}"


@dataclass(frozen=True)
class Level:
    """A kind of school. The pairing of subjects and codes is ours, like the schools."""

    code: str
    name: str
    grades: tuple[str, ...]
    youngest: int
    subjects: tuple[tuple[str, str], ...]


ELEMENTARY = Level(
    code="B1",
    name="小学校",
    grades=("P1", "P2", "P3", "P4", "P5", "P6"),
    youngest=6,
    subjects=(
        ("国語", "P010"),
        ("社会", "P020"),
        ("算数", "P030"),
        ("理科", "P040"),
        ("生活", "P050"),
        ("音楽", "P060"),
        ("図画工作", "P070"),
        ("家庭", "P080"),
        ("体育", "P090"),
        ("外国語", "P100"),
    ),
)
JUNIOR_HIGH = Level(
    code="C1",
    name="中学校",
    grades=("J1", "J2", "J3"),
    youngest=12,
    subjects=(
        ("国語", "J010"),
        ("社会", "J020"),
        ("数学", "J030"),
        ("理科", "J040"),
        ("音楽", "J050"),
        ("美術", "J060"),
        ("保健体育", "J070"),
        ("技術・家庭", "J080"),
        ("外国語", "J090"),
    ),
)
LEVELS = (ELEMENTARY, JUNIOR_HIGH, ELEMENTARY)
"""The pattern in which schools follow each other: two elementary schools to a junior high."""


Group: TypeAlias = Literal["pupil", "newcomer", "teacher", "principal", "guardian"]
"""The groups of people of a school; plain words, for they go into every identifier."""


class Person(NamedTuple):
    """Somebody: the how-maniest of which group. A newcomer is numbered like their neighbour."""

    group: Group
    number: int


class Seat(NamedTuple):
    """A home class, counted through the school, and the attendance number in it."""

    room: int
    number: int


class Fate(Enum):
    """What happened to a pupil between generation 0 and this one."""

    STAYED = 0
    RENAMED = 1
    MOVED = 2
    LEFT = 3
    JOINED = 4  # the pupil stayed, and a newcomer sits beside them


CHANGES = (Fate.RENAMED, Fate.MOVED, Fate.LEFT, Fate.JOINED)


@dataclass(frozen=True)
class School:
    """One school in numbers; `first` is the number of its first user in the district."""

    index: int
    level: Level
    first: int
    sections: int
    pupils: int
    newcomers: int
    guardians: int

    @cached_property
    def rooms(self) -> int:
        """How many home classes there are."""
        return self.sections * len(self.level.grades)

    @cached_property
    def largest(self) -> int:
        """How many pupils the fullest home class has."""
        return ceil(self.pupils / self.rooms)

    @cached_property
    def groups(self) -> tuple[tuple[Group, int], ...]:
        """How many of each group there may be, in the order of the files."""
        return (
            ("pupil", self.pupils),
            ("newcomer", self.newcomers),
            ("teacher", teachers(self.rooms)),
            ("principal", 1),
            ("guardian", self.guardians),
        )

    @cached_property
    def people(self) -> int:
        """How many people there may be, before anybody left."""
        return sum(size for _, size in self.groups)

    def person(self, at: int) -> Person:
        """The person at a place of the school's list."""
        for group, size in self.groups:
            if at < size:
                return Person(group, at)
            at -= size
        raise IndexError(at)

    def grade(self, room: int) -> int:
        """The grade of a home class, counted from 0."""
        return room // self.sections

    @cached_property
    def title(self) -> str:
        """The name on the sign; schools are numbered per level."""
        same = sum(level is self.level for level in LEVELS)
        turn, place = divmod(self.index, len(LEVELS))
        before = sum(level is self.level for level in LEVELS[:place])
        return f"架空市立第{kanji(turn * same + before + 1)}{self.level.name}"

    def code(self, board: str) -> str:
        """The 13-character school code: level, prefecture, public, number, check digit."""
        code = f"{self.level.code}{board[:2]}2{board[3:]}{self.index + 1:04d}"
        return code + check_digit(code)


def check_digit(code: str) -> str:
    """The last character of a school code, from the twelve before it."""
    digits = f"{ord(code[0]) - ord('A') + 1:02d}{code[1:]}"
    products = (int(digit) * (1 + at % 2) for at, digit in enumerate(digits))
    return str(-sum(sum(divmod(product, 10)) for product in products) % 10)


def teachers(rooms: int) -> int:
    """One teacher per home class, and one more for every four."""
    return rooms + rooms // 4


def draw(*what: object) -> int:
    """A number of 64 bits that only depends on what it is for."""
    return int.from_bytes(blake2b(repr(what).encode(), digest_size=8).digest())


@lru_cache(REMEMBERED)
def identifier(*what: object) -> str:
    """A lower-case UUID version 4 that only depends on what it names."""
    return fresh_identifier(*what)


def fresh_identifier(*what: object) -> str:
    """`identifier` for what is asked for once, so that it does not push out the others."""
    digest = blake2b(repr(what).encode(), digest_size=16).hexdigest()
    middle = f"4{digest[13:16]}-{VARIANT[digest[16]]}{digest[17:20]}"
    return f"{digest[:8]}-{digest[8:12]}-{middle}-{digest[20:]}"


@lru_cache(REMEMBERED)
def drawn_fate(mutations: float, *pupil: object) -> Fate:
    """The fate of a pupil in a generation after the first."""
    number = draw("fate", *pupil)
    if number >= mutations * 2**64:
        return Fate.STAYED
    return CHANGES[number % len(CHANGES)]


class Town:
    """A district with its schools counted out."""

    def __init__(self, district: District) -> None:
        self.district = district
        self.profile: Profile = PROFILES[district.profile]
        self.changing = bool(district.generation and district.mutations)
        self.schools = tuple(self.found_schools())

    def found_schools(self) -> Iterator[School]:
        """Share the users out among the schools."""
        district = self.district
        bounds = [at * district.users // district.schools for at in range(district.schools + 1)]
        for index, (first, end) in enumerate(pairwise(bounds)):
            yield self.found(index, first, end - first)

    def found(self, index: int, first: int, users: int) -> School:
        """Open as few home classes per grade as the largest class allows."""
        level = LEVELS[index % len(LEVELS)]
        for sections in count(1):
            rooms = sections * len(level.grades)
            families = users - 1 - teachers(rooms)
            pupils = ceil(families / (1 + self.district.guardians))
            if pupils <= LARGEST_CLASS * rooms:
                break
        newcomers = pupils if self.changing else 0
        return School(index, level, first, sections, pupils, newcomers, families - pupils)

    def id(self, kind: str, *index: object) -> str:
        """The sourcedId of something that is referred to."""
        return identifier(self.district.seed, kind, *index)

    def own_id(self, kind: str, *index: object) -> str:
        """The sourcedId of something that nothing refers to."""
        return fresh_identifier(self.district.seed, kind, *index)

    def user_id(self, school: School, person: Person) -> str:
        """The sourcedId of a person."""
        return self.id("user", school.index, *person)

    def fate(self, school: School, pupil: int) -> Fate:
        """What happened to a pupil; a grade with one class has no class to move to."""
        if not self.changing:
            return Fate.STAYED
        own = self.district
        fate = drawn_fate(own.mutations, own.seed, own.generation, school.index, pupil)
        return Fate.RENAMED if fate is Fate.MOVED and school.sections == 1 else fate

    def here(self, school: School, person: Person) -> bool:
        """Whether the person is in this generation; a guardian goes with the pupil."""
        match person.group:
            case "teacher" | "principal":
                return True
            case "newcomer":
                return self.fate(school, person.number) is Fate.JOINED
            case "pupil" | "guardian":
                return self.fate(school, person.number) is not Fate.LEFT

    def seat(self, school: School, person: Person) -> Seat:
        """Where a pupil or newcomer sits; who came later has a number after all others."""
        room = person.number * school.rooms // school.pupils
        number = person.number - -(-room * school.pupils // school.rooms) + 1
        if person.group == "newcomer":
            return Seat(room, school.largest + number)
        if self.fate(school, person.number) is Fate.MOVED:
            grade, section = divmod(room, school.sections)
            room = grade * school.sections + (section + 1) % school.sections
            return Seat(room, 2 * school.largest + number)
        return Seat(room, number)

    def home(self, school: School, person: Person) -> int | None:
        """The home class of anybody who has one."""
        if person.group in {"pupil", "newcomer"}:
            return self.seat(school, person).room
        if person.group == "teacher" and person.number < school.rooms:
            return person.number
        return None

    def girl(self, school: School, person: Person) -> bool:
        """Whether the name and the sex are a girl's."""
        return bool(self.lot(school, person) >> 60 & 1)

    def family(self, school: School, person: Person) -> tuple[str, str]:
        """The family name; a renamed pupil has another than in generation 0."""
        if person.group == "guardian":
            return self.family(school, Person("pupil", person.number))
        number = self.lot(school, person) % len(FAMILIES)
        if person.group == "pupil" and self.fate(school, person.number) is Fate.RENAMED:
            lot = self.lot(school, person, self.district.generation)
            number += 1 + lot % (len(FAMILIES) - 1)
        return FAMILIES[number % len(FAMILIES)]

    def given(self, school: School, person: Person) -> tuple[str, str]:
        """The given name."""
        names = GIRLS if self.girl(school, person) else BOYS
        return names[(self.lot(school, person) >> 20) % len(names)]

    def lot(self, school: School, person: Person, generation: int = 0) -> int:
        """The dice of one person."""
        return draw(self.district.seed, "lot", generation, school.index, *person)


def shuffled(size: int, order: int, salt: str) -> Iterator[int]:
    """Every number below `size` once: an affine map, which needs no memory."""
    if order == 0 or size <= 1:
        return iter(range(size))
    step = 1 + draw(order, salt, "step") % (size - 1)
    while gcd(step, size) != 1:
        step += 1
    shift = draw(order, salt, "shift") % size
    return ((at * step + shift) % size for at in range(size))
