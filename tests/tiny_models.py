"""Small language models of real architectures, with random weights, saved with their tokenizer."""

import torch
from tiny_tokenizer import tiny_tokenizer
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    RobertaConfig,
    RobertaForMaskedLM,
)

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 34,
}
KINDS = {
    "bert": (BertForMaskedLM, BertConfig),
    "roberta": (RobertaForMaskedLM, RobertaConfig),
    "gpt2": (GPT2LMHeadModel, GPT2Config),
    "llama": (LlamaForCausalLM, LlamaConfig),
}
CAUSAL = ("gpt2", "llama")


def tiny_model(folder, kind, rows=None, tie=None, std=0.2, **changes):
    """A model of ``kind`` in the folder, without dropout; returns (model, tokenizer).

    rows: number of ids; None: that of the tokenizer.
    """
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer(folder, mask=kind not in CAUSAL)
    make, config = KINDS[kind]
    ids = {"bos_token_id": 1, "eos_token_id": 0, "pad_token_id": None if kind in CAUSAL else 2}
    sizes = dict(SIZES, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    if kind == "gpt2":
        sizes = {
            "n_embd": 16,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": 34,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        }
    elif kind == "llama":
        sizes = dict(SIZES, num_key_value_heads=1)
    tied = {} if tie is None else {"tie_word_embeddings": tie}
    settings = sizes | ids | tied | changes
    model = make(
        config(vocab_size=rows or len(tokenizer), initializer_range=std, **settings)
    ).eval()
    model.save_pretrained(folder)
    return model, tokenizer
