# %%
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.naive_bayes import MultinomialNB

texts = ["good film", "bad film", "good good plot", "bad acting"]
moods = [1, 0, 1, 0]
# %%
vectorizer = CountVectorizer()
counts = vectorizer.fit_transform(texts)
counts.shape, counts.nnz
# %%
vectorizer.vocabulary_
# %%
bayes = MultinomialNB().fit(counts, moods)
bayes.predict(vectorizer.transform(["good acting", "bad bad"]))
# %%
def tokens(text):
    return text.split()

weighted = TfidfVectorizer(tokenizer=tokens, token_pattern=None)
# %%
weighted.fit_transform(texts).toarray().round(2)
# %%
weighted.get_feature_names_out().tolist()
# %%
bayes.class_log_prior_.round(3), bayes.feature_count_
