"""Names for the people in written texts.

Without a list to draw from, a language model gives the same few names to people everywhere.
"""

from data_pipelines.text.first_names import NAMES

# Every fourth of the first names that the settings use, and names from many languages.
FIRST_NAMES = (
  *NAMES[::4],
  *"""
Aaliyah Abebe Adaeze Adanna Adebayo Adjoa Aiko Ailsa Aisha Akash Akinyi Alejandra Aliyu Aluna
Amadou Amara Amina Amir Ananya Anahit Anders Andile Anjali Annika Anwar Araceli Arjun Arvid Asel
Ashok Astou Ayana Ayodele Aziza Bahar Baran Bartek Beatriz Benedikt Bilal Birgit Bogdan Branka
Camila Catalina Cheng Chiara Chidi Chiyo Ciara Dagny Dalia Danilo Daria Darko Dariusz Deepa Devika
Diego Dilnoza Dimitra Dinh Djamila Dorota Draga Ebele Edona Efua Ekaterina Elif Elodie Emeka Emre
Enrique Erlend Esi Esperanza Etsuko Eun Fabiola Faisal Farah Farhad Fatima Fatou Femi Fernanda
Filip Fumiko Gabriela Gaurav Georgios Ghada Gintaras Giorgos Goran Graciela Gulnara Haifa Hakan
Hamid Hana Haruto Hassan Hatice Henrike Hideo Hiroko Hoang Huda Hyejin Ibrahim Idris Ifeoma Ikram
Ilse Imani Imran Ines Ioana Isabela Iskander Itzel Ivana Jacinta Jalila Jamal Jarmila Javier Jaya
Jelena Jiho Jin Joao Jomo Jorge Jovana Juan Juliana Jyoti Kaito Kamal Kamila Karim Katarzyna
Kavita Keiko Kemal Kenji Keoni Kerstin Khadija Khalid Kiran Kofi Kwame Lakshmi Lalita Lamine Lars
Layla Leilani Leticia Liang Lindiwe Ling Liv Luciana Ludek Luis Luka Maarten Madhu Magda Mahmoud
Mai Makoto Malik Mamadou Manuela Marek Maribel Mariam Marisol Marwa Mateo Matthias Mayumi Meera
Mehmet Mei Mercedes Mikael Milena Minh Miroslav Mohan Monique Mwangi Nadia Nam Nandini Naoko
Narges Nasrin Natalia Neha Ngozi Niamh Nikola Nilufar Niran Nkechi Noor Nuno Nurul Obinna Oksana
Olamide Olumide Omar Ondrej Orla Oyelaran Pablo Padma Paloma Parisa Paulo Pavel Perla Phuong Pilar
Pradeep Priya Quynh Rafael Rahul Raisa Rania Rashid Ravi Refilwe Reiko Renata Reza Rhys Ricardo
Rizwan Rohan Rosario Roshan Ruta Sadia Sahar Said Sakura Salma Samir Sandeep Sanjay Santiago Sasha
Sefa Seung Shabnam Shanthi Shirin Shreya Siddharth Simone Sindre Siobhan Sofia Soledad Soraya
Stefania Sunita Svetlana Tadeusz Taiwo Tamar Tariq Tatiana Teodora Thabo Thandiwe Thuy Tiago
Tomoko Tuan Usha Valentina Vikram Wafa Wambui Xiomara Yara Yusuf Zanele
""".split(),
)

LAST_NAMES = """
Abara Abdi Abe Abreu Acheampong Acosta Adeyemi Adler Afolabi Agarwal Aguilar Ahmadi Ahmed Akhtar
Akintola Albrecht Alvarez Amadi Amin Andersen Antonov Aoki Appiah Arslan Asante Ashby Aydin Babic
Bailey Bajwa Banda Banerjee Baptiste Barros Basu Bauer Becker Bekele Beltran Benali Berg Bergeron
Bhatt Bianchi Bielak Biswas Boateng Bondarenko Borges Bose Botha Boyle Brandt Brennan Brodsky Bui
Burke Cabrera Calderon Campbell Cardoso Carvalho Castillo Cerny Chaudhry Chavez Cheung Chikere
Chinwe Cho Choudhury Christou Cisse Coetzee Colombo Conti Correa Coulibaly Cruz Dahl Daly Dang
Danso Das Delgado Demir Desai Diallo Dias Diaz Dimitrov Diop Dogan Doyle Dubois Duarte Dumont
Dvorak Edwards Egger Ekwueme Elgin Eriksen Espinoza Estrada Eze Faber Fallah Farrell Faye
Fernandes Ferreira Fischer Flores Fofana Fontaine Forde Franco Fuentes Fujita Gallagher Gallo
Garba Garcia Gebre Georgiou Ghosh Gomes Gordon Goswami Gray Greco Grigoryan Gruber Guerrero
Gunawan Gupta Gutierrez Haddad Hagen Hakimi Halvorsen Hamdan Hansen Haque Hashimoto Hassan Hayashi
Hegde Heikkinen Henriksen Herrera Hidalgo Hinds Hoang Hoffmann Horvat Hossain Huang Hussein Ibarra
Idowu Ikeda Ilic Inoue Islam Ivanova Iyer Jackson Jain Jama Jansen Janssens Jensen Jimenez
Johansson Joshi Jovanovic Juarez Kaba Kamara Kaplan Kapoor Karimi Karlsen Kato Kaur Kaya Keita
Kelly Kessler Khalil Khan Khoury Kim Kimani Kiss Klein Kobayashi Koh Konate Kowalski Kozlov Krause
Kruger Kulkarni Kumar Kurt Kuznetsova Kwok Lacroix Laine Larsen Lau Laurent Leclerc Lee Lehmann
Leone Levi Lim Lindgren Liu Lombardi Lopez Lund Lynch Mahlangu Maier Malik Mancini Mani Manzoor
Marchetti Marin Markovic Martinez Mason Mathur Mbeki Medina Mehta Mendes Mendoza Mensah Meyer
Mbaye Milani Miller Mishra Mitra Mohamud Molina Monteiro Moreau Moreno Mori Moyo Mukherjee Muller
Munoz Murphy Mutua Nagy Nair Nakamura Navarro Ndlovu Neumann Ng Nguyen Nielsen Nilsson Njoroge
Nkosi Noronha Novak Nowak Nunes Nwosu Obi Ochieng Odum Ogawa Okafor Okeke Oliveira Olsen Omondi
Onyango Ortega Osei Otieno Owusu Ozturk Pacheco Padilla Palmer Panagos Pandey Papadakis Park Parra
Patel Pavlov Peeters Pereira Petersen Petrov Pham Pillai Pinto Popescu Poulsen Prasad Qureshi
Rahimi Rahman Ramos Rao Rasmussen Reddy Reyes Ribeiro Ricci Richter Rivera Rojas Romano Rossi
Rousseau Roy Ruiz Saito Salazar Saleh Sanchez Santos Sato Savic Schmidt Schneider Sen Serrano Shah
Sharma Shrestha Silva Simic Singh Sithole Soares Sokolov Soto Suarez Sundaram Suzuki Szabo
Takahashi Tan Tanaka Teixeira Tesfaye Thapa Thomsen Toledo Torres Toure Tran Traore Tshabalala
Tsai Ueda Usman Vargas Vasquez Velasco Verma Vidal Vogel Walsh Wanjiru Weber Wong Wood Yamada Yang
Yildiz Yoon Zamora Zelaya Zhang Zhou Zulu
""".split()
