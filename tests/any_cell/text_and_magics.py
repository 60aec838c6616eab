# %%
words = "the quick brown fox".split()
limit = 3
# %%
%time total = sum(len(word) for word in words)
# %%
total
# %%
!echo {limit} $total
# %%
files = !printf 'a\nb\n'
files[0], len(files)
# %%
%%capture out
print("hidden")
# %%
out.stdout
# %%
for word in words:
    if len(word) > limit:
        print(word)
# %%
text = f"{total:>5}|{limit!r}"
text
# %%
import sys
print("to stderr", file=sys.stderr)
print("to stdout")
# %%
_ = [words.append(w) for w in ("a", "b")]
len(words);
# %%
words[-1]
# %%
print(*words, sep="\n")
# %%
%%capture installed
!echo "nothing to install"
# %%
installed.stdout
# %%
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(levelname)s %(message)s", force=True)
logging.info("the format of this cell")
# %%
logging.getLogger().level
