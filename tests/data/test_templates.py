"""Templates with several kinds of tokenizers: kept text reads as written, or is refused."""

import pytest
import torch
from tiny_tokenizer import TEXT, tiny_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ordo.data import DataError
from ordo.data.text.templates import corpus_template, template_tokens
from ordo.data.text.vocabulary import Vocabulary


def byte_level(prefix):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer, {"initial_alphabet": pre_tokenizers.ByteLevel.alphabet()}


def metaspace(scheme):
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return tokenizer, {"initial_alphabet": list("abcdefghijklmnopqrstuvwxyz.0123456789")}


def llama():
    """A blank is put before every text by the normalizer, and bytes are its last resort."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer, {"initial_alphabet": list("abcdefghijklmnopqrstuvwxyz.0123456789▁")}


def wordpiece():
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    return tokenizer, {"initial_alphabet": list("abcdefghijklmnopqrstuvwxyz.0123456789")}


KINDS = {
    "byte level": lambda: byte_level(False),
    "byte level with a blank before": lambda: byte_level(True),
    "metaspace always": lambda: metaspace("always"),
    "metaspace first": lambda: metaspace("first"),
    "metaspace never": lambda: metaspace("never"),
    "llama": llama,
    "wordpiece": wordpiece,
}
_built = {}


def of(kind):
    if kind not in _built:
        tokenizer, extra = KINDS[kind]()
        trainer = (
            trainers.WordPieceTrainer
            if isinstance(tokenizer.model, models.WordPiece)
            else trainers.BpeTrainer
        )
        special = ["<unk>", "<eos>", "<mask>", "<end_of>"]
        words = [*TEXT, "over lazy overboard hard card wizard"] * 3
        tokenizer.train_from_iterator(
            words, trainer(vocab_size=400, special_tokens=special, **extra)
        )
        named = {
            "unk_token": "<unk>",
            "eos_token": "<eos>",
            "mask_token": "<mask>",
            "additional_special_tokens": ["<end_of>"],
        }
        _built[kind] = PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named)
    return _built[kind]


TEMPLATES = [
    "over_ard",
    "the quick_ fox",
    "_ over",
    "__",
    "the_",
    "over the__",
    "a_b_c",
    "fox",
    "_ard",
    "the_ lazy_ dog_",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("kind", KINDS)
def test_known_tokens_read_as_the_template(kind, template):
    """With the token of an x in every blank, decoding gives the template with an x there.

    A tokenizer that puts a blank before every text and keeps it is told so.
    """
    tokenizer = of(kind)
    if kind == "byte level with a blank before" and not template.startswith("_"):
        with pytest.raises(DataError, match="gives back ' "):
            corpus_template(template, "_", tokenizer, 40)
        template = f" {template}"
    tokens, known = corpus_template(template, "_", tokenizer, 40)
    end = (
        (int(known.nonzero().max()) + 1 if known.any() else 0)
        + len(template)
        - len(template.rstrip("_"))
    )
    assert int((~known[:end]).sum()) == template.count("_"), "a token a blank"
    x, first = (
        tokenizer.convert_tokens_to_ids(piece)
        for piece in (["##x", "x"] if kind == "wordpiece" else ["x", "x"])
    )
    filled = torch.where(known[:end], tokens[:end], x)
    if not known[0]:
        filled[0] = first
    assert tokenizer.decode(filled.tolist()) == template.replace("_", "x")


@pytest.mark.parametrize("kind", ["metaspace always", "llama"])
def test_no_blank_is_put_where_none_stands(kind):
    tokens, known = corpus_template("over_ard", "_", of(kind), 12)
    pieces = of(kind).convert_ids_to_tokens(tokens[known].tolist())
    assert pieces[0].startswith("▁")
    assert not any(piece.startswith("▁") for piece in pieces[1:])
    assert "".join(pieces) == "▁overard"


def test_what_a_tokenizer_changes_is_refused():
    with pytest.raises(DataError, match="gives back 'the fox'"):
        corpus_template("The fox", "_", of("wordpiece"), 12)
    with pytest.raises(DataError, match="cannot be kept as it is written"):
        corpus_template("ü_", "_", of("metaspace always"), 12)
    with pytest.raises(DataError, match="cannot be kept as it is written"):
        corpus_template(" the_", "_", of("wordpiece"), 12)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "wordpiece"])
def test_special_tokens(kind):
    tokenizer = of(kind)
    start = " fox" if kind == "byte level with a blank before" else "fox"
    tokens, known = corpus_template(f"{start}<eos>_", "_", tokenizer, 12)
    assert tokens[known][-1] == tokenizer.eos_token_id, "as in training: the token itself"
    assert int((tokens == tokenizer.eos_token_id).sum()) == 1
    with pytest.raises(
        DataError,
        match="the tokenizer's mask '<mask>', which is no blank of the model: write '_' for one",
    ):
        corpus_template("fox<mask>", "_", tokenizer, 12)
    with pytest.raises(
        DataError, match="special token '<end_of>', which holds the blank '_'; choose another"
    ):
        corpus_template("fox<end_of>", "_", tokenizer, 12)
    assert corpus_template(f"{start}<end_of>#", "#", tokenizer, 12)[1].any()


def test_too_long_and_odd_blanks(tmp_path):
    tokenizer = tiny_tokenizer(tmp_path)
    with pytest.raises(DataError, match="tokens, the model 3"):
        corpus_template("fox fox fox fox fox", "_", tokenizer, 3)
    for blank in ("", "__"):
        with pytest.raises(DataError, match="must be one character"):
            corpus_template("a", blank, tokenizer, 3)


def test_characters():
    vocabulary = Vocabulary(("a", "b", " "))
    tokens, known = template_tokens("a_b", "_", vocabulary, 5)
    assert tokens[known].tolist() == [0, 1]
    assert known.tolist() == [True, False, True, False, False]
    for template, blank, message in (
        ("a", "a", "is a character of"),
        ("aaaaaa", "_", "6 characters, the model 5"),
        ("q", "_", "'q'"),
    ):
        with pytest.raises(DataError, match=message):
            template_tokens(template, blank, vocabulary, 5)
