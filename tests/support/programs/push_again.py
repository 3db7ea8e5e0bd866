"""Push a split twice with different shards, then another split; argument: the archives."""

import sys

import platelet_em

train = platelet_em.load_dataset(data_dir=sys.argv[1], split="train")
train.push_to_hub("user/out", num_shards=3)
train.push_to_hub("user/out", num_shards=2)
train.select([1, 2]).push_to_hub("user/out", split="validation")
print("ok")
