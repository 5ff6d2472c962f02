"""The picture that fits a text best, with sentence-transformers alone, from `export --to sentence-transformers`.

python examples/foreign/with_sentence_transformers.py FOLDER/LANGUAGE TEXT PICTURE ...
"""

import sys

from PIL import Image
from sentence_transformers import SentenceTransformer

folder, text, *files = sys.argv[1:]
model = SentenceTransformer(folder, device="cpu")
vectors = model.encode([Image.open(file).convert("RGB") for file in files], normalize_embeddings=True)
scores = (vectors @ model.encode(text, normalize_embeddings=True)).tolist()
print(f"{max(scores):.6f} {files[scores.index(max(scores))]}")
