"""How the demo's stories go: beats, each a bank of sentence templates.

`{hero}`, `{he}`, `{his}`, `{him}`, `{himself}` speak of the hero; `{friend}`, `{she}`, `{her}` (object), `{hers}`
(possessive) of the helper; `{role}`, `{friend_role}`, `{village}`, `{place}`, `{place2}`, `{thing}`, `{animal}`,
`{goal}`, `{reason}`, `{trouble}`, `{cause}`, `{lesson}` stay the same throughout a story. Every other brace is
drawn anew from a bank. `[a|b]` is a choice.
"""

OPENINGS = (
    "{hero} was a {trait} {role} who lived [near|beside|close to|not far from] {place} in {village}",
    "In {village}, [near|beside|right behind|opposite] {place}, lived a {trait} {role} [called|named] {hero}",
    "[Long ago|Many years ago|Once|Not so long ago], a {role} named {hero} worked at {place} in {village}",
    "Everyone in {village} knew {hero}, the {trait} {role} who [worked|lived] by {place}",
    "{hero} had been a {role} in {village} for {number} years and [loved|knew|never left] {place}",
    "The {role} of {village} was called {hero}, and {his} house stood [beside|behind|above] {place}",
)
DAILY = (
    "Every {season} {he} [mended|cleaned|sold|painted|counted|carried] {number} {objects} and ate {food} [for supper|at noon]",
    "{his} {kin} said that {he} was [too|almost too|often] {trait}, but {he} [only smiled|did not mind|disagreed]",
    "{he} [owned|kept|looked after] a {size} {animal}, {number} {objects} and a {colour} {object}",
    "Most days {he} got up [early|before the birds|late], drank {drink} and [swept|crossed|opened] {room}",
    "People came from {village2} to see {his} {material} {objects} and to [taste|buy|try] {his} {food}",
    "A {size} {animal} slept in {room}, because {weather}",
    "{he} was {trait} with [children|strangers|animals|old people] and {trait} with [money|words|visitors|tools]",
    "On the shelf in {room} stood a {material} {object} [from|made by|borrowed from] {his} {kin}",
)
WISHES = (
    "[More than anything|All the same|For {number} years|Secretly], {hero} wanted to {goal}, because {reason}",
    "{hero} wanted to {goal} because {reason}",
    "Because {reason}, {hero} [decided|wished|planned|promised] to {goal}",
    "One thing [mattered|was important] to {hero}: {he} had to {goal}, because {reason}",
    "{hero} hoped to {goal}, for one [simple|good|plain] reason: {reason}",
)
TROUBLES = (
    "{time}, however, {trouble}, because {cause}",
    "But {time} {trouble}, because {cause}",
    "Then, {time}, {trouble}, and it was because {cause}",
    "{time} something [went wrong|unexpected happened]: {trouble}, because {cause}",
    "Because {cause}, {trouble} {time}",
)
REACTIONS = (
    "{hero} felt {feeling} and [sat down|stood still|walked up and down] [beside|near|next to] a {material} {object}",
    '"What shall I do now?" {he} asked {how}, and [looked at|turned to|held on to] the {animal}',
    "{he} was so {feeling} that {he} [forgot|dropped|spilled|could not finish] {his} {food}",
    "{his} {body} [shook|hurt|ached|was cold], and {he} spoke {how} to {his} {kin}",
    "At first nobody in {village} believed it, and the {roles2} [laughed|whispered|shouted] {how}",
    '"This is [bad news|terrible|strange|a pity]," said {his} {kin} {how}',
    "{he} [thought|worried|dreamed] about the {thing} [all night|for {number} hours|until {time2}]",
    "{weather_cap}, and {hero} [shivered|sighed|frowned|yawned] {how}",
)
JOURNEYS = (
    "So {hero} packed {food}, a {material} {object} and {number} {objects}, and [set off|walked|hurried] to {place2}",
    "{hero} [went|ran|rode|drove] {how} from {place} to {place2}, where {weather}",
    "The way to {place2} led past {sights} and {sights}, and {hero} [sang|counted steps|kept silent]",
    "After {number} miles {he} saw {sights} and a {colour} {object} [lying|hanging|shining] near {place2}",
    "On the way {he} met a {trait} {role2} with a {size} {animal2}, who [offered {him} {food}|asked {him} for {food}]",
    "It took {number} hours to reach {place2}, since {weather}",
    "{he} [looked|searched] {spot} and found only {number} {colour} {objects}",
    "[Twice|{number} times] {he} [lost the way|had to rest|turned back], and each time {weather}",
)
MEETINGS = (
    "At {place2} {he} met {friend}, a {trait} {role2} who was [mending|cleaning|selling|drawing] a {material} {object}",
    "There stood {friend}, the {role2} of {place2}, with a {size} {object} in {hers} {body}",
    "A {role2} named {friend} came out of {room} and greeted {hero} {how}",
    "{friend}, a {trait} {role2}, heard {him} and came [running|closer|outside] with {number} {objects}",
)
TALKS = (
    '"I can help you," said {friend} {how}, "if you [bring|lend|give] me a {material} {object}"',
    '"Why do you look so {feeling}?" asked {friend}, and {hero} told {her} [everything|about the {thing}|the truth]',
    '"{trouble_said}, because {cause_said}," {hero} explained {how}',
    '"You must be {trait}," said {friend}, "and you must [wait until|come back when] {weather}"',
    '"My {kin} once had a {thing} like that," said {friend}, and offered {him} {food}',
    '"Have you looked {spot}?" asked {friend} {how}',
    "{friend} [thought|said nothing|hummed a song] for {number} minutes while the {animal} [watched|slept|ate]",
    '"Nobody in {village2} would [do|dare|try] that," {hero} said, but {friend} only [laughed|nodded|shrugged]',
)
EFFORTS = (
    "Together they [pulled|tied|lifted|pushed|carried] the {material} {object} [out of|into|through|behind] {room}",
    "First they [gathered|borrowed|counted] {number} {objects}, then they [cleaned|mended|opened] a {size} {object}",
    "{friend} [held|lit|raised] a {material} {object} while {hero} [climbed|dug|reached|crawled] {spot}",
    "They worked {how} for {number} hours, although {weather}",
    "{hero} [hit|hurt|scratched] {his} {body} on a {size} {object}, but {he} went on {how}",
    "The {animal} [barked|followed|helped|hid], and a {trait} {role2} [watched|laughed|prayed] from {room}",
    "When the {material} {object} broke, {friend} [used|tried|took] a {colour} {object} instead",
    "A crowd of {roles2} brought {food}, {food} and a {size} {object}",
    "They asked at {place3}, at {place} and in {room}, but found only {sights}",
)
TURNS = (
    "{time_cap} {he} found the {thing} {spot_fixed}",
    "At last {hero} [saw|discovered|found] the {thing} {spot_fixed}",
    "It was {friend} who [saw|discovered|found] the {thing} {spot_fixed}",
    "The {animal} led them to it: the {thing} lay {spot_fixed}",
)
GOOD_ENDS = (
    "In the end {hero} could {goal}, and {friend} [stayed for supper|got half of the {food}|was thanked {how}]",
    "So it happened that {hero} was able to {goal} after all, thanks to {friend}",
    "That is how {hero} managed to {goal}, and the whole of {village} [celebrated|danced|talked about it] {time2}",
    "With the help of {friend}, {hero} [learned|managed|was allowed] to {goal} {time2}",
)
BAD_ENDS = (
    "But it was too late, and {hero} could not {goal} any more",
    "Even so, {hero} never managed to {goal}, and the {thing} stayed [silent|dusty|broken] in {room}",
    "{hero} went home alone {time2}, for nobody could {goal} now",
    "Although {friend} had tried {how}, {hero} had to give up the hope to {goal}",
)
CLOSINGS = {
    "happy": (
        "Everyone was {feeling}, and they shared {food} and {food}",
        "{hero} laughed and felt {feeling} for {number} days",
        "{his} {kin} hugged {him}, and the {animal} got {food}",
    ),
    "sad": (
        "{hero} was {feeling} for a long time and often looked at {sights}",
        "That night {he} felt {feeling} and could not eat the {food}",
        "{his} {kin} cried a little, and the {animal} would not come out of {room}",
    ),
    "frightening": (
        "Since that day {hero} was {feeling} every time {weather}",
        "Nobody went to {place2} after dark any more, and even the {animal2} was {feeling}",
        "{hero} never felt safe near {place2} again, and kept a {material} {object} beside the bed",
    ),
    "funny": (
        "Everybody laughed until {his} {kin} dropped the {food}",
        "The {animal} wore a {colour} {object}, and the {roles2} were {feeling} for a week",
        "{friend} was so {feeling} that {she} sat on the {food}",
    ),
    "calm": (
        "Then they sat [near|beside] {place}, {feeling} and tired, and listened to {sights}",
        "{hero} drank {drink}, felt {feeling} and went to sleep",
        "The evening was {feeling}, and the {animal} slept beside a {material} {object}",
    ),
}
LESSONS = (
    "{hero} had learned that {lesson}",
    "From all this {hero} understood that {lesson}",
    "Since then people in {village} say that {lesson}",
    '"Remember," {friend} said {how}, "that {lesson}"',
)
GOALS = (
    "find the lost {thing}",
    "repair the broken {thing}",
    "win the {material} {thing} at the fair",
    "give the {thing} back to {his} {kin_fixed}",
    "sell the {thing} in {village2_fixed}",
    "carry the {thing} safely to {place2}",
    "hide the {thing} from the thieves",
    "build a better {thing}",
    "show the {thing} to the people of {village2_fixed}",
    "buy the {colour_fixed} {thing} from a stranger",
    "polish the {thing} for the {season_fixed} feast",
    "learn the secret of the {thing}",
)
REASONS = (
    "{his} {kin_fixed} was ill and asked for it every day",
    "{he} had promised it to {his} {kin_fixed}",
    "the whole family depended on it",
    "nobody in {village} had ever done it before",
    "{he} needed money for the roof",
    "the {season_fixed} feast was only {number_fixed} days away",
    "{he} wanted to make {his} {kin_fixed} proud",
    "it had belonged to {his} {kin_fixed}",
    "a letter from {village2_fixed} had asked for it",
    "{he} was tired of being called lazy",
    "without it the {animal} would have to be sold",
    "{he} had dreamed of it {number_fixed} nights in a row",
    "the old one had been stolen in {season_fixed}",
    "{his} {kin_fixed} had bet {number_fixed} coins against {him}",
)
TROUBLE_CLAUSES = (
    "the {thing} disappeared",
    "the {thing} fell into the water",
    "the {thing} broke into {number_fixed} pieces",
    "the road to {place2} was closed",
    "a thief took the {thing}",
    "{his} {animal} ran away with the {thing}",
    "the door of {place} was locked",
    "the {thing} caught fire",
    "the {thing} was sold by mistake",
    "nobody would talk to {him} any more",
    "the {thing} stopped working",
    "the {thing} was left out in the rain",
)
CAUSES = (
    "{he} had forgotten to close the door",
    "a storm had come over {village}",
    "{his} {kin_fixed} had told everyone about it",
    "somebody had cut the rope",
    "the {animal} was hungry and had chewed the strap",
    "two {roles_fixed} had quarrelled over it",
    "{he} had been too {trait_fixed} to ask for help",
    "the bridge had been damaged in {season_fixed}",
    "a stranger from {village2_fixed} had paid for it in secret",
    "the {roles_fixed} were jealous of {him}",
    "{he} had trusted the wrong person",
    "it was much older than anybody had thought",
    "the lamp had gone out at the worst moment",
    "{he} had left it with a {trait_fixed} {role2_fixed}",
)
LESSON_CLAUSES = (
    "a friend is worth more than a {material} {thing}",
    "it is better to ask than to guess",
    "small steps also lead to {place2}",
    "one should close the door before one looks for the {animal}",
    "a promise weighs more than {number_fixed} coins",
    "even a {trait_fixed} person can be wrong",
    "whoever helps others is never alone",
    "anger is a poor guide in the dark",
    "the truth is found where nobody likes to look",
    "patience opens more doors than a hammer",
    "what is shared becomes larger",
    "a good plan needs a second head",
)
