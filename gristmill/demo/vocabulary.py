"""The words of the demo's prose: people, qualities, things, and the landscapes with what belongs to each.

A bank is a tuple of phrases; a template names a bank in braces. Phrases may hold choices, `[a|b]`.
Written for this project; nothing here is quoted.
"""

from dataclasses import dataclass


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(" ".join(phrase.split()) for phrase in text.split(";"))


WOMEN = _words(
    "Ada Agnes Alma Amira Anna Astrid Beatrice Bertha Bridget Carla Celia Clara Cora Dalia Dora Edith Elena Elsa "
    "Emma Esther Fatima Fern Flora Freya Gerda Greta Hanna Hazel Helga Ida Ines Irma Ivy Jana Joan Judith Kaya "
    "Kirsten Lea Leila Lena Lotte Lucia Mabel Maren Maya Mina Mira Nadia Nell Nina Nora Olga Olive Paula Petra "
    "Rosa Ruth Sadie Selma Sofia Tara Thea Tilda Ursula Vera Wanda Willa Yara Zelda Zora"
)
MEN = _words(
    "Abel Adam Albert Amos Anton Arthur Basil Ben Bruno Caleb Carl Cyril David Edgar Edwin Eli Emil Ernest Felix "
    "Frank Fritz George Gilbert Gustav Hans Harold Hassan Henry Hugo Igor Isaac Ivan Jacob Jasper Jonas Joseph "
    "Karim Klaus Lars Leo Linus Lukas Magnus Marco Martin Max Milo Nathan Nils Noah Oscar Otto Owen Pablo Paul "
    "Peter Ralph Raymond Rolf Rufus Samuel Simon Stefan Tariq Theo Thomas Tobias Victor Walter Wesley Yusuf"
)
VILLAGES = tuple(
    first + last
    for first in _words("Alder Ash Birch Black Bram Clay Copper Elder Fern Gold Green Hazel Iron Linden Mill Moss")
    for last in _words("bridge brook bury dale field ford gate ham hollow ley mouth ridge stead ton well wick")
    if not (first == "Mill" and last == "ham")
)
SURNAMES = _words(
    "Abbott Barker Bell Carver Chandler Cooper Dyer Fletcher Fisher Garner Glover Hale Harper Holt Hunter Keller "
    "Lambert Marsh Mason Miller Nolan Norris Page Parker Porter Potter Reed Sawyer Shepherd Slater Stone Tanner "
    "Thatcher Turner Walker Ward Weaver Webb Wheeler Wright"
)
COLOURS = _words("red blue green yellow white black brown grey purple orange silver golden pale dark crimson violet")
SIZES = _words("small tiny large huge short long narrow wide thin thick heavy light round flat tall little broad")
MATERIALS = _words(
    "copper brass wooden woollen leather silver glass iron paper stone cotton linen silk clay tin bronze velvet straw "
    "ivory pewter marble canvas oak walnut"
)
OBJECTS = _words(
    "lantern key kettle compass clock whistle locket ladder basket blanket bucket candle chest coin comb cup diary "
    "drum fiddle flute hammer hat horn jar kite knife lamp letter map medal mirror necklace needle notebook pipe "
    "plate pot ring rope scarf shovel spoon statue sword ticket tray trumpet vase violin wallet watch wheel bell "
    "book bottle bowl box bracelet brush button cage chain cloak crown dish doll feather flag goblet helmet jug "
    "music-box mug parcel pencil pillow puppet purse quilt razor saddle scale seal shawl shield sled stool telescope "
    "thimble torch umbrella"
)
FOODS = _phrases(
    "bread; warm soup; apple pie; cheese; roasted chestnuts; honey cakes; fresh milk; barley porridge; pea soup; "
    "smoked fish; dried plums; onion tart; butter; black tea; ginger biscuits; boiled eggs; lentil stew; raisin buns; "
    "potato pancakes; pickled beans; cherry jam; walnuts; baked pears; rye bread; mushroom broth; rice pudding; "
    "cold chicken; carrot salad; hot cider; oat cakes; plum dumplings; peppermint tea; roast turnips; fried trout"
)
FEELINGS = {
    "happy": _words("happy glad cheerful joyful merry delighted proud grateful hopeful pleased"),
    "sad": _words("sad lonely sorry gloomy tearful unhappy heartbroken sorrowful weary homesick"),
    "frightening": _words("afraid frightened scared nervous anxious terrified worried uneasy alarmed trembling"),
    "funny": _words("amused silly giggling playful cheeky puzzled astonished giddy mischievous ticklish"),
    "calm": _words("calm quiet peaceful patient restful content gentle thoughtful serene relaxed"),
}
TRAITS = _words(
    "brave careful clever clumsy curious dreamy eager fair faithful generous gentle greedy honest humble impatient "
    "kind lazy loyal modest noisy patient polite proud quick quiet restless selfish sensible serious sharp shy "
    "stubborn thoughtful thrifty tidy wise"
)
HOW = _words(
    "slowly quickly quietly carefully gladly softly loudly gently eagerly firmly proudly kindly bravely sadly "
    "politely calmly suddenly nervously cheerfully patiently boldly warmly wearily anxiously neatly steadily"
)
TIMES = _phrases(
    "early in the morning; before sunrise; at noon; late in the evening; after supper; at midnight; on Monday; "
    "on Sunday afternoon; the next day; two days later; after a week; a month later; when the bells rang; "
    "on the first day of spring; in the middle of summer; one autumn evening; on a cold winter night; "
    "before breakfast; an hour later; at dusk; on market day; while the others slept; the following Friday; "
    "when the lamps were lit; at the end of the week; towards evening; on the third morning; soon afterwards"
)
SEASONS = _words("spring summer autumn winter")
NUMBERS = _words("two three four five six seven eight nine ten eleven twelve twenty thirty forty fifty")
KIN = _words(
    "mother father sister brother grandmother grandfather uncle aunt cousin daughter son nephew niece neighbour"
)
DRINKS = _phrases(
    "hot tea; cold milk; apple juice; black coffee; warm cider; mint tea; spring water; cocoa; elderflower juice; "
    "malt coffee; lemonade; buttermilk"
)
WEATHERS_NOW = _phrases(
    "the wind blows from the north; it rains hard; the fog is thick; the moon is full; the first snow falls; "
    "the air is dry; thunder is near; the sun is low; frost covers the ground; the clouds are dark; dew is on the "
    "grass; the evening is warm; hail falls; the sky is clear"
)
CLEARINGS = _phrases(
    "the water falls; the snow melts; the fog lifts; the wind drops; the mud dries; the ice breaks; the storm is over"
)
POLISHES = _words("oil wax ash chalk vinegar sand resin salt lemon soap")
HEIGHTS = _words("high wide deep long")
BODIES = _words("hand arm foot knee shoulder ankle finger elbow wrist back")
ROOMS = _phrases(
    "the kitchen; the cellar; the attic; the stable; the workshop; the pantry; the garden shed; the hallway; "
    "the barn; the laundry; the study; the courtyard; the woodshed; the parlour; the greenhouse; the hayloft"
)
SPOTS = _phrases(
    "under the stairs; behind the stove; inside an old boot; beneath a loose board; between two sacks of flour; "
    "at the bottom of the well bucket; on top of the cupboard; in the pocket of a winter coat; beside the gatepost; "
    "under a pile of leaves; in the fork of a pear tree; behind a row of jars; below the window; in a bird's nest; "
    "under the baker's cart; in a drawer full of string; among the firewood; at the foot of the statue; "
    "in the mouth of a sleeping dog; under the bench by the gate; behind the church organ; in a barrel of apples; "
    "inside the grandfather clock; beneath the doormat; at the end of the pier; under a heap of fishing nets; "
    "in the hollow of an oak; behind the third milestone; inside a rolled carpet; on the roof of the henhouse"
)


@dataclass(frozen=True)
class Landscape:
    """One kind of country: what a story set there can draw on."""

    name: str
    places: tuple[str, ...]
    roles: tuple[str, ...]
    animals: tuple[str, ...]
    weathers: tuple[str, ...]  # clauses in the past tense
    sights: tuple[str, ...]  # plural, what one sees and hears there


LANDSCAPES = (
    Landscape(
        "sea",
        _phrases(
            "the harbour; the lighthouse; the fish market; the long pier; the shipyard; the sandy bay; the rope walk; "
            "the island chapel; the salt pans; the smugglers' cave; the ferry landing; the net loft; the cliff path; "
            "the customs house; the sailors' inn"
        ),
        _words("fisher sailor boatbuilder captain ferryman diver lighthouse-keeper net-maker harbour-master sailmaker"),
        _words("seal gull crab dolphin pelican whale cormorant turtle lobster otter"),
        _phrases(
            "the tide was out; a salty wind blew from the west; fog lay on the water; the waves were high and grey; "
            "the sea was as smooth as a plate; rain swept over the bay; the sun sparkled on the wet ropes"
        ),
        _phrases("fishing boats; white sails; wet nets; shells; crying gulls; barrels of herring; flat black rocks"),
    ),
    Landscape(
        "mountain",
        _phrases(
            "the stone hut; the high pass; the goat pasture; the glacier; the silver mine; the rope bridge; "
            "the monastery; the avalanche wall; the summit cross; the narrow gorge; the shepherds' spring; "
            "the cable station; the snowy ridge; the cheese cellar; the echo valley"
        ),
        _words("shepherd miner guide climber cheesemaker goatherd hermit surveyor muleteer innkeeper"),
        _words("goat eagle marmot ibex donkey raven lynx bear ram chamois"),
        _phrases(
            "snow fell without a sound; clouds hung below the peaks; the air was thin and clear; thunder rolled "
            "between the cliffs; the last ice was melting; an icy wind came down the slope; the stars stood very near"
        ),
        _phrases("steep paths; grey boulders; cow bells; pine roots; patches of snow; wild thyme; distant peaks"),
    ),
    Landscape(
        "forest",
        _phrases(
            "the charcoal clearing; the hollow oak; the hunting lodge; the mossy ford; the sawmill; the wolf den; "
            "the woodcutters' camp; the fern valley; the ruined tower; the beaver dam; the mushroom glade; "
            "the beekeepers' huts; the king's beech; the dark pond; the crossroads stone"
        ),
        _words("woodcutter hunter forester beekeeper charcoal-burner carpenter herbalist trapper ranger basket-maker"),
        _words("fox deer owl badger squirrel wolf hedgehog hare woodpecker boar"),
        _phrases(
            "mist hung between the trunks; sunlight fell in stripes; the leaves dripped after the rain; "
            "the first frost had come; a warm wind moved the branches; the night was black and still; acorns were falling"
        ),
        _phrases("tall ferns; fallen logs; red mushrooms; spider webs; pine cones; moss-covered stones; bird calls"),
    ),
    Landscape(
        "town",
        _phrases(
            "the market square; the clock tower; the public library; the railway station; the old theatre; "
            "the glass factory; the museum; the post office; the tram depot; the town hall; the hospital garden; "
            "the printing house; the bell foundry; the school yard; the covered arcade"
        ),
        _words(
            "baker tailor clockmaker teacher postman librarian printer cobbler barber doctor locksmith painter judge "
            "musician glassblower"
        ),
        _words("cat pigeon dog rat sparrow parrot mouse poodle canary crow"),
        _phrases(
            "the gas lamps glowed in the drizzle; dust lay on the hot pavement; it had snowed on the roofs; "
            "a sharp wind chased the newspapers; the sky above the chimneys was yellow; the gutters were full of rain"
        ),
        _phrases("shop windows; tall chimneys; crowded trams; narrow alleys; church bells; market stalls; posters"),
    ),
    Landscape(
        "farm",
        _phrases(
            "the threshing barn; the upper meadow; the duck pond; the windmill; the apple orchard; the hop garden; "
            "the village green; the dairy; the potato field; the smithy; the grain store; the wheat field; the vineyard; "
            "the sheep fold; the cattle market"
        ),
        _words("farmer miller blacksmith gardener milkmaid ploughman weaver brewer cook potter saddler thatcher"),
        _words("cow hen horse goose pig sheep rooster calf mule duck"),
        _phrases(
            "the hay smelled sweet; rain had softened the furrows; the corn stood high; a dry wind blew dust over the "
            "fields; the morning dew was cold; clouds gathered over the barn; the air shimmered with heat"
        ),
        _phrases("hedges; haystacks; ripe plums; muddy lanes; wooden fences; rows of cabbages; swallows"),
    ),
    Landscape(
        "desert",
        _phrases(
            "the deep well; the caravan inn; the palm garden; the salt lake; the red canyon; the tent camp; the ruined "
            "gate; the spice market; the pottery kiln; the camel track; the sandstone arch; the water tower; the fort; "
            "the date grove; the painted cave"
        ),
        _words("trader camel-driver well-digger potter healer storyteller astronomer carpet-weaver scout glassmaker"),
        _words("camel lizard scorpion falcon snake jackal gazelle vulture desert-fox tortoise"),
        _phrases(
            "the heat trembled above the stones; a sandstorm had covered the road; the night was cold and full of "
            "stars; the wells were low; a hot wind came from the south; the evening sky turned copper"
        ),
        _phrases("yellow dunes; dry thorns; camel bells; cracked clay; date palms; striped tents; long shadows"),
    ),
    Landscape(
        "river",
        _phrases(
            "the stone bridge; the watermill; the boathouse; the lock; the reed bank; the swimming place; the tannery; "
            "the floating market; the timber raft; the eel weir; the washing steps; the ferry rope; the willow island; "
            "the flood wall; the paper mill"
        ),
        _words("ferrywoman raftsman lock-keeper papermaker tanner angler bridge-builder washerwoman bargeman dyer"),
        _words("heron beaver frog pike swan kingfisher duckling trout dragonfly newt"),
        _phrases(
            "the water was brown after the rain; a thin mist covered the reeds; the river was low and warm; "
            "ice had formed along the banks; willow leaves drifted by; the current was strong"
        ),
        _phrases("smooth pebbles; tall reeds; flat barges; water lilies; wet planks; willow roots; fishing rods"),
    ),
)
