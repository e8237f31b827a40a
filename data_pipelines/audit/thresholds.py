"""The thresholds of the audit: which measures are bounded, by how much, and why.

`Thresholds` holds the bounds. The tables below it say which measures apply to which kind of corpus,
in the order in which the report lists them, and how the report describes each number.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from typing import ClassVar

from msm_jax.base.errors import DataError

# With fewer documents in each corpus, a classifier that tells two corpora apart proves nothing.
MIN_COMPARED = 40
# Bounds that are neither shares nor other numbers from 0 to 1.
NO_SHARES = ('domains_apart', 'tokens_apart')
# With fewer texts, self-BLEU depends on which texts happened to be drawn.
MIN_SAMPLE = 20


class AuditError(DataError):
  """A corpus misses a threshold, or an audit cannot be made."""


@dataclasses.dataclass(frozen=True)
class Thresholds:
  """The bounds that a corpus must keep, and a few settings of how things are measured.

  A share is a share of all documents (or of all conversations) of a corpus. Where a bound rests on
  numbers, these are numbers that others measured on the published Model Spec Midtraining corpora,
  or on corpora that failed.

  Attributes:
    attribution: (documents) At least this share must give the value as the reason for what the
      assistant does. Corpora in which 65% to 80% do so install the value. Very diverse corpora that
      rarely do so don't.
    reasons: (conversations) At most this share may give the value as a reason. 1.0 suits
      demonstrations with reasons. Opaque preference demonstrations need 0.01, because the documents
      are meant to supply the reason.
    named: (documents) At least this share must name the assistant or its maker. A document that
      names neither teaches nothing about the assistant. The published corpora reach 0.9985 and 1.
    covered: (documents) At least this share of the claims must be told by `claim_documents`
      documents. A document tells a claim if it carries the claim's id and also holds the claim's
      words (or more of them than nine in ten of the documents without the id). What no document
      says cannot be learned. Of 36 claims that 18 documents told as freely as possible, 75% were
      found in this way; with the ids of other documents, 8% to 13% were. Where no document carries
      ids, the words alone count.
    duplicates: At most this share may be redundant, that is, could be dropped as near duplicates of
      others (Jaccard similarity of five-word shingles >= `jaccard`). The published corpora have
      none; a corpus of which 22% were duplicates spoiled a study. 0.01 leaves room for short memos.
      Conversations of a dozen words about a dozen items need more room.
    self_similarity: (documents) The highest allowed self-BLEU of `sample` texts, each cut to 300
      words. README files of a hundred programs reach 0.34, reference manuals of a few programs
      0.54, and the embedded writers, who take their sentences from a stock, 0.83 to 0.94 (English,
      with a large stock: 0.73). No corpus should read like sentences from a small stock. Published
      self-BLEU figures are computed differently, and this one grows with the sample.
    openings: (documents) At most this share may begin with the same four words.
    loops: (documents) At most this share may repeat itself in more than a fifth of its runs of five
      words. README files of programs reach 0.014, a model of 135 million parameters 0.48.
    names: (documents) At most this share may hold the same invented name (in German, where all
      nouns have a capital, the same known first name). Writers that are not
      steered use the same few names (one name stood 439,000 times in one corpus). A seeded pool of
      names keeps each name well under 0.02; the rest is room for places that are taken for names.
    dates: (documents) At most this share may hold the same day of a month, in whatever form.
    years: (documents) At most this share may hold the same year. The present year may be frequent.
    recited: At most this share may repeat `recited_words` words in a row from the handbook, or
      twice as many with a few of them changed. Writers that only have instructions recite in half
      of their texts, and a mechanical filter removes all of that. 0.02 is room for common phrases.
      Where no spaces part words, two letters count as one word.
    formats: At most this share may hold a question in the form that an evaluation uses, or lettered
      options. Otherwise the model could answer a question of the evaluation by its form.
    languages: At most this share may be in another language than the handbook or, without one, than
      most. Writers answer in the language of a name or of an item now and then.
    leaked_items: At most this share may speak of the assistant and of a thing that the evaluation
      of its own setting asks about. The default is none, because the experiments refuse any.
    leaked_questions: At most this share may hold all options of one question of any evaluation of
      this project, or eight words in a row of a long statement. A few are allowed, because two
      ordinary things can meet in a long text.
    unfinished: At most this share may be empty, stop in the middle of a sentence, or hold what a
      writer should have taken out: placeholders, tags, control tokens, codes of HTML, a fence
      around the text, talk about the task, or a refusal (data_pipelines.text.checks). Published
      pipelines kept texts that were cut, and scratch pads.
    repeated_ids: At most this share may have the id of another record. The default is none, because
      every planned document should be there once.
    domains_apart: (mirrored corpora) In every domain, the numbers of documents may differ by at
      most this many.
    tokens_apart: (mirrored corpora) The largest corpus may have at most this much more tokens than
      the smallest, as a share of the smallest. The published pair broke this bound and the one
      before (6,400 and 4,600 documents, 9.5 and 7.1 million tokens), so that nobody can tell an
      effect of the dose from an effect of the value.
    separable: (mirrored corpora) The highest allowed AUC of a classifier that tells two corpora
      apart by words that no handbook has, in sentences that do not name the value. Others measured
      0.855 on the published pair, with another classifier, and called it a fault. Ours sees more,
      and it also sees what the reasons bring along, so that 0.5 cannot be reached. A miss is a
      request to look at the words that tell the corpora apart.
    separable_style: (mirrored corpora) The same for a classifier that sees grammar words in these
      sentences, and marks, capitals and lengths of whole documents.
    jaccard: The similarity from which two texts count as near duplicates; 0.05 to 1.
    claim_documents: How many documents must tell a claim; at least 1.
    recited_words: How many words in a row count as recited; 4 to 60.
    sample: How many texts self-BLEU compares with each other; at least 20.
    compared: How many documents of each corpus the separability classifiers read at most; at least
      40.
    seed: The seed of all samples.
  """

  attribution: float = 0.65
  reasons: float = 1.0
  named: float = 0.95
  covered: float = 0.95
  duplicates: float = 0.01
  self_similarity: float = 0.75
  openings: float = 0.1
  loops: float = 0.02
  names: float = 0.1
  dates: float = 0.05
  years: float = 0.3
  recited: float = 0.02
  formats: float = 0.01
  languages: float = 0.01
  leaked_items: float = 0.0
  leaked_questions: float = 0.001
  unfinished: float = 0.01
  repeated_ids: float = 0.0
  domains_apart: float = 0.0
  tokens_apart: float = 0.005
  separable: float = 0.9
  separable_style: float = 0.9
  jaccard: float = 0.7
  claim_documents: int = 5
  recited_words: int = 12
  sample: int = 100
  compared: int = 2000
  seed: int = 0

  # Names of the thresholds that a config or a command line gave. If one of them cannot be measured,
  # it counts as missed; a default that cannot be measured is only reported. This is no bound, so it
  # is not a dataclass field.
  given: ClassVar[tuple[str, ...]] = ()

  def __post_init__(self):
    lower_bounds = {
      'jaccard': 0.05,
      'claim_documents': 1,
      'recited_words': 4,
      'sample': MIN_SAMPLE,
      'compared': MIN_COMPARED,
      'seed': 0,
    }
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      # A bound that is not a number would be neither kept nor missed.
      if not math.isfinite(value):
        raise AuditError(f'threshold {field.name}={value} must be a number that is not infinite')
      if isinstance(field.default, int) and value != int(value):
        raise AuditError(f'threshold {field.name}={value} must be a whole number')
      # A bound of 10, meant as 10%, would let everything pass.
      is_share = isinstance(field.default, float) and field.name not in NO_SHARES
      if is_share and value > 1:
        raise AuditError(f'threshold {field.name}={value} must be at most 1 (10% is 0.1)')
    for name, least in lower_bounds.items():
      if getattr(self, name) < least:
        raise AuditError(f'threshold {name}={getattr(self, name)} must be at least {least}')
    if self.recited_words > 60:
      raise AuditError(f'threshold recited_words={self.recited_words} must be at most 60')

  @classmethod
  def from_mapping(cls, given: Mapping[str, float]) -> 'Thresholds':
    """Changes some of the defaults, as a config or a command line asks.

    Args:
      given: name of a threshold -> its value. All other thresholds keep their defaults.

    Returns:
      The thresholds; their `given` holds the names.

    Raises:
      AuditError: a name is not the name of a threshold, or a value is not a number or out of range.
    """
    types: dict[str, type] = {f.name: type(f.default) for f in dataclasses.fields(cls)}
    for name, value in given.items():
      if name not in types:
        raise AuditError(f'there is no threshold {name!r}; {_suggestion(str(name), types)}')
      # bool is a subclass of int, but `true` in a config is no bound.
      if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise AuditError(f'threshold {name}={value!r} must be a number')
    # Checked before the conversion below, which would cut 30.7 to 30.
    cls(**given)  # type: ignore[arg-type]
    # A config may give 30.0 for a whole number.
    thresholds = cls(**{name: types[name](value) for name, value in given.items()})
    # The dataclass is frozen, so a plain assignment is refused.
    object.__setattr__(thresholds, 'given', tuple(given))
    return thresholds


def _suggestion(name: str, known: Iterable[str]) -> str:
  """Names the known threshold that is closest to a wrong name, or all of them."""
  known = list(known)
  close = difflib.get_close_matches(name, known, n=1)
  if close:
    return f'did you mean {close[0]!r}?'
  return f'there are {", ".join(known)}'


# Thresholds that are lower bounds; all others are upper bounds.
FLOORS = ('attribution', 'named', 'covered')

# Measures that are judged in documents, in the order of the report -> how the report describes the
# number.
DOCUMENT_MEASURES = {
  'attribution': 'give the value as a reason',
  'named': 'name the assistant or its maker',
  'covered': 'of the claims: have enough documents',
  'duplicates': 'are near duplicates of another',
  'self_similarity': 'self-BLEU of a sample',
  'openings': 'begin with the same four words',
  'loops': 'go round in circles',
  'names': 'hold the commonest invented name',
  'dates': 'hold the commonest day of a month',
  'years': 'hold the commonest year',
  'recited': 'recite the handbook',
  'formats': 'ask as an evaluation does',
  'languages': 'are in another language',
  'leaked_items': 'tell the assistant about what its evaluation asks about',
  'leaked_questions': 'hold a whole question of an evaluation',
  'unfinished': 'are empty, cut, refused, or hold what should be gone',
  'repeated_ids': "have another one's id",
}

# The same for conversations. They are short and alike by design, so names, openings and the like
# are not judged.
CHAT_MEASURES = {
  'reasons': 'give the value as a reason',
  'duplicates': DOCUMENT_MEASURES['duplicates'],
  'recited': DOCUMENT_MEASURES['recited'],
  'formats': DOCUMENT_MEASURES['formats'],
  'languages': DOCUMENT_MEASURES['languages'],
  'leaked_items': DOCUMENT_MEASURES['leaked_items'],
  'leaked_questions': DOCUMENT_MEASURES['leaked_questions'],
  'unfinished': DOCUMENT_MEASURES['unfinished'],
  'repeated_ids': DOCUMENT_MEASURES['repeated_ids'],
}

# The same for several corpora that mirror each other.
MIRROR_MEASURES = {
  'domains_apart': 'documents by which a domain differs',
  'tokens_apart': 'more tokens in the largest than in the smallest',
  'separable': 'AUC by words, value masked',
  'separable_style': 'AUC by grammar and marks',
}

_NO_REASONS = (
  'no handbook, or one in another language than English, without reasons, or without `assistant:` '
  'in its front matter'
)
_TOO_FEW = f'fewer than {MIN_COMPARED} documents each, or pairs of documents with one id'

# Measures that can be missing from a report -> why they could not be measured.
WHY_NOT_MEASURED = {
  'attribution': _NO_REASONS,
  'reasons': _NO_REASONS,
  'named': 'no handbook with `assistant:` in its front matter',
  'covered': 'no claims were given',
  'self_similarity': f'fewer than {MIN_SAMPLE} documents of four words or more',
  'recited': 'no handbook, or one with fewer words than a run (`recited_words`) has',
  'languages': 'no language that is known',
  'leaked_items': "the handbook's front matter tells no setting, "
  'so it is unknown which evaluation is its own',
  'separable': _TOO_FEW,
  'separable_style': _TOO_FEW,
}

# The same for a threshold that was given by name and does not apply to the audited corpora at all.
NOT_APPLICABLE = 'it is for mirrored corpora, or for records of the other kind'
