"""Text: characters, corpora of any tokenizer, molecules as strings."""
