namespace DispLlm.Evaluation;

/// <summary>Whether the predictions of two models can be compared token by token: a token has to be the same text for both.</summary>
internal static class Vocabularies
{
    /// <summary>Why two models cannot be compared, as a sentence; null if they can.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tokenizer">Its tokenizer; null where it has none of its own, and is read by the other's.</param>
    /// <param name="reference">The model that it is compared with.</param>
    /// <param name="referenceTokenizer">The tokenizer of that.</param>
    public static string? FindDifference(
        IPrunableModel model, TextTokenizer? tokenizer, IPrunableModel reference, TextTokenizer? referenceTokenizer)
    {
        if (model.Spec.VocabularySize != reference.Spec.VocabularySize)
        {
            return $"The models have vocabularies of {model.Spec.VocabularySize} and {reference.Spec.VocabularySize} tokens, so their "
                + "predictions cannot be compared token by token. Compare a pruned model with its own dense model.";
        }

        return tokenizer is null || referenceTokenizer is null || AreSame(tokenizer, referenceTokenizer)
            ? null
            : $"{model.Folder} and {reference.Folder} have different vocabularies: an id is not the same text for both, so their "
                + "predictions cannot be compared token by token. Compare a pruned model with its own dense model.";
    }

    /// <summary>Whether every id is the same token in both vocabularies.</summary>
    public static bool AreSame(TextTokenizer a, TextTokenizer b)
    {
        var (left, right) = (a.Codec, b.Codec);
        int size = Math.Max(left.VocabularySize, right.VocabularySize);
        return ReferenceEquals(left, right) || Enumerable.Range(0, size).All(id => left.FindToken(id) == right.FindToken(id));
    }
}
