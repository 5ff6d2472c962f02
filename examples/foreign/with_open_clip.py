"""The picture that fits a text best, with open_clip alone, from a folder of `babelclip export --to open_clip`.

python examples/foreign/with_open_clip.py FOLDER/LANGUAGE TEXT PICTURE ...
"""

import sys

import open_clip
import torch
from PIL import Image

folder, text, *files = sys.argv[1:]
model, prepare = open_clip.create_model_from_pretrained(f"local-dir:{folder}")
tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
tokenizer.clean_fn = str  # texts as they are: open_clip would change quotes, wide marks and HTML in them
with torch.inference_mode():
    vectors = model.encode_image(torch.stack([prepare(Image.open(file)) for file in files]), normalize=True)
    scores = (vectors @ model.encode_text(tokenizer([text]), normalize=True)[0]).tolist()
print(f"{max(scores):.6f} {files[scores.index(max(scores))]}")
