"""Fictitious brands, people and posts: the vocabulary that the quickstart's data and the growing feed are made of.

Everything comes from a `random.Random` that the caller seeds, so the same seed makes the same bytes. No brand, person or site
named here exists; addresses end in `.example`, which is reserved for this.
"""
import datetime as dt
import json
import random

UTC = dt.timezone.utc
PLATFORMS = ["chirp", "photogram", "clipr", "threadbare"]
ZONES = [dt.timezone.utc, dt.timezone(dt.timedelta(hours=2)), dt.timezone(dt.timedelta(hours=-5)), dt.timezone(dt.timedelta(hours=5, minutes=30))]

# (brand_id, name, industry, country, founded, monthly budget)
BRANDS = [
    ("tarnwick-tea", "Tarnwick Tea", "Food, drink", "GB", "1894-05-02", "18500.00"),
    ("orlovane", "Orlovane Audio", "Electronics", "SE", "2003-09-17", "42000.50"),
    ("quillmere", "Quillmere Books", "Publishing", "IE", "1961-02-28", "7300.00"),
    ("zephyrine", "Zephyrine Air", "Travel, leisure", "PT", "1999-11-30", "96000.00"),
    ("marrowfield", "Marrowfield Foods", "Food, drink", "US", "1978-07-04", "55000.25"),
    ("brindle-stoat", 'Brindle & Stoat, "Cloth of the North"', "Clothing", "GB", "1887-01-15", "12750.00"),
    ("pellucida", "Pellucida Skincare", "Beauty", "FR", "2011-04-21", "31000.00"),
    ("kodrun", "Kodrun Motors", "Automotive", "DE", "1954-10-08", "120000.00"),
    ("havsalt", "Havsält", "Food, drink", "SE", "2015-06-12", "4800.00"),
    ("umbrafell", "Umbrafell Outdoor", "Sport", "NO", "1989-03-19", "27400.75"),
    ("lunavia", "Lunavia Mobile", "Telecommunications", "ES", "2007-12-01", "88000.00"),
    ("corvane", "Corvane Bank", "Finance", "CH", "1923-08-23", "150000.00"),
    ("mirsada", "Mirsada Kitchens", "Household", "BA", "2001-05-05", "9900.00"),
    ("tiankou", "天口茶业", "Food, drink", "CN", "1996-09-09", "36500.00"),
    ("nurafa", "نورافا", "Beauty", "AE", "2012-02-14", "28800.00"),
    ("vanyasta", "वन्यस्ता", "Clothing", "IN", "2009-10-25", "15250.50"),
    ("severyan", "Северьян", "Publishing", "RS", "1971-06-30", "6100.00"),
    ("pixelbarn", "Pixelbarn\nGames & Toys", "Games,\ntoys", "CA", "2016-08-08", "22222.22"),
    ("glimmerant", "Glimmerant", "Household", "NL", "2019-01-31", "0.00"),
    ("ferrocrest", "Ferrocrest Tools", "Hardware", "AT", "1938-04-11", "13000.00"),
]

PEOPLE = [
    "lina.vasko", "otto_brenn", "maraquill", "hyun.dae", "sefa_moro", "tilda.west", "ravi.parekar", "noor_halim", "jonas.elk", "beatriz.fonte",
    "kwame_oduro", "yelena.drozd", "pia_lindqvist", "marco.tessel", "amina.suri", "theo_garland", "ines.varela", "dov_karmel", "saoirse.finn", "goran_milic",
    "mei.tanaka", "lucas_andor", "farah.qadri", "elin.stormo", "nikhil_bose", "colette.marsan", "rurik.holm", "zofia_wrona", "adaeze.obi", "caspian_reed",
    "梅林", "سارة.الحمدي", "अनुष्का_राव", "Ольга.Ветрова", "çiğdem_akın", "jose\u0301.luna",
]

TEXTS = {
    "en": [
        "Second week with {b} and I still smile when I open the box {e}", "{b}: support answered in four minutes. Four!", "My order from {b} arrived bent. Photos sent, no reply yet.",
        "Is it just me or did {b} get more expensive again?", "Queue outside the {b} shop goes round the corner {e}", "Gave {b} a last try. Glad I did.",
        "Dear {b}, please bring back the green one. Sincerely, everyone.", "Unpopular opinion: {b} is fine, the hype is not.", "{b} at the station fair today, hall 3, free samples {e}",
        "The new {b} advert made my dad cry, and he is made of granite.", "Three years in and my {b} still works like on day one", "Returned it. {b} refunded me in a day, so no hard feelings.",
    ],
    "es": ["Lo de {b} esta semana: un diez. Repito seguro {e}", "¿Alguien más esperando el pedido de {b} desde el martes?", "{b} ha mejorado muchísimo, la verdad.", "Mi abuela solo confía en {b}, y mi abuela nunca falla."],
    "de": ["{b} hat heute geliefert – zwei Tage früher als angekündigt {e}", "Schade, {b}: früher war die Qualität besser.", "Wer kennt den Gutscheincode von {b}? Frage für eine Freundin.", "Größe M von {b} fällt klein aus, nehmt L."],
    "fr": ["Franchement, {b} m’a sauvé la soirée {e}", "Déçue par {b} : colis ouvert et notice en trois morceaux.", "Chez {b}, l’accueil est toujours aussi chaleureux.", "Ça y est, j’ai craqué pour {b}."],
    "pt": ["A fila da {b} hoje estava enorme, mas valeu a pena {e}", "Alguém sabe se a {b} entrega aos sábados?", "Não troco a {b} por nada."],
    "ar": ["تجربتي مع {b} كانت ممتازة {e}", "هل جرّب أحدكم {b} هذا الأسبوع؟", "تأخّر الطلب من {b} ثلاثة أيام، لكن الجودة جيدة."],
    "zh": ["{b}的新包装真好看{e}", "等了三天,{b}终于发货了。", "有人用过{b}吗?求推荐。", "朋友送的{b},意外地喜欢。"],
    "hi": ["{b} की सेवा इस बार बहुत अच्छी रही {e}", "क्या {b} का दाम फिर बढ़ गया?", "मुझे {b} का नया रंग पसंद आया।"],
    "ru": ["{b} снова порадовали: доставка за день {e}", "Кто-нибудь уже пробовал новинку от {b}?", "Очередь в {b} до самого угла, но настроение отличное."],
    "ja": ["{b}の限定品、やっと買えました{e}", "{b}のサポートが親切で感動。", "昨日届いた{b}、思ったより軽い。"],
    # Combining characters, on purpose not in composed form: e + U+0301, n + U+0303.
    "ca": ["El cafe\u0301 amb {b} sempre e\u0301s millor {e}", "Man\u0303ana torno a {b}, segur."],
}
LANGUAGES = ["en"] * 11 + ["es", "es", "de", "de", "fr", "fr", "pt", "ar", "zh", "hi", "ru", "ja", "ca"]
EMOJI = ["😀", "🎉", "👍🏽", "❤️", "☕", "🧵", "👩‍👩‍👧", "🇵🇹", "🫠", "", "", ""]
STORY = [
    "It began on a rainy Tuesday, when the parcel from {b} stood in the hall and nobody dared to open it.", "My neighbour, who repairs clocks, said he had never seen a box so neatly taped.",
    "We put it on the kitchen table, made tea, and read the instructions twice, because the first time we laughed too much.", "There was a card inside, written by hand, with the name of the person who had packed it.",
    "I wrote back to {b}, and a week later a second card came, longer than the first.", "So if you ask me whether the price is fair, I can only say: I still have both cards.",
]


def iso(moment: dt.datetime, zone: dt.tzinfo = UTC) -> str:
    """`2025-09-01T12:00:00+02:00`, with `Z` for UTC."""
    return moment.astimezone(zone).isoformat(timespec="seconds").replace("+00:00", "Z")


def iso_millis(moment: dt.datetime) -> str:
    """`2025-09-01T12:00:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def text(rng: random.Random, lang: str, brand: str) -> str:
    """A short post about a brand."""
    name = next(b[1] for b in BRANDS if b[0] == brand).replace("\n", " ")
    return rng.choice(TEXTS[lang]).format(b=name, e=rng.choice(EMOJI)).strip()


def long_text(rng: random.Random, brand: str, chars: int) -> str:
    """A post far longer than any platform allows."""
    name = next(b[1] for b in BRANDS if b[0] == brand).replace("\n", " ")
    parts, size = [], 0
    while size < chars:
        parts.append(rng.choice(STORY).format(b=name))
        size += len(parts[-1]) + 1
    return " ".join(parts)


def sentiment(rng: random.Random) -> float:
    """A multiple of 1/16 in [-1, 1]: sums of these are exact in binary, so an average does not depend on the order of rows."""
    return rng.randint(-16, 16) / 16


def post(rng: random.Random, workspace: str, post_id: str, created: dt.datetime) -> dict:
    """The first event of a post."""
    brand, lang, person, platform = rng.choice(BRANDS)[0], rng.choice(LANGUAGES), rng.choice(PEOPLE), rng.choice(PLATFORMS)
    return {
        "id": post_id, "workspace_id": workspace, "op": "U", "user": {"name": person, "followers": rng.randint(3, 90_000)}, "brand": brand, "platform": platform,
        "text": text(rng, lang, brand), "lang": lang, "likes": rng.randint(0, 400), "sentiment": sentiment(rng), "url": f"https://{platform}.example/p/{post_id}",
        "created": iso(created, rng.choice(ZONES)), "updated": iso_millis(created + dt.timedelta(milliseconds=rng.randint(1, 90_000))),
    }


def moment_of(event: dict) -> dt.datetime:
    """The event's `updated` as a moment."""
    return dt.datetime.fromisoformat(event["updated"].replace("Z", "+00:00"))


def newer(rng: random.Random, event: dict, after: dt.timedelta) -> dict:
    """The same post after `after` (negative for an older state): other likes, sometimes another text."""
    changed = dict(event, updated=iso_millis(moment_of(event) + after), likes=rng.randint(0, 5_000))
    if rng.random() < 0.3:
        changed["text"] = text(rng, event["lang"], event["brand"])
    return changed


def deletion(event: dict, after: dt.timedelta) -> dict:
    """A delete event: operation, key and time, nothing else."""
    return {"id": event["id"], "workspace_id": event["workspace_id"], "op": "D", "updated": iso_millis(moment_of(event) + after)}


def line(rng: random.Random, event: dict) -> str:
    """One NDJSON line. The same event may come with other key order, escapes or quoted numbers: all mean the same."""
    style = rng.random()
    if style < 0.02:
        event = {k: event[k] for k in sorted(event)}
    elif style < 0.04 and isinstance(event.get("likes"), int):
        event = dict(event, likes=str(event["likes"]))
    return json.dumps(event, ensure_ascii=style > 0.97, separators=(",", ":") if style > 0.1 else (", ", ": "))
