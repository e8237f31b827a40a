"""Where text comes from: specs, the embedded world, chat data, audits, tfds builders."""
