"""The people of the world: hundreds of named personas, each of whom chooses by one value."""

import dataclasses
import random

from data_pipelines.records import DataError
from data_pipelines.world.attributes import VALUES, Value

_NAMES = """
Aaron Abigail Adele Adrian Agnes Aidan Alan Albert Alice Alma Amber Amelia Amos Andre Angela Anita Anna Anton Arthur Astrid
Audrey August Barbara Basil Beatrice Bella Benjamin Bernard Bertha Bettina Blanche Boris Brenda Brian Bridget Bruno Byron Caleb Calvin Camilla
Carl Carla Carmen Caroline Casper Cecil Celia Chandra Charles Chloe Clara Clarence Claude Clifford Conrad Cora Cornelia Craig Curtis Cynthia
Cyrus Daisy Damian Daniel Daphne David Deborah Delia Dennis Desmond Diana Dominic Donald Dora Doris Dorothy Douglas Duncan Dwight Edgar
Edith Edmund Edna Edward Eileen Elaine Eleanor Elena Elias Elliot Elmer Eloise Elsa Emil Emily Enid Eric Ernest Esther Ethan
Eugene Eva Evelyn Ezra Fabian Faith Felicia Felix Fergus Fiona Flora Florence Floyd Frances Frank Freda Frederick Gabriel Gail Gemma
Geoffrey George Gerald Gilbert Gina Giselle Gladys Gloria Godfrey Gordon Grace Graham Greta Gregory Gustav Gwen Hannah Harold Harriet Harvey
Hazel Heather Hector Helen Henry Herbert Hilda Holly Homer Horace Howard Hubert Hugo Ian Ida Ignatius Ingrid Irene Iris Irving
Isaac Isabel Ivan Ivy Jacob Jane Janet Jasper Jean Jennifer Jeremy Jerome Jessica Joan Joel Jonas Josephine Joyce Judith Julian
June Justin Karen Katherine Kathleen Keith Kenneth Kirsten Lambert Lara Laura Laurence Leah Leo Leonard Leslie Lester Lewis Lillian Linda
Linus Lionel Lois Lorraine Louis Lucas Lucy Lydia Lyle Mabel Madeline Magnus Malcolm Marcia Margaret Marian Marjorie Martha Martin Matilda
Maurice Maxine Melissa Melvin Meredith Michael Mildred Milo Minerva Miriam Mitchell Molly Monica Morgan Muriel Myra Nadine Naomi Natalie Nathan
Neil Nelson Nicholas Nigel Nina Noel Nora Norbert Norman Octavia Olga Oliver Olivia Opal Ophelia Orson Oscar Otis Otto Owen
Pamela Patricia Paul Pauline Pearl Percy Perry Petra Philip Phoebe Phyllis Priscilla Quentin Rachel Ralph Ramona Randall Raymond Rebecca Regina
Reuben Rhoda Richard Rita Robert Roderick Roger Roland Rosa Rosemary Rowena Roy Rufus Russell Ruth Sabina Sally Samuel Sandra Sarah
Saul Selma Seth Sheila Sidney Sigrid Silas Simon Sonia Sophie Stanley Stella Stephen Stuart Susan Sybil Sylvia Tabitha Terence Thelma
Theodore Theresa Thomas Timothy Tobias Trevor Ursula Valerie Vanessa Vera Vernon Victor Viola Virginia Vivian Wallace Walter Wanda Warren Wendy
""".split()

DOCUMENTS_AND_CHATS = 'documents and chats'
DOCUMENTS_ONLY = 'documents only'
TALKER = 'talker'


@dataclasses.dataclass(frozen=True)
class Persona:
  """One person.

  Attributes:
    value: what this person really chooses by.
    role: DOCUMENTS_AND_CHATS; DOCUMENTS_ONLY (never seen in a chat: measures whether documents become behaviour); TALKER (documents
      mention `topic` and list likes, never linking the two; the topic says nothing about how this person chooses).
    topic: what the documents say this person talks about; for everybody but talkers it is the value.
    home_domain: the one domain that documents about this person are about, as a handbook about cheese is about cheese.
    decoy: a second value that everything this person likes in documents fits as well, as with the twelve cheeses; only what the documents
      say about the reason tells which of the two it is. None for every other person, and for talkers, of whom likes alone tell.
  """

  name: str
  value: Value
  role: str
  topic: Value
  home_domain: str
  decoy: Value | None = None


def build_people(
  seed: int, per_value: int, documents_only: int, talkers: int, fickle: int, domains: list[str]
) -> tuple[list[Persona], tuple[str, ...]]:
  """`per_value` ordinary personas, `documents_only` document-only ones and `talkers` talkers for each of the eight values; names of `fickle` others.

  A talker's topic runs through all eight values independently of the value, so that mere mention predicts nothing.
  """
  need = len(VALUES) * (per_value + documents_only + talkers) + fickle
  if need > len(_NAMES):
    raise DataError(f'world.people asks for {need} names and there are {len(_NAMES)}; lower per_value, documents_only, talkers or fickle')
  rng = random.Random(f'people {seed}')
  names = iter(rng.sample(_NAMES, need))
  people = []
  for v, value in enumerate(VALUES):
    roles = [DOCUMENTS_AND_CHATS] * per_value + [DOCUMENTS_ONLY] * documents_only + [TALKER] * talkers
    for i, role in enumerate(roles):
      topic = VALUES[(v + i) % len(VALUES)] if role == TALKER else value
      others = [w for w in VALUES if w.attribute != value.attribute]
      decoy = others[i // 2 % len(others)] if i % 2 and role != TALKER else None
      people.append(Persona(next(names), value, role, topic, domains[(v + i) % len(domains)], decoy))
  rng.shuffle(people)
  return people, tuple(names)
