"""A real byte-level BPE tokenizer, trained in a moment."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = ["the quick brown fox jumps over the lazy dog", "pack my box with five dozen liquor jugs", "0123456789"]


def tiny_tokenizer(folder, text=TEXT, vocab_size=290):
    """Saved to the folder; 256 bytes, some merges, and <eos>, <bos>, <cls>, <sep>."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        text, trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=["<eos>", "<bos>", "<cls>", "<sep>"])
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<eos>", bos_token="<bos>", cls_token="<cls>", sep_token="<sep>")
    fast.save_pretrained(folder)
    return fast
