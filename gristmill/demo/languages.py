"""Short prose in other languages, enough for a language identifier to be sure of it.

Each language has sentence templates and banks, `{n}` name, `{p}` place, `{o}` object, `{t}` time, and words
for a page's navigation. Written for this project.
"""

import random
import re
from dataclasses import dataclass

_SLOT = re.compile(r"\{(\w)\}")


@dataclass(frozen=True)
class Language:
    """A language's grammar and what a web page in it looks like."""

    code: str
    host: str
    charsets: tuple[str, ...]
    navigation: tuple[str, ...]
    banks: dict[str, tuple[str, ...]]
    sentences: tuple[str, ...]
    separator: str = " "

    def page(self, rng: random.Random) -> tuple[str, tuple[tuple[str, ...], ...]]:
        """A title and two to four paragraphs."""
        order = rng.sample(self.sentences, len(self.sentences))
        order += rng.sample(self.sentences, rng.randint(2, len(self.sentences)))
        written = [_SLOT.sub(lambda m: rng.choice(self.banks[m[1]]), sentence) for sentence in order]
        written = [s[0].upper() + s[1:] for s in written]
        count = rng.randint(2, 4)
        step = -(-len(written) // count)
        paragraphs = tuple(tuple(written[i : i + step]) for i in range(0, len(written), step))
        return rng.choice(self.banks["o"]) + self.separator + rng.choice(self.banks["p"]), paragraphs


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


def _language(
    code: str,
    host: str,
    charsets: str,
    navigation: str,
    n: str,
    p: str,
    o: str,
    t: str,
    sentences: str,
    joint: str = " ",
) -> Language:
    banks = {"n": _split(n), "p": _split(p), "o": _split(o), "t": _split(t)}
    return Language(code, host, tuple(charsets.split()), _split(navigation), banks, _split(sentences), joint)


LANGUAGES = (
    _language(
        "de", "geschichten-vom-bach", "utf-8 iso-8859-1 windows-1252", "Startseite|Archiv|Über uns|Kontakt|Impressum",
        "Anna|Jürgen|Käthe|Wilhelm|Sönke|Grete", "im Dorf|an der Mühle|auf dem Marktplatz|im Wald|hinter dem Bahnhof",
        "die Laterne|die Glocke|die alte Uhr|die Brücke|die Trommel", "am Abend|im Frühling|nach dem Regen|vor der Ernte",
        "{n} wohnte schon lange {p} und kannte dort jeden Nachbarn.|{t} suchte {n} überall nach einem Schlüssel, fand ihn aber nicht.|"
        "Weil der Schmied krank war, konnte niemand {o} reparieren.|Die Kinder fragten, warum {o} nicht mehr zu hören sei.|"
        "Schließlich half {n} den anderen, obwohl es kalt und dunkel war.|{p} gab es {t} frisches Brot und heiße Suppe.|"
        "Deshalb beschlossen die Leute, {o} gemeinsam zu bewachen.|{n} lächelte und sagte, dass Geduld oft mehr nützt als Kraft.|"
        "Der Müller erzählte {t} eine Geschichte, die keiner glauben wollte.|Am nächsten Tag war {o} verschwunden, und alle wunderten sich.",
    ),
    _language(
        "fr", "contes-du-moulin", "utf-8 iso-8859-1 windows-1252", "Accueil|Archives|À propos|Contact|Mentions légales",
        "Émile|Camille|Hélène|Gaston|Zoé|François", "au village|près du moulin|sur la place|dans la forêt|derrière la gare",
        "la lanterne|la cloche|la vieille horloge|le pont|le tambour", "le soir|au printemps|après la pluie|avant la récolte",
        "{n} habitait depuis longtemps {p} et connaissait tous les voisins.|{t}, {n} chercha partout une clé sans la trouver.|"
        "Comme le forgeron était malade, personne ne pouvait réparer {o}.|Les enfants demandèrent pourquoi on n'entendait plus {o}.|"
        "Finalement {n} aida les autres, bien qu'il fît froid et sombre.|{t}, il y avait {p} du pain frais et de la soupe chaude.|"
        "C'est pourquoi les gens décidèrent de garder {o} ensemble.|{n} sourit et dit que la patience vaut souvent mieux que la force.|"
        "Le meunier raconta {t} une histoire que personne ne voulait croire.|Le lendemain, {o} avait disparu et tout le monde s'étonnait.",
    ),
    _language(
        "es", "cuentos-del-rio", "utf-8 iso-8859-1", "Inicio|Archivo|Quiénes somos|Contacto|Aviso legal",
        "Íñigo|Carmen|Lucía|Ramón|Begoña|José", "en el pueblo|junto al molino|en la plaza|en el bosque|detrás de la estación",
        "la linterna|la campana|el viejo reloj|el puente|el tambor", "por la noche|en primavera|después de la lluvia|antes de la cosecha",
        "{n} vivía desde hacía mucho tiempo {p} y conocía a todos los vecinos.|{t}, {n} buscó una llave por todas partes, pero no la encontró.|"
        "Como el herrero estaba enfermo, nadie podía arreglar {o}.|Los niños preguntaron por qué ya no se oía {o}.|"
        "Al final {n} ayudó a los demás, aunque hacía frío y estaba oscuro.|{t} había {p} pan recién hecho y sopa caliente.|"
        "Por eso la gente decidió cuidar {o} entre todos.|{n} sonrió y dijo que la paciencia suele valer más que la fuerza.|"
        "El molinero contó {t} una historia que nadie quería creer.|Al día siguiente {o} había desaparecido y todos se extrañaron.",
    ),
    _language(
        "it", "racconti-della-valle", "utf-8 iso-8859-1", "Pagina iniziale|Archivio|Chi siamo|Contatti|Note legali",
        "Niccolò|Chiara|Giulia|Matteo|Lucia|Andrea", "nel villaggio|vicino al mulino|in piazza|nel bosco|dietro la stazione",
        "la lanterna|la campana|il vecchio orologio|il ponte|il tamburo", "di sera|in primavera|dopo la pioggia|prima del raccolto",
        "{n} abitava da molto tempo {p} e conosceva tutti i vicini.|{t} {n} cercò dappertutto una chiave, ma non la trovò.|"
        "Poiché il fabbro era malato, nessuno poteva riparare {o}.|I bambini chiesero perché non si sentisse più {o}.|"
        "Alla fine {n} aiutò gli altri, benché facesse freddo e fosse buio.|{t} {p} c'erano pane fresco e zuppa calda.|"
        "Per questo la gente decise di custodire insieme {o}.|{n} sorrise e disse che la pazienza spesso vale più della forza.|"
        "Il mugnaio raccontò {t} una storia che nessuno voleva credere.|Il giorno dopo {o} era sparito e tutti si meravigliarono.",
    ),
    _language(
        "pt", "historias-da-ponte", "utf-8 iso-8859-1", "Início|Arquivo|Sobre nós|Contato|Aviso legal",
        "João|Inês|Conceição|Tomás|Mônica|Gonçalo", "na aldeia|perto do moinho|na praça|na floresta|atrás da estação",
        "a lanterna|o sino|o velho relógio|a ponte|o tambor", "à noite|na primavera|depois da chuva|antes da colheita",
        "{n} morava havia muito tempo {p} e conhecia todos os vizinhos.|{t}, {n} procurou uma chave por toda parte, mas não a encontrou.|"
        "Como o ferreiro estava doente, ninguém podia consertar {o}.|As crianças perguntaram por que já não se ouvia {o}.|"
        "No fim, {n} ajudou os outros, embora fizesse frio e estivesse escuro.|{t} havia {p} pão fresco e sopa quente.|"
        "Por isso as pessoas decidiram guardar {o} em conjunto.|{n} sorriu e disse que a paciência muitas vezes vale mais do que a força.|"
        "O moleiro contou {t} uma história em que ninguém queria acreditar.|No dia seguinte {o} tinha desaparecido e todos ficaram espantados.",
    ),
    _language(
        "nl", "verhalen-van-de-dijk", "utf-8 iso-8859-1", "Startpagina|Archief|Over ons|Contact|Privacyverklaring",
        "Joris|Fleur|Sjoerd|Marijke|Wouter|Lieke", "in het dorp|bij de molen|op het marktplein|in het bos|achter het station",
        "de lantaarn|de klok|het oude uurwerk|de brug|de trommel", "'s avonds|in het voorjaar|na de regen|voor de oogst",
        "{n} woonde al heel lang {p} en kende daar alle buren.|{n} zocht {t} overal naar een sleutel, maar vond hem niet.|"
        "Omdat de smid ziek was, kon niemand {o} repareren.|De kinderen vroegen waarom ze {o} niet meer hoorden.|"
        "Uiteindelijk hielp {n} de anderen, hoewel het koud en donker was.|Er was {t} vers brood en warme soep {p}.|"
        "Daarom besloten de mensen {o} samen te bewaken.|{n} glimlachte en zei dat geduld vaak meer waard is dan kracht.|"
        "De molenaar vertelde {t} een verhaal dat niemand wilde geloven.|De volgende dag was {o} verdwenen en iedereen verbaasde zich.",
    ),
    _language(
        "pl", "opowiesci-znad-rzeki", "utf-8 iso-8859-2", "Strona główna|Archiwum|O nas|Kontakt|Polityka prywatności",
        "Łukasz|Zofia|Wojciech|Małgorzata|Jędrzej|Kasia", "we wsi|przy młynie|na rynku|w lesie|za dworcem",
        "latarnia|stary dzwon|mały zegar|drewniany most|bęben", "wieczorem|na wiosnę|po deszczu|przed żniwami",
        "{n} od dawna mieszkał {p} i znał tam wszystkich sąsiadów.|{t} {n} wszędzie szukał klucza, ale go nie znalazł.|"
        "Ponieważ kowal był chory, nikt nie wiedział, dlaczego {o} jest zepsuty.|Dzieci pytały, gdzie podział się {o}.|"
        "W końcu {n} pomógł innym, chociaż było zimno i ciemno.|{t} był {p} świeży chleb i gorąca zupa.|"
        "Dlatego ludzie postanowili razem pilnować, żeby nikt nie zginął.|{n} uśmiechnął się i powiedział, że cierpliwość jest ważniejsza niż siła.|"
        "Młynarz opowiedział {t} historię, w którą nikt nie chciał uwierzyć.|Następnego dnia {o} zniknął i wszyscy się dziwili.",
    ),
    _language(
        "ru", "skazki-u-reki", "utf-8 koi8-r windows-1251", "Главная|Архив|О нас|Контакты|Правила",
        "Иван|Мария|Алексей|Ольга|Фёдор|Наталья", "в деревне|у мельницы|на площади|в лесу|за вокзалом",
        "фонарь|колокол|старые часы|деревянный мост|барабан", "вечером|весной|после дождя|перед жатвой",
        "{n} давно жил {p} и знал там всех соседей.|{t} {n} везде искал ключ, но не нашёл его.|"
        "Поскольку кузнец заболел, никто не мог починить {o}.|Дети спрашивали, почему больше не слышен {o}.|"
        "В конце концов {n} помог остальным, хотя было холодно и темно.|{t} {p} был свежий хлеб и горячий суп.|"
        "Поэтому люди решили вместе охранять {o}.|{n} улыбнулся и сказал, что терпение часто важнее силы.|"
        "Мельник рассказал {t} историю, в которую никто не хотел верить.|На следующий день {o} исчез, и все удивились.",
    ),
    _language(
        "sv", "sagor-fran-skogen", "utf-8 iso-8859-1", "Hem|Arkiv|Om oss|Kontakt|Villkor",
        "Åsa|Björn|Märta|Göran|Linnéa|Örjan", "i byn|vid kvarnen|på torget|i skogen|bakom stationen",
        "lyktan|klockan|det gamla uret|bron|trumman", "på kvällen|på våren|efter regnet|före skörden",
        "{n} hade länge bott {p} och kände alla grannar där.|{t} letade {n} överallt efter en nyckel men hittade den inte.|"
        "Eftersom smeden var sjuk kunde ingen laga {o}.|Barnen frågade varför man inte längre hörde {o}.|"
        "Till slut hjälpte {n} de andra, fastän det var kallt och mörkt.|{t} fanns det färskt bröd och varm soppa {p}.|"
        "Därför bestämde sig människorna för att vakta {o} tillsammans.|{n} log och sade att tålamod ofta är viktigare än styrka.|"
        "Mjölnaren berättade {t} en historia som ingen ville tro på.|Nästa dag var {o} försvunnen och alla förvånades.",
    ),
    _language(
        "cs", "pohadky-od-potoka", "utf-8 iso-8859-2", "Úvod|Archiv|O nás|Kontakt|Podmínky",
        "Jiří|Božena|Ondřej|Květa|Matěj|Žofie", "ve vesnici|u mlýna|na náměstí|v lese|za nádražím",
        "lucerna|zvon|staré hodiny|dřevěný most|buben", "večer|na jaře|po dešti|před žněmi",
        "{n} už dlouho bydlel {p} a znal tam všechny sousedy.|{t} {n} všude hledal klíč, ale nenašel ho.|"
        "Protože byl kovář nemocný, nikdo nemohl opravit, co se rozbilo.|Děti se ptaly, proč už není slyšet {o}.|"
        "Nakonec {n} pomohl ostatním, ačkoli byla zima a tma.|{t} byl {p} čerstvý chléb a horká polévka.|"
        "Proto se lidé rozhodli, že budou společně hlídat.|{n} se usmál a řekl, že trpělivost je často důležitější než síla.|"
        "Mlynář vyprávěl {t} příběh, kterému nikdo nechtěl věřit.|Druhého dne {o} zmizel a všichni se divili.",
    ),
    _language(
        "ja", "kawabe-no-hanashi", "utf-8 shift_jis euc-jp", "ホーム|記事一覧|このサイトについて|お問い合わせ|利用規約",
        "花子|太郎|健一|美咲|由美|正雄", "村で|水車小屋のそばで|市場で|森の中で|駅の裏で",
        "古い時計|小さな提灯|大きな鐘|木の橋|太鼓", "夕方に|春に|雨のあとで|収穫の前に",
        "{n}は長いあいだ{p}暮らしていて、近所の人をみんな知っていました。|{t}{n}は鍵をあちこち探しましたが、見つかりませんでした。|"
        "鍛冶屋が病気だったので、誰も{o}を直すことができませんでした。|子どもたちは、なぜ{o}がなくなったのかとたずねました。|"
        "寒くて暗かったけれど、{n}は最後にはみんなを助けました。|{t}{p}焼きたてのパンと温かいスープが配られました。|"
        "そこで人々は、{o}をいっしょに守ることに決めました。|{n}はほほえんで、力よりも忍耐のほうが大切だと言いました。|"
        "粉屋は{t}、誰も信じようとしない話をしました。|次の日、{o}が消えていて、みんなが驚きました。",
        "",
    ),
    _language(
        "zh", "hebian-gushi", "utf-8 gb18030", "首页|文章列表|关于我们|联系方式|使用条款",
        "小明|王芳|李伟|张丽|陈静|刘强", "在村子里|在磨坊旁边|在集市上|在树林里|在车站后面",
        "那座旧钟|那盏灯笼|那口大钟|那座木桥|那面鼓", "傍晚|春天|雨后|收获之前",
        "{n}{p}住了很久，认识那里所有的邻居。|{t}，{n}到处寻找一把钥匙，可是没有找到。|"
        "因为铁匠生病了，所以没有人能修好{o}。|孩子们问，为什么再也听不到关于{o}的消息。|"
        "虽然天气又冷又黑，{n}最后还是帮助了大家。|{t}，人们{p}分到了新鲜的面包和热汤。|"
        "因此大家决定一起看守{o}。|{n}笑着说，耐心常常比力气更重要。|"
        "磨坊主{t}讲了一个谁也不愿意相信的故事。|第二天，{o}不见了，所有的人都觉得奇怪。",
        "",
    ),
)  # fmt: skip
