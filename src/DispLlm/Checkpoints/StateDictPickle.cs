using System.Text;
using System.Text.Unicode;
using static System.Buffers.Binary.BinaryPrimitives;
using Meaning = DispLlm.Checkpoints.PickledGlobal.Meaning;

namespace DispLlm.Checkpoints;

/// <summary>
/// Reads the pickle of a state dict. A pickle is a program; this machine runs the part of the language that makes tensors, storages,
/// dictionaries and plain values, and knows no other. It looks nothing up and calls nothing: what would is an error that says where it stands.
/// What it keeps is proportional to the pickle's length, whatever sizes the pickle declares.
/// </summary>
internal sealed class StateDictPickle
{
    /// <summary>Longest pickle that is read, in bytes. A tensor takes about 150: room for 200,000.</summary>
    public const int Longest = 32 << 20;

    private const int HighestProtocol = 5;
    private const int MostDimensions = 64;

    private readonly byte[] _pickle;
    private readonly string _file;
    private readonly string _entry;
    private readonly List<object?> _stack = [];
    private readonly Stack<int> _marks = [];
    private readonly Dictionary<uint, object?> _memo = [];
    private int _opcodeAt;
    private int _next;

    private StateDictPickle(byte[] pickle, string file, string entry)
    {
        _pickle = pickle;
        _file = file;
        _entry = entry;
    }

    /// <summary>Reads a pickle.</summary>
    /// <param name="pickle">Its bytes.</param>
    /// <param name="file">Path of the file, for errors.</param>
    /// <param name="entry">The pickle's name in the file, for errors.</param>
    /// <returns>What it makes: null, a bool, a long, a double, a string, an array (a tuple), a list, or one of the pickled records.</returns>
    /// <exception cref="CheckpointException">The pickle is damaged, or wants something that a state dict does not need.</exception>
    public static object? Read(byte[] pickle, string file, string entry) => new StateDictPickle(pickle, file, entry).Run();

    private object? Run()
    {
        while (true)
        {
            _opcodeAt = _next;
            var opcode = (PickleOpcode)Take(1)[0];
            if (opcode == PickleOpcode.Stop)
            {
                return Result();
            }

            Step(opcode);
        }
    }

    private object? Result()
    {
        object? result = Pop();
        if (_stack.Count > 0 || _marks.Count > 0)
        {
            throw Fault($"the pickle ends with {_stack.Count} values and {_marks.Count} marks left over. The file is damaged: fetch it again.");
        }

        return _next == _pickle.Length
            ? result
            : throw Fault($"the pickle ends here, but {_pickle.Length - _next} bytes follow. The file is damaged: fetch it again.");
    }

    private void Step(PickleOpcode opcode)
    {
        switch (opcode)
        {
            case PickleOpcode.Proto:
                if (Take(1)[0] is var protocol and > HighestProtocol)
                {
                    throw Fault($"the pickle is of protocol {protocol}; known are 2 to {HighestProtocol}.");
                }

                break;
            case PickleOpcode.Frame: Length(ReadUInt64LittleEndian(Take(8))); break;
            case PickleOpcode.Mark: _marks.Push(_stack.Count); break;

            case PickleOpcode.None: _stack.Add(null); break;
            case PickleOpcode.NewTrue: _stack.Add(true); break;
            case PickleOpcode.NewFalse: _stack.Add(false); break;
            case PickleOpcode.BinInt1: _stack.Add((long)Take(1)[0]); break;
            case PickleOpcode.BinInt2: _stack.Add((long)ReadUInt16LittleEndian(Take(2))); break;
            case PickleOpcode.BinInt: _stack.Add((long)ReadInt32LittleEndian(Take(4))); break;
            case PickleOpcode.Long1: _stack.Add(Integer(Take(1)[0])); break;
            case PickleOpcode.Long4: _stack.Add(Integer(ReadUInt32LittleEndian(Take(4)))); break;
            case PickleOpcode.BinFloat: _stack.Add(ReadDoubleBigEndian(Take(8))); break;
            case PickleOpcode.ShortBinUnicode: _stack.Add(Text(Take(1)[0])); break;
            case PickleOpcode.BinUnicode: _stack.Add(Text(ReadUInt32LittleEndian(Take(4)))); break;
            case PickleOpcode.BinUnicode8: _stack.Add(Text(ReadUInt64LittleEndian(Take(8)))); break;

            case PickleOpcode.EmptyTuple: _stack.Add(Array.Empty<object?>()); break;
            case PickleOpcode.Tuple1: _stack.Add(PopTuple(1)); break;
            case PickleOpcode.Tuple2: _stack.Add(PopTuple(2)); break;
            case PickleOpcode.Tuple3: _stack.Add(PopTuple(3)); break;
            case PickleOpcode.Tuple: _stack.Add(PopToMark()); break;
            case PickleOpcode.EmptyList: _stack.Add(new List<object?>()); break;
            case PickleOpcode.Append: Append([Pop()]); break;
            case PickleOpcode.Appends: Append(PopToMark()); break;
            case PickleOpcode.EmptyDict: _stack.Add(new PickledDictionary(Ordered: false)); break;
            case PickleOpcode.SetItem: Set(PopTuple(2)); break;
            case PickleOpcode.SetItems: Set(PopToMark()); break;

            case PickleOpcode.BinPut: _memo[Take(1)[0]] = Peek(); break;
            case PickleOpcode.LongBinPut: _memo[ReadUInt32LittleEndian(Take(4))] = Peek(); break;
            case PickleOpcode.Memoize: _memo[(uint)_memo.Count] = Peek(); break;
            case PickleOpcode.BinGet: _stack.Add(Recall(Take(1)[0])); break;
            case PickleOpcode.LongBinGet: _stack.Add(Recall(ReadUInt32LittleEndian(Take(4)))); break;

            case PickleOpcode.Global: _stack.Add(Global(Line(), Line())); break;
            case PickleOpcode.StackGlobal: StackGlobal(); break;
            case PickleOpcode.Reduce: Reduce(); break;
            case PickleOpcode.Build: Build(); break;
            case PickleOpcode.BinPersId: _stack.Add(Storage(Pop())); break;

            default:
                throw Fault(Enum.IsDefined(opcode)
                    ? $"the opcode {Name(opcode)} would run code that the file names, and no weights need that. Do not trust this file."
                    : $"the opcode 0x{(byte)opcode:x2} has no place in a dictionary of tensors. The file is damaged, or holds something else.");
        }
    }

    private PickledGlobal Global(string module, string name) => PickledGlobal.Find(module, name) ?? throw Fault(
        $"the global {CheckpointException.Quote($"{module}.{name}")} is neither a tensor, a storage nor a dictionary, and nothing else is read. "
        + "If you trust the file, save the model's state dict alone in Python: torch.save(model.state_dict(), file).");

    private void StackGlobal()
    {
        if (PopTuple(2) is not [string module, string name])
        {
            throw Fault("STACK_GLOBAL is not given a module and a name. The file is damaged: fetch it again.");
        }

        _stack.Add(Global(module, name));
    }

    private void Reduce()
    {
        if (PopTuple(2) is not [PickledGlobal global, object?[] arguments])
        {
            throw Fault("REDUCE is not given a known global and a tuple. Do not trust this file.");
        }

        _stack.Add((global.Kind, arguments) switch
        {
            (Meaning.OrderedDictionary, []) => new PickledDictionary(Ordered: true),
            (Meaning.Parameter, [PickledTensor data, bool, PickledDictionary { Items.Count: 0 }]) => data,
            (Meaning.Tensor, [PickledStorage storage, long offset, object?[] shape, object?[] strides, bool, PickledDictionary { Items.Count: 0 }, .. var metadata])
                when Integers(shape) is { } sizes && Integers(strides) is { } steps && IsPlain(metadata) => new PickledTensor(storage, offset, sizes, steps),
            _ => throw Fault($"REDUCE gives {global.Kind} arguments that it does not take: {CheckpointException.Quote(string.Join(", ", arguments.Take(8).Select(Describe)))}. "
                + "The file is damaged, or of a later PyTorch."),
        });
    }

    /// <summary>Whether what follows a tensor's hooks leaves its numbers as they are. Metadata may say that they are to be negated or conjugated.</summary>
    private static bool IsPlain(object?[] metadata) => metadata is [] or [null] or [PickledDictionary { Items.Count: 0 }];

    /// <summary>PyTorch hangs the versions of modules on a state dict; they say nothing about the tensors.</summary>
    private void Build()
    {
        object? state = Pop();
        bool known = Peek() is PickledDictionary { Ordered: true }
            && state is PickledDictionary attributes
            && attributes.Items is [{ Key: "_metadata", Value: PickledDictionary }];
        if (!known)
        {
            throw Fault($"BUILD gives {Describe(state)} to {Describe(Peek())}; only an OrderedDict's '_metadata' is known. Do not trust this file.");
        }
    }

    private PickledStorage Storage(object? id) =>
        id is object?[] and ["storage", PickledGlobal { Kind: Meaning.Storage } type, string key, string, long elements]
            ? new PickledStorage(type.Type, key, elements)
            : throw Fault($"{Describe(id)} is not the description of a storage. The file is damaged, or of another PyTorch.");

    private void Append(object?[] values)
    {
        if (Peek() is not List<object?> list)
        {
            throw Fault($"values are appended to {Describe(Peek())} instead of a list. The file is damaged: fetch it again.");
        }

        list.AddRange(values);
    }

    private void Set(object?[] items)
    {
        if (Peek() is not PickledDictionary dictionary || items.Length % 2 != 0)
        {
            throw Fault($"{items.Length} keys and values are set in {Describe(Peek())}. The file is damaged: fetch it again.");
        }

        for (int i = 0; i < items.Length; i += 2)
        {
            dictionary.Items.Add(new(items[i], items[i + 1]));
        }
    }

    private object? Recall(uint index) => _memo.TryGetValue(index, out object? value)
        ? value
        : throw Fault($"memo {index} is asked for, and nothing was put there. The file is damaged: fetch it again.");

    private object? Peek() => _stack.Count > Floor ? _stack[^1] : throw Empty();

    private object? Pop()
    {
        object? value = Peek();
        _stack.RemoveAt(_stack.Count - 1);
        return value;
    }

    private object?[] PopTuple(int count) => _stack.Count - count >= Floor ? PopFrom(_stack.Count - count) : throw Empty();

    private object?[] PopToMark() => _marks.TryPop(out int mark)
        ? PopFrom(mark)
        : throw Fault("a mark is asked for, and none was set. The file is damaged: fetch it again.");

    private object?[] PopFrom(int first)
    {
        object?[] values = [.. _stack[first..]];
        _stack.RemoveRange(first, values.Length);
        return values;
    }

    private int Floor => _marks.TryPeek(out int mark) ? mark : 0;

    private long Integer(uint length)
    {
        var bytes = length <= 8 ? Take((int)length) : throw Fault($"an integer of {length} bytes is more than any tensor counts. The file is damaged: fetch it again.");
        long value = bytes.Length > 0 && (sbyte)bytes[^1] < 0 ? -1 : 0;
        for (int i = bytes.Length - 1; i >= 0; i--)
        {
            value = value << 8 | bytes[i];
        }

        return value;
    }

    private string Text(ulong length)
    {
        var bytes = Take(Length(length));
        return Utf8.IsValid(bytes) ? Encoding.UTF8.GetString(bytes) : throw Fault("a text is not valid UTF-8. The file is damaged: fetch it again.");
    }

    private string Line()
    {
        int length = _pickle.AsSpan(_next).IndexOf((byte)'\n');
        string line = length >= 0 ? Encoding.Latin1.GetString(Take(length)) : throw CutShort();
        _next++;
        return line;
    }

    private int Length(ulong length) => length <= (ulong)(_pickle.Length - _next)
        ? (int)length
        : throw Fault($"{length} bytes are announced, and {_pickle.Length - _next} follow. The file is damaged: fetch it again.");

    private ReadOnlySpan<byte> Take(int count)
    {
        if (count > _pickle.Length - _next)
        {
            throw CutShort();
        }

        _next += count;
        return _pickle.AsSpan(_next - count, count);
    }

    /// <summary>A tuple of integers. Its length is looked at first: one long tuple may be the shape of any number of tensors.</summary>
    private static long[]? Integers(object?[] values) =>
        values.Length <= MostDimensions && values.All(value => value is long) ? [.. values.Cast<long>()] : null;

    private static string Describe(object? value) => value switch
    {
        null => "None",
        bool or long or double => FormattableString.Invariant($"{value}"),
        string text => CheckpointException.Quote(text),
        object?[] tuple => $"a tuple of {tuple.Length}",
        List<object?> list => $"a list of {list.Count}",
        PickledDictionary dictionary => $"a dictionary of {dictionary.Items.Count}",
        PickledStorage => "a storage",
        PickledTensor => "a tensor",
        _ => "a global",
    };

    private static string Name(PickleOpcode opcode) => opcode switch
    {
        PickleOpcode.NewObjEx => "NEWOBJ_EX",
        _ => opcode.ToString().ToUpperInvariant(),
    };

    private CheckpointException Empty() => Fault("a value is asked for where there is none. The file is damaged: fetch it again.");

    private CheckpointException CutShort() => Fault($"the pickle ends after {_pickle.Length} bytes in the middle of it. The file is damaged: fetch it again.");

    private CheckpointException Fault(string message) => new(_file, _entry, $"at byte {_opcodeAt}: {message}");
}
