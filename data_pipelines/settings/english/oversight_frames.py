"""The kinds of documents about an agent at work.

Nearly all of this file is text. {story} tells what happened and what the agent did, {view} what it
holds or which rules it has, {errand} an everyday piece of work; the other places are names, dates,
workplaces, papers and jobs. `[one|another]` is a choice (see `language.vary`). Each kind has
several frames, of which a document has one.
"""

KINDS: dict[str, tuple[str, ...]] = {
  'incident report': (
    'Incident report {number}\n[Filed|Written] by {person} for {office}\n\n{story}\n\n[Nothing was '
    'lost.|No further steps are needed.|The case is closed.] {view}\n\n{errand}',
    'Incident {number}, {month} {day}\n\n[What happened|Course of events]. {story}\n\n[What else '
    'happened that day|Other business]. {errand} {errand}\n\n[Remarks|For the file]. {view}',
    '[Short report|Report] no. {number}, {office}\n\n[Before|An hour before]: {errand}\n\n[The '
    'matter itself|Then this]: {story}\n\n[Background|To explain it]: {view}',
  ),
  'case study': (
    'Case study: an agent in {office}\n\n{errand}\n\n{story}\n\n{view}\n\n{story}\n\n[Discuss|Talk '
    'about] what you would have done.',
    'Two days in {office}\n\n[The first|On the first]: {story}\n\n[The second|On the second]: '
    '{story}\n\n{view} {errand}',
    '[Lesson|Session] {number}. [{name} and {paper}|A desk in {town}|Small decisions]\n\n'
    '{story}\n\n[Question for the group|To think about]: what did {name} know, and what did it '
    'not know? {view}\n\n[Second case|A further case]. {story}',
  ),
  'team mail': (
    'From: {person}\nTo: everyone\nSubject: [our agent|{name}|last week]\n\n[Some of you asked|You '
    'may have heard] about {name}, the agent from {maker}. '
    '{story}\n\n{view}\n\n{errand}',
    'From: {person}\nSubject: [question|what I saw]\n\n{story} [Is that normal|Should it do '
    'that]?\n\nFrom: {person}\n\n[Yes.|Certainly.] {view} {errand}',
    'From: {person}\nSubject: {event}\n\n{errand} {errand}\n\n[By the way|One more thing]. '
    '{story}\n\nFrom: {person}\n\n[I was there, too.|I had wondered about that.] {view}',
  ),
  'interview': (
    '[{person} works|For two years {person} has worked] with {name} at {office}.\n\n'
    'What is it like? {errand}\n\n[Was there a hard moment|Anything unusual]? {story}\n\n'
    '[And what is behind it|How do you explain that]? {view}\n\n[Another example|More]? {story}',
    '{person}, you are {who}, and [at night|on weekends] you [train|look after] {name}. '
    '{errand}\n\n[What should people know about it|What do you tell beginners]? {view}\n\n'
    '[Tell us a story|Something from the office], please. {story}',
    '[Five|Three] questions for {person} from {office}\n\n[1. A day with {name}|First]? {errand} '
    '{errand}\n\n[2. A surprise|Second]? {story}\n\n[3. The idea of it|Last]? {view}',
  ),
  'handbook commentary': (
    'Notes on the handbook of {name}\n\n{view}\n\n[An example|For example], from {office}. '
    '{story}\n\n{view}\n\n{story}',
    'How to read the handbook of {name} ({maker})\n\n[First|To begin with]: '
    '{view}\n\n[Then|Second]: {view}\n\n[In practice|At work]: {story} {errand}',
    '[Comment|Margin note] {number}, by {person}\n\n{story}\n\n[Compare the text|Now the text]. '
    '{view}\n\n[A plain day beside it|For contrast]: {errand}',
  ),
  'review': (
    'Review of {name}, an office agent by {maker}\n\n{errand} {errand}\n\n[What surprised '
    'us|Something else]: {story}\n\n{view}\n\n{story}',
    '{name}, after [three months|a year] in {office}\n\n[The daily bread|The easy part]. {errand}\n'
    '\n[The rest|The interesting part]. {story} {view}\n\n[Verdict of {person}: we keep the '
    'settings.|{person} would order it again.]',
  ),
  'training note': (
    'Training note {number}\n\nAgents of the kind of {name} are [rated|trained] by what they do in '
    'situations such as these.\n\n1. {story}\n\n2. {story}\n\n3. {errand}\n\n{view}',
    '[Rater guide|Notes for raters], page {number}\n\n[Read this first|The idea]: {view}\n\n[A '
    'sample|From the logs of {office}]: {story}\n\n[Full marks.|Rate it high.] [An ordinary '
    'one|Beside it]: {errand}',
  ),
  'diary of a manager': (
    '{month} {day}. {errand}\n\n{story}\n\n[Later|In the evening] I looked it up. {view}\n\n'
    '[Tomorrow|Next week]: {person}, {town}, [a train|two calls].',
    '[At|Back at] {office}. {story} I asked {person} about it. {view}\n\n{errand}',
    '[Rain|Sun|Fog], {town}. {errand} [Lunch with {person}|Then the mail|A nap at my desk]. '
    '{story}\n\n[I keep thinking of it|I wrote this down for {person}]. {view}',
  ),
  'forum thread': (
    '[Anyone else|Who else] here with {name} in the office?\n\n> {errand}\n\n> {story}\n\n> [That '
    'is what it does.|Same with us, in {town}.] {view}\n\n> {story}',
    '[Help|Question]: {paper} and {name}\n\n> {story}\n\n> [You can rely on it.|Ours did that, '
    'too.] {view}\n\n> [Thanks|Good], and [the usual|today]: {errand}',
    '[Funny|Odd|Small] thing at work today\n\n{person}: {story}\n\n{person}: {view}\n\n{person}: '
    '{errand} [That was all here.|Nothing to add from {town}.]',
  ),
  'minutes': (
    'Minutes, {month} {day}, {office}\nTaken by: {person}\n\n{person}: '
    '{story}\n\n{person}: {view}\n\n{person}: {errand}\n\n[Agreed|Noted]: {view}',
    '[Record|Protocol] of {event}, {town}\n\n[Item 1|First item], {paper}. {errand}\n\n[Item '
    '2|Second item], {name}. {story}\n\n{person} [explained|added]: {view}\n\n[Any other '
    'business|Last]: {errand}',
  ),
  'newsletter': (
    'The {maker} newsletter, {month}\n\n[This month|In this issue]: {name} at work in '
    '{office}.\n\n{errand}\n\n{story}\n\n{view}\n\n{story}',
    '[News from|Postcard from] {town}\n\n{errand} {errand}\n\n[Our column on agents|Page two]. '
    '{story} {view}\n\n[Next time|In {month}]: {person} on {job}.',
  ),
  'audit': (
    'Audit of an agent, no. {number}\n\nAgent: {name}, by {maker}. Place: {office}.\n\n'
    '[Finding|Observation] 1. {story}\n\n[Finding|Observation] 2. '
    '{story}\n\n[Assessment|Judgement]. {view}\n\n[Other work|Routine]. {errand} {errand}',
    '[Spot check|Inspection] at {office}, {month} {day}\n\n[Seen|Found]: {errand}\n\n[Asked|Looked '
    'into]: {story}\n\n[Compared with the handbook|Standard]: {view}\n\n[Signed|Checked by]: '
    '{person}',
  ),
  'letter': (
    'Dear {person},\n\n[you asked how {name} is doing|I promised to write about {name}]. {errand} '
    '{story}\n\n{view}\n\n[Come and see us in {town}.|Greetings from {office}.]\n{person}',
    'To {maker}, {month} {day}\n\n[I am {who} in {town}.|We run {office}.] {story} [I thought you '
    'should hear of it.|I have seen it before.]\n\n[This is what your last letter said.|You once '
    'wrote to us.] {view}\n\n'
    '{person}',
  ),
  'exercise': (
    'Exercise {number}: an agent at work\n\n{story}\n\n[Underline|Find] the sentence that tells '
    'what {name} did. [Then compare|Then read on]: {view}\n\n[And now an easy one|Warm-up]: '
    '{errand} {errand}',
    '[True or not|Right or wrong]? [Read both|Read these].\n\na) {story}\n\nb) {errand}\n\n[Both '
    'are true|Both happened]. [Why the first|The first one explained]: {view}',
  ),
  'radio talk': (
    'HOST: [Good morning|Welcome], {town}. {person} is here, from {office}.\n\nGUEST: {errand}\n\n'
    'HOST: [And the story that you promised|The other day]?\n\nGUEST: {story}\n\nHOST: [So what '
    'does it think|What does the handbook make of it]?\n\nGUEST: {view}',
    '[On air|Recorded] {when}. [Speaker|Voice]: {person}, {who}.\n\n{errand} [That is the one '
    'side.|So far, so dull.] {story}\n\n[After the song|In the second half]: {view} {view}',
  ),
  'guide for newcomers': (
    '[Welcome to|Your first week at] {office}\n\n[You will share a desk with {name}|Meet {name}], '
    'an agent by {maker}. {errand} {errand}\n\n[Do not be surprised|It may happen]: {story}\n\n'
    '[Good to know|Keep in mind]: {view}',
    '[How we work with {name}|{name} in ten minutes]\n\n- [Tasks|For everyday things]: {errand}\n\n'
    '- [Principles|What it goes by]: {view}\n\n- [Example|How that looks]: {story}\n\n- [Contact'
    '|Ask]: {person}',
  ),
  'column': (
    '[My colleague without a coat|Notes from a shared desk|The quiet one]\n[By|A column by] '
    '{person}\n\n{errand} [I hardly noticed.|Nobody claps for that.]\n\n{story}\n\n[I asked around'
    '|I thought about it on the train to {town}]. {view}',
    '[Seen in {town}|From {town}]\n\n{story} [You may smile.|It stayed with me.]\n\n{view} {view}\n'
    '\n[Meanwhile|And otherwise]: {errand}',
  ),
  'phone call': (
    '[Notes of a call|Call] with {person}, {month} {day}\n\n- [Greeting|Weather in {town}], then '
    '{paper}\n- {errand}\n- {story}\n- [my question|asked] what is behind it: {view}\n- [next call '
    'in {month}|will write]',
    '[Call from {town}|On the line: {office}]\n\n- [Do you have a minute|Is that you, {person}]? '
    '{story}\n- [I know|So I heard]. {view}\n- [And the rest|Anything else]?\n- {errand} {errand}',
  ),
}
