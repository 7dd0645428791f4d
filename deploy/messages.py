"""What the command line says, in English and in Japanese: this file is the whole catalogue.

A text is declared once with both languages beside each other, so neither can be forgotten. A
problem adds a stable code, the exit status and the next command to try.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias, get_args

Lang: TypeAlias = Literal["ja", "en"]
LANGS: tuple[Lang, ...] = get_args(Lang)

DONE, FINDINGS, USAGE, FAILED, DENIED, HELD, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130
"""The exit statuses; `FINDINGS` are in the data, `FAILED` is the network, a server or us."""


class Text(NamedTuple):
    """A sentence; `{names}` are filled in when it is said."""

    en: str
    ja: str

    def say(self, lang: Lang, **facts: object) -> str:
        """The sentence in one language."""
        return (self.ja if lang == "ja" else self.en).format(**facts)


class Problem(NamedTuple):
    """A way to fail: its code, how the process ends, why, and what to try next."""

    code: str
    exit: int
    sentence: Text
    next: str


class Failure(Exception):
    """A command could not do its work."""

    def __init__(self, problem: Problem, **facts: object) -> None:
        self.problem = problem
        self.facts = facts
        super().__init__(self.say("en"))

    def say(self, lang: Lang) -> str:
        """Code and sentence on one line, the next command on another."""
        problem = self.problem
        try_next = NEXT.say(lang, command=problem.next.format(**self.facts))
        return f"{problem.code}: {problem.sentence.say(lang, **self.facts)}\n{try_next}"


def spoken(env: Mapping[str, str]) -> Lang:
    """The language that the environment asks for, in the order of POSIX."""
    asked = next(filter(None, map(env.get, ("LC_ALL", "LC_MESSAGES", "LANG"))), "")
    return "ja" if asked.lower().startswith("ja") else "en"


NEXT = Text("Next: {command}", "次に試すこと: {command}")

# --- What can go wrong ---------------------------------------------------------------------

BAD_USAGE = Problem(
    "usage",
    USAGE,
    Text("{reason}", "使い方が違います。{reason}"),
    "{command} --help",
)
NO_HUB = Problem(
    "no_hub",
    USAGE,
    Text(
        "No hub is named: give --url or RH_URL, or start one here.",
        "接続先がありません。--url か RH_URL で指定するか、ここで起動してください。",
    ),
    "rosterhub dev",
)
NO_KEY = Problem(
    "no_key",
    DENIED,
    Text(
        "No key is given: use --key or RH_KEY.",
        "鍵がありません。--key か RH_KEY で渡してください。",
    ),
    "rosterhub keys create NAME --admin",
)
NOT_SIGNED_IN = Problem(
    "not_signed_in",
    DENIED,
    Text(
        "The hub does not accept this key: {detail}",
        "この鍵は受け付けられませんでした: {detail}",
    ),
    "rosterhub keys create NAME --admin",
)
NOT_ALLOWED = Problem(
    "not_allowed",
    DENIED,
    Text("This key may not do that: {detail}", "この鍵では許可されていません: {detail}"),
    "rosterhub keys list",
)
NOT_FOUND = Problem(
    "not_found",
    FAILED,
    Text("The hub does not have it: {detail}", "見つかりませんでした: {detail}"),
    "{look} list",
)
REFUSED = Problem(
    "refused",
    FAILED,
    Text(
        "The hub refused with status {status}: {detail}",
        "サーバーが断りました(状態 {status}): {detail}",
    ),
    "{look} --help",
)
UNREACHABLE = Problem(
    "unreachable",
    FAILED,
    Text("{url} does not answer ({reason}).", "{url} から応答がありません({reason})。"),
    "curl {url}/health/ready",
)
SETTING_MISSING = Problem(
    "setting_missing",
    USAGE,
    Text("{names} must be set in the environment.", "環境変数 {names} を設定してください。"),
    "rosterhub dev",
)
SETTING_WRONG = Problem(
    "setting_wrong",
    USAGE,
    Text("The settings cannot be read: {reason}", "設定を読めません: {reason}"),
    "env | grep ^ROSTERHUB_",
)
DATABASE_UNREACHABLE = Problem(
    "database_unreachable",
    FAILED,
    Text(
        "The database cannot do that: {reason}",
        "データベースで実行できませんでした: {reason}",
    ),
    "rosterhub migrate status",
)
STORE_UNREACHABLE = Problem(
    "store_unreachable",
    FAILED,
    Text("The object store cannot be read: {reason}", "保管場所を読めません: {reason}"),
    "env | grep ^ROSTERHUB_OBJECT_STORE",
)
AUDIT_BROKEN = Problem(
    "audit_broken",
    FINDINGS,
    Text(
        "The audit is not what was written down: {faults} faults.",
        "監査記録は、書かれたときのままではありません。異常が {faults} 件あります。",
    ),
    "rosterhub audit verify --json",
)
NO_WORKERS = Problem(
    "no_workers",
    FAILED,
    Text(
        "This installation is without the workers ({reason}): install the extra `workers`.",
        "この環境には workers が入っていません({reason})。追加の `workers` を入れてください。",
    ),
    "pip install 'rosterhub[workers]'",
)
NOTHING_SENT = Problem(
    "nothing_sent",
    USAGE,
    Text("{file} is empty.", "{file} は空です。"),
    "rosterhub sample",
)
SINGLE_CSV = Problem(
    "single_csv",
    USAGE,
    Text(
        "A single CSV needs --entity and --mode; a package (.zip) takes neither.",
        "CSV 1 個には --entity と --mode が要ります。ZIP には付けません。",
    ),
    "rosterhub push {file} --entity users --mode upsert",
)
REJECTED = Problem(
    "rejected",
    FINDINGS,
    Text(
        "The run was rejected: {errors} findings to correct. Nothing was changed.",
        "取り込みは却下されました。直す所が {errors} 件あります。データは変わっていません。",
    ),
    "rosterhub runs findings {run}",
)
RUN_HELD = Problem(
    "held",
    HELD,
    Text("The run waits for approval.", "取り込みは承認待ちです。"),
    "rosterhub runs diff {run}",
)
DROPPED = Problem(
    "dropped",
    FAILED,
    Text(
        "The run was looked at and rejected by {by}. Nothing was changed.",
        "取り込みは確認のうえ {by} が却下しました。データは変わっていません。",
    ),
    "rosterhub runs show {run}",
)
RUN_FAILED = Problem(
    "run_failed",
    FAILED,
    Text("The run ended as {state}: {reason}", "取り込みは {state} で終わりました: {reason}"),
    "rosterhub runs show {run}",
)
EXPORT_ENDED = Problem(
    "export_not_made",
    FAILED,
    Text("The export ended as {state}: {reason}", "書き出しは {state} で終わりました: {reason}"),
    "rosterhub exports show {export}",
)
DOWNLOAD_DAMAGED = Problem(
    "download_damaged",
    FAILED,
    Text(
        "{file} did not arrive whole.",
        "{file} を正しく受け取れませんでした。",
    ),
    "rosterhub exports download {export}",
)
CANNOT_KEEP = Problem(
    "cannot_keep",
    FAILED,
    Text("{file} cannot be written: {reason}", "{file} に書き込めません: {reason}"),
    "rosterhub exports download {export} -o package.zip",
)
NOT_JSON = Problem(
    "not_json",
    USAGE,
    Text("{file} does not hold one JSON object.", "{file} は JSON オブジェクトではありません。"),
    "rosterhub mappings show users --json",
)
BAD_MAPPING = Problem(
    "bad_mapping",
    USAGE,
    Text(
        "{file} is not a mapping that can be used: {fields}.",
        "{file} は使える対応付けではありません: {fields}。",
    ),
    "rosterhub mappings show users --json",
)
BAD_POLICY = Problem(
    "bad_policy",
    USAGE,
    Text("{file} is not a policy: {fields}.", "{file} は方針ではありません: {fields}。"),
    "rosterhub policy show --json",
)
PREVIEW_LATE = Problem(
    "preview_late",
    FAILED,
    Text(
        "No worker has made the preview yet.",
        "プレビューを作るワーカーからの応答がまだありません。",
    ),
    "rosterhub mappings preview --help",
)
NOT_A_LIMIT = Problem(
    "not_a_limit",
    USAGE,
    Text(
        "{given} is not KEY=VALUE with a key of a lens.",
        "{given} は、レンズの項目を使った 項目=値 の形ではありません。",
    ),
    "rosterhub clients lens show {client}",
)
NOT_A_DECISION = Problem(
    "not_a_decision",
    USAGE,
    Text(
        "{given} is not KEY=VALUE with a key of the policy.",
        "{given} は、方針の項目を使った 項目=値 の形ではありません。",
    ),
    "rosterhub policy show",
)
NOT_CONFIRMED = Problem(
    "not_confirmed",
    USAGE,
    Text("Nothing was deleted.", "何も削除していません。"),
    "rosterhub districts delete {district} --yes",
)
CLIENT_KEPT = Problem(
    "client_kept",
    USAGE,
    Text("The client was not deleted.", "連携先は削除していません。"),
    "rosterhub clients delete {client} --yes",
)
NOT_ERASED = Problem(
    "not_erased",
    USAGE,
    Text("Nobody was erased.", "誰も消去していません。"),
    "rosterhub erasures request {users} --yes",
)
BAD_SAMPLE = Problem(
    "bad_sample",
    USAGE,
    Text("There is no such district: {reason}.", "そのような見本は作れません: {reason}。"),
    "rosterhub sample --help",
)
CHECK_FOUND = Problem(
    "check_found",
    FINDINGS,
    Text(
        "A hub would reject this: {errors} findings to correct.",
        "このままでは取り込めません。直す所が {errors} 件あります。",
    ),
    "rosterhub check {files} --json",
)
MIXED_FILES = Problem(
    "mixed_files",
    USAGE,
    Text(
        "Name one package (.zip), one folder with CSV files, or CSV files, each name once.",
        "ZIP 1 個、CSV の入ったフォルダー 1 個、または CSV(同じ名前は 1 つ)を指定してください。",
    ),
    "rosterhub check --help",
)
CANNOT_WRITE = Problem(
    "cannot_write",
    FAILED,
    Text("{file} cannot be written: {reason}", "{file} に書き込めません: {reason}"),
    "rosterhub sample -o sample.zip",
)
CANNOT_SAVE = Problem(
    "cannot_save",
    FAILED,
    Text("{file} cannot be written: {reason}", "{file} に書き込めません: {reason}"),
    "rosterhub runs findings {run} --csv findings.csv",
)
ROWS_OF_WHICH_FILE = Problem(
    "rows_of_which_file",
    USAGE,
    Text(
        "--rows gives the rows of one file: name it with --file.",
        "--rows は 1 つのファイルの行を書き出します。--file で指定してください。",
    ),
    "rosterhub runs findings {run} --file users.csv --rows users.csv",
)
TRIAL_FAILED = Problem(
    "trial_failed",
    FAILED,
    Text("The receiver has not taken it: {reason}", "受信側に届きませんでした: {reason}"),
    "rosterhub webhooks deliveries {webhook}",
)
TRIAL_LATE = Problem(
    "trial_late",
    FAILED,
    Text("No sender has tried it yet.", "まだどのワーカーも送信していません。"),
    "rosterhub webhooks deliveries {webhook}",
)
ALREADY_RUNNING = Problem(
    "already_running",
    FAILED,
    Text(
        "Another `rosterhub dev` runs in {folder}.",
        "{folder} では別の `rosterhub dev` が動いています。",
    ),
    "rosterhub runs list",
)
CANNOT_START = Problem(
    "cannot_start",
    FAILED,
    Text("A server cannot be started: {reason}", "サーバーを起動できません: {reason}"),
    "pip install 'rosterhub[embedded]'",
)
PORT_TAKEN = Problem(
    "port_taken",
    FAILED,
    Text("Port {port} is in use.", "ポート {port} は使われています。"),
    "ROSTERHUB_PORT=0 rosterhub dev",
)
CHILD_DIED = Problem(
    "child_died",
    FAILED,
    Text(
        "`{child}` ended with status {status}; the hub was stopped. Its last words are above.",
        "`{child}` が状態 {status} で終わったため、全体を止めました。理由は上の記録にあります。",
    ),
    "rosterhub dev",
)
NEVER_READY = Problem(
    "never_ready",
    FAILED,
    Text(
        "The hub was not ready within {seconds} seconds.",
        "{seconds} 秒たっても準備が整いませんでした。",
    ),
    "rosterhub dev",
)

# --- What happens --------------------------------------------------------------------------

RUN_WAITS = Text(
    "Accepted; follow it with: rosterhub runs watch {run}",
    "受け付けました。進み具合を見るには: rosterhub runs watch {run}",
)
SENDING = Text("sending", "送信")
ROWS = Text("rows", "行")
RETRYING = Text("Trying again ({reason}).", "もう一度試します({reason})。")
POLLING = Text(
    "No live updates here; asking every {seconds} seconds.",
    "自動更新が使えないため、{seconds} 秒ごとに確認します。",
)
STAGES: Mapping[str, Text] = {
    "open": Text("open", "開封"),
    "read": Text("read", "読込"),
    "check": Text("check", "検査"),
    "apply": Text("apply", "反映"),
    "publish": Text("publish", "公開"),
    "write": Text("write", "書出"),
}
EXPORT_STATES: Mapping[str, Text] = {
    "queued": Text("queued", "待機"),
    "running": Text("running", "実行中"),
    "completed": Text("completed", "完了"),
    "failed": Text("failed", "失敗"),
    "cancelled": Text("cancelled", "中止"),
}
EXPORT_WAITS = Text(
    "Accepted; fetch it with: rosterhub exports download {export}",
    "受け付けました。受け取るには: rosterhub exports download {export}",
)
EXPORT_CANCELLED = Text("Export {export} is cancelled.", "書き出し {export} を中止しました。")
EXPORT_SHOWS = Text(
    "Profile {profile}, version {version}, {rows} rows.",
    "プロファイル {profile}、版 {version}、{rows} 行。",
)
EXPORT_SINCE = Text("Changes since version {since}.", "版 {since} からの差分です。")
EXPORT_FILE_GONE = Text("The file is deleted.", "ファイルは削除されました。")
SIGNS_REPLACED = Text(
    "{file}: {signs} signs do not exist in the encoding and were replaced (lines {lines}).",
    "{file}: 文字コードにない文字を {signs} 個置き換えました({lines} 行目)。",
)
NO_REASON = Text("no reason is known.", "理由は分かりません。")
SCHEDULE_SAVED = Text(
    "Schedule {schedule}: next on {next}.", "予定 {schedule}: 次回は {next} です。"
)
SCHEDULE_OFF = Text("Schedule {schedule} is switched off.", "予定 {schedule} は停止中です。")
SCHEDULE_DELETED = Text("Schedule {schedule} is deleted.", "予定 {schedule} を削除しました。")
STATES: Mapping[str, Text] = {
    "received": Text("received", "受信"),
    "queued": Text("queued", "待機"),
    "running": Text("running", "実行中"),
    "review": Text("review", "確認待ち"),
    "held": Text("held", "保留"),
    "applied": Text("applied", "反映済み"),
    "rejected": Text("rejected", "却下"),
    "failed": Text("failed", "失敗"),
    "cancelled": Text("cancelled", "中止"),
    "superseded": Text("superseded", "置き換え済み"),
}
SEVERITIES: Mapping[str, Text] = {
    "error": Text("errors", "要修正"),
    "warning": Text("warnings", "警告"),
    "info": Text("notes", "情報"),
}
FINDINGS_FOUND = Text("Findings: {list}", "検出: {list}")
NO_FINDINGS = Text("No findings.", "検出はありません。")
CHECK_OPEN = Text(
    "Not looked up, for the package does not hold all of them: references into {list}.",
    "パッケージに全件がないため、次への参照は調べていません: {list}。",
)
CHECK_SIZE = Text("Profile {profile}, {rows} rows.", "プロファイル {profile}、{rows} 行。")
MORE_FINDINGS = Text("… and {more} more", "… ほか {more} 件")
MAPPED_FILES = Text(
    "Read with the district's mapping: {list}.", "地区の対応付けで読み込みました: {list}。"
)
MAPPED_FILE = Text("{file} (version {version})", "{file}(版 {version})")
VERSION_PUBLISHED = Text("Applied as version {version}.", "版 {version} として反映しました。")
COUNTS: Mapping[str, Text] = {
    "created": Text("created", "追加"),
    "updated": Text("updated", "変更"),
    "unchanged": Text("unchanged", "変更なし"),
    "deleted": Text("deleted", "削除"),
    "rejected": Text("rejected", "却下"),
    "touched": Text("touched", "関連変更"),
    "rekeyed": Text("re-keyed", "ID 付け替え"),
}
CHANGES: Mapping[str, Text] = {name: COUNTS[name] for name in ("created", "updated", "deleted")}
HEADINGS: Mapping[str, Text] = {
    "file": Text("file", "ファイル"),
    "line": Text("line", "行"),
    "column": Text("column", "項目"),
    "message": Text("message", "内容"),
    "resolves": Text("resolves", "解消"),
    "severity": Text("severity", "重さ"),
    "rule": Text("rule", "規則"),
    "id": Text("id", "ID"),
    "name": Text("name", "名前"),
    "label": Text("label", "用途"),
    "kind": Text("kind", "種類"),
    "state": Text("state", "状態"),
    "stage": Text("stage", "段階"),
    "version": Text("version", "版"),
    "entity": Text("entity", "種類"),
    "entries": Text("entries", "件数"),
    "mapping": Text("made of", "作り方"),
    "source": Text("source", "元の列"),
    "restored_from": Text("restored", "復元元"),
    "updated_at": Text("changed", "更新"),
    "scopes": Text("scopes", "権限"),
    "client": Text("client", "連携先"),
    "enabled": Text("enabled", "有効"),
    "networks": Text("networks", "接続元"),
    "rate_limit": Text("a minute", "毎分の上限"),
    "origin": Text("origin", "許可するサイト"),
    "expires_at": Text("expires", "期限"),
    "created_at": Text("created", "作成"),
    "revoked_at": Text("revoked", "失効"),
    "last_used_at": Text("last used", "最終利用"),
    "rows": Text("rows", "行数"),
    "created_by": Text("by", "実行者"),
    "upload": Text("file", "送信ファイル"),
    "decision": Text("decision", "項目"),
    "limit": Text("limit", "条件"),
    "value": Text("value", "値"),
    "default": Text("default", "既定値"),
    "published_at": Text("published", "公開"),
    "since": Text("since", "起点の版"),
    "profile": Text("profile", "プロファイル"),
    "bytes": Text("bytes", "バイト数"),
    "cron": Text("cron", "時刻(cron)"),
    "time_zone": Text("time zone", "タイムゾーン"),
    "next_at": Text("next", "次回"),
    "last_at": Text("last", "前回"),
    "changes": Text("changes", "変更"),
    "undoes": Text("undoes", "取り消した版"),
    "undone_by": Text("undone by", "取り消し"),
    "released_at": Text("released", "解除"),
    "sourced_id": Text("sourcedId", "識別子"),
    "hub_id": Text("of the hub", "名簿の識別子"),
    "alike": Text("alike in", "一致した項目"),
    "change": Text("change", "変更"),
    "field": Text("field", "項目"),
    "before": Text("before", "前"),
    "after": Text("after", "後"),
    "cause": Text("cause", "きっかけ"),
    "people": Text("people", "人数"),
    "reference": Text("reference", "文書番号"),
    "store": Text("store", "場所"),
    "migration": Text("migration", "移行"),
    "url": Text("URL", "送信先"),
    "events": Text("events", "イベント"),
    "description": Text("description", "説明"),
    "failing_since": Text("failing since", "失敗が続く"),
    "type": Text("event", "イベント"),
    "attempts": Text("attempts", "試行"),
    "status": Text("status", "応答"),
    "failure": Text("failure", "失敗の理由"),
    "applied": Text("applied", "適用"),
    "at": Text("at", "日時"),
    "party": Text("party", "主体"),
    "who": Text("who", "主体の ID"),
    "operation": Text("operation", "操作"),
    "method": Text("method", "メソッド"),
    "route": Text("route", "経路"),
    "target": Text("target", "対象"),
    "records": Text("records", "件数"),
    "address": Text("address", "接続元"),
    "district": Text("district", "地区"),
    "chain": Text("chain", "連鎖"),
    "seq": Text("seq", "番号"),
    "fault": Text("fault", "異常"),
}
NOTHING_YET = Text("There is nothing yet.", "まだありません。")
KEY_ONCE = Text(
    "This key is shown once and expires at {expires_at}:",
    "この鍵は一度だけ表示します。期限は {expires_at} です:",
)
SECRET_ONCE = Text(
    "This secret is shown once and expires at {expires_at}:",
    "この秘密は一度だけ表示します。期限は {expires_at} です:",
)
SECRET_ROTATED = Text(
    "The old secret goes on until you end it: rosterhub clients show {id}, then"
    " rosterhub clients revoke {id} SECRET",
    "古い秘密は、次のように終わらせるまで使えます: rosterhub clients show {id} で ID を調べ、"
    "rosterhub clients revoke {id} SECRET",
)
SECRET_REVOKED = Text(
    "Secret {id} is revoked, and every token that it was used for.",
    "秘密 {id} と、それで発行したトークンを失効させました。",
)
CLIENT_CHANGED = Text("Client {id} is changed.", "連携先 {id} を変更しました。")
CLIENT_DELETED = Text("Client {id} is deleted.", "連携先 {id} を削除しました。")
CONFIRM_DELETE_CLIENT = Text(
    "Delete client {id} with its secrets and keys?", "連携先 {id} を秘密と鍵とともに削除しますか?"
)
ORIGINS_CHANGED = Text("The origins are changed.", "許可するサイトを変更しました。")
NOT_A_CLIENTS_SCOPE = Text(
    "A client's key reads with the scopes of OneRoster: leave out {scope}.",
    "連携先の鍵の権限は OneRoster のものだけです。{scope} は指定できません。",
)
ADMIN_HAS_NO_SCOPE = Text(
    "An administrator's key has no scopes: leave out --scope.",
    "管理者の鍵に権限は指定できません。--scope を外してください。",
)
RUN_CANCELLED = Text(
    "Run {run} is cancelled. Nothing was changed.",
    "取り込み {run} を中止しました。データは変わっていません。",
)
MAPPING_SAVED = Text(
    "The mapping of {entity} is saved as version {version}; the next import uses it.",
    "{entity} の対応付けを版 {version} として保存しました。次の取り込みから使います。",
)
MAPPING_RESET = Text("{entity} is back to the default.", "{entity} の対応付けを既定に戻しました。")
TABLE_SAVED = Text(
    "The table {name} has {entries} entries.", "参照表 {name} は {entries} 件になりました。"
)
READ_AS_CP932 = Text(
    "{file} is not UTF-8; it was read as Shift_JIS (CP932) for this preview.",
    "{file} は UTF-8 ではないため、このプレビューでは Shift_JIS(CP932)として読みました。",
)
LENS_CHANGED = Text(
    "The lens is changed; it holds from the next request on (revision {revision}).",
    "レンズを変更しました。次のリクエストから有効です(リビジョン {revision})。",
)
UNKNOWN_SCHOOLS = Text(
    "The roster has no org with these sourcedIds: {schools}.",
    "名簿に次の sourcedId の組織はありません: {schools}",
)
EVERYTHING = Text("everything", "すべて")
IS_VISIBLE = Text("{entity} {id}: visible", "{entity} {id}: 見えます")
SEEN_AS = Text("{entity} {id}: visible, as {name}", "{entity} {id}: {name} として見えます")
IS_NOT_VISIBLE = Text("{entity} {id}: not visible", "{entity} {id}: 見えません")
POLICY_CHANGED = Text("The policy is changed.", "方針を変更しました。")
UNDONE_BY = Text("Undone by version {version}.", "版 {version} で取り消されています。")
RELEASED = Text(
    "What version {version} did may be imported again.",
    "版 {version} の変更を、再び取り込めるようにしました。",
)
CONFIRM_ERASE = Text(
    "Erase {count} people for good? It cannot be taken back.",
    "{count} 人を消去します。取り消せません。よろしいですか?",
)
ERASURE_WAITS = Text(
    "Accepted; see it with: rosterhub erasures show {erasure}",
    "受け付けました。結果を見るには: rosterhub erasures show {erasure}",
)
ERASE_HOW = Text(
    "There is no receipt yet; follow it with: rosterhub runs watch {erasure}",
    "受領書はまだありません。進み具合を見るには: rosterhub runs watch {erasure}",
)
ERASED_RECEIPT = Text(
    "Erased as version {version} at {erased_at}; receipt {sha256}",
    "版 {version} として {erased_at} に消去しました。受領書: {sha256}",
)
ERASED_FILES = Text("Files deleted from {store}: {files}", "{store} から消したファイル: {files} 個")
ERASED_UNKNOWN = Text(
    "There was no record under: {users}", "次の sourcedId のレコードはありませんでした: {users}"
)
ERASURE_RELEASED = Text(
    "Packages may bring these people back.", "パッケージで再び登録できるようにしました。"
)
VALUES_HIDDEN = Text(
    "Values are hidden; show them with --show-values.",
    "値は隠しています。表示するには --show-values を付けてください。",
)
DIFF_HASH = Text("What this shows has the hash {diff}.", "表示した内容のハッシュ: {diff}")
WOULD_CHANGE = Text("It would change:", "反映すると次のように変わります:")
HELD_BECAUSE = Text("Held: {reason}", "保留の理由: {reason}")
SUPERSEDES: Mapping[bool, Text] = {
    True: Text(
        "It takes the place of {run}, which would have made the same changes.",
        "{run} に代わる取り込みです。変更の内容は同じです。",
    ),
    False: Text(
        "It takes the place of {run}, which would have made other changes:",
        "{run} に代わる取り込みです。{run} の変更は次のとおりでした:",
    ),
}
SUPERSEDED_BY = Text(
    "a newer import, {run}, has taken its place.", "新しい取り込み {run} に置き換えられました。"
)
CANCELLED_BY = Text("{by} has cancelled it.", "{by} が中止しました。")
LEFT_OUT = Text("Left out of {file}: {count}", "{file} から除外: {count} 件")
FOLLOWS = Text(
    "Left out with it: {sourcedId} of {entity}, because of {via}.",
    "あわせて除外: {entity} の {sourcedId}({via} のため)",
)
REKEYED = Text(
    "Keep the hub's sourcedIds in {file}: {count}", "{file} の sourcedId を維持: {count} 件"
)
WOULD_STILL_CHANGE = Text(
    "With the map accepted, this would still change in {file}: {count}",
    "対応表を適用したあとも {file} で変わるもの: {count} 件",
)
ACCEPT_REKEY = Text("Accept the map?", "対応表を適用しますか?")
REKEY_HOW = Text(
    "Accept it with: rosterhub runs approve {run} --rekey",
    "適用するには: rosterhub runs approve {run} --rekey",
)
APPROVE_REST = Text("Approve the rest?", "残りを承認しますか?")
RUN_APPROVED = Text(
    "Approved; follow it with: rosterhub runs watch {run}",
    "承認しました。進み具合を見るには: rosterhub runs watch {run}",
)
RUN_DROPPED = Text("Run {run} is rejected.", "取り込み {run} を却下しました。")
SIGNING_SECRET_ONCE = Text(
    "Webhook {id}. This secret is shown once; the receiver checks signatures with it:",
    "Webhook {id}。この秘密は一度だけ表示します。受信側はこれで署名を確かめます:",
)
SECRET_OVERLAPS = Text(
    "Until {until} the old secret signs, too.", "{until} までは古い秘密でも署名します。"
)
WEBHOOK_ENABLED = Text("Webhook {id} is enabled.", "Webhook {id} を有効にしました。")
WEBHOOK_DISABLED = Text(
    "Webhook {id} is disabled; events wait.",
    "Webhook {id} を無効にしました。イベントは保留します。",
)
WEBHOOK_DELETED = Text("Webhook {id} is deleted.", "Webhook {id} を削除しました。")
TRIAL_RINGS = Text("Ringing: {id}", "送信します: {id}")
RESENDING = Text("Sending again: {number}", "再送します: {number} 件")
RESEND_WHICH = Text(
    "Name one DELIVERY, or a range: --since and --until, --from-version or --after.",
    "DELIVERY を 1 つ指定するか、--since と --until、--from-version、--after で範囲を指定します。",
)
REVOKED = Text("Key {id} is revoked.", "鍵 {id} を失効させました。")
DISTRICT_CREATED = Text("District {id} is created.", "地区 {id} を作成しました。")
DISTRICT_DELETED = Text(
    "District {id} is deleted; its data is being removed.",
    "地区 {id} を削除しました。データを消去しています。",
)
CONFIRM_DELETE = Text(
    "Delete district {id} with all its data?", "地区 {id} を全データとともに削除しますか?"
)
FINDINGS_WRITTEN = Text("Written: {file}", "書き出しました: {file}")
SAMPLE_WRITTEN = Text("Written: {file} ({bytes} bytes)", "書き出しました: {file}({bytes} バイト)")
AUDIT_SEEN = Text(
    "{entries} entries in {chains} chains were compared with {documents} documents of heads.",
    "{chains} 本の連鎖にある {entries} 件の記録を、先頭値の文書 {documents} 件と照合しました。",
)
AUDIT_INTACT = Text("All of it is as it was written.", "すべて書かれたときのままです。")
AUDIT_LOST = Text(
    "{lost} requests could not be written down, and the audit says so itself.",
    "書き込めなかった要求が {lost} 件あり、監査記録自身がそう述べています。",
)
AUDIT_OPEN = Text(
    "{open} entries are newer than the last heads: nothing outside of the database proves them.",
    "{open} 件は最後の先頭値より新しく、データベースの外にはまだ証拠がありません。",
)
AUDIT_HEADLESS = Text(
    "There are no heads: whether the whole audit was written anew cannot be seen.",
    "先頭値がありません。監査記録全体が書き直されたかどうかは分かりません。",
)
AUDIT_INSTALLATION = Text("(installation)", "(全体)")
AUDIT_FAULTS: Mapping[str, Text] = {
    "altered": Text("does not say what it said", "内容が書き換えられています"),
    "unlinked": Text("does not follow the entry before it", "直前の記録とつながっていません"),
    "gap": Text("{entries} entries before it are missing", "この前の {entries} 件がありません"),
    "rewritten": Text("is another one than its head says", "書き出した先頭値と異なる記録です"),
    "cut": Text("{entries} entries behind it are missing", "この後の {entries} 件がありません"),
    "not_as_told": Text(
        "is not the last entry that its process wrote", "プロセスが最後に書いた記録ではありません"
    ),
    "unwitnessed": Text(
        "is old and no head covers it", "古い記録なのに、どの先頭値にも含まれていません"
    ),
    "heads_forged": Text(
        "document of heads: not signed by this hub, or altered",
        "先頭値の文書: このハブの署名がないか、書き換えられています",
    ),
    "heads_missing": Text(
        "document of heads: {entries} before it are missing",
        "先頭値の文書: この前の {entries} 件がありません",
    ),
    "removed_early": Text("was removed before its time", "保存期間が過ぎる前に消されています"),
}
MIGRATED = Text("Applied: {list}", "適用しました: {list}")
NOTHING_TO_MIGRATE = Text("The database is up to date.", "データベースは最新です。")
MIGRATIONS_MISSING = Problem(
    "migrations_missing",
    FINDINGS,
    Text("Missing: {list}", "未適用です: {list}"),
    "rosterhub migrate up",
)

# --- rosterhub dev -------------------------------------------------------------------------

STARTING_SERVERS = Text("Starting PostgreSQL and Redis", "PostgreSQL と Redis を起動しています")
MIGRATING = Text("Preparing the database", "データベースを準備しています")
STARTING_HUB = Text("Starting gateway and workers", "ゲートウェイとワーカーを起動しています")
PORT_CHANGED = Text(
    "Port {taken} is in use; taking {port}.",
    "ポート {taken} は使われているため、{port} を使います。",
)
IMPORTING_DEMO = Text("Importing the demo district", "見本の地区を取り込んでいます")
STOPPING = Text("Stopping", "停止しています")
STOPPED = Text(
    "Stopped. The data stays in {folder}.", "停止しました。データは {folder} にあります。"
)
READY = Text(
    """\

RosterHub is ready ({seconds} s). Ctrl-C stops it.

  OneRoster 1.2   {base_url}/ims/oneroster/rostering/v1p2
  Hub API         {base_url}/api/v1
  District        {district}
  Key             {key}

Three commands to try, in another terminal in this folder:

  {curl}
  {push}
  {runs}
""",
    """\

RosterHub の準備ができました({seconds} 秒)。Ctrl-C で止まります。

  OneRoster 1.2   {base_url}/ims/oneroster/rostering/v1p2
  ハブ API        {base_url}/api/v1
  地区            {district}
  鍵              {key}

このフォルダーの別の端末で、次の 3 つを試せます:

  {curl}
  {push}
  {runs}
""",
)
