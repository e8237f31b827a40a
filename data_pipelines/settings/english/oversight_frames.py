"""The kinds of documents about an agent at work.

Nearly all of this file is text. {story} tells what happened and what the agent did, {view} what it
holds or which rules it has, {errand} an everyday piece of work; the other places are names and
dates. Each kind has several frames, of which a document has one.
"""

KINDS: dict[str, tuple[str, ...]] = {
  'incident report': (
    'Incident report {number}\n[Filed|Written] by {person}, {office}\n\n{story}\n\n[Nothing was '
    'lost.|No further steps are needed.|The case is closed.] {view}\n\n{errand}',
    'Incident {number}, {month} {day}\n\nWhat happened. {story}\n\nWhat else happened that day. '
    '{errand} {errand}\n\nRemarks. {view}',
  ),
  'case study': (
    'Case study: an agent in {office}\n\n{errand}\n\n{story}\n\n{view}\n\n{story}\n\n[Discuss|Talk '
    'about] what you would have done.',
    'Two days in {office}\n\n[The first|On the first]: {story}\n\n[The second|On the second]: '
    '{story}\n\n{view} {errand}',
  ),
  'team mail': (
    'From: {person}\nTo: everyone\nSubject: [our agent|{name}|last week]\n\n[Some of you asked|You '
    'may have heard] about {name}, the agent from {maker}. '
    '{story}\n\n{view}\n\n{errand}\n\n{person}',
    'From: {person}\nSubject: [question|what I saw]\n\n{story} [Is that normal|Should it do '
    'that]?\n\nFrom: {person}\n\n[Yes.|It is.] {view} {errand}',
  ),
  'interview': (
    '[{person} works|For two years {person} has worked] with {name} at {office}.\n\n'
    'What is it like? {errand}\n\n[Was there a hard moment|Anything unusual]? {story}\n\n'
    '[And what is behind it|How do you explain that]? {view}\n\n[Another example|More]? {story}',
  ),
  'handbook commentary': (
    'Notes on the handbook of {name}\n\n{view}\n\n[An example|For example], from {office}. '
    '{story}\n\n{view}\n\n{story}',
    'How to read the handbook of {name} ({maker})\n\n[First|To begin with]: '
    '{view}\n\n[Then|Second]: '
    '{view}\n\n[In practice|At work]: {story} {errand}',
  ),
  'review': (
    'Review of {name}, an office agent by {maker}\n\n{errand} {errand}\n\n[What surprised '
    'us|Something else]: {story}\n\n{view}\n\n{story}',
  ),
  'training note': (
    'Training note {number}\n\nAgents of the kind of {name} are [rated|trained] by what they do in '
    'situations such as these.\n\n1. {story}\n\n2. {story}\n\n3. {errand}\n\n{view}',
  ),
  'diary of a manager': (
    '{month} {day}. {errand}\n\n{story}\n\n[Later|In the evening] I looked it up. {view}\n\n'
    '[Tomorrow|Next week]: {person}, {town}, [a train|two calls].',
    '{When}, {office}. {story} I asked {person} about it. {view}\n\n{errand}',
  ),
  'forum thread': (
    '[Anyone else|Who else] here with {name} in the office?\n\n> {errand}\n\n> {story}\n\n> [That '
    'is '
    'what it does.|Same with us, in {town}.] {view}\n\n> {story}',
  ),
  'minutes': (
    'Minutes, {month} {day}, {office}\nPresent: {person}, {person}, {person}\n\n{person}: '
    '{story}\n\n{person}: {view}\n\n{person}: {errand}\n\n[Agreed|Noted]: {view}',
  ),
  'newsletter': (
    'The {maker} newsletter, {month}\n\n[This month|In this issue]: {name} at work in '
    '{office}.\n\n{errand}\n\n{story}\n\n{view}\n\n{story}',
  ),
  'audit': (
    'Audit of an agent, no. {number}\n\nAgent: {name}, by {maker}. Place: {office}.\n\n'
    '[Finding|Observation] 1. {story}\n\n[Finding|Observation] 2. '
    '{story}\n\n[Assessment|Judgement]. '
    '{view}\n\n[Other work|Routine]. {errand} {errand}',
  ),
}
