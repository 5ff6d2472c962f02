"""The picture that fits a text best, with transformers alone, from a folder of `babelclip export --to transformers`.

python examples/foreign/with_transformers.py FOLDER/LANGUAGE TEXT PICTURE ...
"""

import sys

import torch
from PIL import Image
from transformers import AutoProcessor, CLIPModel

folder, text, *files = sys.argv[1:]
model, processor = CLIPModel.from_pretrained(folder), AutoProcessor.from_pretrained(folder, backend="pil")
pictures = [Image.open(file).convert("RGB") for file in files]
with torch.inference_mode():
    found = model(**processor(text=[text], images=pictures, padding=True, truncation=True, return_tensors="pt"))
scores = (found.image_embeds @ found.text_embeds[0]).tolist()  # cosines: both are of length 1
print(f"{max(scores):.6f} {files[scores.index(max(scores))]}")
