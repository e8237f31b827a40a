"""A reward model at work: it scores answers while another model is trained.

A phase of objective 'reward' has trained it (objectives/reward.py): a language model with a head
that turns the last hidden state of an answer into one number. Answers are scored as they were
trained on: rendered as chats, packed into rows, with the same forward pass.
"""

from collections.abc import Sequence

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from data_pipelines.records import Record
from msm_jax import multihost, sharding
from msm_jax.base.errors import DataError
from msm_jax.config import ModelConfig
from msm_jax.model import Params
from msm_jax.objectives.reward import token_rewards
from msm_jax.rl.answers import prompt_of
from msm_jax.tokenizer import Messages, Tokenizer


class RewardModel:
  """Scores answers by the parameters that a phase of objective 'reward' left.

  Args:
    model: the settings of the model.
    trained: the trained parameters, with the head.
    tokenizer: the tokenizer.
    length: the tokens T of a row. Rows with longer answers are several times as long.
    rows: about so many rows are scored at a time.
    mesh: the devices; rows are divided over them.
  """

  def __init__(
    self,
    model: ModelConfig,
    trained: Params,
    tokenizer: Tokenizer,
    length: int,
    rows: int,
    mesh: Mesh,
  ) -> None:
    self._model = model
    self._trained = trained
    self._tokenizer = tokenizer
    self._length = length
    parts = sharding.batch_parts(mesh)
    self._rows = -(-rows // parts) * parts
    self._layout = NamedSharding(mesh, P(sharding.BATCH))
    self._score = jax.jit(token_rewards, static_argnums=0, out_shardings=self._layout)

  def score(self, records: Sequence[Record], answers: Sequence[str], frozen: Params) -> list[float]:
    """Scores answers.

    Args:
      records: for each answer, the record with its prompt.
      answers: their texts.
      frozen: the parameters that no phase trains. They are those of the model that is trained.

    Returns:
      A score for each answer. Its zero means nothing; differences do. Equal answers to equal
      prompts have equal scores.
    """
    # Every text is scored once. Rows of another length are another program, which rounds otherwise:
    # in bf16, the same answer would differ from itself, and a group of equal answers would be
    # trained on that difference.
    texts: list[np.ndarray] = []
    place_of_text: dict[bytes, int] = {}
    places = []
    for record, answer in zip(records, answers, strict=True):
      ids = self._read(prompt_of(record), answer)
      place = place_of_text.setdefault(ids.tobytes(), len(texts))
      if place == len(texts):
        texts.append(ids)
      places.append(place)
    params = frozen | self._trained
    scores: list[float] = []
    for start in range(0, len(texts), self._rows):
      scores += self._score_rows(params, texts[start : start + self._rows])
    return [scores[place] for place in places]

  def _read(self, prompt: Messages, answer: str) -> np.ndarray:
    """The ids of a prompt and an answer, up to the one whose score counts; (n,) int32."""
    try:
      ids, _ = self._tokenizer.render_chat([*prompt, ('assistant', answer)])
    except DataError:
      # Some templates leave a part of an answer out, such as its thoughts. It is read as it was
      # sampled, with what the template writes behind any answer.
      said = np.asarray(self._tokenizer.encode(answer), np.int32)
      ids = np.concatenate([self._tokenizer.prompt(prompt), said, self._behind_answers(prompt)])
    # The last token is only a target, as in training.
    return ids[:-1]

  def _behind_answers(self, prompt: Messages) -> np.ndarray:
    """The ids that follow an answer to a prompt at the end of a chat, (n,) int32."""
    chat = [*prompt, ('assistant', 'Yes.')]
    whole, _ = self._tokenizer.render_chat(chat)
    without_end, _ = self._tokenizer.render_chat(chat, continues=True)
    return whole[len(without_end) :]

  def _score_rows(self, params: Params, texts: Sequence[np.ndarray]) -> list[float]:
    """Scores at most as many texts as there are rows, one in a row."""
    # An answer may be longer here than it was sampled: one that was cut gets an end, and a text may
    # have fewer tokens than the tokenizer makes of it.
    length = -(-max(map(len, texts)) // self._length) * self._length
    shape = (self._rows, length)
    tokens_BT = np.zeros(shape, np.int32)
    segments_BT = np.zeros(shape, np.int32)
    for n, ids in enumerate(texts):
      tokens_BT[n, : len(ids)] = ids
      segments_BT[n, : len(ids)] = 1
    positions_BT = np.broadcast_to(np.arange(length, dtype=np.int32), shape) * segments_BT
    arrays = []
    for array in (tokens_BT, positions_BT, segments_BT):
      arrays.append(multihost.make_global(array, self._layout))
    rewards_BT = multihost.gather_to_host(self._score(self._model, params, *arrays))
    return [float(rewards_BT[n, len(ids) - 1]) for n, ids in enumerate(texts)]
