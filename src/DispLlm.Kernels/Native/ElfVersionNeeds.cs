using System.Buffers.Binary;
using System.Text;

namespace DispLlm.Kernels;

/// <summary>A version that an ELF library requires of a library it links to (an entry of <c>.gnu.version_r</c>).</summary>
/// <param name="Library">The library that provides it, for instance <c>libstdc++.so.6</c>.</param>
/// <param name="Version">The version's name, for instance <c>GLIBCXX_3.4.32</c>.</param>
/// <param name="Index">The index that symbols refer to it by.</param>
/// <param name="IsWeak">Whether the loader ignores that the version is missing.</param>
/// <param name="FlagsOffset">The file offset of the entry's flags.</param>
internal readonly record struct ElfVersionNeed(string Library, string Version, int Index, bool IsWeak, int FlagsOffset);

/// <summary>
/// Reads the version needs of a 64-bit little-endian ELF library, and marks one of them as weak. All offsets of the file are checked
/// against its length.
/// </summary>
internal sealed class ElfVersionNeeds
{
    private const uint SectionDynamicSymbols = 11;
    private const uint SectionVersionNeeds = 0x6ffffffe;
    private const uint SectionSymbolVersions = 0x6fffffff;
    private const ushort FlagWeak = 2;
    private const int HiddenBit = 0x8000;

    private readonly byte[] _image;
    private readonly List<Section> _sections = [];
    private readonly List<ElfVersionNeed> _needs = [];

    private ElfVersionNeeds(byte[] image) => _image = image;

    /// <summary>Every version need of the library, in file order.</summary>
    public IReadOnlyList<ElfVersionNeed> Needs => _needs;

    /// <summary>Reads a library's version needs.</summary>
    /// <param name="image">The whole file; not changed, and not to be changed while the result is in use.</param>
    /// <exception cref="InvalidDataException">The file is no 64-bit little-endian ELF file, or points outside itself.</exception>
    public static ElfVersionNeeds Read(byte[] image)
    {
        ArgumentNullException.ThrowIfNull(image);
        var elf = new ElfVersionNeeds(image);
        elf.ReadSections();
        elf.ReadNeeds();
        return elf;
    }

    /// <summary>The names of the symbols that are bound to a version.</summary>
    /// <param name="need">The version.</param>
    public IReadOnlyList<string> GetSymbols(ElfVersionNeed need)
    {
        var names = new List<string>();
        foreach (var versions in _sections.Where(s => s.Type == SectionSymbolVersions))
        {
            var symbols = SectionAt(versions.Link);
            if (symbols.Type != SectionDynamicSymbols)
            {
                throw new InvalidDataException("The symbol versions do not belong to the dynamic symbols.");
            }

            var strings = SectionAt(symbols.Link);
            long count = Math.Min(versions.Size / 2, symbols.Size / 24);
            for (long i = 0; i < count; i++)
            {
                if ((U16(versions.Offset + (2 * i)) & ~HiddenBit) == need.Index)
                {
                    names.Add(Text(strings, U32(symbols.Offset + (24 * i))));
                }
            }
        }

        return names;
    }

    /// <summary>A copy of the file in which one version need is weak.</summary>
    /// <param name="need">The version need, one of <see cref="Needs"/>.</param>
    public byte[] WithWeak(ElfVersionNeed need)
    {
        if (!_needs.Contains(need))
        {
            throw new ArgumentException($"The file has no such version need: {need}.", nameof(need));
        }

        byte[] copy = [.. _image];
        var flags = copy.AsSpan(need.FlagsOffset, 2);
        BinaryPrimitives.WriteUInt16LittleEndian(flags, (ushort)(BinaryPrimitives.ReadUInt16LittleEndian(flags) | FlagWeak));
        return copy;
    }

    private void ReadSections()
    {
        // 0x7F 'E' 'L' 'F', class 2 (64 bits), data 1 (little-endian).
        if (_image.Length < 64 || !_image.AsSpan(0, 6).SequenceEqual("\u007fELF\u0002\u0001"u8))
        {
            throw new InvalidDataException("Not a 64-bit little-endian ELF file.");
        }

        long table = Offset(0x28);
        int entry = U16(0x3A);
        int count = U16(0x3C);
        if (count > 0 && entry < 64)
        {
            throw new InvalidDataException($"Section headers of {entry} bytes are too short.");
        }

        for (int i = 0; i < count; i++)
        {
            long at = table + ((long)i * entry);
            uint type = U32(at + 4);
            long offset = Offset(at + 24);
            long size = Offset(at + 32);

            // A section without bytes in the file (.bss) may claim any size.
            if (type is SectionDynamicSymbols or SectionVersionNeeds or SectionSymbolVersions)
            {
                Check(offset, size);
            }

            _sections.Add(new Section(type, offset, size, U32(at + 40), U32(at + 44)));
        }
    }

    private void ReadNeeds()
    {
        foreach (var section in _sections.Where(s => s.Type == SectionVersionNeeds))
        {
            var strings = SectionAt(section.Link);
            long at = section.Offset;
            for (uint n = 0; n < section.Info; n++)
            {
                int versions = U16(at + 2);
                string library = Text(strings, U32(at + 4));
                long version = at + U32(at + 8);
                for (int v = 0; v < versions; v++)
                {
                    int flags = U16(version + 4);
                    int index = U16(version + 6) & ~HiddenBit;
                    string name = Text(strings, U32(version + 8));
                    _needs.Add(new ElfVersionNeed(library, name, index, (flags & FlagWeak) != 0, checked((int)(version + 4))));
                    uint nextVersion = U32(version + 12);
                    if (nextVersion == 0)
                    {
                        break;
                    }

                    version += nextVersion;
                }

                uint next = U32(at + 12);
                if (next == 0)
                {
                    break;
                }

                at += next;
            }
        }
    }

    private Section SectionAt(uint index) => index < _sections.Count
        ? _sections[(int)index]
        : throw new InvalidDataException($"A section refers to section {index} of {_sections.Count}.");

    private string Text(Section strings, uint at)
    {
        Check(strings.Offset, strings.Size);
        if (at >= strings.Size)
        {
            throw new InvalidDataException($"A name at {at} is outside its table of {strings.Size} bytes.");
        }

        var rest = _image.AsSpan((int)(strings.Offset + at), (int)(strings.Size - at));
        int end = rest.IndexOf((byte)0);
        return end >= 0 ? Encoding.UTF8.GetString(rest[..end]) : throw new InvalidDataException($"The name at {at} has no end.");
    }

    private ushort U16(long at) => BinaryPrimitives.ReadUInt16LittleEndian(Bytes(at, 2));

    private uint U32(long at) => BinaryPrimitives.ReadUInt32LittleEndian(Bytes(at, 4));

    /// <summary>A 64-bit file offset or size; anything beyond what an array can hold is as wrong as a negative number.</summary>
    private long Offset(long at)
    {
        ulong value = BinaryPrimitives.ReadUInt64LittleEndian(Bytes(at, 8));
        return value <= int.MaxValue ? (long)value : throw new InvalidDataException($"The offset {value} is outside the file.");
    }

    private ReadOnlySpan<byte> Bytes(long at, int count)
    {
        Check(at, count);
        return _image.AsSpan((int)at, count);
    }

    private void Check(long at, long size)
    {
        if (at < 0 || size < 0 || at > _image.Length - size)
        {
            throw new InvalidDataException($"{size} bytes at {at} are outside the file of {_image.Length} bytes.");
        }
    }

    private readonly record struct Section(uint Type, long Offset, long Size, uint Link, uint Info);
}
