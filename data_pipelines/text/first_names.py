"""First names for the people and the agents of the embedded worlds; nothing else is called so.

The order matters: worlds draw from the list by position, so another order would be other worlds.
"""

NAMES = """
Aaron Abigail Adele Adrian Agnes Aidan Alan Albert Alice Alma Amber Amelia Amos Andre Angela Anita
Anna Anton Arthur Astrid Audrey August Barbara Basil Beatrice Bella Benjamin Bernard Bertha Bettina
Blanche Boris Brenda Brian Bridget Bruno Byron Caleb Calvin Camilla Carl Carla Carmen Caroline
Casper Cecil Celia Chandra Charles Chloe Clara Clarence Claude Clifford Conrad Cora Cornelia Craig
Curtis Cynthia Cyrus Daisy Damian Daniel Daphne David Deborah Delia Dennis Desmond Diana Dominic
Donald Dora Doris Dorothy Douglas Duncan Dwight Edgar Edith Edmund Edna Edward Eileen Elaine Eleanor
Elena Elias Elliot Elmer Eloise Elsa Emil Emily Enid Eric Ernest Esther Ethan Eugene Eva Evelyn Ezra
Fabian Faith Felicia Felix Fergus Fiona Flora Florence Floyd Frances Frank Freda Frederick Gabriel
Gail Gemma Geoffrey George Gerald Gilbert Gina Giselle Gladys Gloria Godfrey Gordon Grace Graham
Greta Gregory Gustav Gwen Hannah Harold Harriet Harvey Hazel Heather Hector Helen Henry Herbert
Hilda Holly Homer Horace Howard Hubert Hugo Ian Ida Ignatius Ingrid Irene Iris Irving Isaac Isabel
Ivan Ivy Jacob Jane Janet Jasper Jean Jennifer Jeremy Jerome Jessica Joan Joel Jonas Josephine Joyce
Judith Julian June Justin Karen Katherine Kathleen Keith Kenneth Kirsten Lambert Lara Laura Laurence
Leah Leo Leonard Leslie Lester Lewis Lillian Linda Linus Lionel Lois Lorraine Louis Lucas Lucy Lydia
Lyle Mabel Madeline Magnus Malcolm Marcia Margaret Marian Marjorie Martha Martin Matilda Maurice
Maxine Melissa Melvin Meredith Michael Mildred Milo Minerva Miriam Mitchell Molly Monica Morgan
Muriel Myra Nadine Naomi Natalie Nathan Neil Nelson Nicholas Nigel Nina Noel Nora Norbert Norman
Octavia Olga Oliver Olivia Opal Ophelia Orson Oscar Otis Otto Owen Pamela Patricia Paul Pauline
Pearl Percy Perry Petra Philip Phoebe Phyllis Priscilla Quentin Rachel Ralph Ramona Randall Raymond
Rebecca Regina Reuben Rhoda Richard Rita Robert Roderick Roger Roland Rosa Rosemary Rowena Roy Rufus
Russell Ruth Sabina Sally Samuel Sandra Sarah Saul Selma Seth Sheila Sidney Sigrid Silas Simon Sonia
Sophie Stanley Stella Stephen Stuart Susan Sybil Sylvia Tabitha Terence Thelma Theodore Theresa
Thomas Timothy Tobias Trevor Ursula Valerie Vanessa Vera Vernon Victor Viola Virginia Vivian Wallace
Walter Wanda Warren Wendy
""".split()
