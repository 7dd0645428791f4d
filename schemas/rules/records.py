"""What can be wrong between records: keys, references and what they add up to.

Sources: CSV binding 6 to 8, Japan profile 5, 7 and 8, conformance 2 and 4. Two rules are left out
on purpose, for official valid packages break them: that a class's terms lie in its course's school
year, and that an enrollment's role equals a role in roles.csv.
"""

from schemas.rules.rule import Rule

DUPLICATE = Rule(
    "record.duplicate",
    "error",
    "The sourcedId {value} stands in {file} more than once.",
    "{file} に sourcedId {value} が 2 回以上あります。",
    "keep one row per record.",
    "1 つの記録は 1 行にしてください。",
)
ALIASED_TWICE = Rule(
    "record.aliased_twice",
    "error",
    "{value} and {hub} are one record since its sourcedId was changed; {file} has it more than once.",
    "{value} と {hub} は、sourcedId の付け替え後は同じ記録です。{file} に 2 回以上あります。",
    "keep one row per record, with the sourcedId that the source uses now.",
    "1 つの記録は 1 行にし、現在の sourcedId だけを使ってください。",
)
REFERENCE = Rule(
    "reference.missing",
    "error",
    "{column} refers to {value}, which is not in {target}.",
    "{column} の {value} が {target} にありません。",
    "add the record to {target}, or correct the reference.",
    "{target} にその記録を入れるか、参照を直してください。",
)
VANISHED = Rule(
    "reference.vanished",
    "error",
    "The stored record {sourced_id} of {file} refers to {value}, which the package deletes from {target}.",
    "保存済みの {file} の {sourced_id} が参照している {value} を、このパッケージは {target} から削除します。",
    "send {file} as well, or keep {value} in {target}.",
    "{file} も一緒に送るか、{target} に {value} を残してください。",
)
CASCADED = Rule(
    "reference.cascaded",
    "info",
    "{sourced_id} of {file} refers to {value}, which goes from {target}, and is deleted with it.",
    "{file} の {sourced_id} は {target} の {value} を参照しているため、一緒に削除します。",
    "nothing to do, or send {file} as well; the policy of the district asks for this.",
    "対応は不要です(地区の方針によります)。残すときは {file} も一緒に送ってください。",
)
KIND = Rule(
    "reference.kind",
    "error",
    "{column} refers to {value}, whose type is {found}; it must be {expected}.",
    "{column} の {value} は種類が {found} です。{expected} でなければなりません。",
    "refer to a record of the type {expected}, or correct the type in {target}.",
    "種類が {expected} の記録を参照するか、{target} の種類を直してください。",
)
KIND_BY_PROFILE = Rule(
    "reference.kind_by_profile",
    "warning",
    "{column} refers to {value}, whose type is {found}; the profile asks for {expected}.",
    "{column} の {value} は種類が {found} です。プロファイルでは {expected} です。",
    "refer to a record of the type {expected}, or correct the type in {target}.",
    "種類が {expected} の記録を参照するか、{target} の種類を直してください。",
)
CYCLE = Rule(
    "reference.cycle",
    "error",
    "{column} leads from {sourced_id} back to itself.",
    "{sourced_id} の {column} をたどると自分自身に戻ります。",
    "leave {column} empty at the top.",
    "最上位の {column} を空にしてください。",
)
OTHER_USER = Rule(
    "reference.other_user",
    "error",
    "{column} refers to {value}, a profile of another user ({found}).",
    "{column} の {value} は別の利用者({found})のプロファイルです。",
    "refer to a profile of the same user.",
    "同じ利用者のプロファイルを参照してください。",
)
PRIMARY_ROLE = Rule(
    "record.primary_role",
    "error",
    "The user {value} has more than one primary role at {org}.",
    "利用者 {value} の primary の役割が {org} に 2 つ以上あります。",
    "keep one primary role per user and org, make the others secondary.",
    "利用者と組織ごとに primary は 1 つにし、ほかは secondary にしてください。",
)
USER_WITHOUT_ROLE = Rule(
    "record.user_without_role",
    "warning",
    "The new user {sourced_id} has no row in roles.csv.",
    "新しい利用者 {sourced_id} の行が roles.csv にありません。",
    "add a role for the user.",
    "roles.csv に役割を追加してください。",
)
PRIMARY_ORG = Rule(
    "record.primary_org_without_role",
    "warning",
    "The user has no role at the primary org {value}.",
    "利用者の主な組織 {value} での役割が roles.csv にありません。",
    "add a role at this org, or name an org where the user has one.",
    "その組織での役割を追加するか、役割のある組織にしてください。",
)
PRIMARY_TEACHER = Rule(
    "record.primary_teacher",
    "warning",
    "The class {value} has more than one primary teacher at the same time.",
    "クラス {value} の主担当の教員が同じ期間に 2 人以上います。",
    "write primary=true for one teacher only.",
    "primary=true は 1 人だけにしてください。",
)
SESSION_OUTSIDE = Rule(
    "record.session_outside_parent",
    "warning",
    "The session ({value}) does not lie within its parent ({expected}).",
    "期間({value})が親の期間({expected})に収まっていません。",
    "correct the dates of the session or of its parent.",
    "期間または親の期間の日付を直してください。",
)
ENROLLMENT_OUTSIDE = Rule(
    "record.enrollment_outside_sessions",
    "warning",
    "The enrollment ({value}) does not lie within the sessions of its class ({expected}).",
    "在籍期間({value})がクラスの期間({expected})に合っていません。",
    "correct the dates, or leave them empty.",
    "日付を直すか、空にしてください。",
)
STUDENT_GRADES = Rule(
    "record.student_without_grades",
    "error",
    "{column} is empty; the profile requires it for students.",
    "{column} が空です。プロファイルでは児童生徒に必須です。",
    "write the grade, such as P1 or J1.",
    "学年(P1、J1 など)を書いてください。",
)
NO_PRIMARY_ROLE = Rule(
    "record.secondary_without_primary",
    "error",
    "The user {value} has a secondary role and no primary one.",
    "利用者 {value} には secondary の役割だけがあり、primary がありません。",
    "give every person one primary role.",
    "全員に primary の役割を 1 つ付けてください。",
)
ADMIN_WITHOUT_TEACHER = Rule(
    "record.admin_without_teacher",
    "warning",
    "The user {value} is {role} and has no primary role as teacher.",
    "利用者 {value} は {role} ですが、primary の teacher の役割がありません。",
    "give the person the primary role teacher as well.",
    "primary の teacher の役割も付けてください。",
)
SCHOOL_WITHOUT_DISTRICT = Rule(
    "record.school_without_district",
    "warning",
    "{column} of the school {sourced_id} is empty, though there is a district.",
    "学校 {sourced_id} の {column} が空です(教育委員会があります)。",
    "write the district's sourcedId.",
    "教育委員会の sourcedId を書いてください。",
)
SCHOOL_YEAR_TWICE = Rule(
    "record.school_year_twice",
    "warning",
    "There is more than one session of the type schoolYear for {value}.",
    "{value} 年度の schoolYear が 2 つ以上あります。",
    "keep one session per school year.",
    "1 年度に 1 つにしてください。",
)
MASTER_IDENTIFIER_TWICE = Rule(
    "record.master_identifier_twice",
    "error",
    "Another user has the same userMasterIdentifier {value}.",
    "userMasterIdentifier {value} が別の利用者と重複しています。",
    "give every person an identifier of their own.",
    "1 人に 1 つの値にしてください。",
)
USERNAME_TWICE = Rule(
    "record.username_twice",
    "warning",
    "Another user has the same username {value}.",
    "username {value} が別の利用者と重複しています。",
    "give every person a login name of their own.",
    "1 人に 1 つの値にしてください。",
)
HOME_CLASS = Rule(
    "record.home_class_without_enrollment",
    "warning",
    "The home class {value} has no enrollment of the user.",
    "ホームクラス {value} に、この利用者の在籍(enrollments.csv)がありません。",
    "enroll the user in the class, or correct {column}.",
    "enrollments.csv に在籍を追加するか、{column} を直してください。",
)
PUPIL_WITHOUT_HOMEROOM = Rule(
    "record.student_without_homeroom",
    "warning",
    "The student {sourced_id} is enrolled in classes, and in no homeroom among them.",
    "児童生徒 {sourced_id} の在籍に、学級(homeroom)がありません。",
    "enroll the student in the home class as well.",
    "学級にも在籍させてください。",
)
ERASED = Rule(
    "record.erased",
    "warning",
    "{sourced_id} of {file} is about a person who was erased; the row was left out.",
    "{file} の {sourced_id} は消去した人の行のため、取り込みませんでした。",
    "remove the person at the source, or release the erasure if they are to come back.",
    "校務支援システムから外すか、再び登録する場合は消去を解除してください。",
)
TOLERANCE = Rule(
    "record.tolerance",
    "error",
    "{found} of {rows} rows of {file} cannot be taken; the district allows {limit} %.",
    "{file} の {rows} 行のうち {found} 行を取り込めません。地区の許容は {limit} % です。",
    "correct the rows that are named.",
    "示された行を直してください。",
)
DELETION_WITHHELD = Rule(
    "record.deletion_withheld",
    "warning",
    "{value} of {file} stays: the skipped row {sourced_id} of {target} still refers to it.",
    "{file} の {value} は残します。取り込まなかった {target} の {sourced_id} が参照しています。",
    "correct the skipped row.",
    "取り込まなかった行を直してください。",
)
DELETIONS_WITHHELD = Rule(
    "record.deletions_withheld",
    "warning",
    "Nothing is deleted from {file}: rows were skipped whose sourcedId cannot be read.",
    "{file} からは何も削除しません。sourcedId を読めない行を取り込まなかったためです。",
    "correct the skipped rows.",
    "取り込まなかった行を直してください。",
)
