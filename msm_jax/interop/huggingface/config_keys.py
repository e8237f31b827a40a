"""What the keys of a config.json mean, and what each family assumes where a file lacks one."""

from typing import Any

# Keys of a config.json that change no output of a forward pass, whatever they hold.
NEUTRAL = frozenset({
  # What the file says of itself and of the software that wrote it.
  '_attn_implementation_autoset',
  '_flash_attn_2_enabled',
  '_name_or_path',
  'architectures',
  'dtype',
  'model_type',
  'msm_jax_version',
  'torch_dtype',
  'transformers.js_config',
  'transformers_version',
  'unsloth_fixed',
  'unsloth_version',
  # Token ids: the tokenizer reads what counts (which ids end an answer).
  'bos_token_id',
  'eos_token_id',
  'pad_token_id',
  'decoder_start_token_id',
  'sep_token_id',
  'tokenizer_class',
  # How long the texts of the training were; max_position_embeddings is what counts.
  'max_sequence_length',
  # Settings of generation, which old versions of transformers wrote into this file.
  'bad_words_ids',
  'begin_suppress_tokens',
  'diversity_penalty',
  'do_sample',
  'early_stopping',
  'encoder_no_repeat_ngram_size',
  'exponential_decay_length_penalty',
  'forced_bos_token_id',
  'forced_eos_token_id',
  'length_penalty',
  'max_length',
  'max_new_tokens',
  'min_length',
  'no_repeat_ngram_size',
  'num_beam_groups',
  'num_beams',
  'num_return_sequences',
  'output_scores',
  'prefix',
  'remove_invalid_values',
  'repetition_penalty',
  'return_dict_in_generate',
  'suppress_tokens',
  'temperature',
  'top_k',
  'top_p',
  'typical_p',
  # Training, generation and classification.
  'attention_dropout',
  'cache_implementation',
  'chunk_size_feed_forward',
  'finetuning_task',
  'gradient_checkpointing',
  'id2label',
  'initializer_cutoff_factor',
  'initializer_range',
  'is_encoder_decoder',
  'is_llama_config',
  'label2id',
  'output_attentions',
  'output_hidden_states',
  'problem_type',
  'return_dict',
  'task_specific_params',
  'tf_legacy_loss',
  'torchscript',
  'use_bfloat16',
  'use_cache',
  # These four are read directly where they matter.
  '_sliding_window_pattern',
  'max_position_embeddings',
  'max_window_layers',
  'sliding_window_pattern',
})  # fmt: skip

# Keys that must hold this value, or nothing. With another value the model computes something that
# no field of ModelConfig describes.
FIXED: dict[str, Any] = {
  'pretraining_tp': 1,
  'attention_bias': False,
  'mlp_bias': False,
  'use_bidirectional_attention': False,
  'quantization_config': None,
  'partial_rotary_factor': 1.0,
  'is_decoder': False,
  'add_cross_attention': False,
  'tie_encoder_decoder': False,
  'attn_logit_softcapping': None,
  'rope_interleaved': False,
  'use_mrope': False,
  'pruned_heads': {},
  'cross_attention_hidden_size': None,
}

# Key of a config.json -> field of ModelConfig.
SIZES = {
  'hidden_size': 'd_model',
  'intermediate_size': 'd_ff',
  'num_hidden_layers': 'n_layers',
  'num_attention_heads': 'n_heads',
  'vocab_size': 'vocab_size',
  'rms_norm_eps': 'norm_eps',
}

# More than any model has. A file may claim any number, and a loop over it must end.
MAX_LAYERS = 10_000

# Kind of rotary scaling -> the settings that it must have, in the order of RopeScaling's fields.
ROPE_SETTINGS: dict[str, tuple[str, ...]] = {
  'default': (),
  'linear': ('factor',),
  'llama3': ('factor', 'low_freq_factor', 'high_freq_factor', 'original_max_position_embeddings'),
}

# The two kinds of layers in `layer_types`: those that see the whole text, and those that see a
# window of it.
FULL, SLIDING = 'full_attention', 'sliding_attention'

# model_type -> what its configuration class in transformers assumes where a config.json does not
# have a key at all.
DEFAULTS: dict[str, dict[str, Any]] = {
  'llama': {'vocab_size': 32_000},
  'qwen2': {'vocab_size': 151_936, 'num_key_value_heads': 32, 'max_window_layers': 28},
  'qwen3': {
    'vocab_size': 151_936,
    'num_key_value_heads': 32,
    'head_dim': 128,
    'max_window_layers': 28,
  },
  'gemma3_text': {
    'vocab_size': 262_208,
    'num_key_value_heads': 4,
    'head_dim': 256,
    'query_pre_attn_scalar': 256,
  },
}
DEFAULT_NORM_EPS = 1e-6
DEFAULT_WINDOW = 4096
# Every sixth layer of Gemma 3 sees the whole text (Gemma 3 technical report, section 2).
GEMMA3_FULL_EVERY = 6
GEMMA3_THETA = 1e6
# The rotary base of the other families, and of Gemma 3's layers with a window.
DEFAULT_THETA = 1e4
