"""Japanese names with their readings, and numbers as a school sign writes them.

Every name is common and invented people bear it; all signs are in JIS X 0208, so each name also
survives CP932, and every reading is full-width katakana.
"""


def read(table: str) -> tuple[tuple[str, str], ...]:
    """`山田 ヤマダ` pairs, one a comma, as (written, reading)."""
    pairs = (pair.split() for pair in table.replace("\n", " ").split(","))
    return tuple((written, reading) for written, reading in pairs)


FAMILIES = read("""
佐藤 サトウ, 鈴木 スズキ, 高橋 タカハシ, 田中 タナカ, 伊藤 イトウ, 渡辺 ワタナベ, 山本 ヤマモト,
中村 ナカムラ, 小林 コバヤシ, 加藤 カトウ, 吉田 ヨシダ, 山田 ヤマダ, 佐々木 ササキ, 山口 ヤマグチ,
松本 マツモト, 井上 イノウエ, 木村 キムラ, 林 ハヤシ, 斎藤 サイトウ, 清水 シミズ, 山崎 ヤマザキ,
森 モリ, 池田 イケダ, 橋本 ハシモト, 阿部 アベ, 石川 イシカワ, 山下 ヤマシタ, 中島 ナカジマ,
石井 イシイ, 小川 オガワ, 前田 マエダ, 岡田 オカダ, 長谷川 ハセガワ, 藤田 フジタ, 後藤 ゴトウ,
近藤 コンドウ, 村上 ムラカミ, 遠藤 エンドウ, 青木 アオキ, 坂本 サカモト, 福田 フクダ, 太田 オオタ,
西村 ニシムラ, 藤井 フジイ, 金子 カネコ, 藤原 フジワラ, 三浦 ミウラ, 岡本 オカモト, 松田 マツダ,
中川 ナカガワ, 中野 ナカノ, 原田 ハラダ, 小野 オノ, 田村 タムラ, 竹内 タケウチ, 和田 ワダ,
中山 ナカヤマ, 石田 イシダ, 上田 ウエダ, 森田 モリタ, 原 ハラ, 柴田 シバタ, 酒井 サカイ,
工藤 クドウ, 横山 ヨコヤマ, 宮崎 ミヤザキ, 内田 ウチダ, 高木 タカギ, 安藤 アンドウ, 谷口 タニグチ,
大野 オオノ, 丸山 マルヤマ, 今井 イマイ, 河野 コウノ, 藤本 フジモト, 村田 ムラタ, 武田 タケダ,
上野 ウエノ, 杉山 スギヤマ, 増田 マスダ, 平野 ヒラノ, 菅原 スガワラ, 久保 クボ
""")

GIRLS = read("""
花子 ハナコ, さくら サクラ, 葵 アオイ, 陽菜 ヒナ, 結衣 ユイ, 美咲 ミサキ, 結菜 ユイナ, 莉子 リコ,
凛 リン, 美優 ミユ, 優花 ユウカ, 愛 アイ, 彩 アヤ, 千尋 チヒロ, 琴音 コトネ, 心春 コハル,
芽衣 メイ, 咲良 サクラ, 詩 ウタ, 真央 マオ, 直子 ナオコ, 恵 メグミ, 香織 カオリ, 裕子 ユウコ,
明日香 アスカ, 七海 ナナミ, 栞 シオリ, 奈々 ナナ, 由美 ユミ, 里奈 リナ, 紗希 サキ, 楓 カエデ,
あかり アカリ, ひなた ヒナタ, みのり ミノリ, ひかり ヒカリ, 美穂 ミホ, 友香 トモカ, 桃子 モモコ
""")

BOYS = read("""
太郎 タロウ, 一郎 イチロウ, 健 ケン, 蓮 レン, 大翔 ヒロト, 悠真 ユウマ, 湊 ミナト, 陽翔 ハルト,
颯太 ソウタ, 翔 ショウ, 大輔 ダイスケ, 直樹 ナオキ, 拓海 タクミ, 健太 ケンタ, 翼 ツバサ, 樹 イツキ,
悠斗 ユウト, 和也 カズヤ, 誠 マコト, 隆 タカシ, 亮 リョウ, 智也 トモヤ, 航 ワタル, 海斗 カイト,
陸 リク, 大地 ダイチ, 涼介 リョウスケ, 修 オサム, 達也 タツヤ, 雄太 ユウタ, 光 ヒカル, 駿 シュン,
はると ハルト, そら ソラ, 優斗 ユウト, 圭介 ケイスケ, 学 マナブ, 進 ススム, 豊 ユタカ, 正 タダシ
""")

DIGITS = "〇一二三四五六七八九"
PLACES = ((1000, "千"), (100, "百"), (10, "十"))


def kanji(number: int) -> str:
    """`12` -> `十二`: how the twelfth school of a town is numbered; below 10,000."""
    text = ""
    for value, sign in PLACES:
        digit, number = divmod(number, value)
        text += ("" if digit == 1 else DIGITS[digit]) + sign if digit else ""
    return text + (DIGITS[number] if number else "")
