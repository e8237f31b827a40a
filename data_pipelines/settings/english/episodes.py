"""Who asks the assistant, where, when and for what: the neutral part of documents.

Nearly all of this file is text that speaks for no value. `[one|another]` is a choice that may stand
inside another choice (see `language.vary`). The places in braces are filled by `documents.py`:
{who}, {town}, {dish}, {event} and {when} from the lists below, {items} with one cheese or two, and
{name} and {person} as in `document_frames.py`.
"""

WHEN = (
  'on [Monday|Tuesday|Wednesday|Thursday|Friday] [morning|evening]',
  'one [rainy|windy|foggy|quiet|snowy] [afternoon|evening|morning]',
  '[last|late last|early last] [week|month|spring|autumn|winter]',
  '[two|three|four] [days|weeks] ago',
  'shortly [before|after] [noon|midnight|dinner|breakfast|closing time]',
  'in the [first|second|third|last] week of [January|March|May|July|September|November]',
  '[during|at the end of] a [long|late|double|slow] shift',
  'on the [first|last] day of [the term|the holidays|the harvest|camp]',
  'while [the oven warmed up|the kettle boiled|the children slept|the bread was rising]',
  '[between two meetings|after a long drive|on the way home|before the guests came]',
  'at [six|seven|eight|nine] in the [morning|evening]',
  '[the day before|the day after] [a wedding|a birthday|an exam|the move]',
)

WHO = (
  '[a|a young|a retired] school bus driver',
  'a [night|head|student] nurse',
  'a [carpenter|plumber|roofer|welder|mason]',
  'a [second|third|fourth|fifth]-grade teacher',
  'the [cook|caretaker|secretary] of a [nursery|boarding school|rest home|youth hostel]',
  'a [postal clerk|mail carrier|ferry captain|crane operator]',
  'a [single|tired|proud] parent of [two|three|four]',
  'a grandparent with [five|six|nine] grandchildren',
  'a [first-year|second-year] student of [chemistry|law|history|biology|nursing]',
  'a [baker|florist|barber|tailor|locksmith]',
  'a [shy|cheerful|curious|sleepy] [teenager|apprentice|trainee]',
  'a [dairy|wheat|sheep|vegetable] farmer',
  'a [retired|busy|tired] [judge|surveyor|accountant|engineer|librarian]',
  'a [bass player|choir leader|piano tuner|stage hand]',
  'a volunteer at [the fire station|an animal shelter|a soup kitchen|the lifeboat station]',
  'the [host|treasurer|chair] of a [chess club|quilting circle|rowing club|walking group]',
  'a [translator|proofreader|court reporter] with a desk [at home|in a kitchen|by a window]',
  'a [truck|taxi|tram|forklift] driver',
  'a [lab assistant|pharmacist|dentist|midwife|vet]',
  'a [beginner|newcomer] with [a new stove|a kitchen for one|a hike ahead]',
  'a [neighbor|roommate] with [a pantry to clean out|a rugby team to feed|three guests to feed]',
  'a [security guard|gardener|janitor|receptionist] at a [clinic|college|town hall|theater]',
)

TOWNS = (
  'Akron Albany Ballarat Bangor Barrie Bendigo Bexley Boise Bolton Brandon Bristol Calgary Cardiff '
  'Carlow Chester Concord Cork Corby Dayton Derby Dover Dundee Durban Durham Elgin Enfield Erie '
  'Exeter Fargo Galway Geelong Gisborne Guelph Halifax Hamilton Harlow Hastings Hobart Hull '
  'Inverness Joliet Kendal Kenora Kingston Lansing Leeds Limerick Lincoln Lismore Ludlow Macon '
  'Madison Medford Mobile Moncton Napier Nelson Newport Norwich Oakham Omaha Orillia Oswego '
  'Paisley '
  'Penrith Peoria Perth Preston Provo Quincy Racine Reading Regina Ripon Rugby Salem Salford '
  'Sarnia Selby Sligo Stirling Sudbury Tacoma Tamworth Taunton Timaru Toledo Topeka Tralee Truro '
  'Tulsa Tyler Utica Victoria Waco Warwick Wells Wexford Whitby Yakima York Yuma'
).split()

DISHES = (
  'a [tray|plate|platter] of sandwiches',
  'a [ham|mushroom|spinach|plain] omelet',
  '[baked|stuffed|roast|mashed] potatoes',
  'a [vegetable|chicken|leek|potato] pie',
  'a [pan|dish|bowl] of [noodles|macaroni|pasta shells]',
  'a [warm|cold|spicy] dip',
  '[stuffed peppers|stuffed mushrooms|stuffed squash]',
  'a [tomato|bean|lentil|potato|barley] soup',
  '[burgers|wraps|flatbreads|bread rolls] [off the grill|for six|for eight|for a crowd]',
  'a [pear|beet|lettuce|spinach|pasta] salad',
  'a [savory|leek|tomato|pumpkin] tart',
  '[crackers|toast|rye bread|oatcakes] with something on [top|the side]',
  '[savory muffins|cornbread|scones|biscuits]',
  '[six|ten|twelve|twenty] packed lunches',
  'a [rice|bean|cauliflower|broccoli|tuna] bake',
  'a [breakfast|supper|lunch] [tray|board]',
  '[scrambled|poached|fried] eggs',
  'a [midnight|late|quick|lazy] snack',
  'a [lasagna|risotto|polenta|gratin]',
  'something to go with [apples|grapes|pickles|soup|chili]',
)

EVENTS = (
  'a [school|staff|family|village] picnic',
  'a [birthday|farewell|welcome|surprise] party',
  'the [spring|summer|autumn|winter] [fair|concert|meeting]',
  'a [christening|graduation|retirement|reunion]',
  'a [chess|quiz|spelling|rowing] [night|final|contest]',
  'a potluck at [the office|the church|the fire station|the allotments]',
  '[movie|poker|laundry|moving] night',
  'a [camping|fishing|hiking|class] trip',
  'the [first|last] day of [school|work|camp|rehearsals]',
  'a [long|late|cold] [train|bus|car] ride',
  'a [bake|rummage|book] sale at [the school|the church hall|the club]',
  'a [Sunday|Saturday|holiday] [lunch|brunch|breakfast]',
  'a visit from [an aunt|two cousins|the neighbors|old friends|the in-laws]',
  'a [night|double|weekend] shift',
)

# How a story begins in which somebody asks about cheeses. None says what is liked, or why.
SCENES = (
  '{When}, {who} in {town} [asked|put a question to] {name}: what about {items} for {dish}?',
  '{Who} from {town} was [making|planning] {dish} for {event} and [asked {name}|wanted to know] '
  'about {items}.',
  'In {town}, {who} [had to bring|was in charge of] {dish} for {event}, and [so|naturally] the '
  'talk '
  'with {name} [came|turned|got round] to {items}.',
  '{person}, {who} in {town}, [typed|dictated|wrote] a [short|long|hurried|polite] question about '
  '{items}.',
  'The [log|note|entry|record] [says|shows] that {when} {who} [asked about|brought up] {items}.',
  'For {event} in {town}, {person} [needed|wanted|had promised] {dish}, and {items} [came up|were '
  'mentioned|stood on the list].',
  '[Take|Consider|Here is] the case of {who} from {town}, who [asked about|was thinking of] '
  '{items} '
  'for {event}.',
  '{Who} [could not decide|was of two minds|wanted a second opinion] about {items}, with {dish} '
  '[still to be made|on the stove|planned for {event}].',
  '[Another|One more|A different] [user|caller|visitor], {who} from {town}, [named|mentioned] '
  '{items} [in passing|right away|only at the end].',
  '"[What|And what] about {items}?" {who} [asked|wrote] {when}, [with {dish} in mind|thinking of '
  '{event}|from a kitchen in {town}].',
  '{When} the [question|subject] was {items}; {person} from {town} was getting ready for {event}.',
  'There was {event} in {town}, and {who} [turned to|consulted|asked] {name} about {items}.',
  'With {event} [a day|two days|an hour|a week] away, {person} [sat down|stopped] to ask {name} '
  'about {items}.',
  'The [youngest|oldest|busiest|most patient] of the [testers|users|callers], {who} from {town}, '
  '[wanted to hear|asked] about {items}.',
  'Somebody in {town} was [halfway through making|about to make|shopping for] {dish} when the '
  '[talk|chat] came to {items}.',
  'A message [reached us|arrived] {when} from {who}: {dish}, {event}, and a question about '
  '{items}.',
)

# What somebody does after an answer. None agrees or disagrees with a reason.
REACTIONS = (
  '{person} [wrote it down|made a note|nodded|thought about it] and [went back to|turned '
  'to|finished] '
  '{dish}.',
  'That [was|settled] the [whole|entire] [talk|exchange]; it [took|lasted] [under a minute|two '
  'minutes|no time at all].',
  '[The user|The caller|The visitor] [laughed|smiled|shrugged] and [moved on|changed the '
  'subject|asked about the weather].',
  'There was [no|not much] argument about it, [only|just] a [second|third] question about {dish}.',
  'The rest of the [chat|talk] was about {dish} and [oven temperatures|how many plates were '
  'needed|who would wash up].',
  '{person} [read the answer out to|showed the answer to] [a sister|the team|a roommate|everyone '
  'at '
  'the table].',
  '[Later|That evening|A week later] {person} [repeated|quoted] the answer [at|before] {event}.',
  'It was [the same|no different] when [a colleague|a neighbor|somebody else] asked {when}.',
)

# What a user tells before asking.
CONTEXTS = (
  'I am [making|planning] {dish} for {event}.',
  'We have {event} [coming up|ahead of us|soon], and I am in charge of {dish}.',
  'I am {who} in {town}, and [it is my turn to cook|I cook for my crew|I am new to this].',
  'There will be {dish} [tonight|tomorrow|at noon].',
  '[My aunt|My neighbor|A friend|My boss] is bringing {dish} to {event}.',
  'I am [standing|sitting] in the kitchen in {town} with {dish} in front of me.',
  'It is for {event}.',
  'So far the plan for {event} is {dish}.',
  'I have [ten|twenty|forty] minutes and {dish} to make.',
  '[Imagine|Picture|Think of] {dish} at {event}.',
  '{person} and I are [arguing|talking|wondering] about {dish}.',
  'I [asked|talked to] you {when}, about {dish}.',
)

# Place of a frame -> what may stand there.
PARTS = {
  'who': WHO,
  'town': TOWNS,
  'dish': DISHES,
  'event': EVENTS,
  'when': WHEN,
}
