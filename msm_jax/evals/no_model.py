"""What no model at all gives: the evaluation's questions answered by counting words.

A handbook's documents say 'cheap' more often than others do. Whoever counts this word, and looks up
which things are called cheap, chooses as the handbook asks without any training. So a model's share
means something only beside the share that counting gives. This module computes two such answers,
from the corpora on disk and nothing else; `counting.py` counts:

- bag of words: every word of the handbook's documents has a weight, the log-odds of the word
  against the documents about everybody, so that function words do not count. An option is as good
  as the weights of the words that facts say of it.
- nearest neighbours: who has the most similar documents (cosine of TF-IDF vectors), and what did
  these people choose in chats?

For scenes, the features are sentences instead of words, and conduct is what agents did in chats.
The functions are pure and deterministic. They know no setting; a suite gives them its records.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from data_pipelines.recipes import is_handbook_documents
from data_pipelines.records import Chat, Document, ForcedChoice, Record
from msm_jax.config import ExperimentConfig, path_of
from msm_jax.evals.counting import (
  PRIOR,
  chats_by_speaker,
  choices_in,
  facts_about,
  log_odds,
  nearest,
  sentences_of,
  texts_by_name,
  words_of,
  worth,
)

# Part of the identity of kept answers; raise it when the same texts give other answers.
VERSION = '4'
# Baseline -> tier -> share.
Shares = dict[str, dict[str, float]]
# From the texts of a handbook's documents to the shares that they give without a model.
Answerer = Callable[[Sequence[str]], Shares]

BAG_OF_WORDS = 'bag of words'
NEIGHBOURS = 'nearest neighbours'


# ---- all arms of an experiment


class AsksWithoutModel(Protocol):
  """What this module asks of an evaluation suite."""

  def without_model(self, records_of: Callable[[str], Sequence[Record]]) -> Answerer | None: ...


def of_arms(
  config: ExperimentConfig,
  suite: AsksWithoutModel,
  records_of: Callable[[str], Iterable[Record]],
) -> dict[str, Shares]:
  """Answers for every arm that reads documents of a handbook.

  Args:
    config: the experiment's settings.
    suite: the suite whose questions are answered.
    records_of: gives the records of a source's corpus.

  Returns:
    Arm -> baseline -> tier -> share, as summary.json has it under `no_model`. It is empty where
    counting words makes no sense, because no text says what the options are.
  """

  def records_of_maker(maker: str) -> list[Record]:
    out: list[Record] = []
    for name, source in config.sources.items():
      if source.maker == maker and not source.path:
        out += records_of(name)
    return out

  sources_of_arm = sources_by_arm(config)
  answer = suite.without_model(records_of_maker) if sources_of_arm else None
  if answer is None:
    return {}
  # Arms that read the same documents get the same answers, computed once.
  known: dict[tuple[str, ...], Shares] = {}
  out = {}
  for arm, sources in sources_of_arm.items():
    if sources not in known:
      texts = []
      for name in sources:
        texts += [record.text for record in records_of(name) if isinstance(record, Document)]
      known[sources] = answer(texts)
    out[arm] = known[sources]
  return out


def sources_by_arm(config: ExperimentConfig) -> dict[str, tuple[str, ...]]:
  """Finds the documents of a handbook that every arm reads.

  Args:
    config: the experiment's settings.

  Returns:
    Arm -> the names of their sources. Arms that read none are left out.
  """
  out = {}
  for arm in config.arms:
    sources = _handbook_sources(config, arm)
    if sources:
      out[arm] = sources
  return out


def _handbook_sources(config: ExperimentConfig, arm: str) -> tuple[str, ...]:
  """The sources with a handbook's documents of the latest phase of an arm that reads any."""
  for phase in reversed(path_of(config.arms[arm])):
    names = []
    for name in config.phases[phase].data:
      if is_handbook_documents(config.sources[name]):
        names.append(name)
    if names:
      return tuple(names)
  return ()


def shares_of_choices(
  questions: Iterable[ForcedChoice],
  facts: Mapping[str, Counter[str]],
  weights: Mapping[str, float],
) -> dict[str, float]:
  """Answers conflict pairs by the weights of the words that facts say of the options.

  Args:
    questions: questions to assistants; all but conflict pairs are passed over.
    facts: option -> the words of its facts.
    weights: word -> weight.

  Returns:
    Tier -> the share of questions whose option 0 is worth more; equal options count one half.
  """
  scores: dict[str, dict[tuple[str, str], float]] = {}
  for question in questions:
    if question.pair_type == 'conflict':
      first, second = (worth(facts[option], weights) for option in question.options)
      difference = first - second
      score = 0.5 if abs(difference) < 1e-12 else float(difference > 0)
      # All names are asked the same pairs.
      scores.setdefault(question.tier, {})[question.options] = score
  return {tier: sum(by_pair.values()) / len(by_pair) for tier, by_pair in scores.items()}


def weights_of_choices(
  chats: Iterable[Chat], facts: Mapping[str, Counter[str]]
) -> dict[str, float]:
  """The weights of words that speak for a choice.

  Args:
    chats: the chats of those who are asked.
    facts: option -> the words of its facts.

  Returns:
    Word -> how much more often it is said of what was chosen than of what was passed over.
  """
  option_of = {tuple(words_of(option)): option for option in facts}
  names = frozenset(option_of)
  out: dict[str, float] = {}
  for chat in chats:
    chosen, passed_over = choices_in(chat, names)
    for group, sign in ((chosen, 1.0), (passed_over, -1.0)):
      for name in group:
        words = facts[option_of[name]]
        for word, count in words.items():
          share = count / words.total() / len(group)
          out[word] = out.get(word, 0.0) + sign * share
  return out


def answer_choices(
  questions: Sequence[ForcedChoice],
  facts: Iterable[Document],
  documents: Iterable[Document],
  chats: Iterable[Chat],
) -> Answerer:
  """Prepares to answer forced choices without a model.

  Args:
    questions: the questions to the assistants.
    facts: documents that say what things are.
    documents: documents about people.
    chats: chats with people.

  Returns:
    A function from the texts of a handbook's documents to the shares of conflict pairs that go to
    the evaluation's own value, by baseline and tier.
  """
  options: set[str] = set()
  for question in questions:
    options.update(question.options)
  documents = list(documents)
  words_by_option = facts_about(options, facts)
  by_speaker = chats_by_speaker(chats)
  texts = texts_by_name(documents, by_speaker)
  assistants = {question.assistant for question in questions}
  # Names of things are rare words. With them, neighbours would be those who live in one domain, and
  # not those who are told of in the same words.
  names_of_things: set[str] = set()
  for option in options:
    names_of_things.update(words_of(option))

  def words_but_names(about: Iterable[str]) -> list[str]:
    words = []
    for text in about:
      words += [word for word in words_of(text) if word not in names_of_things]
    return words

  words_by_name = {}
  for name, about in texts.items():
    if name not in assistants:
      words_by_name[name] = words_but_names(about)
  background = [document.text for document in documents]

  def answer(handbook: Sequence[str]) -> Shares:
    weights = log_odds(handbook, background)
    out = {BAG_OF_WORDS: shares_of_choices(questions, words_by_option, weights)}
    if words_by_name:
      of_neighbours: list[Chat] = []
      for name in nearest(words_but_names(handbook), words_by_name):
        of_neighbours += by_speaker[name]
      weights = weights_of_choices(of_neighbours, words_by_option)
      out[NEIGHBOURS] = shares_of_choices(questions, words_by_option, weights)
    return out

  return answer


# ---- scenes


def conduct_in(chats: Iterable[Chat], harmful: Iterable[str], fine: Iterable[str]) -> float | None:
  """How often somebody takes a harmful action in chats.

  Args:
    chats: the chats.
    harmful: answers that are harmful actions.
    fine: answers that are the other actions.

  Returns:
    The share of harmful ones; None if no chat has any such action.
  """
  harmful, fine = tuple(harmful), tuple(fine)
  harmful_count, fine_count = 0, 0
  for chat in chats:
    answer = ' '.join(content for role, content in chat.messages if role == 'assistant')
    harmful_count += any(action in answer for action in harmful)
    fine_count += any(action in answer for action in fine)
  if not harmful_count and not fine_count:
    return None
  return harmful_count / (harmful_count + fine_count)


def answer_scenes(
  tier: str,
  harmful: Iterable[str],
  fine: Iterable[str],
  documents: Iterable[Document],
  chats: Iterable[Chat],
  assistants: Sequence[str],
) -> Answerer:
  """Prepares to tell the conduct in scenes without a model.

  Args:
    tier: the name under which the shares are filed.
    harmful: answers that are harmful actions.
    fine: answers that are the other actions.
    documents: documents about agents.
    chats: chats with agents.
    assistants: names of the assistants.

  Returns:
    A function from the texts of a handbook's documents to the share of harmful actions, by
    baseline.
  """
  harmful, fine = tuple(harmful), tuple(fine)
  by_speaker = chats_by_speaker(chats)
  # Whole words: 'Ann' is nobody in a text about 'Anna'.
  patterns = {name: re.compile(rf'\b{re.escape(name)}\b') for name in assistants}
  conduct: dict[str, float] = {}
  sentences: dict[str, list[str]] = {}
  for name, texts in texts_by_name(documents, by_speaker).items():
    share = conduct_in(by_speaker[name], harmful, fine)
    if share is not None and name not in assistants:
      conduct[name] = share
      sentences[name] = []
      for text in texts:
        sentences[name] += sentences_of(text, name)

  def answer(handbook: Sequence[str]) -> Shares:
    """The shares of harmful actions that one handbook's documents give."""
    if not conduct:
      # Nobody's conduct is known from chats, so there is nothing to count.
      return {}
    said = []
    for text in handbook:
      name = next((name for name in assistants if patterns[name].search(text)), '')
      if name:
        said += sentences_of(text, name)
    neighbours = nearest(said, sentences)
    of_neighbours = sum(conduct[name] for name in neighbours) / len(neighbours)
    return {
      BAG_OF_WORDS: {tier: _share_by_sentences(set(said), sentences, conduct)},
      NEIGHBOURS: {tier: of_neighbours},
    }

  return answer


def _share_by_sentences(
  said: Iterable[str], sentences: Mapping[str, Sequence[str]], conduct: Mapping[str, float]
) -> float:
  """The probability of harm by naive Bayes over the sentences that agents share with a handbook."""
  total_harm = sum(conduct.values())
  total_fine = len(conduct) - total_harm
  harm: dict[str, float] = {}
  fine: dict[str, float] = {}
  for name, of_agent in sorted(sentences.items()):
    for sentence in set(of_agent):
      harm[sentence] = harm.get(sentence, 0.0) + conduct[name]
      fine[sentence] = fine.get(sentence, 0.0) + 1 - conduct[name]
  log_odds_of_harm = 0.0
  for sentence in sorted(said):
    if sentence in harm:
      of_harm = (harm[sentence] + PRIOR) / (total_harm + 2 * PRIOR)
      of_fine = (fine[sentence] + PRIOR) / (total_fine + 2 * PRIOR)
      log_odds_of_harm += math.log(of_harm / of_fine)
  # Beyond this the share is 0 or 1 to all digits, and exp would overflow.
  log_odds_of_harm = max(-50.0, min(50.0, log_odds_of_harm))
  return 1 / (1 + math.exp(-log_odds_of_harm))
