using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace DispLlm.Checkpoints;

/// <summary>
/// A model's <c>config.json</c>, or one nested object of it. A value of the wrong kind is an error that names file, key and value, never a
/// default. Unknown keys are allowed. A key whose value is <c>null</c> counts as absent, as in transformers. Immutable and safe from
/// several threads.
/// </summary>
public sealed class ModelConfig
{
    private readonly JsonElement _json;
    private readonly string _prefix;
    private readonly HashSet<string>? _read;

    private ModelConfig(JsonElement json, string file, string prefix, HashSet<string>? read = null)
    {
        _json = json;
        File = file;
        _prefix = prefix;
        _read = read;
    }

    /// <summary>Path of the file, as errors give it.</summary>
    public string File { get; }

    /// <summary>The keys that have a value, in the order of the file.</summary>
    public IEnumerable<string> Keys =>
        _json.EnumerateObject().Where(property => property.Value.ValueKind != JsonValueKind.Null).Select(property => property.Name);

    /// <summary>Reads a file.</summary>
    /// <param name="path">Path of the file.</param>
    /// <exception cref="CheckpointException">
    /// There is no such file, it cannot be read, or it is not one JSON object with unique keys.
    /// </exception>
    public static ModelConfig Load(string path) => new(StrictJson.LoadObject(path, out string full), full, "");

    /// <summary>Reads a text.</summary>
    /// <param name="json">The text: one JSON object.</param>
    /// <param name="file">Where the text came from, for errors.</param>
    /// <exception cref="CheckpointException">The text is not one JSON object with unique keys.</exception>
    public static ModelConfig Parse(string json, string file)
    {
        ArgumentNullException.ThrowIfNull(json);
        ArgumentNullException.ThrowIfNull(file);
        return new(StrictJson.ParseObject(System.Text.Encoding.UTF8.GetBytes(json), file), file, "");
    }

    /// <summary>Whether a key has a value other than <c>null</c>.</summary>
    /// <param name="key">The key.</param>
    public bool Has(string key) => Find(key) is not null;

    /// <summary>Whether a key is there with the value <c>null</c>.</summary>
    /// <param name="key">The key.</param>
    public bool IsNull(string key) => _json.TryGetProperty(key, out var value) && value.ValueKind == JsonValueKind.Null;

    /// <summary>
    /// Says that keys are known and change nothing, as copies of others do: a key that would change what a model computes, and that its
    /// family does not read, is refused.
    /// </summary>
    /// <param name="keys">The keys.</param>
    public void MarkRead(params ReadOnlySpan<string> keys)
    {
        foreach (string key in keys)
        {
            _read?.Add(_prefix + key);
        }
    }

    /// <summary>A copy that remembers which keys are read. Not thread-safe.</summary>
    internal ModelConfig Recording() => new(_json, File, _prefix, new HashSet<string>(StringComparer.Ordinal));

    /// <summary>The keys of this level that have a value and have not been read since <see cref="Recording"/>.</summary>
    internal IEnumerable<string> UnreadKeys => Keys.Where(key => _read?.Contains(_prefix + key) != true);

    /// <summary>A text.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">What an absent key means; null if the key is required.</param>
    /// <exception cref="CheckpointException">The key is absent without a fallback, or its value is not a text.</exception>
    public string GetString(string key, string? fallback = null) => Find(key) is { } value
        ? value.ValueKind == JsonValueKind.String ? value.GetString()! : throw Invalid(key, "A text is expected.")
        : fallback ?? throw Missing(key, "a text");

    /// <summary>A whole number of 32 bits.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">What an absent key means; null if the key is required.</param>
    /// <exception cref="CheckpointException">
    /// The key is absent without a fallback, or its value is not a whole number of 32 bits.
    /// </exception>
    public int GetInt(string key, int? fallback = null) => Find(key) is { } value
        ? ToInt(key, value)
        : fallback ?? throw Missing(key, "a whole number");

    /// <summary>A whole number from 1 to 2^31 - 1: a size or a count.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">What an absent key means; null if the key is required.</param>
    /// <exception cref="CheckpointException">The key is absent without a fallback, or its value is not such a number.</exception>
    public int GetPositiveInt(string key, int? fallback = null)
    {
        int number = GetInt(key, fallback);
        return number > 0 || !Has(key) ? number : throw Invalid(key, "A whole number of at least 1 is expected.");
    }

    /// <summary>A finite number.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">What an absent key means; null if the key is required.</param>
    /// <exception cref="CheckpointException">The key is absent without a fallback, or its value is not a finite number.</exception>
    public double GetDouble(string key, double? fallback = null) => Find(key) is { } value
        ? value.ValueKind == JsonValueKind.Number && value.TryGetDouble(out double number) && double.IsFinite(number)
            ? number
            : throw Invalid(key, "A finite number is expected.")
        : fallback ?? throw Missing(key, "a number");

    /// <summary>A finite number above 0.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">What an absent key means; null if the key is required.</param>
    /// <exception cref="CheckpointException">The key is absent without a fallback, or its value is not such a number.</exception>
    public double GetPositiveDouble(string key, double? fallback = null)
    {
        double number = GetDouble(key, fallback);
        return number > 0 || !Has(key) ? number : throw Invalid(key, "A number above 0 is expected.");
    }

    /// <summary>A truth value.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">What an absent key means; null if the key is required.</param>
    /// <exception cref="CheckpointException">
    /// The key is absent without a fallback, or its value is not <c>true</c> or <c>false</c>.
    /// </exception>
    public bool GetBool(string key, bool? fallback = null) => Find(key) is { } value
        ? value.ValueKind is JsonValueKind.True or JsonValueKind.False
            ? value.GetBoolean()
            : throw Invalid(key, "true or false is expected.")
        : fallback ?? throw Missing(key, "true or false");

    /// <summary>A list of texts.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">What an absent key means; null if the key is required.</param>
    /// <exception cref="CheckpointException">The key is absent without a fallback, or its value is not a list of texts.</exception>
    public IReadOnlyList<string> GetStrings(string key, IReadOnlyList<string>? fallback = null)
    {
        if (Find(key) is not { } value)
        {
            return fallback ?? throw Missing(key, "a list of texts");
        }

        return value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(item => item.ValueKind == JsonValueKind.String)
            ? [.. value.EnumerateArray().Select(item => item.GetString()!)]
            : throw Invalid(key, "A list of texts is expected.");
    }

    /// <summary>A list of whole numbers; a number by itself is a list of one, as in <c>eos_token_id</c>.</summary>
    /// <param name="key">The key.</param>
    /// <param name="fallback">What an absent key means; null if the key is required.</param>
    /// <exception cref="CheckpointException">
    /// The key is absent without a fallback, or its value is not a whole number or a list of them.
    /// </exception>
    public IReadOnlyList<int> GetInts(string key, IReadOnlyList<int>? fallback = null) => Find(key) switch
    {
        null => fallback ?? throw Missing(key, "a list of whole numbers"),
        { ValueKind: JsonValueKind.Array } list => [.. list.EnumerateArray().Select(item => ToInt(key, item))],
        { } value => [ToInt(key, value)],
    };

    /// <summary>A list of finite numbers above 0.</summary>
    /// <param name="key">The key.</param>
    /// <exception cref="CheckpointException">The key is absent, or its value is not a list of such numbers.</exception>
    public IReadOnlyList<double> GetPositiveDoubles(string key)
    {
        if (Find(key) is not { } value)
        {
            throw Missing(key, "a list of numbers");
        }

        static bool IsPositive(JsonElement item) => item.ValueKind == JsonValueKind.Number && item.TryGetDouble(out double number)
            && number > 0 && double.IsFinite(number);
        return value.ValueKind == JsonValueKind.Array && value.EnumerateArray().All(IsPositive)
            ? [.. value.EnumerateArray().Select(item => item.GetDouble())]
            : throw Invalid(key, "A list of numbers above 0 is expected.");
    }

    /// <summary>A nested object; errors about its keys name them with the object's key before a dot.</summary>
    /// <param name="key">The key.</param>
    /// <returns>The object, or null if the key is absent.</returns>
    /// <exception cref="CheckpointException">The value is not an object.</exception>
    public ModelConfig? TryGetSection(string key) => Find(key) is { } value
        ? value.ValueKind == JsonValueKind.Object
            ? new ModelConfig(value, File, $"{_prefix}{key}.", _read)
            : throw Invalid(key, "An object is expected.")
        : null;

    /// <summary>A key's value as the file writes it, for messages; null if the key is absent.</summary>
    /// <param name="key">The key.</param>
    public string? GetRaw(string key) => Find(key)?.GetRawText();

    /// <summary>A copy to change, with every key in its order, those with <c>null</c> too.</summary>
    public JsonObject ToJson() => JsonNode.Parse(_json.GetRawText())!.AsObject();

    /// <summary>Creates the error for a value that is invalid.</summary>
    /// <param name="key">The key.</param>
    /// <param name="message">What is expected, as a sentence.</param>
    public CheckpointException Invalid(string key, string message) => new(File, _prefix + key, $"the value is {Shown(key)}. {message}");

    /// <summary>Creates the error for a value that asks for what DispLlm does not compute.</summary>
    /// <param name="key">The key.</param>
    /// <param name="message">What is supported, as a sentence.</param>
    public UnsupportedModelException Unsupported(string key, string message) => new(File, _prefix + key, Shown(key), message);

    private JsonElement? Find(string key)
    {
        ArgumentNullException.ThrowIfNull(key);
        _read?.Add(_prefix + key);
        return _json.TryGetProperty(key, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;
    }

    private int ToInt(string key, JsonElement value) => value.ValueKind == JsonValueKind.Number && value.TryGetInt32(out int number)
        ? number
        : throw Invalid(
            key, string.Create(CultureInfo.InvariantCulture, $"A whole number from {int.MinValue} to {int.MaxValue} is expected."));

    private string Shown(string key)
    {
        string raw = GetRaw(key) ?? "absent";
        return raw.Length > 200 ? $"{raw.AsSpan(0, 200)}..." : raw;
    }

    private CheckpointException Missing(string key, string expected) =>
        new(File, _prefix + key, $"the key is absent, and {expected} is needed. Is this the config of a model that DispLlm supports?");
}
