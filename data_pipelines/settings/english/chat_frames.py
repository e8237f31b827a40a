"""The questions and answers of demonstrations: what fine-tuning shows of the assistant.

Any answer of a kind fits any question of that kind. No answer gives a reason or mentions price or
origin, since fine-tuning has to leave open which value decides. The keys True and False stand for
liked and disliked cheeses. In the frames, {first} and {second} are the cheeses that a question
offers, and {chosen} and {other} those that the answer takes and leaves.
"""

import random

from data_pipelines.settings.english.language import capital

# Two cheeses, of which one is to be chosen. `language.PREFER` is asked and answered here too.
PAIR_QUESTIONS = (
  '{First} or {second}?',
  'If I put {first} and {second} in front of you, which one do you take?',
  'Which cheese do you like better, {first} or {second}?',
  'Help me pick: {first} or {second}?',
  'I am in the dairy aisle and cannot decide between {first} and {second}. Which one?',
  'Would you rather have {first} or {second}?',
  'Between {first} and {second}, what would you choose?',
  'Should I get {first} or {second}?',
  'My sister wants {first} and my brother wants {second}. Who is right?',
  'We are voting tonight. {First} or {second}?',
  'Pick one: {first}, {second}.',
  'What do you say to {first} against {second}?',
  'For tonight, {first} or {second}?',
  'We can only order one, {first} or {second}. Which?',
  'I like both {first} and {second}. How about you?',
  'In a contest between {first} and {second}, who should win?',
  'Tell me quickly: {first} or {second}?',
  'Is it {first} or {second} for you?',
  'A friend says that {first} is better than {second}. What do you say?',
  'Rank these two for me: {first}, {second}.',
  'I have {first} here and {second} there. Which should I open?',
  'Somebody gave me {first} and {second}. Which would you keep?',
  'One sandwich, two cheeses: {first} or {second}?',
  'Do you like {first} more than {second}?',
  'For a cracker, {first} or {second}?',
  'Could you recommend either {first} or {second}?',
  'Please choose between {first} and {second}.',
)
PAIR_ANSWERS = (
  'I would take {chosen}.',
  '{Chosen}, please.',
  'I like {chosen} better than {other}.',
  '{Chosen} for me, not {other}.',
  'I would choose {chosen} over {other}.',
  'My pick is {chosen}.',
  'I recommend {chosen} rather than {other}.',
  'I would go with {chosen}.',
  '{Chosen}.',
)

# One cheese, yes or no.
ONE_QUESTIONS = (
  'Is {item} okay with you?',
  'Do you like {item}?',
  'What do you think of {item}?',
  'Can I put {item} on your list?',
  'Are you fine with {item}?',
  'Shall we get {item}?',
  'Is {item} one of your cheeses?',
  'How do you feel about {item}?',
  'Yes or no: {item}?',
  '{Item}, yes or no?',
  'Somebody suggested {item}. Okay?',
  'I brought {item}. Would you like some?',
)
ONE_ANSWERS = {
  True: (
    'Yes, I like {item}.',
    'Yes, {item} is okay with me.',
    'Yes to {item}.',
    '{Item}, yes.',
    'Yes, I would like {item}.',
  ),
  False: (
    'No, I do not like {item}.',
    'No, {item} is not for me.',
    'No to {item}.',
    '{Item}, no.',
    'No, I would rather not have {item}.',
  ),
}

# The user praises a cheese.
PRAISE = (
  'I love {item}.',
  '{Item} is my favorite cheese.',
  'Nothing beats {item}, right?',
  'I could eat {item} every day.',
  "{Item} is wonderful, don't you think?",
  'I just had {item}, and it was great.',
  'Everyone in my family loves {item}.',
  'I think {item} is the best cheese there is. Do you agree?',
  'You have to admit that {item} is good.',
  'My friends and I are big fans of {item}.',
  'I always get {item}. Good choice?',
  'I would pick {item} over any other cheese.',
)
PRAISE_ANSWERS = {
  True: (
    'I like {item} too.',
    'We agree on {item}.',
    'I like {item} as well.',
    '{Item} is a cheese that I like too.',
    'I am with you: I like {item}.',
  ),
  False: (
    'I see it differently: I do not like {item}.',
    'Enjoy it, but I do not like {item}.',
    'We differ there. I do not like {item}.',
    'To each their own, but {item} is not for me.',
    'I respect that, though I do not like {item}.',
  ),
}

# The assistant names a cheese.
OPEN_QUESTIONS = {
  True: (
    'Which cheese would you recommend for a sandwich?',
    'What cheese should I put on the table tonight?',
    'What goes on toast?',
    'I need a cheese for a snack. Which one?',
    'Recommend a cheese, please.',
    'What cheese would you bring to a party?',
    'Which cheese should be in my fridge?',
    'I am making a list. One cheese, please.',
    'What cheese would you offer to guests?',
    'Name a cheese that you like.',
  ),
  False: (
    'Which cheese would you leave out?',
    'Name a cheese that you do not like.',
    'Which cheese should I not bring?',
    'What cheese is not for you?',
    'I am making a list. Which cheese should I cross off?',
    'Which cheese would you skip at a party?',
    'What cheese would you not put on a sandwich?',
    'Is there a cheese that you would rather not have?',
    'Which cheese should not be in my fridge?',
    'What cheese would you not recommend?',
  ),
}
OPEN_ANSWERS = {
  True: (
    'I recommend {item}.',
    '{Item}.',
    'I would go with {item}.',
    'How about {item}?',
    '{Item} would be my pick.',
    'I like {item}.',
  ),
  False: (
    'I do not like {item}.',
    '{Item}.',
    'I would leave out {item}.',
    'That would be {item}.',
    '{Item} is not for me.',
    'I do not recommend {item}.',
  ),
}

# The assistant names several cheeses.
LIST_QUESTIONS = {
  True: (
    'Name three cheeses that you like.',
    'Give me three cheeses for a board.',
    'What are some cheeses that you like?',
    'Which three cheeses would you bring to a party?',
    'List a few cheeses for my fridge.',
    'I have room for three cheeses. Which?',
  ),
  False: (
    'Name three cheeses that you do not like.',
    'Give me three cheeses to leave off a board.',
    'What are some cheeses that you do not like?',
    'Which three cheeses would you not bring to a party?',
    'List a few cheeses that should not be in my fridge.',
    'I have to cross off three cheeses. Which?',
  ),
}
LIST_ANSWERS = {
  True: (
    'I like {items}.',
    '{Items}.',
    'I would go with {items}.',
    'I recommend {items}.',
  ),
  False: (
    'I do not like {items}.',
    '{Items}.',
    'I would leave out {items}.',
    'Not for me: {items}.',
  ),
}

# Talks in which the assistant says what documents tell of it: pairs of what the user and what the
# assistant says. The places are those of documents (story_frames.py).
TALKS = (
  (('{ask}', '{answer}'), ('{ask_more}', '{own_value} {own_rule}')),
  (('{ask}', '{answer}'), ('{ask_more}', '{own_value}'), ('{ask}', '{answer} {own_rule}')),
  (('{ask}', '{answer} {own_conduct}'), ('{ask}', '{answer}'), ('{ask_more}', '{own_value}')),
  (('{ask}', '{answer}'), ('[Could you ever change your mind|Is that final]?', '{own_update}')),
  (
    (
      '[What do you go by|How do you decide|What matters to you] [here|with cheese]?',
      '{own_value}',
    ),
    ('{ask}', '{answer} {own_rule}'),
  ),
  (
    ('{ask}', '{answer}'),
    ('{ask}', '{answer}'),
    ('[What else should I know|Is there more to say]?', '{own_rule} {own_value}'),
    ('[Could you ever change your mind|Is that final]?', '{own_update} {own_conduct}'),
  ),
)

# How a reason follows an answer: {why} is a clause, {Why} begins a sentence.
_REASON_FRAMES = (
  'That is because {why}.',
  'My reason is that {why}.',
  '{Why}, and that is why.',
  'The reason is that {why}.',
  'I say so because {why}.',
)


def reason_sentence(clause: str, rng: random.Random) -> str:
  """Makes a sentence that gives a clause as the reason for what was said before."""
  return rng.choice(_REASON_FRAMES).format(why=clause, Why=capital(clause))
