"""Exchange with other programs: weights, adapters, tokenizers and evaluations.

huggingface/         folders of Hugging Face, in and out
gguf/                files of llama.cpp, in
peft.py              low-rank adapters of PEFT, in and out
zoo.py               models that are known by name, and fetched from Python packages
inspect_provider.py  our models as Inspect calls them
"""
