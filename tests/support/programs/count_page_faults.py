"""Print the page faults per sample of two dense arrays, which are freed together."""

import resource

import numpy as np

from _platelet_em.hf.formatter import PlateletEMFormatter
from platelet_em import LazyLabels

PlateletEMFormatter()
labels = LazyLabels((800, 800), [1], ["1 640000"])


def make_sample():
    pair = [np.asarray(labels), np.asarray(labels)]
    return pair[0][0, 0]


faults = []
for _ in range(25):
    make_sample()
    faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt)
print((faults[-1] - faults[4]) // 20)
