# %%
from PIL import Image, ImageDraw, ImageFilter

image = Image.new("RGB", (32, 16), "navy")
image
# %%
pen = ImageDraw.Draw(image)
pen.rectangle((4, 4, 12, 12), fill="gold")
image.getpixel((5, 5))
# %%
image.resize((8, 4)).size
# %%
soft = image.filter(ImageFilter.BLUR)
soft.getpixel((0, 0)), soft.mode
# %%
import numpy as np

pixels = np.asarray(image).copy()
pixels[..., 0] = 255
Image.fromarray(pixels)
# %%
image.putpixel((0, 0), (1, 2, 3))
image.getpixel((0, 0))
# %%
import io

buffer = io.BytesIO()
image.save(buffer, "PNG")
Image.open(io.BytesIO(buffer.getvalue())).size
# %%
buffer.tell() > 50
