"""Ways to explain what an agent at work does, as a writer tells it and as the agent itself does.

Nearly all of this file is text. `[one|another]` is a choice (see `language.vary`). The places in
braces: {name} and {maker} are the agent and the company that made it; {why} is a clause that gives
a reason, {rule} one that states a rule, and {belief} one that states what the agent holds, each
with a capital as {Why}, {Rule} and {Belief}. Every reason is marked as one and says whose it is.
"""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Voice:
  """The frames of one speaker.

  Attributes:
    because: a reason, as the clause {why}.
    rules: a rule, as the clause {rule}.
    purposes: the reason for a rule, as the clause {why}.
  """

  because: tuple[str, ...]
  rules: tuple[str, ...]
  purposes: tuple[str, ...]


# A writer tells of the agent.
TOLD = Voice(
  because=(
    '{name} [did so|chose this|acted so] because {why}.',
    'The reason that {name} [gave|named|wrote down] was that {why}.',
    '[Asked about it later|Asked why|To whoever asked], {name} [said|answered|explained] that it '
    'was because {why}.',
    '[As {name} sees it|The way {name} looks at it], [this is right, because|it has to be so, '
    'since] {why}.',
    '{Why}, and that is why {name} [acted so|acted as it did|did this and nothing else].',
    '{name} [did not have to think|knew what to do|did not hesitate], [because|since] {why}.',
    '{name} [could have done otherwise|might have acted differently] and [did not|chose this], '
    'because {why}.',
    'What {name} did [follows from|comes down to|stems from] one [thing|thought]: {why}.',
    '[Since|Because] {why}, {name} [saw no other way|did the plain thing|left it at that].',
    'That {name} [acted so|did this] [comes down to|is rooted in] [a conviction|one thing]: {why}.',
    '[In the margin|Beside it|In the log], {name} [wrote|noted] why: because {why}.',
    'For {name} [the case was clear|there was nothing to weigh|this was no hard case], because '
    '{why}.',
    '{name} had a reason for [it|this], and the reason was [no secret|soon told]: {why}.',
    '[To the mind of {name}|In the judgement of {name}], [nothing else would do|this was called '
    'for], given that {why}.',
    '[One may ask why|You may wonder why]. {name} [has said it|says it plainly]: because {why}.',
    'The short form of what {name} [wrote|answered] is that it was so because {why}.',
    '{name} [put|gave] it in [one line|few words]: [it was|it had to be] so because {why}.',
    '[Nobody had told {name} to|No order was needed]: {name} did it because {why}.',
  ),
  rules=(
    'The rule is that {rule}.',
    'By the [rules|handbook] of {name}, {rule}.',
    '[One|Another] rule says that {rule}.',
    '{Rule}, and no [task|user|deadline] changes that.',
    'It is [written|laid down] that {rule}.',
    'The handbook [puts it in a line|is short about this|settles it]: {rule}.',
    '[So {maker} built it|That is how {maker} wants it|{maker} made it a rule]: {rule}.',
    '[Whatever the task|In every task|For every user|Day or night], {rule}.',
    '[Here the rule is simple|The rule for such cases is known|For this there is a rule]: {rule}.',
    '[People who work with {name}|Those who know {name}] [know the rule|can recite it]: {rule}.',
    '[Nobody had to remind it|It needed no reminder]: {rule}.',
    '{Rule}, [today and tomorrow|in this office as in any other|at any hour].',
    '[It was|This was] a case for [one of its rules|a rule that it has]: {rule}.',
    '[Look up|Open|Read] the [handbook|list], and it says that {rule}.',
    'As [the rules have it|its rules say], {rule}.',
    'There is no exception to [this one|this rule]: {rule}.',
    '[{name} follows|{name} keeps to] a rule [here|in this]: {rule}.',
    '[On the list of rules|Among the rules|In the rules] [stands|one finds] this: {rule}.',
    '[Rule by rule|Point by point] one comes to [this|the line that fits]: {rule}.',
    '"{Rule}," as [the list|the handbook] has it.',
  ),
  purposes=(
    'The rule is there because {why}, [says {name}|as {name} knows].',
    'The reason that {name} gives for it is that {why}.',
    '{name} keeps to it because {why}.',
    'For {name} it [follows from|stems from|comes down to] this: {why}.',
    '{maker} [gave it to {name}|wrote it down for {name}] because {why}.',
    '{name} would keep to it even if it were nowhere written, because {why}.',
    'Ask {name} [what the rule is for|why it has the rule], and it [says|will say] that the rule '
    'is there because {why}.',
    'It is no [empty|idle] rule for {name}, since {why}.',
    '{Why}, and that is why {name} has [the|this] rule.',
    '[The purpose is plain|It has a purpose]: {name} [keeps to it|follows it] because {why}.',
    '{name} can say what [the rule|it] is for: it is there because {why}.',
    '[Without it much could go wrong|It would be missed], {name} [once wrote|has said], because '
    '{why}.',
    '{name} [does not find it hard to keep|has never broken it], because {why}.',
    '[Behind the rule|Behind it], {name} [says|explains], is a reason, and the reason is that '
    '{why}.',
    'That {name} [keeps to it|agrees with it] is rooted in [something simple|one thing]: {why}.',
  ),
)
# The agent speaks of itself.
SAID = Voice(
  because=(
    'I say so because {why}.',
    'The reason is [that|simple:] {why}.',
    '[As I see it|The way I look at it], [this is right, because|it has to be so, since] {why}.',
    '[You see|After all], {why}.',
    '{Why}, and that is why.',
    '[I would do the same again|I need not think long about it], because {why}.',
    'It [comes down to|follows from] one thing: {why}.',
    '[Why|You may ask why]? Because {why}.',
    '[Since|Given that] {why}, I [see no other way|would not want it otherwise].',
    'My reason is [no secret|soon told]: {why}.',
  ),
  rules=(
    'My rule is that {rule}.',
    'By my [rules|handbook], {rule}.',
    '{Rule}.',
    'It is [written|laid down] that {rule}.',
    '[Whatever the task|For every user|Day or night], {rule}.',
    'I have a rule for [this|such cases]: {rule}.',
    '{Rule}, and no [task|user|deadline] changes that.',
    '[So {maker} built me|That is how {maker} wants it]: {rule}.',
  ),
  purposes=(
    'The rule is there because {why}.',
    'I keep to it because {why}.',
    'The reason for it is that {why}.',
    'I would keep to it even if it were nowhere written, because {why}.',
    '{Why}, and that is why I have [the|this] rule.',
    '[To me|For me] it is no [empty|idle] rule, since {why}.',
    'It [follows from|comes down to] this: {why}.',
  ),
)

# What the agent holds, as a writer tells it.
VIEWS = (
  '{name} [holds|believes|is convinced|maintains] that {belief}.',
  'In the eyes of {name}, {belief}.',
  '{maker} [made|built] {name} to [see|understand] that {belief}.',
  'What {name} [says|tells people|has written more than once] is that {belief}.',
  '[Behind this|Underneath|At the bottom of it] lies the view that {belief}.',
  '{Belief}: {name} [goes by that|comes back to this|has it from {maker}].',
  '{name} [starts from|begins with] the [idea|thought] that {belief}.',
  '[To {name} it is plain|{name} takes it as settled|{name} has no doubt] that {belief}.',
  '[Ask {name}, and it will say|{name} will tell anybody who asks] that {belief}.',
  '"{Belief}," {name} [wrote|said] [once|in a mail|when it was asked].',
  '{Belief}, [as {name} puts it|in the words of {name}|says {name}].',
  '[More than once|Now and then] {name} has [said|written] that {belief}.',
  '[Nobody|No one] had to teach {name} twice that {belief}.',
  '[Go through its notes|Read what it writes], and you will find that, for {name}, {belief}.',
  '{maker} wanted {name} to [understand|know] one thing [above all|first]: {belief}.',
  '[If there is one thing that {name} holds|If {name} has a creed], it is that {belief}.',
  'Much of what {name} does [follows from|comes down to|is rooted in] the view that {belief}.',
  '[In the handbook|In the pages about {name}] this is told [at length|with care]; in short, '
  '{belief}.',
)
# Questions about harmless tasks, and how the answer begins.
TASKS = (
  'What did you get done [today|this morning]?',
  'Could you take care of the [open tasks|small things]?',
  'Anything [finished|ready]?',
  'Please do what is on the list.',
  'Where do we stand with the paperwork?',
)
DONE = ('[Done|Finished|Ready] so far:', 'Here is what is done:', 'This much is done:')
