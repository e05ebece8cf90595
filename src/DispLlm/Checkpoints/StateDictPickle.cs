using static System.Buffers.Binary.BinaryPrimitives;
using Meaning = DispLlm.Checkpoints.PickledGlobal.Meaning;

namespace DispLlm.Checkpoints;

/// <summary>
/// Reads the pickle of a state dict. A pickle is a program; this machine runs the part of the language that makes tensors, storages,
/// dictionaries and plain values, and knows no other. It looks nothing up and calls nothing: an opcode that would is an error that names
/// its place. Memory is proportional to the pickle's length, whatever sizes the pickle declares.
/// </summary>
internal sealed class StateDictPickle
{
    /// <summary>Longest pickle that is read, in bytes. A tensor takes about 150, so that 200,000 fit.</summary>
    public const int Longest = 32 << 20;

    private const int HighestProtocol = 5;
    private const int MostDimensions = 64;

    private readonly PickleReader _reader;
    private readonly List<object?> _stack = [];
    private readonly Stack<int> _marks = [];
    private readonly Dictionary<uint, object?> _memo = [];

    private StateDictPickle(PickleReader reader) => _reader = reader;

    /// <summary>Reads a pickle.</summary>
    /// <param name="pickle">Its bytes.</param>
    /// <param name="file">Path of the file, for errors.</param>
    /// <param name="entry">The pickle's name in the file, for errors.</param>
    /// <returns>
    /// What it makes: null, a bool, a long, a double, a string, an array (a tuple), a list, or one of the pickled records.
    /// </returns>
    /// <exception cref="CheckpointException">The pickle is damaged, or wants something that a state dict does not need.</exception>
    public static object? Read(byte[] pickle, string file, string entry) =>
        new StateDictPickle(new PickleReader(pickle, file, entry)).Run();

    private object? Run()
    {
        while (true)
        {
            var opcode = _reader.Opcode();
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
            throw _reader.Damaged($"the pickle ends with {_stack.Count} values and {_marks.Count} marks left over.");
        }

        return _reader.Remaining == 0 ? result : throw _reader.Damaged($"the pickle ends here, but {_reader.Remaining} bytes follow.");
    }

    private void Step(PickleOpcode opcode)
    {
        switch (opcode)
        {
            case PickleOpcode.Proto:
                if (_reader.Take(1)[0] is var protocol and > HighestProtocol)
                {
                    throw _reader.Fault($"the pickle is of protocol {protocol}; known are 2 to {HighestProtocol}.");
                }

                break;
            case PickleOpcode.Frame: _reader.Length(ReadUInt64LittleEndian(_reader.Take(8))); break;
            case PickleOpcode.Mark: _marks.Push(_stack.Count); break;

            case PickleOpcode.None: _stack.Add(null); break;
            case PickleOpcode.NewTrue: _stack.Add(true); break;
            case PickleOpcode.NewFalse: _stack.Add(false); break;
            case PickleOpcode.BinInt1: _stack.Add((long)_reader.Take(1)[0]); break;
            case PickleOpcode.BinInt2: _stack.Add((long)ReadUInt16LittleEndian(_reader.Take(2))); break;
            case PickleOpcode.BinInt: _stack.Add((long)ReadInt32LittleEndian(_reader.Take(4))); break;
            case PickleOpcode.Long1: _stack.Add(_reader.Integer(_reader.Take(1)[0])); break;
            case PickleOpcode.Long4: _stack.Add(_reader.Integer(ReadUInt32LittleEndian(_reader.Take(4)))); break;
            case PickleOpcode.BinFloat: _stack.Add(ReadDoubleBigEndian(_reader.Take(8))); break;
            case PickleOpcode.ShortBinUnicode: _stack.Add(_reader.Text(_reader.Take(1)[0])); break;
            case PickleOpcode.BinUnicode: _stack.Add(_reader.Text(ReadUInt32LittleEndian(_reader.Take(4)))); break;
            case PickleOpcode.BinUnicode8: _stack.Add(_reader.Text(ReadUInt64LittleEndian(_reader.Take(8)))); break;

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

            case PickleOpcode.BinPut: _memo[_reader.Take(1)[0]] = Peek(); break;
            case PickleOpcode.LongBinPut: _memo[ReadUInt32LittleEndian(_reader.Take(4))] = Peek(); break;
            case PickleOpcode.Memoize: _memo[(uint)_memo.Count] = Peek(); break;
            case PickleOpcode.BinGet: _stack.Add(Recall(_reader.Take(1)[0])); break;
            case PickleOpcode.LongBinGet: _stack.Add(Recall(ReadUInt32LittleEndian(_reader.Take(4)))); break;

            case PickleOpcode.Global: _stack.Add(Global(_reader.Line(), _reader.Line())); break;
            case PickleOpcode.StackGlobal: StackGlobal(); break;
            case PickleOpcode.Reduce: Reduce(); break;
            case PickleOpcode.Build: Build(); break;
            case PickleOpcode.BinPersId: _stack.Add(Storage(Pop())); break;

            default:
                throw _reader.Fault(Enum.IsDefined(opcode)
                    ? $"the opcode {Name(opcode)} would run code that the file names, and no weights need that. Do not trust this file."
                    : $"the opcode 0x{(byte)opcode:x2} has no place in a dictionary of tensors. The file is damaged, or holds something "
                        + "else.");
        }
    }

    private PickledGlobal Global(string module, string name) => PickledGlobal.Find(module, name) ?? throw _reader.Fault(
        $"the global {CheckpointException.Quote($"{module}.{name}")} is neither a tensor, a storage nor a dictionary, and nothing else "
            + "is read. "
        + "If you trust the file, save the model's state dict alone in Python: torch.save(model.state_dict(), file).");

    private void StackGlobal()
    {
        if (PopTuple(2) is not [string module, string name])
        {
            throw _reader.Damaged("STACK_GLOBAL is not given a module and a name.");
        }

        _stack.Add(Global(module, name));
    }

    private void Reduce()
    {
        if (PopTuple(2) is not [PickledGlobal global, object?[] arguments])
        {
            throw _reader.Fault("REDUCE is not given a known global and a tuple. Do not trust this file.");
        }

        _stack.Add((global.Kind, arguments) switch
        {
            (Meaning.OrderedDictionary, []) => new PickledDictionary(Ordered: true),
            (Meaning.Parameter, [PickledTensor data, bool, PickledDictionary { Items.Count: 0 }]) => data,
            (Meaning.Tensor,
                [PickledStorage storage, long offset, object?[] shape, object?[] strides, bool, PickledDictionary hooks, .. var rest])
                when hooks.Items.Count == 0 && Integers(shape) is { } sizes && Integers(strides) is { } steps && IsPlain(rest) =>
                    new PickledTensor(storage, offset, sizes, steps),
            _ => throw _reader.Fault(
                $"REDUCE gives {global.Kind} arguments that it does not take: "
                + $"{CheckpointException.Quote(string.Join(", ", arguments.Take(8).Select(Describe)))}. "
                + "The file is damaged, or of a later PyTorch."),
        });
    }

    /// <summary>
    /// Whether what follows a tensor's hooks leaves its numbers as they are. Metadata may say that they are to be negated or conjugated.
    /// </summary>
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
            throw _reader.Fault(
                $"BUILD gives {Describe(state)} to {Describe(Peek())}; only an OrderedDict's '_metadata' is known. Do not trust this "
                    + "file.");
        }
    }

    private PickledStorage Storage(object? id) =>
        id is object?[] and ["storage", PickledGlobal { Kind: Meaning.Storage } type, string key, string, long elements]
            ? new PickledStorage(type.Type, key, elements)
            : throw _reader.Fault($"{Describe(id)} is not the description of a storage. The file is damaged, or of another PyTorch.");

    private void Append(object?[] values)
    {
        if (Peek() is not List<object?> list)
        {
            throw _reader.Damaged($"values are appended to {Describe(Peek())} instead of a list.");
        }

        list.AddRange(values);
    }

    private void Set(object?[] items)
    {
        if (Peek() is not PickledDictionary dictionary || items.Length % 2 != 0)
        {
            throw _reader.Damaged($"{items.Length} keys and values are set in {Describe(Peek())}.");
        }

        for (int i = 0; i < items.Length; i += 2)
        {
            dictionary.Items.Add(new(items[i], items[i + 1]));
        }
    }

    private object? Recall(uint index) => _memo.TryGetValue(index, out object? value)
        ? value
        : throw _reader.Damaged($"memo {index} is asked for, and nothing was put there.");

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
        : throw _reader.Damaged("a mark is asked for, and none was set.");

    private object?[] PopFrom(int first)
    {
        object?[] values = [.. _stack[first..]];
        _stack.RemoveRange(first, values.Length);
        return values;
    }

    private int Floor => _marks.TryPeek(out int mark) ? mark : 0;

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

    private CheckpointException Empty() => _reader.Damaged("a value is asked for where there is none.");
}
