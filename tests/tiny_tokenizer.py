"""A real byte-level BPE tokenizer, trained in a moment."""

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

TEXT = [
    "the quick brown fox jumps over the lazy dog",
    "pack my box with five dozen liquor jugs",
    "0123456789",
]


def tiny_tokenizer(folder, text=TEXT, vocab_size=290, mask=False):
    """A tokenizer saved to the folder: 256 bytes, some merges, and special tokens.

    The special tokens are <eos>, <bos>, <cls>, <sep>, and with ``mask`` also <mask>.
    """
    special = ["<eos>", "<bos>", "<cls>", "<sep>", *(["<mask>"] if mask else [])]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        text,
        trainers.BpeTrainer(
            vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=special
        ),
    )
    names = {f"{token[1:-1]}_token": token for token in special}
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)
    fast.save_pretrained(folder)
    return fast
