"""The language model: one decoder for the Qwen2, Qwen3 and Llama families, its checkpoints and its tokenizer."""
