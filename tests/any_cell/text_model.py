# %%
from collections import Counter, defaultdict
import random

text = "the cat sat on the mat and the cat ran"
words = text.split()
# %%
follow = defaultdict(Counter)
for first, second in zip(words, words[1:]):
    follow[first][second] += 1
follow["the"]
# %%
random.seed(5)

def sentence(start, length):
    found = [start]
    while len(found) < length and follow[found[-1]]:
        choices, weights = zip(*follow[found[-1]].items())
        found.append(random.choices(choices, weights)[0])
    return " ".join(found)
# %%
sentence("the", 6)
# %%
sentence("cat", 4)
# %%
len(follow)
# %%
vocabulary = {word: number for number, word in enumerate(dict.fromkeys(words))}
encoded = [vocabulary[word] for word in words]
encoded
# %%
decode = {number: word for word, number in vocabulary.items()}.get
" ".join(map(decode, encoded)) == text
# %%
from string import punctuation

text.translate(str.maketrans("", "", punctuation)).title()
