"""1:N search over the same vectors with faiss: a flat index of eight bits a value, one thread.

usage: search_faiss.py VECTORS QUERIES DIM     both files: float32, unit vectors, row by row
Says "ready" when the index stands; then answers each line on its standard input by searching all
queries one by one and printing one JSON object: mean processor milliseconds a query, and the row
that was nearest to each.
"""

import json
import sys
import time

import faiss
import numpy as np

dim = int(sys.argv[3])
vectors = np.memmap(sys.argv[1], np.float32, "r").reshape(-1, dim)
queries = np.fromfile(sys.argv[2], np.float32).reshape(-1, dim)
faiss.omp_set_num_threads(1)
index = faiss.index_factory(dim, "SQ8", faiss.METRIC_INNER_PRODUCT)
index.train(np.ascontiguousarray(vectors[:20_000]))
for start in range(0, len(vectors), 10_000):
    index.add(np.ascontiguousarray(vectors[start : start + 10_000]))
print("ready", flush=True)

for _ in sys.stdin:
    started = time.process_time()
    nearest = [int(index.search(queries[i : i + 1], 1)[1][0, 0]) for i in range(len(queries))]
    cpu_ms = (time.process_time() - started) * 1e3 / len(queries)
    print(json.dumps({"cpu_ms": cpu_ms, "nearest": nearest}), flush=True)
